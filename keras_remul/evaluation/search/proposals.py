"""Symmetries that data may have beside one that is known."""

import numpy as np

from keras_remul.groups import Negation, Product
from keras_remul.representations import Odd, Scalar
from keras_remul.symmetry import Symmetry
from keras_remul.utils.leaves import by_path, nest

NAME = "sign"


def with_negations(symmetry, x):
    """The symmetry with a change of sign, of one scalar input after another.

    Args:
        symmetry: a `Symmetry`.
        x: inputs, NumPy arrays in the structure of `symmetry.inputs`.

    Returns:
        A list of `Symmetry`, one for each input that is a `Scalar` of floating
        point with values above and below zero.
    """
    symmetry.check_inputs(x)
    if symmetry.get_mask(x) is not None:
        x = {key: x[key] for key in x if key != symmetry.mask}
    leaves = by_path(symmetry.inputs, x, "x")
    known = by_path(symmetry.inputs, symmetry.inputs, "x")
    group = symmetry.group
    factors = getattr(group, "factors", {"space": group})
    larger = Product({**factors, NAME: Negation()})
    found = []
    for path, representation in known.items():
        values = np.asarray(leaves[path])
        signs = {*np.unique(np.sign(values))}
        if isinstance(representation, Scalar) and {-1.0, 1.0} <= signs:
            odd = {**known, path: Odd(representation, factor=NAME)}
            inputs = nest(symmetry.inputs, odd)
            found.append(
                Symmetry(larger, inputs, symmetry.outputs, symmetry.mask)
            )
    return found
