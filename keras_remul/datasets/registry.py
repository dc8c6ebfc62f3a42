"""The table of data sets: where the builder is, which key is the target."""

import dataclasses
import difflib
import importlib


@dataclasses.dataclass(frozen=True)
class Entry:
    """What the library has to know of a data set before TFDS is imported.

    Args:
        builder: `"module:class"` of the TFDS builder.
        inputs: representation of each input feature.
        outputs: representation of the target.
        group: name in `keras_remul.groups` of the default training group.
        target: key of the target feature.
    """

    builder: str
    inputs: dict
    outputs: str
    group: str
    target: str = "targets"


_DATASETS = {
    "nbody_charged": Entry(
        builder="keras_remul.datasets.nbody_charged.builder:NbodyCharged",
        inputs={
            "positions": "point",
            "velocities": "vector",
            "charges": "scalar",
        },
        outputs="point",
        group="SO3",
    ),
}


def nearest(argument, received, valid):
    """The ValueError for a name that does not exist, with the nearest ones."""
    valid = sorted(valid)
    close = difflib.get_close_matches(str(received), valid, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    return ValueError(
        f"Unknown `{argument}`. Expected one of {valid}. "
        f"Received: {argument}={received!r}.{hint}"
    )


def entry(name):
    """The `Entry` of a data set."""
    if name not in _DATASETS:
        raise nearest("name", name, _DATASETS)
    return _DATASETS[name]


def builder_class(name):
    """The TFDS builder class of a data set; imports tensorflow_datasets."""
    module, _, attribute = entry(name).builder.partition(":")
    return getattr(importlib.import_module(module), attribute)


def list_datasets():
    """Names that `load`, `symmetry` and (once registered) `tfds.load` take.

    Returns:
        A sorted list of strings.
    """
    return sorted(_DATASETS)


def register():
    """Makes all builders known to `tfds.load` and `tfds.builder`.

    TFDS registers a builder when its module is imported. This imports all of
    them, and with them tensorflow_datasets, which is why it is not done by
    `import keras_remul`.

    Returns:
        The names that are registered now.

    Example:

    >>> keras_remul.datasets.register()
    >>> dataset = tfds.load("nbody_charged", split="train")
    """
    for name in _DATASETS:
        builder_class(name)
    return list_datasets()


def symmetry(name, group=None):
    """The `Symmetry` of a data set: how each feature transforms.

    Args:
        name: name of a data set.
        group: a `keras_remul.groups.Group`. Defaults to the group that the
            presets were trained with, SO(3) for `nbody_charged`. It may be
            smaller than the exact symmetry of the data (E(3) there).

    Returns:
        A `keras_remul.Symmetry` for the (x, y) that `load` returns.

    Raises:
        ValueError: for an unknown name.

    Example:

    >>> symmetry = keras_remul.datasets.symmetry("nbody_charged")
    """
    from keras_remul import groups
    from keras_remul.symmetry import Symmetry

    spec = entry(name)
    if group is None:
        group = getattr(groups, spec.group)()
    return Symmetry(group, inputs=dict(spec.inputs), outputs=spec.outputs)
