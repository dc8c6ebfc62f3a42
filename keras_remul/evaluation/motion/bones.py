"""Bones of a skeleton, whose lengths a motion keeps."""

import keras
import numpy as np
from keras import ops

from keras_remul import backend


class Bones:
    """Pairs of nodes whose distances do not change: trees of rigid bones.

    The bones of a predicted pose keep their directions and are given their
    lengths; each tree keeps its center. That is exact in one pass, without
    iterations, since no bones form a ring.

    Args:
        pairs: integers `(K, 2)`, the two nodes of each bone.
        num_nodes: N.

    Attributes:
        pairs: `(K, 2)`, the node that is nearer to the root first.

    Raises:
        ValueError: not pairs of different nodes, or they form a ring.
    """

    def __init__(self, pairs, num_nodes):
        pairs = np.asarray(pairs)
        if (
            pairs.ndim != 2
            or pairs.shape[1] != 2
            or pairs.dtype.kind not in "iu"
            or not len(pairs)
            or pairs.min() < 0
            or pairs.max() >= num_nodes
        ):
            raise ValueError(
                "Expected `bones` as pairs of nodes (K, 2), integers from 0 to "
                f"{num_nodes - 1}. Received: {pairs.tolist()}"
            )
        self.pairs, self.paths, self.trees = _walk(pairs.tolist(), num_nodes)

    def lengths(self, positions):
        """Lengths of the bones `(B, K)` of positions `(B, N, D)`.

        Args:
            positions: NumPy array.

        Raises:
            ValueError: a bone has no length.
        """
        positions = np.asarray(positions, "float64")
        away = positions[:, self.pairs[:, 1]] - positions[:, self.pairs[:, 0]]
        lengths = np.linalg.norm(away, axis=-1)
        if not (lengths > 0).all():
            sample, bone = np.argwhere(~(lengths > 0))[0]
            raise ValueError(
                "Expected bones of a length above 0. Received: sample "
                f"{sample}, bone {self.pairs[bone].tolist()} of length "
                f"{lengths[sample, bone]}"
            )
        return lengths

    def keep(self, y, lengths):
        """Poses with bones of these lengths.

        Args:
            y: positions `(B, N, D)`.
            lengths: `(B, K)`.

        Returns:
            Positions `(B, N, D)`.
        """
        y = ops.convert_to_tensor(y)
        first, second = self.pairs.T.tolist()
        away = ops.take(y, second, axis=1) - ops.take(y, first, axis=1)
        square = ops.sum(ops.square(away), axis=-1, keepdims=True)
        tiny = keras.backend.epsilon() ** 2
        scale = ops.rsqrt(ops.maximum(square, tiny))
        bones = ops.expand_dims(ops.cast(lengths, y.dtype), -1) * scale * away
        paths, trees = (
            ops.convert_to_tensor(m[None], y.dtype)
            for m in (self.paths, self.trees)
        )
        pose = backend.matmul(paths, bones)  # relative to the root
        return pose + backend.matmul(trees, y - pose)


def _walk(pairs, num_nodes):
    """Bones from the roots on, the bones on the way to each node, the trees.

    Returns:
        pairs `(K, 2)`; `(N, K)` of 0 and 1; `(N, N)`, the mean over the tree
        of each node.
    """
    near = [[] for _ in range(num_nodes)]
    for i, j in pairs:
        near[i].append(j)
        near[j].append(i)
    found, paths = [], np.zeros((num_nodes, len(pairs)))
    trees, seen = np.zeros((num_nodes, num_nodes)), set()
    for root in range(num_nodes):
        if root in seen:
            continue
        seen.add(root)
        tree = [root]
        for i in tree:  # it grows
            for j in near[i]:
                if j not in seen:
                    seen.add(j)
                    tree.append(j)
                    paths[j] = paths[i]
                    paths[j, len(found)] = 1.0
                    found.append((i, j))
        trees[np.ix_(tree, tree)] = 1.0 / len(tree)
    if len(found) < len(pairs):
        raise ValueError(
            "Expected `bones` that form trees, each pair of different nodes "
            f"once and no rings. Received: {len(pairs)} pairs, of which "
            f"{len(pairs) - len(found)} close a ring: {pairs}"
        )
    return np.array(found), paths, trees
