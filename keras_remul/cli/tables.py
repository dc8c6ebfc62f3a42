"""The commands `keras-remul reproduce` and `keras-remul report`."""

import pathlib

from keras_remul.cli.arguments import ZOO, add_data_dir, add_output, check_free
from keras_remul.cli.output import add_formats, say, show
from keras_remul.utils.addresses import redact


def _reproduce_command(arguments):
    from keras_remul.evaluation.measures import EQUIVARIANCE_ERROR
    from keras_remul.experiments.tables import (
        finished_runs,
        markdown,
        reproduce,
    )

    as_text = arguments.printed_as is None
    elsewhere = reproduce(
        arguments.table,
        arguments.recipes,
        arguments.runs,
        arguments.data_dir,
        verbose="auto" if as_text else 0,  # the progress is no table
    )
    if elsewhere:
        say(f"Running in another process: {', '.join(elsewhere)}", arguments)
    if not as_text:
        rows = finished_runs(arguments.table, arguments.recipes)
        show(arguments, {key: key for row in rows for key in row}, rows)
        return
    say(markdown(arguments.table, arguments.recipes))
    say(EQUIVARIANCE_ERROR)


def _report_command(arguments):
    from keras_remul.experiments.tables import HEADING, report

    if arguments.rotation:
        _rotation_report(arguments)
        return
    if not _starts_with(arguments.output, HEADING):  # else one of before
        check_free(arguments.output, arguments)
    report(arguments.recipes, arguments.output)
    say(f"Written: {arguments.output}")


def _starts_with(path, line):
    path = pathlib.Path(path)
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.readline().strip() == line.encode()


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
    columns = {
        "turned_by": "turned by",
        "energy": ("energy, meV/atom", ".3g"),
        "forces": ("forces, meV/Å", ".3g"),
    }
    names = ("angles", "walk_energy", "walk_forces")
    rows = [
        (f"{angle:.0f}°", float(energy), float(forces))
        for angle, energy, forces in zip(*map(found.get, names), strict=True)
    ]
    spread, error = found["energy_spread"], found["forces_error"]
    rows.append(("at random", float(spread), float(error)))
    rows = [dict(zip(columns, row, strict=True)) for row in rows]
    show(arguments, columns, rows, title=name)
    say(f"Of the forces: {100 * found['forces_relative']:.3g} %", arguments)


def add_parsers(commands):
    """Adds the commands to those of `keras-remul`."""
    one = commands.add_parser(
        "reproduce", help="run the missing rows of a table of results"
    )
    one.add_argument("table", help="such as nbody_charged")
    one.add_argument("--runs", default="runs", help="default: %(default)s")
    add_data_dir(one)
    add_formats(one)
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
    two.add_argument("--zoo", help=ZOO)
    add_output(
        two,
        "file of the tables (default: %(default)s)",
        default="docs/results.md",
    )
    add_formats(two)
    two.set_defaults(run=_report_command)
    for parser in (one, two):
        parser.add_argument(
            "--recipes",
            default="recipes",
            help="folder of the recipes (default: %(default)s)",
        )
