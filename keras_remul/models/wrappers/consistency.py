"""Whether energies and forces are those of one potential; in NumPy."""

import numpy as np

BLOCKS, BLOCK = 8, 64  # runs of consecutive samples, and their length
LEAST_PAIRS = 16
ERROR = 0.1  # relative standard error of a slope that is judged
RANGE = 0.6, 1.6  # where a slope may lie
HARTREE, BOHR = 27.211386245988, 0.529177210903  # eV, Angstrom; CODATA 2018
KCAL, KJ = 0.0433641153, 0.0103642697  # of a mole, in eV
# Changes of energy over the work of the forces, where both are as they say.
REASONS = {
    -1.0: "the forces are gradients, without the minus sign",
    1.0 / HARTREE: "the energies are in hartree",
    1.0 / KCAL: "the energies are in kcal/mol",
    1.0 / KJ: "the energies are in kJ/mol",
    HARTREE / BOHR: "the forces are in hartree/bohr",
    KCAL: "the forces are in kcal/mol/Angstrom",
    KJ: "the forces are in kJ/mol/Angstrom",
    1.0 / BOHR: "the forces are in units of energy per bohr",
    BOHR: "the positions are in bohr",
}


def check_consistency(positions, numbers, energies, forces):
    """Raises ValueError where forces are not those of the energies.

    Between two near frames of one molecule, after superposition,
    `E_2 - E_1 = -(F_1 + F_2) / 2 . (r_2 - r_1)`, up to terms of third order.
    A straight line is put through these, of up to 8 runs of 64 samples. Nothing
    is said where there are fewer than 16 pairs, or they are too far apart for a
    slope within 10 %.

    Args:
        positions, forces: `(S, N, 3)`, 0 for padding.
        numbers: atomic numbers `(S, N)`, 0 for padding.
        energies: `(S,)`.

    Raises:
        ValueError: the slope is not near 1.
    """
    starts = np.linspace(0, max(0, len(energies) - BLOCK), BLOCKS).astype(int)
    found = [np.empty((2, 0))]
    for start in dict.fromkeys(starts.tolist()):
        rows = np.arange(start, min(start + BLOCK, len(energies)))
        _, kinds = np.unique(numbers[rows], axis=0, return_inverse=True)
        for kind in range(kinds.max() + 1):
            some = rows[kinds.ravel() == kind]
            atoms = numbers[some[0]] > 0
            if len(some) > 1:
                found.append(
                    _work(
                        positions[some][:, atoms],
                        energies[some],
                        forces[some][:, atoms],
                    )
                )
    work, change = np.concatenate(found, axis=1)
    least, most = _slopes(work, change)
    if not (least > RANGE[1] or most < RANGE[0]):  # nor NaN
        return
    likely = [
        reason
        for factor, reason in REASONS.items()
        if RANGE[0] < most / factor < RANGE[1]
    ]
    raise ValueError(
        "Expected energies in eV, positions in Angstrom and forces in "
        f"eV/Angstrom, minus the gradient. Received: in {len(work)} pairs of "
        f"near frames, energies change by {most:.3g} times the work against "
        f"the forces. Perhaps {' or '.join(likely) or 'labels are mixed up'}."
    )


def _work(r, energies, forces):
    """Work against the forces, and change of energy, to the nearest frame."""
    r = r - r.mean(axis=1, keepdims=True)
    covariance = np.einsum("mai,naj->mnij", r, r)
    u, s, v = np.linalg.svd(covariance)
    sign = np.sign(np.linalg.det(u) * np.linalg.det(v))
    square = np.sum(r**2, axis=(1, 2))
    s[..., 2] *= sign
    square = square[:, None] + square - 2.0 * s.sum(axis=-1)
    np.fill_diagonal(square, np.inf)
    n = square.argmin(axis=1)
    m = np.arange(len(n))
    once = (n[n] != m) | (m < n)  # not twice the same pair
    m, n = m[once], n[once]
    u = u[m, n]
    u[..., 2] *= sign[m, n][:, None]
    turn = u @ v[m, n]  # from frame n to frame m: r_n turn^T
    step = np.einsum("mij,maj->mai", turn, r[n]) - r[m]
    force = np.einsum("mij,maj->mai", turn, forces[n]) + forces[m]
    work = -0.5 * np.sum(force * step, axis=(1, 2))
    return np.stack([work, energies[n] - energies[m]])


def _slopes(work, change):
    """The slope of change over work lies between these; NaN if not known.

    The first would be right if all noise were in the energies, the second if it
    were in the work, as it is for frames that are not quite near.
    """
    product, square = np.sum(work * change), np.sum(change**2)
    if len(work) < LEAST_PAIRS or product == 0:
        return np.nan, np.nan
    noise = np.sum(work**2) * square / product**2 - 1.0  # 1 / r^2 - 1
    if noise > len(work) * ERROR**2:
        return np.nan, np.nan
    return product / np.sum(work**2), square / product
