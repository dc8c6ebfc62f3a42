"""Makes and compares golden.npz, which verifies a preset."""

import keras

from keras_remul.presets import configuration, files, golden
from keras_remul.symmetry import Symmetry
from keras_remul.utils.leaves import count_samples, to_numpy

_SEED = 0


def made(model, x, symmetry):
    """The content of golden.npz: inputs and outputs, also for moved inputs.

    Args:
        model: the Keras model.
        x: inputs, see `save_to_preset`.
        symmetry: a `Symmetry`, or None.

    Returns:
        Dictionary of arrays, see `golden.flatten`.

    Raises:
        ValueError: x holds no samples, or something that is not an array.
    """
    stored = golden.flatten("input", x)
    rows = count_samples(x, "Argument `x`")
    g = None
    if symmetry is not None:
        g = symmetry.sample(rows, seed=_SEED)
        stored |= golden.flatten("element", g)
    return stored | _outputs(model, x, symmetry, g)


def _outputs(model, x, symmetry, g, stored=None):
    """The outputs; with g also the transformed inputs and their outputs.

    The latter are those of the transformed inputs that are stored, if any: each
    backend rounds these otherwise, which a model may amplify.
    """
    y = model.predict(x, verbose=0)
    found = golden.comparable("output", y)
    if g is not None:
        moved = symmetry.transform_inputs(g, x)
        moved = to_numpy(moved)
        found |= golden.comparable("moved_input", moved)
        moved = keras.tree.flatten(moved if stored is None else stored)
        moved = keras.tree.pack_sequence_as(x, moved)
        y = model.predict(moved, verbose=0)
        found |= golden.comparable("moved_output", y)
    return found


def compare(folder, model, facts, tolerance, path, packages):
    """The difference of a model's outputs from those of golden.npz.

    Args:
        folder: folder of the checked files.
        model: the model from these files.
        facts: the metadata.
        tolerance: see `verify_preset`.
        path: folder of the preset, for the errors.
        packages: see `from_preset`.

    Raises:
        ValueError: the difference is larger than the tolerance, or the file
            does not hold inputs and outputs of this model.
    """
    file = path / files.GOLDEN
    stored = golden.read(folder / files.GOLDEN, file)
    parts = {name: golden.restore(name, stored) for name in golden.PARTS}
    parts = {name: part for name, part in parts.items() if part is not None}
    expected = {}
    for name, part in parts.items():
        expected |= golden.comparable(name, part)
    moves = facts.get("symmetry") is not None
    wanted = {*golden.PARTS} if moves else {"input", "output"}
    if {*parts} != wanted or len(expected) != len(stored):
        raise ValueError(
            f"{file} must hold {sorted(wanted)}. It holds {sorted(stored)}"
        )
    symmetry = symmetry_of(facts, path, packages)
    x, g = parts["input"], parts.get("element")
    rows = count_samples(x, f"The input in {file}")
    found = golden.comparable("input", x)
    if g is not None:
        found |= golden.comparable("element", g)
        _check_elements(found, symmetry, rows, file)
    try:
        moved = parts.get("moved_input")
        found |= _outputs(model, x, symmetry, g, moved)
    except Exception as error:  # each backend has its own
        raise ValueError(
            f"Preset {path} cannot be run on the inputs in {file}: "
            f"{type(error).__name__}: {str(error)[:2000]}"
        ) from error
    return golden.check(
        found,
        expected,
        tolerance,
        f"Preset {path} gives other outputs on the backend "
        f"{keras.backend.backend()!r} than those stored",
    )


def _check_elements(found, symmetry, rows, file):
    """Raises ValueError unless `element` has the form of group elements.

    Names and shapes are checked; the outputs show whether the values are right.
    """
    expected = golden.comparable("element", symmetry.sample(rows, seed=0))
    wanted, received = (
        {
            name: array.shape
            for name, array in arrays.items()
            if name.startswith("element")
        }
        for arrays in (expected, found)
    )
    if wanted != received:
        raise ValueError(
            f"{file} must hold elements of the shapes {wanted}. It holds "
            f"{received}"
        )


def symmetry_of(facts, path, packages):
    """The `Symmetry` in metadata, or None.

    Args:
        facts: the metadata.
        path: folder of the preset, for the errors.
        packages: see `from_preset`.

    Raises:
        ValueError: it is not a symmetry.
    """
    if facts.get("symmetry") is None:
        return None
    where = path / files.METADATA
    found = configuration.make(
        facts["symmetry"], where, packages=packages, parts=False
    )
    if not isinstance(found, Symmetry):
        raise ValueError(f"The symmetry in {where} is not a Symmetry.")
    return found
