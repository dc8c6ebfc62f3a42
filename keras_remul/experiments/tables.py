"""Tables of recipes: `keras-remul reproduce` and `keras-remul report`.

`tables.json` in the folder of the recipes names the tables; each has a title,
a data set, recipes and seeds. A recipe is "FILE:NAME", or "FILE" if the file
holds only one; settings may follow, "FILE:NAME beta=10". Each finished run
leaves one JSON file in `results/` there, and the tables are made from these
files only.

A table may name its `twin`: the recipe, one of its own, that the others are
tested against. Without it that is the one with the smallest test error. With
`learning_rates` each recipe is run at each of them with the first seed, and
with the others at the one that then has the smallest validation error.
"""

import itertools
import pathlib
import re
import statistics
import textwrap

import keras
import numpy as np
from matplotlib.figure import Figure

from keras_remul.datasets import registry
from keras_remul.evaluation.comparison import welch
from keras_remul.evaluation.measures import MEASURES, summary
from keras_remul.experiments import baselines
from keras_remul.experiments.figures import few_ticks
from keras_remul.experiments.recipe_file import changes_of, load_recipe
from keras_remul.experiments.same_run import InUseError
from keras_remul.utils import atomic
from keras_remul.utils.plain_files import read_json

RESULTS = "results"
HEADING = "# Results"
ROUNDING = 1e-4  # a smaller equivariance error is that of an exact model
LEGEND = dict(loc="outside right upper", fontsize=8, frameon=False)
# What a table shows of each result that has it.
COLUMNS = (
    "test_auc",
    "test_auc_standard_error",
    "auc_moved",
    "auc_moved_by_lorentz",
    "test_accuracy",
    "test_rejection_50",
    "test_rejection_30",
    "test_mse",
    "test_mse_standard_error",
    "test_mse_median",
    "unused_mse",
    "unused_mse_standard_error",
    "test_ood_mse",
    "mse",
    "mse_moved_by_so2",
    "mse_moved_by_so3",
    "symmetrized_mse",
    "orbit_variance_share",
    "equivariance_error",
    "share_of_network",
    "test_energy_mae",
    "test_forces_mae",
    "test_large_forces_mae",
    "test_hot_forces_mae",
    "energy_spread",
    "forces_relative",
)
SIGNIFICANT = 0.05
# Where the figures of baselines go, by their measure.
_OF_BASELINES = {
    "MSE": {
        "test_mse": "test",
        "test_ood_mse": "test_ood",
        "mse": "test_moved",
    },
    "AUC": {"test_auc": "test", "auc_moved": "test_moved"},
}
INTRODUCTION = (
    "Made by `keras-remul report` from `recipes/results/`: mean and standard "
    "deviation over seeds. `± over samples` is the standard error of the test "
    "MSE (of taggers, of the AUC) over the test samples, and `median` the "
    "median of their errors; both are means over the seeds that have them, and "
    "there is no standard error where samples depend on each other "
    "(recordings, trajectories). AUC is the area under the ROC curve. `p` is "
    "that of Welch's t-test of the same figure over seeds, in brackets their "
    "numbers; n.s. is not significant: p >= 0.05, not corrected for the number "
    "of rows. All runs of a table share the test samples, so p says nothing "
    "about other samples; for these see `keras-remul compare`. `moved` is the "
    "error on test data moved by the group, that is with x and y transformed "
    "by random elements g; `symmetrised` that of predictions averaged over 10 "
    "elements. The orbit variance is given as its share of the error on moved "
    "data. E' is the equivariance error, the mean of || f(phi(g) x) - rho(g) "
    "f(x) ||. The epoch is chosen on validation data, unless the text says "
    "otherwise."
)


def read_tables(recipes):
    """The content of `tables.json`.

    Raises:
        ValueError: the file is missing or damaged.
    """
    path = pathlib.Path(recipes) / "tables.json"
    if not path.is_file():
        raise ValueError(
            f"There is no {path}. Give the folder of the recipes with "
            "--recipes; `keras-remul recipes copy` makes one."
        )
    tables = read_json(path)
    for name, table in tables.items():
        missing = {"title", "text", "dataset", "recipes", "seeds"}
        missing -= set(table if isinstance(table, dict) else ())
        if missing:
            raise ValueError(
                f"{path}: the table {name!r} lacks {sorted(missing)}."
            )
        if table.get("twin", table["recipes"][0]) not in table["recipes"]:
            raise ValueError(
                f"{path}: expected the twin of the table {name!r} to be one of "
                f"its recipes. Received: {table['twin']!r}"
            )
    return tables


def _table(recipes, name):
    tables = read_tables(recipes)
    if name not in tables:
        raise ValueError(
            f"Expected the name of a table, one of {sorted(tables)}. "
            f"Received: {name!r}"
        )
    return tables[name]


def _run_name(recipe, seed):
    """ "file:name beta=10", 0 -> "file_name_beta10_seed0"."""
    return re.sub("[ :/]", "_", f"{recipe}_seed{seed}").replace("=", "")


def _label(recipe):
    """ "file:name dataset=other beta=10" -> "name beta=10"."""
    parts = recipe.rpartition(":")[2].split()
    return " ".join(p for p in parts if not p.startswith("dataset="))


def _load(recipes, recipe):
    address, *settings = recipe.split()
    file, colon, name = address.partition(":")
    loaded = load_recipe(f"{recipes / file}.py{colon}{name}")
    return loaded.replace(**changes_of(settings))


def _write(path, content):
    atomic.make_folder(path.parent)
    atomic.write_json(path, content)


def reproduce(
    name,
    recipes="recipes",
    runs="runs",
    data_dir=None,
    verbose: str | int = "auto",
):
    """Runs the missing rows of a table.

    A run that was stopped is resumed. Several processes may work at one table:
    each takes runs that no other process has.

    Args:
        name: name of the table.
        recipes: folder of the recipes.
        runs: folder of the runs.
        data_dir: folder of the data sets, see `datasets.load`.
        verbose: see `Recipe.run`.

    Returns:
        Names of the runs that another process is working on.

    Raises:
        ValueError: for an unknown table.
    """
    from filelock import FileLock, Timeout

    table, recipes = _table(recipes, name), pathlib.Path(recipes)
    runs = pathlib.Path(runs)
    atomic.make_folder(runs)
    path = recipes / RESULTS / f"{name}_baselines.json"
    moves = len(registry.entry(table["dataset"]).targets) == 1
    if moves and not path.exists():
        # Test data are moved by the same group as those of the networks.
        symmetry = _load(recipes, table["recipes"][0]).symmetry
        measure, rows = baselines.of_dataset(
            table["dataset"], symmetry and symmetry(), data_dir=data_dir
        )
        _write(path, atomic.finite({"measure": measure, "rows": rows}))
    elsewhere = []
    for seed in table["seeds"]:
        for recipe in _rows(table, recipes, seed):
            run = _run_name(recipe, seed)
            path = recipes / RESULTS / f"{run}.json"
            if path.exists():
                continue
            try:
                with FileLock(runs / f"{run}.lock", timeout=0):
                    loaded = _load(recipes, recipe).replace(seed=seed)
                    result = loaded.run(
                        runs / run, data_dir=data_dir, verbose=verbose
                    )
                    _write(path, result)
            except (Timeout, InUseError):
                elsewhere.append(run)
            keras.utils.clear_session()
    return elsewhere


def _grid(table, recipe):
    """The recipe at each learning rate of the table."""
    rates = table.get("learning_rates")
    return [f"{recipe} learning_rate={r:g}" for r in rates or ()] or [recipe]


def _chosen(table, recipe, recipes):
    """The recipe at its best learning rate; None while runs are missing."""
    grid, seed = _grid(table, recipe), table["seeds"][0]
    if grid == [recipe]:
        return recipe
    folder = pathlib.Path(recipes) / RESULTS
    paths = [folder / f"{_run_name(one, seed)}.json" for one in grid]
    if not all(path.exists() for path in paths):
        return None
    errors = [read_json(path)["validation_mse"] for path in paths]
    return grid[int(np.argmin(errors))]


def _rows(table, recipes, seed):
    """Yields the recipes to run with a seed; one by one, as they are known."""
    for recipe in table["recipes"]:
        if seed == table["seeds"][0]:
            yield from _grid(table, recipe)
        else:
            chosen = _chosen(table, recipe, recipes)
            yield from [] if chosen is None else [chosen]


def results(table, recipes):
    """`{recipe: [result of each finished seed]}`."""
    folder = pathlib.Path(recipes) / RESULTS
    found = {}
    for named in table["recipes"]:
        recipe = _chosen(table, named, recipes)
        if recipe is None:
            continue
        paths = [
            folder / f"{_run_name(recipe, seed)}.json"
            for seed in table["seeds"]
        ]
        done = [read_json(p) for p in paths if p.exists()]
        if done:
            found[recipe] = done
    return found


def finished_runs(name, recipes="recipes"):
    """The runs of a table that are finished.

    Args:
        name: name of the table.
        recipes: folder of the recipes.

    Returns:
        A list of dicts with all digits: `"recipe"`, `"seed"`, `"parameters"`,
        `"seconds"` and the measures.

    Raises:
        ValueError: for an unknown table.
    """
    found = results(_table(recipes, name), recipes)
    some = [(_label(recipe), run) for recipe in found for run in found[recipe]]
    keys = ["seed", "parameters", "seconds"]
    keys += [key for key in COLUMNS if any(key in run for _, run in some)]
    return [
        {"recipe": label, **{key: run.get(key) for key in keys}}
        for label, run in some
    ]


def _mean(values, digits=3):
    """ "mean ± standard deviation", or the one value."""
    mean = f"{statistics.mean(values):.{digits}g}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(values):.2g}"


def _cell(key, values):
    if not values:
        return ""
    if key.endswith(("_standard_error", "_median")):
        return f"{statistics.mean(values):.2g}"
    # Of what is best where it is largest, such as 0.9781, the 9 says little.
    return _mean(values, 4 if MEASURES[key].best is max else 3)


def _reference(table, found):
    """The recipe that the others are tested against: the twin, or the best.

    None where no recipe has more than one run.
    """
    if max(map(len, found.values())) == 1:
        return None
    twin = table.get("twin")
    for name in found:
        if twin is not None and name in (twin, *_grid(table, twin)):
            return name
    best = MEASURES[summary(next(iter(found.values()))[0])[0]].best
    return best(found, key=lambda name: statistics.mean(_errors(found[name])))


def _errors(runs):
    return [run[summary(run)[0]] for run in runs]


def _p_value(runs, reference):
    """The cell of a recipe: "0.26 (3, 3) n.s."."""
    if runs is reference:
        return "reference"
    p = welch(_errors(runs), _errors(reference))
    if np.isnan(p):
        return "not tested"
    mark = "" if p < SIGNIFICANT else " n.s."
    return f"{p:.2g} ({len(runs)}, {len(reference)}){mark}"


def _paragraph(text):
    """The text in lines of 80 characters."""
    return textwrap.fill(
        text, 80, break_long_words=False, break_on_hyphens=False
    )


def markdown(name, recipes="recipes"):
    """A table as Markdown: recipes, then the baselines without a network."""
    table = _table(recipes, name)
    found = results(table, recipes)
    some = [result for runs in found.values() for result in runs]
    columns = [key for key in COLUMNS if any(key in run for run in some)]
    heads = ["", "parameters", "seeds", "minutes"]
    lines = [[*heads, *(MEASURES[key].column for key in columns)]]
    compared = _reference(table, found)
    if compared:
        place = len(heads) + 1 + columns.index(summary(some[0])[0])
        lines[0].insert(place, f"p against {_label(compared)}")
    for recipe, runs in found.items():
        minutes = statistics.mean(run["seconds"] for run in runs) / 60
        row = [_label(recipe), f"{runs[0]['parameters']:,}", str(len(runs))]
        row.append(f"{minutes:.0f}")
        for key in columns:
            values = [run[key] for run in runs if run.get(key) is not None]
            row.append(_cell(key, values))
        if compared:
            row.insert(place, _p_value(runs, found[compared]))
        lines.append(row)
    path = pathlib.Path(recipes) / RESULTS / f"{name}_baselines.json"
    if path.exists():
        stored = read_json(path)
        for baseline, errors in stored["rows"].items():
            known = {
                key: errors.get(split)
                for key, split in _OF_BASELINES[stored["measure"]].items()
            }
            values = [known.get(key) for key in columns]
            lines.append(
                [baseline.replace("|", r"\|"), "", "", ""]
                + ["" if v is None else f"{v:.3g}" for v in values]
            )
            if compared:
                lines[-1].insert(place, "")
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    rule = "|" + "---|" * len(lines[0])
    text = [f"## {table['title']}", "", _paragraph(table["text"]), ""]
    return "\n".join([*text, rows[0], rule, *rows[1:], ""])


def figure(name, recipes="recipes"):
    """Test error against equivariance error, one point per run.

    Models with an exact symmetry, whose equivariance error is rounding, are in
    a panel of their own.
    """
    table = _table(recipes, name)
    found = results(table, recipes)
    error, *_, far = summary(next(iter(found.values()))[0])
    points, sweeps = _points(found)
    exact = {
        label: some
        for label, some in points.items()
        if max(error for error, _ in some) < ROUNDING
    }
    picture = Figure(figsize=(7.5, 4), layout="constrained")
    # A panel for exact models, and one for others, if there are any.
    some_others = bool(sweeps) or len(exact) < len(points)
    widths = [1] * bool(exact) + [6] * some_others
    axes = picture.subplots(
        1, len(widths), sharey=True, width_ratios=widths, squeeze=False
    )[0]
    for label, some in points.items():
        axis = axes[0] if label in exact else axes[-1]
        axis.plot(*zip(*some, strict=True), "o", label=label)
        if len(axes) == 2:  # the next colour of the other panel
            other = axes[-1] if label in exact else axes[0]
            other.plot([], [], "o", label=label)
    # Settings are written to the right of one recipe, to the left of the next.
    sides = itertools.cycle([(5, "left"), (-5, "right")])
    for (place, side), (label, sweep) in zip(
        sides, sweeps.items(), strict=False
    ):
        middles, texts = zip(*sweep, strict=True)
        middles = np.transpose(middles)
        axes[-1].plot(*middles, ".-", lw=0.7, label=f"{label}, mean")
        for middle, text in zip(middles.T, texts, strict=True):
            axes[-1].annotate(
                text,
                middle,
                (place, -2),
                ha=side,
                textcoords="offset points",
                fontsize=7,
            )
    axes[-1].set(xlabel=MEASURES[far].title)
    axes[0].set(ylabel=MEASURES[error].title)
    picture.suptitle(table["title"], fontsize=11, x=0.01, ha="left")
    for axis in axes:
        axis.set(xscale="log", yscale="log")
        axis.grid(alpha=0.3, which="both")
        few_ticks(axis.yaxis)
    if some_others:
        few_ticks(axes[-1].xaxis)
    if exact:
        axes[0].set(xlabel="exact", xticks=[], xlim=(ROUNDING / 1e5, ROUNDING))
        axes[0].set_xticks([], minor=True)
    picture.legend(*axes[-1].get_legend_handles_labels(), **LEGEND)
    return picture


def _points(found):
    """Points of the runs of each recipe, and of those with a setting."""
    points, sweeps = {}, {}
    for recipe, runs in found.items():
        label, *settings = _label(recipe).split()
        error, *_, far = summary(runs[0])
        some = [(run[far], run[error]) for run in runs]
        some = [point for point in some if None not in point]
        if some and settings:
            middle = np.exp(np.mean(np.log(some), axis=0))
            sweeps.setdefault(label, []).append((middle, *settings))
        elif some:
            points[label] = some
    return points, sweeps


def report(recipes="recipes", output="docs/results.md"):
    """Writes all tables into one Markdown file, and plots beside it.

    There is a plot of each table of two recipes or more.

    Args:
        recipes: folder of the recipes.
        output: the Markdown file; plots go into `images/` beside it.
    """
    output = pathlib.Path(output)
    images = output.parent / "images"
    atomic.make_folder(images)
    parts = [
        HEADING,
        "",
        _paragraph(INTRODUCTION),
        "",
    ]
    for name, table in read_tables(recipes).items():
        found = results(table, recipes)
        if found:
            parts += [markdown(name, recipes)]
        if len(found) > 1:  # one recipe has nothing to be compared with
            image = f"results_{name}.png"
            atomic.write_figure(images / image, figure(name, recipes), dpi=80)
            parts += [f"![{table['title']}](images/{image})", ""]
    atomic.write(output, "\n".join(parts).rstrip() + "\n")
