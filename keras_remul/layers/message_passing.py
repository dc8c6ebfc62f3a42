"""Messages between the nodes of a padded batch, from all or from neighbors."""

import keras
from keras import ops

from keras_remul.graphs import gather_nodes


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
            exist, see `graphs.pair_mask`.
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

    def __init__(self, dim, update=True, **kwargs):
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

    def build(self, h_shape, pairs_shape):
        self.receiver.build(h_shape)
        self.sender.build(h_shape)
        self.pair.build(pairs_shape)
        messages_shape = (*pairs_shape[:-1], self.dim)
        self.message.build(messages_shape)
        if self.update:
            self.update_in.build((*h_shape[:-1], h_shape[-1] + self.dim))
            self.update_out.build((*h_shape[:-1], self.dim))

    def call(self, h, pairs, mask, neighbors=None):
        m = ops.expand_dims(self.receiver(h), 2) + self.pair(pairs)
        m = m + gather_nodes(self.sender(h), neighbors)
        m = ops.silu(self.message(ops.silu(m)))  # (B, N, K, C)
        m = ops.where(mask[..., None], m, 0.0)
        if not self.update:
            return h, m
        total = ops.concatenate([h, ops.sum(m, axis=2)], axis=-1)
        return h + self.update_out(ops.silu(self.update_in(total))), m

    def compute_output_shape(self, h_shape, pairs_shape):
        return h_shape, (*pairs_shape[:-1], self.dim)

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.dim,
            "update": self.update,
        }
