"""Model cards, written from the metadata of a preset and nothing else."""

from keras_remul.utils.web import anonymous

_FIGURES = {
    "test_mse": "test MSE",
    "test_ood_mse": "test MSE, out of distribution",
    "symmetrized_mse": "test MSE, symmetrised over the group",
    "error": "equivariance error E'",
    "relative_error": "E', relative to the motion",
    "orbit_variance_share": "share of the MSE that is orbit variance",
    "train_mse": "training MSE",
    "validation_mse": "validation MSE",
}
_TRAINING = (
    "recipe",
    "target",
    "weighting",
    "transforms",
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
        name: of the preset.
        facts: the metadata, before the hashes of the files are added.
    """
    parts = [f"# {name}", _summary(facts), _usage(name)]
    metrics = facts.get("metrics", {})
    if metrics:
        parts += ["## Figures", _figures(facts, metrics)]
    if facts.get("twins"):
        parts += ["## Twins", _twins(name, facts)]
    if "picture" in facts:
        parts.append(
            f"![{facts['picture']['text']}]({facts['picture']['file']})"
        )
    training = facts.get("training", {})
    rows = [(k, _short(training[k])) for k in _TRAINING if k in training]
    if rows:
        parts += ["## Training", _table(("", ""), rows)]
    if "symmetry" in facts:
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


def _figure(value):
    """A number as text; JSON holds null where it is none."""
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


def _usage(name):
    return (
        "On any backend:\n\n"
        "```python\n"
        "import keras_remul as kr\n\n"
        f'model = kr.from_preset("{name}")\n'
        f'kr.verify_preset("{name}")\n'
        "```"
    )


def _figures(facts, metrics):
    rows = [
        (text, _figure(metrics[key]))
        for key, text in _FIGURES.items()
        if key in metrics
    ]
    rows += [
        (f"milliseconds per call, {key}", f"{value:.3g}")
        for key, value in facts.get("latency", {}).items()
    ]
    return _table(("", ""), rows)


def _twins(name, facts):
    keys = ("test_mse", "symmetrized_mse", "error", "parameters")
    own = {"name": name, "parameters": facts["parameters"], **facts["metrics"]}
    rows = [
        (twin["name"], *(_figure(twin[key]) for key in keys[:-1]))
        + (f"{twin['parameters']:,}",)
        for twin in (own, *facts["twins"])
    ]
    return _table(("preset", *(_FIGURES.get(k, k) for k in keys)), rows)


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
