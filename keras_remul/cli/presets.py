"""The commands of presets: presets, download, verify, evaluate, export."""

import pathlib

import numpy as np
from rich.table import Table

from keras_remul.cli.arguments import at_least, number, positive
from keras_remul.cli.output import say, show
from keras_remul.evaluation.measures import EQUIVARIANCE_ERROR
from keras_remul.presets import folder, resolve
from keras_remul.utils import atomic
from keras_remul.utils.web import redact


def list_command(arguments):
    """Table of the presets of the package, or of another zoo."""
    names = resolve.list_presets(arguments.zoo)
    table = Table(
        "name", "parameters", "test MSE", "E'", caption=EQUIVARIANCE_ERROR
    )
    table.columns[0].no_wrap = True
    for name in names:
        facts = _summary(name, arguments.zoo)
        metrics = _dict(facts.get("metrics"))
        table.add_row(
            name,
            _figure(facts.get("parameters"), ","),
            *(
                _figure(metrics.get(key), ".4g")
                for key in ("test_mse", "equivariance_error")
            ),
        )
    show(table)
    if not names:
        say(f"No presets. For another zoo set {resolve.ZOO_URL}.")


def _summary(name, zoo):
    presets = resolve.index() if zoo is None else {}
    if name not in presets:
        zoo = zoo or resolve.default_zoo()
        presets = resolve.read_manifest(zoo, wanted=name)
    return _dict(presets.get(name, {}).get("summary"))


def _dict(value):
    return value if isinstance(value, dict) else {}


def _figure(value, style):
    """A number as text; empty if a manifest gives none."""
    return format(value, style) if isinstance(value, (int, float)) else ""


def download_command(arguments):
    """Downloads a preset into the cache."""
    path = resolve.download_preset(arguments.name, arguments.zoo)
    name = redact(arguments.name)
    say(f"{name} is in {path}")


def verify_command(arguments):
    """Compares hashes and outputs."""
    names = arguments.names or _all_here(arguments.zoo)
    if not names:
        raise ValueError("There are no presets to verify.")
    for name in names:
        worst = folder.verify_preset(name, arguments.tolerance, arguments.zoo)
        say(f"{redact(name)}: outputs agree, difference {worst:.2g}")


def _all_here(zoo):
    """All presets of the zoo; those in the package where there is no zoo."""
    if zoo or resolve.default_zoo():
        return resolve.list_presets(zoo)
    return sorted(resolve.bundled_names())


def evaluate_command(arguments):
    """Measures the figures of the card again."""
    from keras_remul.presets.evaluate import evaluate_preset

    figures = evaluate_preset(
        arguments.name, data_dir=arguments.data_dir, zoo=arguments.zoo
    )
    table = Table(
        "figure",
        "card",
        "here",
        title=redact(arguments.name),
        caption=EQUIVARIANCE_ERROR,
    )
    for name, (card, here) in figures.items():
        table.add_row(name, _figure(card, ".5g"), _figure(here, ".5g"))
    show(table)


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
    table = Table("preset", "test MSE", "standard error", "median")
    for name, key in ((first, "first"), (second, "second")):
        keys = (key, f"{key}_standard_error", f"{key}_median")
        table.add_row(redact(name), *(_figure(found[k], ".4g") for k in keys))
    show(table)
    for key, words in (("ratio", "MSE"), ("median_ratio", "median")):
        low, high = found[f"{key}_low"], found[f"{key}_high"]
        say(
            f"{words}, first / second: {found[key]:.3f}, 95 % of bootstrap "
            f"draws within {low:.3f} .. {high:.3f}"
        )
    verdict = "distinguished" if found["p"] < 0.05 else "not distinguished"
    say(
        f"p = {found['p']:.2g}: {verdict} on these samples. Other seeds of the "
        "training are not part of this comparison."
    )


def landscape_command(arguments):
    """Draws the loss around the weights of presets of one data set."""
    from keras_remul import datasets
    from keras_remul.evaluation import loss_landscape
    from keras_remul.experiments import figures

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
    surfaces = {
        short: loss_landscape(
            model,
            x,
            y,
            span=arguments.span,
            points=arguments.points,
            seed=arguments.seed,
        )
        for short, model in models.items()
    }
    figure = figures.landscape_figure(surfaces, arguments.span)
    atomic.write_figure(arguments.output, figure, dpi=100)
    table = Table("preset", "loss", "median of the plane", "largest")
    for name, surface in surfaces.items():
        middle = arguments.points // 2
        around = surface[np.isfinite(surface)]
        found = surface[middle, middle], np.median(around), around.max()
        table.add_row(name, *(f"{value:.3g}" for value in found))
    show(table)
    say(f"Written: {arguments.output}")


def _short_names(names):
    """The last part of each name, or all of it where two end alike."""
    short = {name: pathlib.Path(redact(name)).name for name in names}
    alike = len({*short.values()}) < len(short)
    return {name: redact(name) for name in names} if alike else short


def export_command(arguments):
    """Writes a preset as a file for other programs."""
    from keras_remul.presets.exporting import export

    output = pathlib.Path(arguments.output)
    if output.exists() and not arguments.force:
        raise ValueError(f"{output} exists. --force replaces it.")
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


def doctor_command(arguments):
    """Shows versions, devices and cache, and checks them."""
    from keras_remul.cli import doctor

    return doctor.run()


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
        ("doctor", doctor_command, "show versions and devices, check them"),
    ):
        parser = commands.add_parser(name, help=text)
        parser.set_defaults(run=run)
        if name == "doctor":
            continue
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
        parser.add_argument(
            "--zoo", help=f"address of another zoo (default: {resolve.ZOO_URL})"
        )
        if name in ("evaluate", "compare", "landscape"):
            parser.add_argument(
                "--data-dir",
                help="folder of the data sets (default: that of TFDS)",
            )
        if name == "export":
            parser.add_argument(
                "--format",
                default="onnx",
                help="onnx, tf_saved_model or torch (default: %(default)s)",
            )
            parser.add_argument("--output", required=True, help="file to write")
            parser.add_argument(
                "--force",
                action="store_true",
                help="replace the file if it exists",
            )


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
    parser.add_argument(
        "--output",
        default="landscape.png",
        help="file of the picture (default: %(default)s)",
    )
