"""Symmetry: a group acting on the inputs and outputs of a model."""

from __future__ import annotations

from typing import Self

import keras
from keras import ops

from keras_remul import representations
from keras_remul.groups import Group, Product
from keras_remul.representations.base import Representation
from keras_remul.utils.arguments import checked, named
from keras_remul.utils.configurable import Configurable
from keras_remul.utils.typing import Array, Config, Elements, Seed, Tree


def _check(structure, data, path):
    """Raises ValueError unless `data` has the keys of `structure`."""
    if isinstance(structure, dict):
        if not isinstance(data, dict):
            raise ValueError(
                f"Expected `{path}` to be a dict with the keys "
                f"{sorted(structure)}. Received: {type(data).__name__}"
            )
        missing = sorted(set(structure) - set(data))
        unknown = sorted(set(data) - set(structure))
        if missing or unknown:
            raise ValueError(
                f"The keys of `{path}` are not those of the Symmetry. "
                f"Missing: {missing}. Unknown: {unknown}. Expected: "
                f"{sorted(structure)}. Received: {sorted(data)}. A feature "
                'that does not change is declared as "scalar".'
            )
    elif isinstance(structure, (list, tuple)):
        if not isinstance(data, (list, tuple)) or len(data) != len(structure):
            received = (
                f"{len(data)} entries"
                if isinstance(data, (list, tuple))
                else type(data).__name__
            )
            raise ValueError(
                f"Expected `{path}` to be a list or tuple of "
                f"{len(structure)} entries. Received: {received}"
            )


def _map(fn, structure, data, path) -> Tree:
    """Applies fn(representation, array, path) leaf by leaf."""
    _check(structure, data, path)
    if isinstance(structure, dict):
        return {
            key: _map(fn, structure[key], data[key], f"{path}[{key!r}]")
            for key in data
        }
    if isinstance(structure, (list, tuple)):
        return type(structure)(
            _map(fn, rep, value, f"{path}[{i}]")
            for i, (rep, value) in enumerate(zip(structure, data, strict=True))
        )
    if data is None:  # the labels of an output without a loss
        return None
    if keras.tree.is_nested(data) and not hasattr(data, "shape"):
        raise ValueError(
            f"Expected `{path}` to be one array, of the representation "
            f"{structure!r}. Received: {type(data).__name__}"
        )
    return fn(structure, data, path)


@keras.saving.register_keras_serializable(package="keras_remul")
class Symmetry(Configurable):
    """The action of a group on inputs (phi) and outputs (rho) of a model.

    A model f is equivariant where f(phi(g) x) = rho(g) f(x) for each g.

    Args:
        group: a `keras_remul.groups.Group`, or a dict of names to groups,
            which stands for `Product(group)`: several groups that act at the
            same time, on the same or on different features.
        inputs: the representation of each input, in the structure of the
            inputs: one, a list, or a (nested) dict. Strings such as
            `"vector"` are accepted, see `keras_remul.representations.get`.
        outputs: the representation of each output, likewise.
        mask: key of the mask among the inputs, an array `(B, N)` that is 1 (or
            True) at real nodes and 0 at padding. It takes effect
            where the inputs are a dict that holds this key and `inputs` does
            not declare it as a feature. Padded nodes are never transformed
            and never enter a loss. Defaults to `"mask"`.

    Raises:
        ValueError: for an unknown representation, or one that does not fit the
            group.

    Example:

    >>> symmetry = Symmetry(
    ...     groups.SO3(),
    ...     inputs={"positions": "point", "velocities": "vector"},
    ...     outputs="point",
    ... )
    >>> g = symmetry.sample(32)
    >>> y_rotated = symmetry.transform_outputs(g, y)    # (32, N, 3)
    """

    @checked()
    def __init__(
        self,
        group: Group | dict[str, Group],
        inputs: Tree,
        outputs: Tree,
        mask: str = "mask",
    ) -> None:
        if isinstance(group, dict):
            group = Product(group)
        if not isinstance(group, Group):
            raise ValueError(
                "Argument `group` must be a keras_remul.groups.Group, such as "
                f"SO3(), or a dict of them. Received: group={group!r}"
            )
        self.group = group
        self.inputs = self._resolve(inputs, "inputs")
        self.outputs = self._resolve(outputs, "outputs")
        self.mask = mask

    def _resolve(self, structure, path):
        def resolve(identifier):
            with named(path):
                representation = representations.get(identifier)
                representation.check(self.group)
            return representation

        return keras.tree.map_structure(resolve, structure)

    def sample(
        self, n: int | Array, seed: Seed = None, dtype: str | None = None
    ) -> Elements:
        """Draws n elements of the group.

        Args:
            n, seed, dtype: as for `Group.sample`.
        """
        return self.group.sample(n, seed=seed, dtype=dtype)

    def get_mask(self, x: Tree) -> Array | None:
        """The mask `(B, N)` among the inputs, or None where there is none.

        Args:
            x: inputs in the structure of `inputs`, with or without a mask.
        """
        if isinstance(x, dict) and not self._declares_mask():
            return x.get(self.mask)
        return None

    def _declares_mask(self):
        return isinstance(self.inputs, dict) and self.mask in self.inputs

    def _split_mask(self, x):
        """The inputs without the mask, and the mask."""
        mask = self.get_mask(x)
        if mask is None:
            return x, None
        return {key: x[key] for key in x if key != self.mask}, mask

    def transform_inputs(self, g: Elements, x: Tree) -> Tree:
        """phi(g) x, leaf by leaf.

        Args:
            g: elements of the group `(B, m, m)`.
            x: inputs in the structure of `inputs`, each leaf `(B, ...)`, with
                or without a mask.

        Returns:
            The structure of x. Leaves that g multiplies keep their
            floating-point dtype; integers and booleans become
            `keras.config.floatx()`. All others keep theirs.

        Raises:
            ValueError: where keys or shapes are not those declared.
        """
        x, mask = self._split_mask(x)
        moved = self._transform(self.inputs, g, x, mask, "x")
        return moved if mask is None else {**moved, self.mask: mask}

    def transform_outputs(
        self, g: Elements, y: Tree, mask: Array | None = None
    ) -> Tree:
        """rho(g) y, leaf by leaf.

        Args:
            g: elements of the group `(B, m, m)`.
            y: outputs or labels in the structure of `outputs`.
            mask: mask `(B, N)` of the nodes, where some are padding.

        Returns:
            The structure of y, in the dtypes of `transform_inputs`. A leaf
            that is None stays None.
        """
        return self._transform(self.outputs, g, y, mask, "y")

    def _transform(self, structure, g, data, mask, path):
        def transform(representation, value, path):
            self._check_leaf(representation, value, path, mask)
            value = ops.convert_to_tensor(value)
            per_node = self.is_per_node(representation, value, mask)
            rep, group, element = representation.restrict(self.group, g)
            moved = rep.transform(group, element, value)
            # A linear action keeps the zeros of the padding.
            if mask is not None and per_node:
                if rep.moves_origin and group.has_translations:
                    axes = ops.shape(mask) + (1,) * (len(value.shape) - 2)
                    valid = ops.reshape(ops.cast(mask, "bool"), axes)
                    at_rest = ops.cast(value, moved.dtype)
                    moved = ops.where(valid, moved, at_rest)
            if group.num_nodes and per_node:
                moved = group.permute(element, moved)
            return moved

        return _map(transform, structure, data, path)

    def output_leaves(self, y: Tree) -> list[tuple[Representation, Array]]:
        """Pairs of a representation and a leaf of y, in the order of the keys.

        Args:
            y: outputs or labels in the structure of `outputs`.
        """
        pairs = {}

        def collect(representation, value, path):
            pairs[path] = representation, value

        _map(collect, self.outputs, y, "y")
        return [pairs[path] for path in sorted(pairs)]

    def is_per_node(
        self,
        representation: Representation,
        value: Array,
        mask: Array | None = None,
    ) -> bool:
        """Whether axis 1 of a leaf counts the nodes of a sample.

        `PerNode` and `PerSample` declare it. Otherwise the shape tells: arrays
        `(B, *shape)` hold one value per sample, those with more axes are
        `(B, N, ..., *shape)`. A scalar has an axis of channels, `(B, C)` or
        `(B, N, C)`.

        Args:
            representation: the `Representation` of the leaf.
            value: the leaf, an array.
            mask: mask `(B, N)` that comes with it, or None.

        Raises:
            ValueError: where scalars `(B, N)` come with a mask, or a group that
                permutes nodes, and may be one per node or N per sample.
        """
        if representation.per_node is not None:
            return representation.per_node
        feature_axes = len(representation.shape(self.group))
        received = tuple(value.shape)
        if feature_axes or len(received) != 2:
            return len(received) > 1 + max(1, feature_axes)
        _, group, _ = representation.restrict(self.group)
        nodes = {group.num_nodes, *(() if mask is None else mask.shape[1:])}
        count = received[1]
        if count in nodes - {None, 1}:
            raise ValueError(
                f"An array of shape {received} declared as {representation!r} "
                f"may hold one number for each of the {count} nodes or {count} "
                f"numbers per sample. Declare PerNode({representation!r}) or "
                f"PerSample({representation!r})."
            )
        return False

    def check_inputs(self, x: Tree) -> None:
        """Checks that inputs are as declared.

        Args:
            x: inputs in the structure of `inputs`, with or without a mask.

        Raises:
            ValueError: keys, shapes or the mask differ.
        """
        x, mask = self._split_mask(x)
        if mask is not None and len(mask.shape) != 2:
            raise ValueError(
                f"Expected the mask `x[{self.mask!r}]` to have the shape "
                f"(batch, nodes). Received: shape {tuple(mask.shape)}"
            )

        def check(representation, value, path):
            self._check_leaf(representation, value, path, mask)

        _map(check, self.inputs, x, "x")

    def check_outputs(
        self, y: Tree, name: str = "y", mask: Array | None = None
    ) -> None:
        """Checks that outputs are as declared.

        Args:
            y: outputs or labels in the structure of `outputs`.
            name: what messages call them. Defaults to `"y"`.
            mask: mask `(B, N)` of the nodes, where some are padding.

        Raises:
            ValueError: keys, shapes or the mask differ.
        """

        def check(representation, value, path):
            self._check_leaf(representation, value, path, mask)

        _map(check, self.outputs, y, name)

    def _check_leaf(self, representation, value, path, mask):
        shape = representation.shape(self.group)
        received = tuple(value.shape)
        tail = received[len(received) - len(shape) :]
        if len(received) <= len(shape) or tail != shape:
            raise ValueError(
                f"`{path}` is declared as {representation!r} of "
                f"{self.group!r}, so its shape must be (batch, ..., "
                f"{', '.join(map(str, shape))}). Received: shape {received}"
            )
        try:
            representation.check_data(self.group, received)
            per_node = self.is_per_node(representation, value, mask)
        except ValueError as error:
            raise ValueError(f"`{path}`: {error}") from None
        if not per_node:
            return
        self._check_nodes(representation, received, path, mask)
        if mask is None:
            return
        nodes = mask.shape[1] if len(mask.shape) == 2 else None
        if None not in (nodes, received[1]) and nodes != received[1]:
            raise ValueError(
                f"The mask has the shape {tuple(mask.shape)}, but `{path}` "
                f"has {received[1]} nodes: shape {received}. Expected a mask "
                "of shape (batch, nodes). Where its axis 1 does not count "
                f"nodes, declare PerSample({representation!r})."
            )

    def _check_nodes(self, representation, shape, path, mask):
        """Permutations need the nodes that they permute, all of them."""
        _, group, _ = representation.restrict(self.group)
        if group.num_nodes is None:
            return
        if mask is not None:
            raise ValueError(
                f"{group!r} permutes nodes, padding too, and `{path}` comes "
                "with a mask. Give samples of one size without a mask, or "
                "leave the permutations out."
            )
        if shape[1] not in (None, group.num_nodes):
            raise ValueError(
                f"{group!r} permutes {group.num_nodes} nodes, but `{path}` "
                f"has {shape[1]}: shape {shape}"
            )

    def get_config(self) -> Config:
        serialize = keras.saving.serialize_keras_object
        return {
            "group": serialize(self.group),
            "inputs": serialize(self.inputs),
            "outputs": serialize(self.outputs),
            "mask": self.mask,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        restore = keras.saving.deserialize_keras_object
        return cls(**{key: restore(value) for key, value in config.items()})

    def __repr__(self):
        return (
            f"Symmetry({self.group!r}, inputs={self.inputs!r}, "
            f"outputs={self.outputs!r})"
        )
