"""The inputs of an exported program, as Keras describes them."""

import keras


def specs(sample, shapes):
    """A `keras.InputSpec` for each array, None where an axis is free.

    Args:
        sample: inputs, arrays.
        shapes: dict of a shape for each array, by name, in the order of
            `keras.tree.flatten`; a free axis is a name.

    Returns:
        The specs, in the structure of `sample`.
    """
    leaves = [
        keras.InputSpec(
            dtype=a.dtype.name,
            shape=[None if isinstance(n, str) else n for n in shape],
            name=name,
        )
        for a, (name, shape) in zip(
            keras.tree.flatten(sample), shapes.items(), strict=True
        )
    ]
    return keras.tree.pack_sequence_as(sample, leaves)
