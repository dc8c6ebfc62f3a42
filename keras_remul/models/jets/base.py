"""The base class of models of jets: inputs and mask."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_remul.models.jets import kinematics
from keras_remul.models.shapes import check_some_nodes
from keras_remul.models.variants import Variants
from keras_remul.utils.arguments import checked
from keras_remul.utils.dtypes import at_least_float32
from keras_remul.utils.kept_variables import KeepsVariables
from keras_remul.utils.typing import Array, Config, Shape


class JetModel(Variants, KeepsVariables, keras.Model):
    """Base of models that make logits of the constituents of jets.

    Args:
        units: number of logits.
        **kwargs: `name` and `dtype`, for `keras.Model`.
    """

    @checked()
    def __init__(self, units: int = 1, **kwargs: Any) -> None:
        # Without autocast: float16 would round the momenta.
        super().__init__(autocast=False, **kwargs)
        self.units = units

    @property
    def optional_keys(self) -> dict[str, int]:
        """The inputs that may be left out, and their number of axes."""
        return {"mask": 2}

    def build(self, input_shape: dict[str, Shape]) -> None:
        self._check(input_shape)

    @property
    def dtype_of_momenta(self) -> str:
        """That of the variables, and float32 at least."""
        return at_least_float32(self.variable_dtype)

    def read(self, inputs: dict[str, Array]) -> tuple[Array, Array, Array]:
        """The constituents of the jets.

        Args:
            inputs: dict of `"four_momenta"` and, optional, `"mask"`.

        Returns:
            Four-momenta `(B, N, 4)`, padding filled in; the mask `(B, N)`,
            boolean; and the four-momenta of the jets `(B, 1, 4)`.

        Raises:
            ValueError: a key is missing or unknown, or a shape is another one.
        """
        self._check({key: tuple(x.shape) for key, x in inputs.items()})
        p = ops.convert_to_tensor(inputs["four_momenta"])
        p = ops.cast(p, self.dtype_of_momenta)
        mask = inputs.get("mask")
        mask = p[..., 0] > 0 if mask is None else ops.cast(mask, "bool")
        jet = kinematics.total(p, mask)
        # Of a jet without constituents too, there are logarithms.
        some = ops.any(mask, axis=1)[:, None]
        return kinematics.filled(p, mask), mask, kinematics.filled(jet, some)

    def _check(self, shapes):
        axes = {"four_momenta": 3, **self.optional_keys}
        if (
            "four_momenta" not in shapes
            or any(len(shapes[key]) != axes.get(key) for key in shapes)
            or any(shapes[key][-1] != 4 for key in shapes if axes[key] == 3)
        ):
            expected = {3: "(B, N, 4)", 2: "(B, N)"}
            raise ValueError(
                "Expected `inputs` to have the keys and shapes "
                f"{ {key: expected[n] for key, n in axes.items()} }; all but "
                f"the first may be left out. Received: {dict(shapes)}"
            )
        momenta = shapes["four_momenta"]
        check_some_nodes('inputs["four_momenta"]', momenta)

    def get_config(self) -> Config:
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "units": self.units,
        }


def masked_mean(h, mask):
    """The mean of the valid nodes `(B, C)`; 0 where there are none."""
    h = ops.where(mask[..., None], h, 0.0)
    count = ops.sum(ops.cast(mask, h.dtype), axis=1, keepdims=True)
    return ops.sum(h, axis=1) / ops.maximum(count, 1.0)
