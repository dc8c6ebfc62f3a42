"""Attention of queries, keys and values that a layer has made."""

import keras
from keras import ops

from keras_remul import backend


def softmax(logits, axis=-1):
    """Softmax, of a single node too, where that of Keras warns."""
    if logits.shape[axis] == 1:
        return 1.0 + (logits - logits)  # with a gradient, of zero
    return ops.softmax(logits, axis=axis)


def attend(q, k, v, mask=None, bias=None):
    """`softmax(q k^T + b) v` over the nodes, head by head.

    The queries are expected to be scaled. The softmax is taken in float32 or
    better; a key of a padded node has weight exactly zero, and a sample
    without any valid node gives finite values. The products are in full
    precision, see `exact`.

    Args:
        q: queries `(B, N, K, F)`.
        k: keys `(B, N, K, F)`.
        v: values `(B, N, K, G)`.
        mask: optional `(B, N)`, boolean, true where a node is valid.
        bias: optional b `(B, K, N, N)`.

    Returns:
        `(B, N, K, G)`.
    """
    if mask is not None:
        mask = mask[:, None, None, :]  # (B, 1, 1, N)
    # torch has a fused kernel for one width of q, k and v; the others are
    # fastest with plain products.
    fused = keras.backend.backend() == "torch" and q.shape[-1] == v.shape[-1]
    if fused and bias is None:
        return ops.dot_product_attention(q, k, v, mask=mask, scale=1.0)
    q, k, v = (ops.transpose(a, (0, 2, 1, 3)) for a in (q, k, v))
    logits = backend.matmul(q, ops.swapaxes(k, -1, -2))  # (B, K, N, N)
    dtype = logits.dtype
    if keras.backend.standardize_dtype(dtype) in ("float16", "bfloat16"):
        logits = ops.cast(logits, "float32")
    if bias is not None:
        logits = logits + ops.cast(bias, logits.dtype)
    if mask is not None:
        logits = ops.where(mask, logits, -1e30)
    weights = ops.cast(softmax(logits), dtype)
    return ops.transpose(backend.matmul(weights, v), (0, 2, 1, 3))
