"""The table of data sets: where the builder is, which key is the target."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from typing import TYPE_CHECKING, Any

from keras_remul import groups
from keras_remul.representations import MirrorPermutation, Odd

if TYPE_CHECKING:
    from keras_remul.groups.base import Group
    from keras_remul.symmetry import Symmetry


@dataclasses.dataclass(frozen=True)
class Entry:
    """Facts about a data set that are needed before TFDS is imported.

    Args:
        builder: `"module:class"` of the TFDS builder.
        inputs: representation of each input feature.
        outputs: representation of the target, or a dict of those of several.
        group: the default training group.
        exact: groups under which the law that makes targets from inputs is
            symmetric.
        approximate: groups under which it is nearly symmetric.
        odd: keys of the features that a `Negation` changes in sign, in the
            groups of `exact` that have one.
        permutations: whether nodes with equal features are equivalent.
        target: key of the target feature, or a tuple of keys of several.
        center: index of the node that is taken as the center of a sample, if
            nodes have a fixed order; None for the mean of the nodes.
        independent: whether the samples of a split are drawn independently;
            not so if they follow each other in a recording or a trajectory.
        moved, interval: what `TimeStep` is told: whether new velocities are
            `"moved"`, and d, where they are differences.
    """

    builder: str
    inputs: dict
    outputs: str | dict
    group: groups.Group
    exact: tuple = ()
    approximate: tuple = ()
    odd: tuple = ()
    permutations: bool = True
    target: str | tuple = "targets"
    center: int | None = None
    independent: bool = True
    moved: bool = False
    interval: float = 0.0

    @property
    def targets(self) -> Any:
        """`{key: representation}` of the target features."""
        if isinstance(self.target, str):
            return {self.target: self.outputs}
        return self.outputs


def divide(features, target):
    """`(x, y)` of a dict of features.

    Args:
        features: the dict.
        target: key of y, or a tuple of keys, where y is a dict.
    """
    if isinstance(target, str):
        y, keys = features[target], {target}
    else:
        y, keys = {key: features[key] for key in target}, {*target}
    return {k: v for k, v in features.items() if k not in keys}, y


def _molecules(builder, interval=0.0):
    return Entry(
        builder=builder,
        interval=interval,
        inputs={
            "positions": "point",
            "velocities": "vector",
            "atomic_numbers": "scalar",
        },
        outputs="point",
        group=groups.SO3(),
        exact=(groups.E3(),),
        independent=False,
    )


def _potential(builder):
    return Entry(
        builder=builder,
        inputs={"positions": "point", "atomic_numbers": "scalar"},
        outputs={"energy": "scalar", "forces": "vector"},
        group=groups.SO3(),
        exact=(groups.E3(),),
        target=("energy", "forces"),
        independent=False,
    )


_UPRIGHT = groups.SO2(axis="y")
# For each joint of the CMU skeleton the one on the other side: legs, spine and
# head, arms.
_LEFT_AND_RIGHT = [
    *(0, *range(6, 11), *range(1, 6)),
    *range(11, 17),
    *(*range(24, 31), *range(17, 24)),
]
_DATASETS = {
    "nbody_charged": Entry(
        builder="keras_remul.datasets.nbody_charged.builder:NbodyCharged",
        inputs={
            "positions": "point",
            "velocities": "vector",
            "charges": "scalar",
        },
        outputs="point",
        group=groups.SO3(),
        exact=(
            groups.E3(),
            groups.Product(
                {"space": groups.E3(), "charges": groups.Negation()}
            ),
        ),
        odd=("charges",),
    ),
    "nbody_gravity": Entry(
        builder="keras_remul.datasets.nbody_gravity.builder:NbodyGravity",
        inputs={
            "positions": "point",
            "velocities": "vector",
            "masses": "scalar",
        },
        outputs="point",
        group=groups.SO3(),
        exact=(groups.E3(),),
    ),
    "cmu_mocap": Entry(
        builder="keras_remul.datasets.cmu_mocap.builder:CmuMocap",
        inputs={
            "positions": "point",
            "velocities": "vector",
            "joints": MirrorPermutation(_LEFT_AND_RIGHT),
        },
        outputs="point",
        group=_UPRIGHT,
        approximate=(_UPRIGHT, groups.O2(axis="y"), groups.Translations()),
        permutations=False,
        center=0,
        independent=False,
        moved=True,
        interval=1.0,
    ),
    "dft_3bpa": _potential("keras_remul.datasets.dft.builder:Dft3bpa"),
    "dft_acac": _potential("keras_remul.datasets.dft.builder:DftAcac"),
    "dft_ethanol": _potential("keras_remul.datasets.dft.builder:DftEthanol"),
    "md17": _molecules("keras_remul.datasets.md17.builder:Md17", 1.0),
    "rmd17": _molecules("keras_remul.datasets.md17.builder:Rmd17", 1.0),
    "rmd17_forces": _potential("keras_remul.datasets.md17.forces:Rmd17Forces"),
    "solar_system": Entry(
        builder="keras_remul.datasets.solar_system.builder:SolarSystem",
        inputs={
            "positions": "point",
            "velocities": "vector",
            "masses": "scalar",
        },
        outputs="point",
        group=groups.SO3(),
        exact=(groups.E3(),),
        center=0,
        independent=False,
    ),
    "top_jets": Entry(
        builder="keras_remul.datasets.top_jets.builder:TopJets",
        inputs={"four_momenta": "four_vector"},
        outputs="scalar",
        group=groups.Lorentz(),
        exact=(groups.Lorentz(),),
        target="labels",
    ),
    "xtb_md": _molecules("keras_remul.datasets.xtb_md.builder:XtbMd"),
    "xtb_organic": _potential(
        "keras_remul.datasets.xtb_organic.builder:XtbOrganic"
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


def split_name(name):
    """`"name"` or `"name/config"` to (name, config or None)."""
    name, slash, config = str(name).partition("/")
    return name, config if slash else None


def entry(name):
    """The `Entry` of a data set; ignores the configuration."""
    name, _ = split_name(name)
    if name not in _DATASETS:
        raise nearest("name", name, _DATASETS)
    return _DATASETS[name]


def independent(name):
    """Whether the samples of a data set, or of each in a list, are so."""
    names = [name] if isinstance(name, str) else name
    return all(entry(one).independent for one in names)


def builder_class(name):
    """The TFDS builder class of a data set; imports tensorflow_datasets.

    Raises:
        ValueError: for an unknown name.
        ImportError: a package of the extra `datasets` is not installed.
    """
    module, _, attribute = entry(name).builder.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise needs_extra(f"The data set {name!r}", error.name) from error


def needs_extra(what, package, extra="datasets"):
    """The error for a missing package of an extra, such as `datasets`."""
    return ImportError(
        f"{what} needs the package {package}, which is not installed. Try: "
        f'pip install "keras-remul[{extra}]"'
    )


def list_datasets() -> list[str]:
    """Names that `load`, `symmetry` and (once registered) `tfds.load` take.

    Returns:
        A sorted list of strings.
    """
    return sorted(_DATASETS)


def register() -> list[str]:
    """Makes all builders known to `tfds.load` and `tfds.builder`.

    TFDS registers a builder when its module is imported. This function imports
    all of them, and so tensorflow_datasets; `import keras_remul` does not.

    Returns:
        The names that are registered now.

    Raises:
        ImportError: without the extra `datasets`.

    Example:

    >>> keras_remul.datasets.register()
    >>> dataset = tfds.load("nbody_charged", split="train")
    """
    for name in _DATASETS:
        builder_class(name)
    return list_datasets()


def symmetry(name: str, group: Group | None = None) -> Symmetry:
    """The `Symmetry` of a data set: how each feature transforms.

    Args:
        name: name of a data set, as for `load`.
        group: a `keras_remul.groups.Group`. Defaults to the group that the
            presets were trained with, SO(3) for `nbody_charged`. It may be
            smaller than the exact symmetry of the data (E(3) there). With a
            `Negation` among its factors, the charges of `nbody_charged` are
            odd: all flipped, the bodies move as before.

    Returns:
        A `keras_remul.Symmetry` for the (x, y) that `load` returns.

    Raises:
        ValueError: for an unknown name, or a `Negation` where the data set has
            no feature of which the law permits a change of sign.

    Example:

    >>> space_and_charges = {"space": groups.O3(), "charges": groups.Negation()}
    >>> symmetry = keras_remul.datasets.symmetry(
    ...     "nbody_charged", groups.Product(space_and_charges)
    ... )
    """
    from keras_remul.symmetry import Symmetry

    spec = entry(name)
    if group is None:
        group = spec.group
    inputs, outputs = dict(spec.inputs), spec.outputs
    if group.negates:
        if not spec.odd:
            raise ValueError(
                f"No feature of {name!r} may change its sign. Received: "
                f"group={group!r}"
            )
        inputs |= {key: Odd(inputs[key]) for key in spec.odd}
    if isinstance(outputs, dict):
        outputs = dict(outputs)
    return Symmetry(group, inputs=inputs, outputs=outputs)


def symmetries(name: str) -> list[Symmetry]:
    """The symmetries that the law of a data set is known to have.

    Args:
        name: name of a data set, as for `load`.

    Returns:
        A list of `keras_remul.Symmetry`, the exact ones first. Equal nodes may
        also be permuted in most data sets, which is not among them.

    Raises:
        ValueError: for an unknown name.

    Example:

    >>> candidates = keras_remul.datasets.symmetries("nbody_charged")
    >>> print(keras_remul.find_symmetry(model, candidates, x))
    """
    spec = entry(name)
    return [symmetry(name, group) for group in spec.exact + spec.approximate]
