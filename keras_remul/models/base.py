"""The base class of models of moving nodes: inputs, mask, outputs."""

from __future__ import annotations

from typing import Any

import keras

from keras_remul.backend.plain import is_called_directly
from keras_remul.models.reading import IDENTITY, NodeReader
from keras_remul.models.shapes import node_shapes
from keras_remul.models.variants import Variants
from keras_remul.models.writing import READOUTS, NodeWriter
from keras_remul.utils.arguments import POSITIVE, checked
from keras_remul.utils.dtypes import at_least_float32
from keras_remul.utils.kept_variables import KeepsVariables
from keras_remul.utils.masking import AttachMask
from keras_remul.utils.typing import Config, Shape


class NodeModel(NodeReader, NodeWriter, Variants, KeepsVariables, keras.Model):
    """Base of models that take a dict of node features and a mask.

    A subclass calls `build_readout` at the end of its `build`, and begins and
    ends its `call` with `read` and `write`. `read` checks the input against the
    shapes of the build, subtracts the mean of the positions and replaces
    padding by zeros. `write` adds the output to the uniform motion x + s v and
    attaches the mask.

    Args:
        readout: `"positions"`: new positions `(B, N, D)`; `"nodes"`: scalars
            of each node `(B, N, units)`; `"graph"`: scalars of the sample
            `(B, units)`, such as an energy: the sum over its nodes.
        units: number of scalars.
        length_unit, time_unit: a typical length and time, in the units of the
            data. The layers see positions / length_unit and velocities *
            time_unit / length_unit, and their steps are in units of
            length_unit. The time from input to output is a good `time_unit`.
            Default to 1.0.
        node_identity: whether the index of each node, one-hot, is added to its
            features. Use it for nodes that are always the same ones, in the
            same order; the model is then not equivariant to permutations.
            Defaults to False.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Attributes:
        readouts: those that the model has.
        reads_pairs: whether `"neighbors"`, `"edges"`, `"box"` and `"shifts"`
            are inputs.
        reads_coordinates: whether the embedding sees the centered positions. In
            a periodic box, where the position of a node is not unique, it does
            not.
        edge_products: keys of the features f whose products f_i f_j are among
            the features of pairs.
        num_times: T, for positions at T times `(B, N, T, D)`, each x + s_t v
            and a separate step; or None for one time, `(B, N, D)`.
        velocity_initializer: initializer of s.
    """

    readouts = READOUTS
    reads_pairs = False
    reads_coordinates = True
    edge_products = ()
    num_times = None
    velocity_initializer = "ones"

    @checked(length_unit=POSITIVE, time_unit=POSITIVE)
    def __init__(
        self,
        readout: str = "positions",
        units: int = 1,
        length_unit: float = 1.0,
        time_unit: float = 1.0,
        node_identity: bool = False,
        **kwargs: Any,
    ) -> None:
        # Without autocast: float16 would round positions before centering.
        super().__init__(autocast=False, **kwargs)
        if readout not in self.readouts:
            raise ValueError(
                f"Argument `readout` must be one of {self.readouts}. Received: "
                f"readout={readout!r}"
            )
        self.readout = readout
        self.units = units
        self.length_unit = float(length_unit)
        self.time_unit = float(time_unit)
        self.node_identity = node_identity
        self.supports_masking = True
        # Keras skips compute_mask where it calls the model inside jax.grad.
        self.attach_mask = AttachMask(name="attach_mask")

    def build(self, input_shape: dict[str, Shape]) -> None:
        # A layer left unbuilt has Keras trace the model anew in each
        # train_on_batch and predict_on_batch: attach_mask builds itself.
        if self.node_identity:
            batch, num_nodes, _ = input_shape["positions"]
            if num_nodes is None:
                raise ValueError(
                    "node_identity=True needs a fixed number of nodes."
                )
            shape = (batch, num_nodes, num_nodes)
            input_shape = {**input_shape, IDENTITY: shape}
        self.node_shapes = node_shapes(input_shape, self.reads_pairs)
        self.edge_dim = input_shape.get("edges", (0,))[-1]
        self.box_shape = None
        self.check_box(input_shape)
        self.box_shape = input_shape.get("box")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # On PyTorch, what Keras does around `call` takes as long as a call.
        asked = len(args) == 1 and not kwargs.keys() - {"training"}
        inference = asked and not kwargs.get("training")
        if inference and is_called_directly(self, args[0]):
            return self.call(args[0], training=False)
        return super().__call__(*args, **kwargs)

    @property
    def geometry_dtype(self) -> str:
        """The dtype of the variables, or float32 if that is wider."""
        return at_least_float32(self.variable_dtype)

    def get_config(self) -> Config:
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
