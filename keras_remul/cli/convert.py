"""The command `convert`: weights that the user downloaded, as a preset."""


def convert_command(arguments):
    """Writes the preset, and says what it holds."""
    from keras_remul.cli.output import say
    from keras_remul.presets.converting import jets

    model = jets.convert(
        arguments.name, arguments.file, arguments.output, arguments.sha256
    )
    say(
        f"{arguments.output}: {type(model).__name__}, "
        f"{model.count_params():,} numbers, {model.units} logits"
    )


def add_parser(commands):
    """Adds the command to those of `keras-remul`."""
    parser = commands.add_parser(
        "convert", help="make a preset of public weights, downloaded by you"
    )
    parser.set_defaults(run=convert_command)
    parser.add_argument(
        "name",
        choices=["particlenet", "part"],
        help="ParticleNet or the Particle Transformer, both of JetClass",
    )
    parser.add_argument("file", help="such as ParticleNet_kin.pt")
    parser.add_argument("--output", required=True, help="folder to write")
    parser.add_argument(
        "--sha256", help="of the file (default: that of the public one)"
    )
