"""The result of `find_symmetry`."""

import dataclasses

from keras_remul.symmetry import Symmetry


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The evidence on one candidate.

    Attributes:
        symmetry: the candidate.
        figures: dict of floats by name, see `find_symmetry`; None for those
            that were not computed.
        verdict: `"broken"`, `"undecided"`, `"kept"` (only of a model) or `"not
            detected"` (only of data): no violation was found; see
            `detectable_linear` and `detectable_quadratic` for which ones could
            have been.
        distribution: for data, the verdict on their distribution; for a model
            None.
    """

    symmetry: Symmetry
    figures: dict
    verdict: str
    distribution: str | None = None


@dataclasses.dataclass(frozen=True)
class SymmetryReport:
    """The evidence for each candidate; `print` shows it as a table.

    Attributes:
        evidence: list of `Evidence`, in the order of the candidates.
    """

    evidence: list

    def kept(self):
        """The candidates with the verdict `"kept"`, for a model."""
        return self._with("kept")

    def not_detected(self):
        """The candidates with the verdict `"not detected"`, for data."""
        return self._with("not detected")

    def _with(self, verdict):
        return [e.symmetry for e in self.evidence if e.verdict == verdict]

    def __getitem__(self, group):
        """The evidence on one group."""
        for e in self.evidence:
            if repr(e.symmetry.group) == repr(group):
                return e
        raise KeyError(f"{group!r} is not among the candidates")

    def __str__(self):
        rows = []
        for e in self.evidence:
            row = {"group": repr(e.symmetry.group)}
            row |= {
                name: "-" if v is None else f"{v:.3g}"
                for name, v in e.figures.items()
            }
            row["verdict"] = e.verdict
            if e.distribution is not None:
                row["distribution"] = e.distribution
            rows.append(row)
        lines = [list(rows[0]), *(row.values() for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width)
                for cell, width in zip(line, widths, strict=True)
            ).rstrip()
            for line in lines
        )
