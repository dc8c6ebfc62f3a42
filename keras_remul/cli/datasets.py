"""The commands `keras-remul datasets ...`."""

from rich.table import Table

from keras_remul.cli.output import say, show
from keras_remul.datasets import loading, registry
from keras_remul.utils import atomic


def _names(groups):
    return ", ".join(map(repr, groups)) or "none"


def _builder(arguments):
    make = loading.builder_maker(arguments.name, data_dir=arguments.data_dir)
    with loading.errors_only():
        builder = make()
        builder.is_prepared()
    return builder


def list_command(arguments):
    """Table of all data sets and configurations.

    Configurations are classes of TFDS; without it, only data sets are listed.
    """
    try:
        classes = [
            (name, registry.builder_class(name))
            for name in registry.list_datasets()
        ]
    except ImportError as error:
        table = Table("name", "inputs", "target")
        for name in registry.list_datasets():
            spec = registry.entry(name)
            table.add_row(name, ", ".join(spec.inputs), ", ".join(spec.targets))
        show(table)
        say(f"Configurations, and what is prepared: {error}")
        return
    table = Table("name", "what", "prepared")
    for name, cls in classes:
        for config in cls.builder_configs.values():
            arguments.name = f"{name}/{config.name}"
            prepared = "yes" if _builder(arguments).is_prepared() else "no"
            table.add_row(arguments.name, config.description or "", prepared)
    show(table)


def info_command(arguments):
    """Description, features, symmetry, licence of a data set."""
    builder = _builder(arguments)
    spec = registry.entry(arguments.name)
    say(builder.info.description)
    table = Table("feature", "shape", "transforms as")
    for key, feature in builder.info.features.items():
        known = {**spec.inputs, **spec.targets}
        representation = known.get(key, "mask of nodes")
        note = " (target)" if key in spec.targets else ""
        table.add_row(key + note, str(feature.shape), str(representation))
    show(table)
    facts = {
        "splits": ", ".join(
            f"{name} ({builder.info.splits[name].num_examples})"
            if builder.is_prepared()
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
    table = Table(show_header=False)
    for key, value in facts.items():
        table.add_row(key, value)
    show(table)
    say(builder.info.citation)


def prepare_command(arguments):
    """Downloads or simulates a data set."""
    loading.load(
        arguments.name,
        [],
        data_dir=arguments.data_dir,
        manual_dir=arguments.manual_dir,
    )
    say(f"Prepared in {_builder(arguments).data_dir}")


def baselines_command(arguments):
    """Errors of the baselines of a data set."""
    from keras_remul.experiments import baselines

    measure, rows = baselines.of_dataset(
        arguments.name,
        data_dir=arguments.data_dir,
        manual_dir=arguments.manual_dir,
    )
    splits = list(next(iter(rows.values())))
    group = registry.entry(arguments.name).group
    table = Table(
        measure,
        *splits,
        title=arguments.name,
        caption=f"test_moved: transformed by random elements of {group!r}",
    )
    for name, errors in rows.items():
        table.add_row(name, *(f"{errors[split]:.4g}" for split in splits))
    show(table)


def picture_command(arguments):
    """Draws some samples into a file."""
    from keras_remul.datasets import pictures

    figure = pictures.picture(
        arguments.name,
        data_dir=arguments.data_dir,
        manual_dir=arguments.manual_dir,
    )
    output = arguments.output or f"{arguments.name.replace('/', '_')}.png"
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
        sub.add_argument(
            "--data-dir", help="folder of the data sets (default: that of TFDS)"
        )
        if action == "picture":
            sub.add_argument("--output", help="file (default: <NAME>.png)")
        if action in ("prepare", "baselines", "picture"):
            sub.add_argument(
                "--manual-dir", help="folder of files downloaded by hand"
            )
        sub.set_defaults(run=run)
