"""Model cards, written from the metadata of a preset and nothing else."""

from keras_remul.evaluation.measures import (
    MEASURES,
    SUMMARIES,
    summary,
    title,
)
from keras_remul.presets.describe import calling
from keras_remul.utils.addresses import anonymous

_FIGURES = (
    "test_mse",
    "test_mse_standard_error",
    "test_mse_median",
    "unused_mse",
    "unused_mse_standard_error",
    "unused_mse_median",
    "test_ood_mse",
    "symmetrized_mse",
    "equivariance_error",
    "relative_equivariance_error",
    "orbit_variance_share",
    "train_mse",
    "validation_mse",
    "test_energy_mae",
    "test_forces_mae",
    "test_large_energy_mae",
    "test_large_forces_mae",
    "test_hot_energy_mae",
    "test_hot_forces_mae",
    "test_net_torque",
    "energy_spread",
    "forces_relative",
    "forces_rmse_moved",
    "forces_rmse_symmetrized",
    "test_auc",
    "test_auc_standard_error",
    "auc_moved",
    "test_accuracy",
    "test_accuracy_standard_error",
    "accuracy_moved",
    "test_rejection_50",
    "test_rejection_50_standard_error",
    "rejection_50_moved",
    "test_rejection_30",
    "test_rejection_30_standard_error",
    "rejection_30_moved",
    "validation_loss",
)
_SEEDS = ("number", "mean", "deviation")
_TRAINING = (
    "recipe",
    "target",
    "weighting",
    "num_samples",
    "augment",
    "epochs",
    "passes",
    "best_epoch",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "seed",
    "seconds",
    "machine",
)


def card(name, facts):
    """The text of README.md.

    Args:
        name: name of the preset.
        facts: the metadata, before the hashes of the files are added.

    Raises:
        ValueError: a fact that the card shows has the wrong type.
    """
    _check(facts)
    parts = [f"# {name}", _summary(facts), _usage(name, facts)]
    if facts.get("interface"):
        parts += ["## Inputs and outputs", _arrays(facts)]
    if facts.get("limits"):
        parts += ["## What it is not for", facts["limits"]]
    metrics = facts.get("metrics") or {}
    if metrics:
        parts += ["## Figures", _figures(facts, metrics)]
    if facts.get("twins"):
        parts += ["## Twins", _twins(name, facts)]
    if facts.get("picture"):
        parts.append(
            f"![{facts['picture']['text']}]({facts['picture']['file']})"
        )
    training = facts.get("training") or {}
    rows = [(k, _short(training[k])) for k in _TRAINING if k in training]
    if rows:
        parts += ["## Training", _table(("", ""), rows)]
    if facts.get("symmetry") is not None:
        group = facts["symmetry"]["config"]["group"]["class_name"]
        parts.append(
            f"Symmetry of the training: {group}, as `symmetry` in "
            "metadata.json, which `keras_remul.presets.read_metadata` reads."
        )
    if facts.get("licenses"):
        rows = sorted(facts["licenses"].items())
        parts += ["## Licences", _table(("of", "licence"), rows)]
    # Whatever address a fact names, it names no password.
    return anonymous("\n\n".join(parts) + "\n")


def _check(facts):
    """Raises ValueError if a fact that the card shows has the wrong type."""
    for key, good, words in _KINDS:
        if key in facts and facts[key] is not None and not good(facts[key]):
            raise ValueError(
                f"The card cannot show {key!r} of the metadata, which must be "
                f"{words}. Received: {repr(facts[key])[:200]}"
            )
    if not facts.get("twins"):
        return
    own = {"name": "", **_own(facts)}
    if not _is_twin(own) or any(
        summary(twin) != summary(own) for twin in facts["twins"]
    ):
        raise ValueError(
            f"The card cannot compare with 'twins': 'metrics' must hold one of "
            f"{SUMMARIES}. Received: {facts.get('metrics')!r}"
        )


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_numbers(values):
    return isinstance(values, dict) and all(map(_is_number, values.values()))


def _are_figures(metrics):
    """Checks only the figures that are shown."""
    return isinstance(metrics, dict) and all(
        metrics[key] is None or _is_number(metrics[key])
        for key in {*_FIGURES} & {*metrics}
    )


def _is_twin(twin):
    return (
        _are_figures(twin)
        and isinstance(twin.get("name"), str)
        and type(twin.get("parameters")) is int
        and {*summary(twin)} <= {*twin}
    )


def _are_texts(value, keys=()):
    return (
        isinstance(value, dict)
        and {*keys} <= {*value}
        and all(isinstance(text, str) for text in (*value, *value.values()))
    )


# Fact, whether it is of its kind, the kind in words. None is none.
_KINDS = (
    ("description", lambda v: isinstance(v, str), "text"),
    ("metrics", _are_figures, "a dictionary of numbers"),
    ("latency", _are_numbers, "a dictionary of numbers"),
    (
        "twins",
        lambda v: isinstance(v, list) and all(map(_is_twin, v)),
        "a list of dictionaries with 'name', 'parameters' and one of "
        f"{SUMMARIES}",
    ),
    (
        "picture",
        lambda v: _are_texts(v, ("text", "file")),
        "a dictionary of texts, 'text' and 'file'",
    ),
    ("training", lambda v: isinstance(v, dict), "a dictionary"),
    ("licenses", _are_texts, "a dictionary of texts"),
    (
        "seeds",
        lambda v: _are_numbers(v) and {*_SEEDS} <= {*v},
        f"a dictionary of numbers with {_SEEDS}",
    ),
    ("units", _are_texts, "a dictionary of texts"),
    ("limits", lambda v: isinstance(v, str), "text"),
    ("horizon", _is_number, "a number"),
)


def _figure(value):
    """A number as text; JSON holds null for NaN."""
    return "none" if value is None else f"{value:.4g}"


def _short(value):
    return f"{value:.4g}" if isinstance(value, float) else value


def _summary(facts):
    kind = facts["class"].rpartition(">")[2]
    text = f"{kind}, {facts['parameters']:,} parameters"
    if "dataset" in facts:
        text += f", trained on `{facts['dataset']}`"
    text += f"; keras_remul {facts['keras_remul']} on {facts['backend']}."
    return "\n\n".join(filter(None, [facts.get("description"), text]))


def _usage(name, facts):
    sample = (facts.get("interface") or {}).get("sample")
    lines = [*calling(name, sample), f"kr.verify_preset({name!r})"]
    return "\n".join(["On any backend:\n", "```python", *lines, "```"])


def _arrays(facts):
    """Names, shapes, dtypes and units of the inputs and outputs."""
    units, rows = facts.get("units") or {}, []
    for part in ("inputs", "outputs"):
        for name, shape, dtype in facts["interface"][part]:
            key = name or "targets"
            rows.append(
                (
                    f"{part[:-1]} {name}".rstrip(),
                    f"({', '.join(map(str, shape))})",
                    dtype,
                    units.get(key, ""),
                )
            )
    text = _table(("", "shape, B samples", "dtype", "unit"), rows)
    if facts.get("horizon") is not None and "dataset" in facts:
        text += (
            "\n\nThe output is for the time of the input plus "
            f"{facts['horizon']:g}, in the unit of time of the velocities; "
            f'`kr.datasets.time_step("{facts["dataset"]}")` is the '
            "`TimeStep` for `kr.rollout`."
        )
    return text


def _figures(facts, metrics):
    rows = [
        (title(key, metrics), _figure(metrics[key]))
        for key in _FIGURES
        if key in metrics
    ]
    if facts.get("seeds"):
        seeds = facts["seeds"]
        rows.insert(
            1,
            (
                f"test MSE of {seeds['number']} seeds, and its spread",
                f"{seeds['mean']:.4g} ± {seeds['deviation']:.2g}",
            ),
        )
    rows += [
        (f"milliseconds per call, {key}", f"{value:.3g}")
        for key, value in (facts.get("latency") or {}).items()
    ]
    return _table(("", ""), rows)


def _twins(name, facts):
    own = {"name": name, **_own(facts)}
    keys = summary(own)
    rows = [
        (twin["name"], *(_figure(twin[key]) for key in keys))
        + (f"{twin['parameters']:,}",)
        for twin in (own, *facts["twins"])
    ]
    titles = (MEASURES[key].title for key in (*keys, "parameters"))
    return _table(("preset", *titles), rows)


def _own(facts):
    """The row of the preset itself in the table of twins."""
    return {"parameters": facts["parameters"], **(facts.get("metrics") or {})}


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
