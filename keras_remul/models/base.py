"""What the models of moving nodes share: inputs, mask, outputs."""

from typing import NamedTuple

import keras
from keras import ops

from keras_remul.graphs import displacements, gather_nodes, pair_mask
from keras_remul.models.variants import Variants
from keras_remul.periodic import (
    lattice_vector,
    nearest_lattice_vector,
    standard_box,
)
from keras_remul.utils.kept_variables import KeepsVariables
from keras_remul.utils.masking import AttachMask

READOUTS = ("positions", "nodes", "graph")
IDENTITY = "node_identity"


class Nodes(NamedTuple):
    """The nodes of a batch, in float32 at least, 0 where padded.

    Attributes:
        positions: as they came `(B, N, D)`.
        features: dict of all features; its positions are centered, and in
            units of `length_unit`, its velocities in `length_unit / time_unit`.
        mask: booleans `(B, N)`, or None.
    """

    positions: object
    features: dict
    mask: object


class Pairs(NamedTuple):
    """The pairs between which messages pass; K = N without a list.

    Attributes:
        neighbors: list `(B, N, K)`, or None for all nodes.
        mask: booleans `(B, N, K)` or `(1, N, N)`, true for existing pairs.
        edges: given features of the pairs `(B, N, K, F)`, or None.
        away: x_i - x_j `(B, N, K, D)`, in units of `length_unit`.
        square: its square `(B, N, K, 1)`.
        offsets: lattice vectors from x_j to the image of j that is meant
            `(B, N, K, D)`; None without a box.
    """

    neighbors: object
    mask: object
    edges: object
    away: object
    square: object
    offsets: object


class NodeModel(Variants, KeepsVariables, keras.Model):
    """Base of models that take a dict of node features and a mask.

    A subclass calls `build_readout` at the end of its `build`, and begins and
    ends its `call` with `read` and `write`. That checks the input against the
    shapes of the build, takes the mean of the positions off, replaces padding
    by zeros, adds the output to uniform motion x + s v, and puts the mask on.

    Args:
        readout: `"positions"`: new positions `(B, N, D)`; `"nodes"`: scalars
            of each node `(B, N, units)`; `"graph"`: scalars of the sample
            `(B, units)`, such as an energy: the sum over its nodes.
        units: number of scalars.
        length_unit, time_unit: typical lengths and times, in the units of the
            data: what the layers see are positions / length_unit, and
            velocities * time_unit / length_unit; steps are written in
            length_unit. Time from input to output is a good `time_unit`.
            Default to 1.0.
        node_identity: whether each node knows which one it is: its index,
            one-hot, is one of its features. For nodes that are always the
            same ones, in the same order; the order then matters. Defaults to
            False.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Attributes:
        reads_pairs: whether `"neighbors"`, `"edges"`, `"box"` and `"shifts"`
            are inputs.
        reads_coordinates: whether the embedding sees the centered positions. In
            a periodic box, where each node has many, it does not.
        edge_products: keys of the features f whose products f_i f_j are among
            the features of pairs.
        frames: T, for positions at T times `(B, N, T, D)`, each x + s_t v and a
            step of its own; or None for one, `(B, N, D)`.
        velocity_initializer: of s.
    """

    reads_pairs = False
    reads_coordinates = True
    edge_products = ()
    frames = None
    velocity_initializer = "ones"

    def __init__(
        self,
        readout="positions",
        units=1,
        length_unit=1.0,
        time_unit=1.0,
        node_identity=False,
        **kwargs,
    ):
        # Without autocast: float16 would round positions before centering.
        super().__init__(autocast=False, **kwargs)
        if readout not in READOUTS:
            raise ValueError(
                f"Argument `readout` must be one of {READOUTS}. Received: "
                f"{readout!r}"
            )
        for name, value in (
            ("length_unit", length_unit),
            ("time_unit", time_unit),
        ):
            if not value > 0:
                raise ValueError(
                    f"Argument `{name}` must be positive. Received: "
                    f"{name}={value}"
                )
        self.readout = readout
        self.units = units
        self.length_unit = float(length_unit)
        self.time_unit = float(time_unit)
        self.node_identity = node_identity
        self.supports_masking = True
        # Keras skips compute_mask where it calls the model inside jax.grad.
        self.attach_mask = AttachMask(name="attach_mask")

    def build(self, input_shape):
        # A layer left unbuilt has Keras trace the model anew in each
        # train_on_batch and predict_on_batch: attach_mask builds itself.
        if self.node_identity:
            batch, num_nodes, _ = input_shape["positions"]
            if num_nodes is None:
                raise ValueError("node_identity=True needs a number of nodes.")
            shape = (batch, num_nodes, num_nodes)
            input_shape = {**input_shape, IDENTITY: shape}
        self.node_shapes = node_shapes(input_shape, self.reads_pairs)
        self.edge_dim = input_shape.get("edges", (0,))[-1]
        self.box_shape = None
        self._check_box(input_shape)
        self.box_shape = input_shape.get("box")

    @property
    def periodic(self):
        """Whether the model was built for a periodic box."""
        return self.box_shape is not None

    @property
    def embedded_width(self):
        """Width of `embedded`."""
        width = sum(self.node_shapes.values())
        if self.periodic:
            width -= self.node_shapes["positions"]
        return width or 1

    def build_readout(self, width):
        """Builds the last layer, from nodes of this width."""
        moves = self.readout == "positions"
        if self.frames and not moves:
            raise ValueError(
                'Argument `frames` needs readout="positions". Received: '
                f"frames={self.frames}, readout={self.readout!r}"
            )
        width_of_steps = self.node_shapes["positions"] * (self.frames or 1)
        self.head = keras.layers.Dense(
            width_of_steps if moves else self.units,
            kernel_initializer=keras.initializers.VarianceScaling(
                1e-2 if moves else 1.0
            ),
            dtype=self.dtype_policy,
            name="head",
        )
        self.head.build((None, None, width))
        if moves:
            self.build_velocity_scale()

    def build_velocity_scale(self):
        if "velocities" in self.node_shapes:
            self.velocity_scale = self.add_weight(
                shape=(self.frames, 1) if self.frames else (),
                initializer=self.velocity_initializer,
                name="velocity_scale",
            )

    # --- Forward pass ---

    def read(self, inputs):
        """The `Nodes` of the inputs."""
        if self.node_identity:
            x = ops.cast(inputs["positions"], self.geometry_dtype)
            one_hot = ops.eye(x.shape[1], dtype=self.geometry_dtype)
            identity = ops.ones_like(x[:, :, :1]) * one_hot
            inputs = {**inputs, IDENTITY: identity}
        self._check(inputs)
        mask = inputs.get("mask")
        x = {
            key: ops.cast(inputs[key], self.geometry_dtype)
            for key in _in_order(self.node_shapes)
        }
        if mask is None:
            center = ops.mean(x["positions"], axis=1, keepdims=True)
        else:
            mask = ops.cast(mask, "bool")
            valid = mask[:, :, None]  # (B, N, 1)
            # Not a product: that would let a padded NaN through.
            x = {key: ops.where(valid, x[key], 0.0) for key in x}
            count = ops.sum(ops.cast(valid, self.geometry_dtype), 1, True)
            center = ops.sum(x["positions"], axis=1, keepdims=True)
            center = center / ops.maximum(count, 1.0)  # (B, 1, D)
        y = x["positions"]
        x["positions"] = (y - center) / self.length_unit
        if "velocities" in x:
            # Not in place: without a mask this may be the array of the caller.
            x["velocities"] = x["velocities"] * (
                self.time_unit / self.length_unit
            )
        return Nodes(y, x, mask)

    def read_pairs(self, inputs, nodes):
        """The `Pairs` of the inputs."""
        neighbors = inputs.get("neighbors")
        if neighbors is not None:
            neighbors = ops.cast(neighbors, "int32")
        num_nodes = ops.shape(nodes.positions)[1]
        shifts = inputs.get("shifts")
        mask = pair_mask(neighbors, nodes.mask, num_nodes, shifts)
        edges = inputs.get("edges")
        if edges is not None:
            edges = ops.cast(edges, self.geometry_dtype)
            edges = ops.where(mask[..., None], edges, 0.0)
        x, box = nodes.features["positions"], inputs.get("box")
        away, square = displacements(x, neighbors)
        if box is None:
            return Pairs(neighbors, mask, edges, away, square, None)
        box = ops.cast(box, self.geometry_dtype) / self.length_unit
        # The first axis is that of the batch, as of all inputs of models.
        box = box[:, None] if len(box.shape) == 2 else box
        if shifts is None:
            offsets = nearest_lattice_vector(away, box)
        else:
            offsets = lattice_vector(ops.cast(shifts, x.dtype), box)
        away, square = displacements(x, neighbors, offsets)
        return Pairs(neighbors, mask, edges, away, square, offsets)

    def embedded(self, nodes):
        """What the embedding sees of each node `(B, N, F)`."""
        features = dict(nodes.features)
        if self.periodic:
            x = features.pop("positions")
            features = features or {"one": ops.ones_like(x[..., :1])}
        return ops.concatenate(list(features.values()), axis=-1)

    def count_pair_features(self):
        """Width of `pair_features`."""
        scalars = set(self.node_shapes) - {"positions", "velocities"}
        if not scalars.issuperset(self.edge_products):
            raise ValueError(
                "Expected `edge_products` to name invariant features of the "
                f"nodes, {sorted(scalars)}. Received: {self.edge_products}"
            )
        products = sum(self.node_shapes[key] for key in self.edge_products)
        return 1 + products + self.edge_dim

    def pair_features(self, nodes, pairs):
        """Squared distances, products f_i f_j of features, given features."""
        result = [pairs.square]
        for key in self.edge_products:
            f = nodes.features[key]
            result.append(
                ops.expand_dims(f, 2) * gather_nodes(f, pairs.neighbors)
            )
        if pairs.edges is not None:
            result.append(pairs.edges)
        return ops.concatenate(result, axis=-1)

    def write(self, nodes, h):
        """The output of the model, from nodes h `(B, N, C)`."""
        h = self.head(h)
        if self.readout == "positions":
            return self.move(nodes, h)
        return self.finish(nodes, ops.cast(h, self.geometry_dtype))

    def move(self, nodes, step):
        """x + s v + step, for vectors `(B, N, D)`, or `(B, N, T D)`."""
        y, v = nodes.positions, nodes.features.get("velocities")
        step = ops.cast(step, self.geometry_dtype)
        if self.frames:
            shape = (*ops.shape(y)[:2], self.frames, y.shape[-1])
            step = ops.reshape(step, shape)
            y = ops.expand_dims(y, 2)
            v = None if v is None else ops.expand_dims(v, 2)
        if v is not None:
            scale = ops.cast(self.velocity_scale, v.dtype)
            step = scale * v + step
        return self.finish(nodes, y + self.length_unit * step)

    def finish(self, nodes, y):
        """y `(B, N, ...)` with its mask; for a graph, the sum over nodes."""
        if self.readout == "graph":
            if nodes.mask is not None:
                y = ops.where(nodes.mask[:, :, None], y, 0.0)
            return ops.sum(y, axis=1)
        return y if nodes.mask is None else self.attach_mask([y, nodes.mask])

    def compute_mask(self, inputs, previous_mask=None):
        mask = inputs.get("mask")
        if mask is None or self.readout == "graph":
            return None
        mask = ops.cast(mask, "bool")
        return ops.expand_dims(mask, 2) if self.frames else mask

    def compute_output_spec(self, inputs, training=None):
        batch, num_nodes, dim = inputs["positions"].shape
        shape = {
            "positions": (batch, num_nodes, self.frames, dim)
            if self.frames
            else (batch, num_nodes, dim),
            "nodes": (batch, num_nodes, self.units),
            "graph": (batch, self.units),
        }[self.readout]
        return keras.KerasTensor(shape, dtype=self.geometry_dtype)

    def _check(self, inputs):
        shapes = {key: x.shape for key, x in inputs.items()}
        received = node_shapes(shapes, self.reads_pairs)
        if received != self.node_shapes:
            raise ValueError(
                "Expected the keys of `inputs`, with the length of the last "
                f"axis, to be those of the build: {self.node_shapes}. "
                f"Received: {received}"
            )
        edge_dim = shapes.get("edges", (0,))[-1]
        if edge_dim != self.edge_dim:
            raise ValueError(
                f"The model was built with {self.edge_dim} features of pairs "
                f'in inputs["edges"]. Received: {edge_dim}'
            )
        self._check_box(shapes)
        if self.reads_coordinates and ("box" in shapes) != self.periodic:
            raise ValueError(
                f"The model was built {'with' if self.periodic else 'without'} "
                'a periodic inputs["box"], in which it sees positions as '
                "differences only. Build another model."
            )

    def _check_box(self, shapes):
        for key, needed in (("shifts", "box"), ("shifts", "neighbors")):
            if key in shapes and needed not in shapes:
                raise ValueError(
                    f"inputs[{key!r}] needs inputs[{needed!r}] beside it."
                )
        if "box" not in shapes:
            return
        box, (batch, _, dim) = tuple(shapes["box"]), shapes["positions"]
        if self.box_shape is None:
            standard_box(keras.KerasTensor(box), batch or -1, dim)
        elif box[1:] != tuple(self.box_shape[1:]):
            raise ValueError(
                'The model was built with inputs["box"] of the shape '
                f"{tuple(self.box_shape)}. Received: {box}"
            )

    @property
    def geometry_dtype(self):
        """That of the variables, or float32 where theirs is shorter."""
        short = self.variable_dtype in ("float16", "bfloat16")
        return "float32" if short else self.variable_dtype

    # --- Config ---

    def get_config(self):
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "readout": self.readout,
            "units": self.units,
            "length_unit": self.length_unit,
            "time_unit": self.time_unit,
            "node_identity": self.node_identity,
        }


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
    if nodes == 0:
        raise ValueError(
            'inputs["positions"] hold no nodes, their shape is '
            f"{tuple(shapes['positions'])}. Leave out samples without any, or "
            "pad them and give a mask."
        )
    senders = shapes["neighbors"][-1] if "neighbors" in shapes else nodes
    known = {
        "positions": (batch, nodes, "2 or 3"),
        "velocities": (batch, nodes, dim),
        "mask": (batch, nodes),
    }
    of_pairs = {
        "neighbors": (batch, nodes, "any"),
        "edges": (batch, nodes, senders, "any"),
        "box": (batch, dim),
        "shifts": (batch, nodes, senders, dim),
    }
    given = sorted(set(of_pairs) & set(shapes))
    if given and not reads_pairs:
        raise ValueError(
            f"inputs[{given[0]!r}] is about pairs of nodes, which this model "
            "does not use. Leave it out, or rename it if it is a feature of "
            "the nodes."
        )
    known.update(of_pairs)
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
    return {key: shapes[key][-1] for key in _in_order(features & set(shapes))}


def _in_order(keys):
    """Positions, velocities, the others in alphabetical order.

    A dict that a model holds does not keep its order through `torch.export`.
    """
    first = [key for key in ("positions", "velocities") if key in keys]
    return first + sorted(set(keys) - set(first))
