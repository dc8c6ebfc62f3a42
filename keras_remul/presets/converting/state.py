"""Weights by their names in PyTorch, each to be used once."""

import numpy as np


class State:
    """The weights of one model, which go into the layers of another.

    Args:
        arrays: dict from names to arrays; a prefix `mod.` is left out.
    """

    def __init__(self, arrays):
        self._left = {
            key.removeprefix("mod."): np.asarray(a)
            for key, a in arrays.items()
            if not key.endswith("num_batches_tracked")
        }

    def __contains__(self, name):
        return name in self._left

    def shape(self, name):
        """The shape of an array that stays where it is.

        Raises:
            ValueError: there is none.
        """
        if name not in self._left:
            raise ValueError(
                f"Expected weights named {name!r}. Received: "
                f"{_few(self._left)}. This is another architecture."
            )
        return self._left[name].shape

    def count(self, pattern):
        """How many of the names `pattern.format(0)` and so on there are."""
        number = 0
        while pattern.format(number) in self:
            number += 1
        return number

    def take(self, name):
        """The array of this name, for the last time.

        Raises:
            ValueError: there is none.
        """
        self.shape(name)
        return self._left.pop(name)

    def put(self, variable, array, name):
        """Assigns an array to a variable.

        Raises:
            ValueError: it has another shape.
        """
        if array.shape != tuple(variable.shape):
            raise ValueError(
                f"Expected {name!r} as an array {tuple(variable.shape)}. "
                f"Received: {array.shape}. This is another architecture."
            )
        variable.assign(array)

    def dense(self, layer, name):
        """Fills a `Dense`, also from a convolution of width 1."""
        kernel = self.take(f"{name}.weight")
        kernel = kernel.reshape(kernel.shape[:2]).T
        self.put(layer.kernel, kernel, f"{name}.weight")
        if layer.use_bias:
            self.put(layer.bias, self.take(f"{name}.bias"), f"{name}.bias")

    def layer_norm(self, layer, name):
        """Fills a `LayerNormalization`."""
        for variable, part in ((layer.gamma, "weight"), (layer.beta, "bias")):
            part = f"{name}.{part}"
            self.put(variable, self.take(part), part)

    def batch_norm(self, layer, name):
        """Fills a `BatchNormalization`."""
        self.layer_norm(layer, name)
        for variable, part in (
            (layer.moving_mean, "running_mean"),
            (layer.moving_variance, "running_var"),
        ):
            part = f"{name}.{part}"
            self.put(variable, self.take(part), part)

    def check_used(self):
        """Raises ValueError if arrays are left."""
        if self._left:
            raise ValueError(
                "Expected no further weights. Received: "
                f"{_few(self._left)}. This is another architecture."
            )


def _few(names):
    names = [*names]
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
