"""Messages between the nodes of a padded batch, from all or from neighbors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_remul import backend
from keras_remul.graphs import gather_nodes
from keras_remul.layers.plain import dense, of_rows
from keras_remul.utils.arguments import checked
from keras_remul.utils.typing import Array, Config, Shape


def masked(m, mask):
    """Values of pairs `(..., C)`, zero where the mask `(...)` is false.

    A mask of floats is multiplied with the values.
    """
    mask = mask[..., None]
    if keras.backend.is_float_dtype(mask.dtype):
        return m * ops.cast(mask, m.dtype)
    return ops.where(mask, m, 0.0)


@keras.saving.register_keras_serializable(package="keras_remul")
class MessagePassing(keras.layers.Layer):
    """Nodes send messages along pairs and update what they know.

    `m_ij = silu(Dense(silu(Dense([h_i, h_j, e_ij]))))`
    `h_i <- h_i + Dense(silu(Dense([h_i, sum_j m_ij])))`

    The first Dense is applied to its three parts one by one: those of h_i and
    h_j cost N products in place of N K. With a neighbor list the cost is
    linear in N.

    Args:
        dim: C, the width of nodes and messages.
        update: whether the nodes are updated; if not, h is returned as it is.
        **kwargs: `name`, `dtype` and the like, for `keras.layers.Layer`.

    Call arguments:
        h: `(B, N, C)`.
        pairs: features e_ij of the pairs `(B, N, K, F)`, K = N without a list.
        mask: booleans `(B, N, K)` or `(1, N, K)`, true for the pairs that
            exist, see `graphs.pair_mask`; or weights of the messages, floats,
            0 where there is no pair.
        neighbors: optional list `(B, N, K)` of the senders j of each i.

    Returns:
        The nodes `(B, N, C)` and the messages `(B, N, K, C)`, zero where there
        is no pair.

    Example:
        >>> layer = MessagePassing(dim=64)
        >>> h, e = keras.random.normal((8, 5, 64)), keras.random.normal(
        ...     (8, 5, 5, 4))
        >>> h, messages = layer(h, e, mask=pair_mask(None, None, 5))

    Reference:
        Gilmer et al., "Neural message passing for quantum chemistry", arXiv
        1704.01212; Satorras et al., arXiv 2102.09844, equations 3, 5 and 6.
    """

    @checked()
    def __init__(self, dim: int, update: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.update = update
        names = ["receiver", "sender", "pair", "message"]
        if update:
            names += ["update_in", "update_out"]
        for name in names:
            layer = keras.layers.Dense(
                dim,
                use_bias=name not in ("sender", "pair"),
                dtype=self.dtype_policy,
                name=name,
            )
            setattr(self, name, layer)

    def build(self, h_shape: Shape, pairs_shape: Shape) -> None:
        self.receiver.build(h_shape)
        self.sender.build(h_shape)
        self.pair.build(pairs_shape)
        messages_shape = (*pairs_shape[:-1], self.dim)
        self.message.build(messages_shape)
        if self.update:
            self.update_in.build((*h_shape[:-1], h_shape[-1] + self.dim))
            self.update_out.build((*h_shape[:-1], self.dim))

    def call(
        self,
        h: Array,
        pairs: Array,
        mask: Array,
        neighbors: Array | None = None,
    ) -> tuple[Array, Array | None]:
        return self.exchange(h, pairs, mask, neighbors, masked)

    def exchange(
        self,
        h: Array,
        pairs: Array,
        mask: Array,
        neighbors: Array | None = None,
        read: Callable[..., Array] | None = None,
        sublayers: Sequence[keras.layers.Dense] = (),
    ) -> tuple[Array, Array | None]:
        """What `call` does, with what is read of the messages in their place.

        The arrays of all pairs are by far the largest. Where the sublayers and
        the backend allow it, messages are made, read and summed a few at a
        time, so that a cache holds them; see `backend.in_pieces`.

        Args:
            h, pairs, mask, neighbors: as for `call`.
            read: function of messages `(..., N, K, C)`, of their mask, and of
                one function for each of `sublayers`, that calls it. It gives
                an array `(..., N, K, F)`. Or None.
            sublayers: list of `keras.layers.Dense`.

        Returns:
            The nodes `(B, N, C)`, and what was read `(B, N, K, F)`, or None.
        """
        h = ops.cast(h, self.compute_dtype)  # as a call would
        receiver = ops.expand_dims(dense(self.receiver, h), 2)
        sender = gather_nodes(dense(self.sender, h), neighbors)
        pairs = ops.cast(pairs, receiver.dtype)
        nodes = ops.shape(h)[:2]
        shape = (*nodes, ops.shape(pairs)[2])
        if pairs.shape[:2] != h.shape[:2]:
            pairs = ops.broadcast_to(pairs, (*shape, pairs.shape[-1]))
        if not keras.backend.is_float_dtype(mask.dtype):
            mask = ops.cast(mask, "bool")
        mask = ops.broadcast_to(mask, shape)
        arrays = [receiver, sender, pairs, mask]
        sublayers = self.pair, self.message, *sublayers
        short = of_rows(sublayers, h.dtype)
        if short and neighbors is not None:
            # Each receiver is a sample of its own.
            rows = nodes[0] * nodes[1]
            arrays = [
                ops.reshape(a, (rows, 1, *ops.shape(a)[2:])) for a in arrays
            ]
        silu = backend.silu if short else ops.silu
        pair, message, *others = short or sublayers

        def send(receiver, sender, pairs, mask):
            m = silu(receiver + pair(pairs) + sender)
            m = silu(message(m))
            result = [ops.sum(masked(m, mask), axis=-2)] if self.update else []
            return (*result, read(m, mask, *others)) if read else (*result,)

        if short:
            width = math.prod((*ops.shape(arrays[2])[1:3], self.dim))
            result = backend.in_pieces(send, arrays, width)
        else:
            result = send(*arrays)
        found = None
        if read:
            found = ops.reshape(result[-1], (*shape, result[-1].shape[-1]))
        if not self.update:
            return h, found
        total = ops.reshape(result[0], (*nodes, self.dim))
        total = ops.concatenate([h, total], axis=-1)
        y = dense(self.update_out, ops.silu(dense(self.update_in, total)))
        return h + y, found

    def compute_output_shape(
        self, h_shape: Shape, pairs_shape: Shape
    ) -> tuple[Shape, Shape]:
        return h_shape, (*pairs_shape[:-1], self.dim)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "dim": self.dim,
            "update": self.update,
        }
