"""Linear map of all nodes: the model that a network has to beat."""

import keras
from keras import ops

from keras_remul.models.base import NodeModel


@keras.saving.register_keras_serializable(package="keras_remul")
class LinearNodes(NodeModel):
    """Linear regression on the coordinates of all nodes at once.

    `y = x + s v + W [x - mean(x), v] + b`

    For systems whose nodes are always the same ones, in the same order: joints
    of a body, atoms of one molecule. Equivariant to translations, to nothing
    else. `blend_with_ridge` fits it in closed form; until then it says that
    all move on for one `time_unit`.

    Args:
        length_unit, time_unit: see `Transformer`.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Call arguments:
        inputs: dict of `"positions"` and `"velocities"` `(B, N, D)`; other
            features are not used.

    Returns:
        Positions `(B, N, D)`.

    Raises:
        ValueError: no velocities, or another number of nodes than that of the
            first call.
    """

    def __init__(self, length_unit=1.0, time_unit=1.0, **kwargs):
        super().__init__(length_unit=length_unit, time_unit=time_unit, **kwargs)

    def build(self, input_shape):
        super().build(input_shape)
        if "velocities" not in self.node_shapes:
            raise ValueError('Expected `inputs` to have the key "velocities".')
        _, num_nodes, dim = input_shape["positions"]
        if num_nodes is None:
            raise ValueError("LinearNodes needs a fixed number of nodes.")
        self.linear = keras.layers.Dense(
            num_nodes * dim,
            kernel_initializer="zeros",
            dtype=self.dtype_policy,
            name="linear",
        )
        self.linear.build((None, 2 * num_nodes * dim))
        self.build_velocity_scale()

    def call(self, inputs, training=None):
        nodes = self.read(inputs)
        shape = ops.shape(nodes.positions)
        flat = [
            ops.reshape(nodes.features[key], (shape[0], shape[1] * shape[2]))
            for key in ("positions", "velocities")
        ]
        step = self.linear(ops.concatenate(flat, axis=-1))
        return self.move(nodes, ops.reshape(step, shape))

    def get_config(self):
        config = super().get_config()
        for key in ("readout", "units", "node_identity"):
            del config[key]
        return config
