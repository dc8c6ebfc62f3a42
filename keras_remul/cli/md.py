"""The command `keras-remul md`: molecular dynamics with a potential."""

from typing import Any

from keras_remul.cli.arguments import (
    ZOO,
    add_output,
    at_least,
    check_free,
    positive,
)
from keras_remul.cli.output import add_formats, say, show
from keras_remul.utils.addresses import redact

# On PyTorch compiling takes as long as this many steps of a molecule.
LONG = 1000
HOT = 3  # times the temperature of the start: nothing physical
TITLES = {
    "temperature": "mean temperature, K",
    "energy_drift": "drift of the energy, meV/atom/ps",
    "energy_noise": "noise of the energy, meV/atom",
    "angular_momentum_drift": "drift of the angular momentum, hbar",
    "ns_per_day": "speed, ns/day",
}


def _md_command(arguments):
    from keras_remul.presets import ase
    from keras_remul.presets.dynamics import simulate
    from keras_remul.presets.sensible import as_potential

    check_free(arguments.output, arguments)
    calculator = ase.Calculator(
        as_potential(arguments.name, arguments.zoo),
        cutoff=arguments.cutoff,
        random_frame=arguments.random_frame,
        seed=arguments.seed,
        compile=True if arguments.steps >= LONG else None,
    )
    atoms: Any = _read(arguments.file)
    atoms.calc = calculator
    figures = simulate(
        atoms,
        arguments.output,
        arguments.steps,
        timestep=arguments.timestep,
        temperature=arguments.temperature,
        friction=arguments.friction,
        interval=arguments.interval,
        seed=arguments.seed,
    )
    show(
        arguments,
        {"figure": "figure", "value": ("value", ".4g")},
        [
            {"figure": title, "value": figures[key]}
            for key, title in TITLES.items()
            if key in figures
        ],
        title=redact(arguments.name),
    )
    say(f"Written: {arguments.output}", arguments)
    if figures["temperature"] > HOT * arguments.temperature:
        say(
            f"Warning: the atoms became {figures['temperature']:.4g} K hot. "
            "The time step is too long, or the potential does not know such "
            "atoms.",
            arguments,
        )


def _read(path):
    from ase import io

    try:
        return io.read(path)
    except Exception as error:
        if getattr(error, "strerror", None):  # of the system
            raise
        raise ValueError(
            f"Expected a file of atoms that ASE reads, such as extended xyz. "
            f"Received: {path}: {type(error).__name__}: {error}"
        ) from error


def add_parser(commands):
    """Adds the command to those of `keras-remul`."""
    parser = commands.add_parser(
        "md", help="run molecular dynamics with a potential"
    )
    parser.add_argument("name", help="a name, a folder or an address")
    parser.add_argument("file", help="atoms, such as extended xyz")
    parser.add_argument("--zoo", help=ZOO)
    for name, kind, default, text in (
        ("steps", at_least(1), 1000, "number of time steps"),
        ("timestep", positive, 0.5, "fs"),
        ("temperature", positive, 300.0, "K, where it starts"),
        ("interval", at_least(1), 10, "steps from frame to frame"),
        ("seed", at_least(0), 0, "of the velocities"),
    ):
        parser.add_argument(
            f"--{name}",
            type=kind,
            default=default,
            help=f"{text} (default: %(default)s)",
        )
    parser.add_argument(
        "--friction",
        type=positive,
        help="of a Langevin thermostat, 1/fs, such as 0.01 (default: none, "
        "constant energy)",
    )
    parser.add_argument(
        "--cutoff",
        type=positive,
        help="of the neighbors, Angstrom, for models that have none of their "
        "own (default: all pairs)",
    )
    parser.add_argument(
        "--random-frame",
        action="store_true",
        help="turn the atoms at random before each step, for the model alone",
    )
    add_output(
        parser, "file of the frames (default: %(default)s)", default="md.xyz"
    )
    add_formats(parser)
    parser.set_defaults(run=_md_command)
