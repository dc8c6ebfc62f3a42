"""The shapes of the inputs that the models of moving nodes take."""


def node_shapes(shapes, reads_pairs=False):
    """Last axis of each feature, by key, in the order of the embedding.

    Args:
        shapes: dict of the shapes of all inputs.
        reads_pairs: whether the model takes inputs about pairs.

    Returns:
        Dict of integers: `"positions"`, `"velocities"` if given, then the
        other keys in alphabetical order.

    Raises:
        ValueError: no `"positions"`, or a shape that does not fit theirs.
    """
    if not isinstance(shapes, dict) or "positions" not in shapes:
        raise ValueError(
            'Expected `inputs` to be a dict with the key "positions". '
            f"Received: {list(shapes)}"
        )
    batch, nodes, dim = (*shapes["positions"], None, None, None)[:3]
    check_some_nodes('inputs["positions"]', shapes["positions"])
    senders = shapes["neighbors"][-1] if "neighbors" in shapes else nodes
    known = _known(batch, nodes, senders, dim)
    of_pairs = set(known) - {"positions", "velocities", "mask"}
    given = sorted(of_pairs & set(shapes))
    if given and not reads_pairs:
        raise ValueError(
            f"inputs[{given[0]!r}] is about pairs of nodes, which this model "
            "does not use. Leave it out, or rename it if it is a feature of "
            "the nodes."
        )
    if len(shapes.get("box", ())) == 3:
        known["box"] = (batch, "1 or D", dim)
    for key, shape in shapes.items():
        expected = known.get(key, (batch, nodes, "any"))
        fits = len(shape) == len(expected) and all(
            a is None or b is None or a == b or isinstance(b, str)
            for a, b in zip(shape, expected, strict=True)
        )
        if not fits or dim not in (2, 3):
            raise ValueError(
                f"Expected inputs[{key!r}] to have the shape {expected}. "
                f"Received: {tuple(shape)}"
            )
    features = set(shapes) - set(known) | {"positions", "velocities"}
    return {key: shapes[key][-1] for key in in_order(features & set(shapes))}


def axes_of_nodes(shapes):
    """Which axes of the inputs count nodes.

    Args:
        shapes: dict of the shapes of all inputs.

    Returns:
        Dict of tuples of axes, by key.
    """
    senders = "any" if "neighbors" in shapes else "nodes"
    known = _known("batch", "nodes", senders, "D")
    found = {}
    for key, shape in shapes.items():
        expected = known.get(key, ("batch", "nodes", "any"))
        fits = len(shape) == len(expected)
        found[key] = tuple(
            i for i, name in enumerate(expected) if fits and name == "nodes"
        )
    return found


def _known(batch, nodes, senders, dim):
    """The shapes of the inputs that have a meaning, by key."""
    return {
        "positions": (batch, nodes, "2 or 3"),
        "velocities": (batch, nodes, dim),
        "mask": (batch, nodes),
        "neighbors": (batch, nodes, "any"),
        "edges": (batch, nodes, senders, "any"),
        "box": (batch, dim),
        "shifts": (batch, nodes, senders, dim),
    }


def in_order(keys):
    """Positions, velocities, the others in alphabetical order.

    `torch.export` does not keep the order of a dict in a model.
    """
    first = [key for key in ("positions", "velocities") if key in keys]
    return first + sorted(set(keys) - set(first))


def check_some_nodes(what, shape):
    """Raises ValueError where there is not a single node.

    Args:
        what: the name of the array in errors.
        shape: its shape `(B, N, ...)`; N may be unknown.
    """
    if len(shape) > 1 and shape[1] == 0:
        raise ValueError(
            f"{what} hold no nodes, their shape is {tuple(shape)}. Leave out "
            "empty samples, or pad them and give a mask."
        )
