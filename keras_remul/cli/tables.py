"""The commands `keras-remul reproduce` and `keras-remul report`."""

from rich.table import Table

from keras_remul.cli.output import say, show
from keras_remul.evaluation.measures import EQUIVARIANCE_ERROR
from keras_remul.experiments.tables import markdown, report, reproduce
from keras_remul.utils.web import redact


def _reproduce_command(arguments):
    elsewhere = reproduce(
        arguments.table, arguments.recipes, arguments.runs, arguments.data_dir
    )
    if elsewhere:
        say(f"Running in another process: {', '.join(elsewhere)}")
    say(markdown(arguments.table, arguments.recipes))
    say(EQUIVARIANCE_ERROR)


def _report_command(arguments):
    if arguments.rotation:
        _rotation_report(arguments)
        return
    report(arguments.recipes, arguments.output)
    say(f"Written: {arguments.output}")


def _rotation_report(arguments):
    """Shows what turning the inputs of a potential's preset does."""
    from keras_remul.evaluation import evaluate_rotations
    from keras_remul.presets.folder import load_preset
    from keras_remul.presets.sensible import as_potential

    name = redact(arguments.rotation)
    model, _, x = load_preset(arguments.rotation, arguments.zoo)
    potential = as_potential(model)
    if x is None:
        raise ValueError(f"Preset {name} holds no inputs to turn.")
    found = evaluate_rotations(potential, x)
    table = Table("turned by", "energy, meV/atom", "forces, meV/Å", title=name)
    rows = zip(
        *(found[key] for key in ("angles", "walk_energy", "walk_forces")),
        strict=True,
    )
    for angle, energy, forces in rows:
        table.add_row(f"{angle:.0f}°", f"{energy:.3g}", f"{forces:.3g}")
    table.add_row(
        "at random",
        f"{found['energy_spread']:.3g}",
        f"{found['forces_error']:.3g}",
    )
    show(table)
    say(f"Of the forces: {100 * found['forces_relative']:.3g} %")


def add_parsers(commands):
    """Adds the commands to those of `keras-remul`."""
    one = commands.add_parser(
        "reproduce", help="run the missing rows of a table of results"
    )
    one.add_argument("table", help="such as nbody_charged")
    one.add_argument("--runs", default="runs", help="default: %(default)s")
    one.add_argument(
        "--data-dir", help="folder of the data sets (default: that of TFDS)"
    )
    one.set_defaults(run=_reproduce_command)
    two = commands.add_parser(
        "report", help="write the tables of results, or show that of a preset"
    )
    two.add_argument(
        "--rotation",
        metavar="PRESET",
        help="show how energies and forces of this potential change as the "
        "inputs in its folder are turned",
    )
    two.add_argument("--zoo", help="address of another zoo")
    two.add_argument(
        "--output", default="docs/results.md", help="default: %(default)s"
    )
    two.set_defaults(run=_report_command)
    for parser in (one, two):
        parser.add_argument(
            "--recipes",
            default="recipes",
            help="folder of the recipes (default: %(default)s)",
        )
