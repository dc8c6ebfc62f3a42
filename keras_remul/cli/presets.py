"""The commands of presets: presets, download, verify, evaluate, export."""

import pathlib

from keras_remul.cli.arguments import (
    ZOO,
    add_data_dir,
    add_output,
    at_least,
    check_free,
    number,
    positive,
)
from keras_remul.cli.output import add_formats, say, show
from keras_remul.utils.addresses import redact


def list_command(arguments):
    """Table of the presets of the package, or of another zoo."""
    from keras_remul.evaluation.measures import (
        EQUIVARIANCE_ERROR,
        MEASURES,
        SUMMARIES,
    )
    from keras_remul.presets import resolve

    names, rows = resolve.list_presets(arguments.zoo), []
    for name in names:
        facts = _summary(name, arguments.zoo)
        metrics = _dict(facts.get("metrics"))
        figures = {"parameters": facts.get("parameters")}
        for error, *_, far in SUMMARIES:
            figures |= {key: metrics.get(key) for key in (error, far)}
        rows.append({"name": name, **_numbers(figures)})
    columns = {"name": "name", "parameters": ("parameters", ",")}
    for error, *_, far in SUMMARIES:  # of motion always, of others if any
        if error == SUMMARIES[0][0] or any(row[error] for row in rows):
            for key in (error, far):
                columns[key] = (MEASURES[key].column, ".4g")
    show(arguments, columns, rows, caption=EQUIVARIANCE_ERROR)
    if not names:
        say(f"No presets. For another zoo set {resolve.ZOO_URL}.", arguments)


def _summary(name, zoo):
    from keras_remul.presets import resolve

    presets = resolve.index() if zoo is None else {}
    if name not in presets:
        zoo = zoo or resolve.default_zoo()
        presets = resolve.read_manifest(zoo, wanted=name)
    return _dict(presets.get(name, {}).get("summary"))


def _dict(value):
    return value if isinstance(value, dict) else {}


def _numbers(figures):
    """The figures; None for what is no number, as manifests may have it."""
    return {
        key: value if isinstance(value, (int, float)) else None
        for key, value in figures.items()
    }


def download_command(arguments):
    """Downloads a preset into the cache."""
    from keras_remul.presets import resolve

    path = resolve.download_preset(arguments.name, arguments.zoo)
    name = redact(arguments.name)
    say(f"{name} is in {path}")


def verify_command(arguments):
    """Compares hashes and outputs."""
    from keras_remul.presets import folder

    names = arguments.names or _all_here(arguments.zoo)
    if not names:
        raise ValueError("There are no presets to verify.")
    rows = []
    for name in names:
        worst = folder.verify_preset(name, arguments.tolerance, arguments.zoo)
        rows.append({"preset": redact(name), "difference": worst})
        words = f"{redact(name)}: outputs agree, difference {worst:.2g}"
        say(words, arguments)
    if arguments.printed_as is not None:
        show(arguments, {key: key for key in rows[0]}, rows)


def _all_here(zoo):
    """All presets of the zoo; those in the package where there is no zoo."""
    from keras_remul.presets import resolve

    if zoo or resolve.default_zoo():
        return resolve.list_presets(zoo)
    return sorted(resolve.bundled_names())


def evaluate_command(arguments):
    """Measures the figures of the card again."""
    from keras_remul.evaluation.measures import EQUIVARIANCE_ERROR
    from keras_remul.presets.evaluate import evaluate_preset

    figures = evaluate_preset(
        arguments.name, data_dir=arguments.data_dir, zoo=arguments.zoo
    )
    show(
        arguments,
        {"figure": "figure", "card": ("card", ".5g"), "here": ("here", ".5g")},
        [
            {"figure": name, **_numbers({"card": card, "here": here})}
            for name, (card, here) in figures.items()
        ],
        title=redact(arguments.name),
        caption=EQUIVARIANCE_ERROR,
    )


def compare_command(arguments):
    """Compares the errors of two presets on the same test samples."""
    from keras_remul.presets.evaluate import compare_presets

    first, second = arguments.names
    found = compare_presets(
        first,
        second,
        arguments.dataset,
        data_dir=arguments.data_dir,
        zoo=arguments.zoo,
    )
    columns = {
        "preset": "preset",
        "test_mse": ("test MSE", ".4g"),
        "standard_error": ("standard error", ".4g"),
        "median": ("median", ".4g"),
    }
    rows = []
    for name, key in ((first, "first"), (second, "second")):
        keys = (key, f"{key}_standard_error", f"{key}_median")
        row = redact(name), *(found[k] for k in keys)
        rows.append(dict(zip(columns, row, strict=True)))
    show(arguments, columns, rows)
    for key, words in (("ratio", "MSE"), ("median_ratio", "median")):
        low, high = found[f"{key}_low"], found[f"{key}_high"]
        say(
            f"{words}, first / second: {found[key]:.3f}, 95 % of bootstrap "
            f"draws within {low:.3f} .. {high:.3f}",
            arguments,
        )
    verdict = "distinguished" if found["p"] < 0.05 else "not distinguished"
    say(
        f"p = {found['p']:.2g}: {verdict} on these samples. Other seeds of the "
        "training are not part of this comparison.",
        arguments,
    )


def landscape_command(arguments):
    """Draws the loss around the weights of presets of one data set."""
    import keras
    import numpy as np

    from keras_remul import datasets
    from keras_remul.evaluation import loss_landscape
    from keras_remul.evaluation.tagging import are_tags
    from keras_remul.experiments import figures
    from keras_remul.presets import folder
    from keras_remul.utils import atomic

    check_free(arguments.output, arguments)
    shown = _short_names(arguments.names)
    models, sets = {}, {}
    for name, short in shown.items():
        models[short], facts, _ = folder.load_preset(name, arguments.zoo)
        sets[short] = facts.get("dataset")
    if len({*sets.values()}) != 1 or None in sets.values():
        raise ValueError(f"Expected presets of one data set. Received: {sets}")
    x, y = datasets.load(
        next(iter(sets.values())),
        f"train[:{arguments.samples}]",
        data_dir=arguments.data_dir,
    )
    logits = keras.losses.BinaryCrossentropy(from_logits=True)
    surfaces = {
        short: loss_landscape(
            model,
            x,
            y,
            loss=logits if are_tags(y) else "mse",
            span=arguments.span,
            points=arguments.points,
            seed=arguments.seed,
        )
        for short, model in models.items()
    }
    figure = figures.landscape_figure(surfaces, arguments.span)
    atomic.write_figure(arguments.output, figure, dpi=100)
    columns = {
        "preset": "preset",
        "loss": ("loss", ".3g"),
        "median": ("median of the plane", ".3g"),
        "largest": ("largest", ".3g"),
    }
    rows = []
    for name, surface in surfaces.items():
        middle = arguments.points // 2
        around = surface[np.isfinite(surface)]
        found = surface[middle, middle], np.median(around), around.max()
        row = name, *map(float, found)
        rows.append(dict(zip(columns, row, strict=True)))
    show(arguments, columns, rows)
    say(f"Written: {arguments.output}", arguments)


def _short_names(names):
    """The last part of each name, or all of it where two end alike."""
    short = {name: pathlib.Path(redact(name)).name for name in names}
    alike = len({*short.values()}) < len(short)
    return {name: redact(name) for name in names} if alike else short


def export_command(arguments):
    """Writes a preset as a file for other programs."""
    from keras_remul.presets import folder
    from keras_remul.presets.exporting import export

    output = pathlib.Path(arguments.output)
    check_free(output, arguments)
    model, _, x = folder.load_preset(arguments.name, arguments.zoo)
    if x is None:
        raise ValueError(
            f"Preset {redact(arguments.name)} holds no inputs to try the file "
            "on."
        )
    done = export(model, output, x, format=arguments.format)
    say(f"{output}: outputs agree, difference {done.difference:.2g}")
    for name, shape in done.shapes.items():
        say(f"  {name}: {', '.join(map(str, shape))}")
    if done.fixed:
        say(f"The number of nodes is fixed: {done.fixed}")


def add_parsers(commands):
    """Adds the commands to those of `keras-remul`."""
    for name, run, text in (
        ("presets", list_command, "list the pretrained models"),
        ("download", download_command, "download a preset into the cache"),
        ("verify", verify_command, "compare outputs with the stored ones"),
        ("evaluate", evaluate_command, "measure the figures of the card again"),
        ("compare", compare_command, "compare the errors of two presets"),
        ("landscape", landscape_command, "draw the loss around the weights"),
        ("export", export_command, "write a preset for other programs"),
    ):
        parser = commands.add_parser(name, help=text)
        # A list is read from manifests.
        parser.set_defaults(run=run, needs_keras=name != "presets")
        if name == "landscape":
            _add_landscape(parser)
        elif name == "compare":
            _add_compare(parser)
        elif name == "verify":
            parser.add_argument(
                "names", nargs="*", help="names or folders (default: all)"
            )
            parser.add_argument(
                "--tolerance",
                type=number,
                default=1e-5,
                help="relative to the largest output (default: %(default)s)",
            )
        elif name != "presets":
            parser.add_argument("name", help="a name, a folder or an address")
        parser.add_argument("--zoo", help=ZOO)
        if name in ("evaluate", "compare", "landscape"):
            add_data_dir(parser)
        if name in ("presets", "verify", "evaluate", "compare", "landscape"):
            add_formats(parser)
        if name == "export":
            parser.add_argument(
                "--format",
                default="onnx",
                help="onnx, tf_saved_model or torch (default: %(default)s)",
            )
            add_output(parser, "file to write", required=True)


def _add_compare(parser):
    parser.add_argument(
        "names", nargs=2, help="two names, folders or addresses"
    )
    parser.add_argument(
        "--dataset",
        help="whose test split is used, such as nbody_charged/unused "
        "(default: that of the presets)",
    )


def _add_landscape(parser):
    parser.add_argument("names", nargs="+", help="of one data set")
    for name, least, default, text in (
        ("points", 1, 21, "per side of the plane"),
        ("samples", 1, 500, "of the training data"),
        ("seed", 0, 0, "of the two directions"),
    ):
        parser.add_argument(
            f"--{name}",
            type=at_least(least),
            default=default,
            help=f"{text} (default: %(default)s)",
        )
    parser.add_argument(
        "--span",
        type=positive,
        default=0.5,
        help="half the side, in norms of filters (default: %(default)s)",
    )
    add_output(
        parser,
        "file of the picture (default: %(default)s)",
        default="landscape.png",
    )
