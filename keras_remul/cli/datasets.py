"""The commands `keras-remul datasets ...`."""

from keras_remul.cli.arguments import add_data_dir, add_output, check_free
from keras_remul.cli.output import add_formats, say, show

FEATURES = {
    "feature": "feature",
    "shape": "shape",
    "transforms_as": "transforms as",
}


def _names(groups):
    return ", ".join(map(repr, groups)) or "none"


def _builder(arguments, name):
    """The builder of a data set, and whether it is prepared."""
    from keras_remul.datasets import loading

    make = loading.builder_maker(name, data_dir=arguments.data_dir)
    with loading.errors_only():
        builder = make()
        return builder, builder.is_prepared()


def list_command(arguments):
    """Table of all data sets and configurations.

    Configurations are classes of TFDS; without it, only data sets are listed.
    """
    from keras_remul.datasets import registry

    names = registry.list_datasets()
    try:
        classes = {name: registry.builder_class(name) for name in names}
    except ImportError as error:
        columns = {"name": "name", "inputs": "inputs", "target": "target"}
        entries = {name: registry.entry(name) for name in names}
        rows = [
            {"name": name, "inputs": [*spec.inputs], "target": [*spec.targets]}
            for name, spec in entries.items()
        ]
        show(arguments, columns, rows)
        say(f"Configurations, and what is prepared: {error}", arguments)
        return
    columns = {"name": "name", "what": "what", "prepared": "prepared"}
    rows = [
        {
            "name": f"{name}/{config.name}",
            "what": config.description or "",
            "prepared": _builder(arguments, f"{name}/{config.name}")[1],
        }
        for name, cls in classes.items()
        for config in cls.builder_configs.values()
    ]
    show(arguments, columns, rows)


def info_command(arguments):
    """Description, features, symmetry, licence of a data set."""
    from keras_remul.datasets import registry

    builder, prepared = _builder(arguments, arguments.name)
    spec, rows = registry.entry(arguments.name), []
    say(builder.info.description, arguments)
    for key, feature in builder.info.features.items():
        known = {**spec.inputs, **spec.targets}
        representation = known.get(key, "mask of nodes")
        note = " (target)" if key in spec.targets else ""
        shape = key + note, str(feature.shape), str(representation)
        rows.append(dict(zip(FEATURES, shape, strict=True)))
    if arguments.printed_as is None:
        show(arguments, FEATURES, rows)
        rows = []
    facts = {
        "splits": ", ".join(
            f"{name} ({builder.info.splits[name].num_examples})"
            if prepared
            else name
            for name in builder.split_names
        ),
        "exact symmetries": _names(spec.exact),
        "approximate symmetries": _names(spec.approximate),
        "permutations of nodes": "exact" if spec.permutations else "none",
        "default group": repr(spec.group),
        **{key: str(value) for key, value in builder.info.metadata.items()},
        "licence": builder.info.redistribution_info.license,
        "homepage": builder.info.homepage,
        "folder": str(builder.data_dir),
    }
    facts = [{"fact": key, "value": value} for key, value in facts.items()]
    # As JSON and CSV one table, of which the features are rows.
    facts += [
        {
            "fact": f"feature {row['feature']}",
            "value": f"{row['shape']}, {row['transforms_as']}",
        }
        for row in rows
    ]
    show(arguments, {"fact": "", "value": ""}, facts, header=False)
    say(builder.info.citation, arguments)


def prepare_command(arguments):
    """Downloads or simulates a data set."""
    from keras_remul.datasets import loading

    loading.load(
        arguments.name,
        [],
        data_dir=arguments.data_dir,
        manual_dir=arguments.manual_dir,
    )
    say(f"Prepared in {_builder(arguments, arguments.name)[0].data_dir}")


def baselines_command(arguments):
    """Errors of the baselines of a data set."""
    from keras_remul.datasets import registry
    from keras_remul.experiments import baselines

    measure, rows = baselines.of_dataset(
        arguments.name,
        data_dir=arguments.data_dir,
        manual_dir=arguments.manual_dir,
    )
    splits = list(next(iter(rows.values())))
    group = registry.entry(arguments.name).group
    show(
        arguments,
        {"baseline": measure} | {split: (split, ".4g") for split in splits},
        [{"baseline": name, **errors} for name, errors in rows.items()],
        title=arguments.name,
        caption=f"test_moved: transformed by random elements of {group!r}",
    )


def picture_command(arguments):
    """Draws some samples into a file."""
    from keras_remul.datasets import pictures
    from keras_remul.utils import atomic

    output = arguments.output or f"{arguments.name.replace('/', '_')}.png"
    check_free(output, arguments)
    figure = pictures.picture(
        arguments.name,
        data_dir=arguments.data_dir,
        manual_dir=arguments.manual_dir,
    )
    atomic.write_figure(output, figure, dpi=100)
    say(f"Drawn into {output}")


def add_parser(commands):
    """Adds `datasets` to the commands of `keras-remul`."""
    parser = commands.add_parser(
        "datasets", help="list, describe, prepare data sets; their baselines"
    )
    actions = parser.add_subparsers(
        required=True, metavar="ACTION", dest="action"
    )
    for action, run, text in (
        ("list", list_command, "all data sets and configurations"),
        ("info", info_command, "what a data set holds"),
        ("prepare", prepare_command, "download or simulate a data set"),
        ("baselines", baselines_command, "errors without a network"),
        ("picture", picture_command, "some samples, drawn into a file"),
    ):
        sub = actions.add_parser(action, help=text)
        if action != "list":
            sub.add_argument("name", help="NAME or NAME/CONFIG")
        add_data_dir(sub)
        if action == "picture":
            add_output(sub, "file (default: <NAME>.png)")
        if action in ("list", "info", "baselines"):
            add_formats(sub)
        if action in ("prepare", "baselines", "picture"):
            sub.add_argument(
                "--manual-dir", help="folder of files downloaded by hand"
            )
        sub.set_defaults(run=run)
