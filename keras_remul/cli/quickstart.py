"""The command `keras-remul quickstart`."""

from keras_remul.cli.arguments import add_data_dir, at_least


def _quickstart(arguments):
    from keras_remul.experiments import quickstart

    quickstart.run(
        output=arguments.output,
        epochs=arguments.epochs,
        seed=arguments.seed,
        data_dir=arguments.data_dir,
    )


def add_parser(commands):
    """Adds the command to those of `keras-remul`."""
    parser = commands.add_parser(
        "quickstart",
        help="simulate, train, measure, draw, save and load, in minutes",
    )
    parser.add_argument(
        "--output",
        default="quickstart_output",
        help="folder for results (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=at_least(1),
        default=30,
        help="epochs of each training (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        help="default: %(default)s",
    )
    add_data_dir(parser)
    parser.set_defaults(run=_quickstart)
