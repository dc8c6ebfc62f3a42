"""Atomic numbers in arrays of padded samples."""

import numpy as np

ELEMENTS = 118
CLOSEST = 0.3  # Angstrom; no two nuclei come as near


def check_numbers(atomic_numbers):
    """Raises ValueError unless the shape is `(B, N, 1)`.

    Args:
        atomic_numbers: an array.
    """
    shape = tuple(atomic_numbers.shape)
    if len(shape) != 3 or shape[-1] != 1:
        raise ValueError(
            "Expected `atomic_numbers` of shape (batch, atoms, 1). Received: "
            f"{shape}"
        )


def counts(atomic_numbers, mask=None):
    """How many atoms of each element a sample has.

    Args:
        atomic_numbers: integers `(B, N, 1)`.
        mask: optional `(B, N)`, true where a node is valid.

    Returns:
        Float64 `(B, 119)`; column z is that of the element z, column 0 is zero.

    Raises:
        ValueError: a valid node has no atomic number from 1 to 118.
    """
    numbers = np.asarray(atomic_numbers)
    check_numbers(numbers)
    numbers = numbers[..., 0]
    valid = np.ones(numbers.shape, bool)
    if mask is not None:
        valid = np.asarray(mask).astype(bool)
        if valid.shape != numbers.shape:
            raise ValueError(
                f"Expected `mask` of shape {numbers.shape}. Received: "
                f"{valid.shape}"
            )
    wrong = valid & ~(
        (numbers >= 1) & (numbers <= ELEMENTS) & (numbers == np.round(numbers))
    )
    if wrong.any():
        sample, atom = np.argwhere(wrong)[0]
        raise ValueError(
            f"Expected atomic numbers from 1 to {ELEMENTS}. Received: "
            f"{numbers[sample, atom]} for atom {atom} of sample {sample}. "
            "Padding needs a mask."
        )
    numbers = np.where(valid, numbers, 0).astype(int)
    row = np.arange(len(numbers))[:, None] * (ELEMENTS + 1)
    result = np.bincount(
        (numbers + row).ravel(), minlength=len(numbers) * (ELEMENTS + 1)
    )
    result = result.reshape(len(numbers), ELEMENTS + 1).astype("float64")
    result[:, 0] = 0.0
    return result
