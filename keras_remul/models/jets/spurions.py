"""Four-vectors that break the symmetry of jets as a collider does."""

from __future__ import annotations

import numpy as np

from keras_remul.utils.typing import Array

# The two beams, and time, in the frame of the detector.
BEAM_SPURIONS = ((1, 0, 0, 1), (1, 0, 0, -1), (1, 0, 0, 0))


def with_beam_spurions(inputs: dict[str, Array]) -> dict[str, Array]:
    """Jets with the directions of the beams and of time beside them.

    `JetTransformer(invariance="lorentz")` sees products of constituents with
    them: energies and momenta along the beam. Where they stay while the jet
    moves, what is left of its invariance are rotations about the beam; where
    they move along, it is whole.

    Args:
        inputs: dict of `"four_momenta"` `(B, N, 4)`, NumPy arrays, and others.

    Returns:
        The dict, and `"spurions"` `(B, 3, 4)`: (1, 0, 0, 1), (1, 0, 0, -1) and
        (1, 0, 0, 0).

    Raises:
        ValueError: there are no four-momenta.

    Example:
        >>> x = with_beam_spurions({"four_momenta": np.ones((8, 20, 4))})
        >>> x["spurions"].shape
        (8, 3, 4)

    Reference:
        Spinner et al., "Lorentz-equivariant geometric algebra transformers for
        high-energy physics", arXiv 2405.14806.
    """
    if "four_momenta" not in inputs:
        raise ValueError(
            "Expected `inputs` to have the key 'four_momenta'. Received: "
            f"{sorted(inputs)}"
        )
    momenta = inputs["four_momenta"]
    spurions = np.array(BEAM_SPURIONS, momenta.dtype)
    return {**inputs, "spurions": np.tile(spurions, (len(momenta), 1, 1))}
