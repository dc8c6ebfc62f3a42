"""Nested inputs, outputs and labels: matching their leaves."""

import keras


def leafwise(fn, first, *others):
    """Applies fn to the leaves of structures, in the structure of the first.

    Entries of dicts are matched by their keys, whatever their order, which the
    flat list of an OrderedDict keeps. Lists and tuples are treated alike.

    Raises:
        ValueError: where the structures differ.
    """
    if isinstance(first, dict):
        if not all(
            isinstance(data, dict) and set(data) == set(first)
            for data in others
        ):
            raise ValueError(
                f"Expected dicts with the keys {sorted(first, key=str)}. "
                f"Received: {[first, *others]}"
            )
        return type(first)(
            (key, leafwise(fn, part, *(data[key] for data in others)))
            for key, part in first.items()
        )
    if isinstance(first, (list, tuple)):
        entries = [
            leafwise(fn, *parts) for parts in zip(first, *others, strict=True)
        ]
        return type(first)(entries)
    return fn(first, *others)


def per_output(values, outputs, names=None, argument="loss"):
    """Puts the values for each output into the structure of the outputs.

    They may be given as `keras.Model.compile` takes losses: one value for all,
    a list, a dict with the keys of the outputs, or, if the outputs are a list,
    a dict with the names of the output layers.

    Args:
        values: one value for all, or a list, tuple or dict of them.
        outputs: the outputs of the model, nested.
        names: names of the outputs, `output_names` of a Functional model.
        argument: name of `values` in errors.

    Returns:
        The structure of the outputs, with None for those that a dict does not
        name.

    Raises:
        ValueError: for unknown names, or another number of entries.
    """
    if not isinstance(values, (dict, list, tuple)):
        return keras.tree.map_structure(lambda _: values, outputs)
    flat = keras.tree.flatten(outputs)
    if isinstance(values, dict):
        known = names if names and not isinstance(outputs, dict) else None
        keys = list(outputs) if isinstance(outputs, dict) else known or []
        unknown = sorted(set(values) - set(keys), key=str)
        if unknown:
            raise ValueError(
                f"`{argument}` names outputs that the model does not have: "
                f"{unknown}. It has: {sorted(keys, key=str)}"
            )
        if isinstance(outputs, dict):
            return {
                key: per_output(values.get(key), part, argument=argument)
                for key, part in outputs.items()
            }
        found = [values.get(name) for name in known or [None] * len(flat)]
        return keras.tree.pack_sequence_as(outputs, found)
    if isinstance(outputs, (list, tuple)) and len(values) == len(outputs):
        return type(outputs)(
            per_output(value, part, argument=argument)
            for value, part in zip(values, outputs, strict=True)
        )
    if len(values) == len(flat) and not any(map(_is_nested, values)):
        return keras.tree.pack_sequence_as(outputs, list(values))
    raise ValueError(
        f"The model has {len(flat)} outputs, but `{argument}` has "
        f"{len(values)} entries. Give one for each output, or one for all."
    )


def _is_nested(value):
    return isinstance(value, (dict, list, tuple))
