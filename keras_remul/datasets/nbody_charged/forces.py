"""Coulomb accelerations in the rounding of the published generator.

Rounding matters: close encounters make systems chaotic. If sums are rounded
differently, one system in ten ends at other float32 positions, and one in 25
more than 1e-3 away.
"""

from typing import Any

import numpy as np

MAX_FORCE = 100.0
SPLITTER = 2.0**27 + 1.0


class Coulomb:
    """a_i = sum_j c_i c_j (x_i - x_j) / r_ij^3, components clipped to +-100.

    The squared distance is |x_i|^2 + |x_j|^2 - 2 x_i . x_j, where the scalar
    product is that of a matrix product on processors with fused
    multiply-add: fma(z, z', fma(y, y', x x')). NumPy has no fma; here it
    is made of error-free transformations (Dekker's product, Knuth's sum), so
    that the result does not depend on the processor, except for the last bit of
    `np.power`.

    Each force is computed once per pair: (i, j) and (j, i) differ by the sign
    only, in floating point too. Sums over j are taken in ascending order.

    Args:
        charges: array `(N, S)` of N bodies in S systems. Arrays of S are
            contiguous: one NumPy call does one operation for all systems.
    """

    def __init__(self, charges):
        n, size = charges.shape
        first, second = np.triu_indices(n, 1)
        self.strength = charges[first] * charges[second]  # (P, S)
        self.index: dict[Any, int] = {
            pair: p for p, pair in enumerate(zip(first, second, strict=True))
        }
        # Pairs (i, i + 1), ..., (i, n - 1) are one block of rows.
        self.blocks = []
        start = 0
        for i in range(n - 1):
            rows = slice(start, start + n - 1 - i)
            self.blocks.append((slice(i, i + 1), slice(i + 1, n), rows))
            start = rows.stop
        self.diff = np.empty((3, start, size))
        self.r2 = np.empty((start, size))
        self.dot = np.empty((start, size))
        self.squares = np.empty((3, n, size))
        self.high, self.low = np.empty((2, 2, n, size))
        self.product, self.error, *self.work = np.empty((5, 2, start, size))
        self.force = np.empty((3, n, size))

    def __call__(self, x):
        """Accelerations `(3, N, S)` at positions `x` of shape `(3, N, S)`.

        The next call overwrites the returned array.
        """
        self._scalar_products(x)
        squares, r2 = self.squares, self.r2
        np.multiply(x, x, out=squares)
        np.add(squares[0], squares[1], out=squares[0])
        np.add(squares[0], squares[2], out=squares[0])
        for i, j, rows in self.blocks:
            np.add(squares[0, i], squares[0, j], out=r2[rows])
            np.subtract(x[:, i], x[:, j], out=self.diff[:, rows])
        np.multiply(self.dot, 2.0, out=self.dot)
        np.subtract(r2, self.dot, out=r2)
        np.power(r2, 1.5, out=r2)
        np.divide(self.strength, r2, out=r2)
        np.multiply(self.diff, r2, out=self.diff)
        self._sum_over_pairs()
        return np.clip(self.force, -MAX_FORCE, MAX_FORCE, out=self.force)

    def _scalar_products(self, x):
        """dot = fma(z, z', fma(y, y', x x')) for each pair."""
        yz, high, low = x[1:], self.high, self.low
        np.multiply(yz, SPLITTER, out=high)
        np.subtract(high, yz, out=low)
        np.subtract(high, low, out=high)
        np.subtract(yz, high, out=low)  # yz = high + low, 26 bits each
        product, error = self.product, self.error
        high_low, low_high, low_low = self.work
        for i, j, rows in self.blocks:
            np.multiply(x[0, i], x[0, j], out=self.dot[rows])
            np.multiply(yz[:, i], yz[:, j], out=product[:, rows])
            np.multiply(high[:, i], high[:, j], out=error[:, rows])
            np.multiply(high[:, i], low[:, j], out=high_low[:, rows])
            np.multiply(low[:, i], high[:, j], out=low_high[:, rows])
            np.multiply(low[:, i], low[:, j], out=low_low[:, rows])
        np.subtract(error, product, out=error)
        np.add(error, high_low, out=error)
        np.add(error, low_high, out=error)
        np.add(error, low_low, out=error)  # product + error is exact
        total, virtual, rest = high_low[0], high_low[1], low_high[0]
        for p, e in zip(product, error, strict=True):
            np.add(p, self.dot, out=total)
            np.subtract(total, p, out=virtual)
            np.subtract(total, virtual, out=rest)
            np.subtract(p, rest, out=rest)
            np.subtract(self.dot, virtual, out=virtual)
            np.add(rest, virtual, out=rest)  # total + rest is exact
            np.add(rest, e, out=rest)
            np.add(total, rest, out=self.dot)

    def _sum_over_pairs(self):
        """force_i = sum_{j > i} diff_ij - sum_{j < i} diff_ji, ascending j."""
        n = self.force.shape[1]
        for i in range(n):
            force = self.force[:, i]
            if i == 0:
                np.copyto(force, self.diff[:, self.index[0, 1]])
            else:
                np.negative(self.diff[:, self.index[0, i]], out=force)
            for j in range(2 if i == 0 else 1, n):
                if j > i:
                    np.add(force, self.diff[:, self.index[i, j]], out=force)
                elif j < i:
                    pair = self.diff[:, self.index[j, i]]
                    np.subtract(force, pair, out=force)
