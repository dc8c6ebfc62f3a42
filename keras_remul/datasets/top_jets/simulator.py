"""Jets of top quarks and of light quarks and gluons, with Pythia 8."""

import numpy as np
from tqdm.auto import tqdm

PROCESSES = {
    1: (
        "Top:gg2ttbar = on",
        "Top:qqbar2ttbar = on",
        # W bosons decay to quarks.
        "24:onMode = off",
        "24:onIfAny = 1 2 3 4 5",
    ),
    0: ("HardQCD:all = on",),
}
SETTINGS = (
    "Beams:eCM = 14000",
    "PartonLevel:MPI = off",
    "PhaseSpace:pTHatMin = 500",
    "PhaseSpace:pTHatMax = 750",
    "Print:quiet = on",
)
RADIUS = 0.8
PT = (550.0, 650.0)  # GeV
MAX_ETA = 2.0
RUN = 1500  # jets of one label with one seed


def _pythia(label, seed):
    try:
        import pythia8mc as pythia8  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "Simulating jets needs Pythia: `pip install keras-remul[jets]`."
        ) from error
    pythia = pythia8.Pythia("", False)
    for line in (
        *SETTINGS,
        *PROCESSES[label],
        "Random:setSeed = on",
        f"Random:seed = {seed}",
    ):
        pythia.readString(line)
    if not pythia.init():
        raise RuntimeError("Pythia did not start.")
    # Anti-kT, particles that a detector sees, with their masses.
    finder = pythia8.SlowJet(-1, RADIUS, PT[0], MAX_ETA + RADIUS, 2, 2)
    return pythia, finder


def _distance(a, b):
    """Distance in rapidity (or eta) and azimuth of (y, phi) pairs."""
    phi = (a[1] - b[1] + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(a[0] - b[0], phi)


def _contains_top(event, axis):
    """Whether a top and the three quarks that it becomes lie in the jet."""
    for i in range(event.size()):
        top = event[i]
        if abs(top.id()) != 6 or top.iBotCopyId() != i:
            continue
        decayed = top.daughterList()
        quarks = [event[k] for k in decayed if abs(event[k].id()) == 5]
        for k in decayed:
            if abs(event[k].id()) == 24:
                last = event[event[k].iBotCopyId()]
                quarks += [event[j] for j in last.daughterList()]
        if len(quarks) == 3 and all(
            _distance((p.eta(), p.phi()), axis) < RADIUS for p in (top, *quarks)
        ):
            return True
    return False


def _leading_jet(event, finder):
    """Indices of the constituents of the hardest jet and its axis, or None."""
    if not finder.analyze(event) or finder.sizeJet() == 0:
        return None
    p = finder.p(0)
    if not PT[0] < finder.pT(0) < PT[1] or abs(p.eta()) > MAX_ETA:
        return None
    return finder.constituents(0), (p.eta(), p.phi())


def _run(label, size, constituents, seed, bar):
    pythia, finder = _pythia(label, seed)
    result = np.zeros((size, constituents, 4), "float32")
    found = 0
    while found < size:
        if not pythia.next():
            continue
        jet = _leading_jet(pythia.event, finder)
        if jet is None or (label and not _contains_top(pythia.event, jet[1])):
            continue
        particles = [pythia.event[i] for i in jet[0]]
        particles.sort(key=lambda p: -p.pT())
        rows = [
            (p.e(), p.px(), p.py(), p.pz()) for p in particles[:constituents]
        ]
        result[found, : len(rows)] = rows
        found += 1
        bar.update()
    return result


def simulate(size, constituents=50, seed=1000, verbose=1):
    """Simulates jets, half of them of top quarks, in random order.

    Protons collide at 14 TeV, with a hard process of 500 to 750 GeV transverse
    momentum: gg, qq -> tt with W -> quarks, or any of QCD. No multiple
    interactions, no detector. The leading anti-kT jet (R = 0.8, all visible
    particles) is kept where 550 < pT < 650 GeV and |eta| < 2; a top jet where
    a top and its three quarks lie within 0.8 of its axis.

    Args:
        size: number of jets, S.
        constituents: C, number of constituents that are kept, the hardest.
        seed: of runs of 1500 jets: seed + 10 i + label for the i-th.
        verbose: 0 for no progress bar. Defaults to 1.

    Returns:
        `(momenta, labels)`: (E, px, py, pz) in GeV, `(S, C, 4)` float32, padded
        with zeros, and `(S,)` float32.

    Raises:
        ImportError: Pythia is not installed.
    """
    counts = {1: size // 2, 0: size - size // 2}
    momenta, labels = [], []
    with tqdm(
        total=size, desc="Simulating", unit="jet", disable=not verbose
    ) as bar:
        for label, count in counts.items():
            for i, first in enumerate(range(0, count, RUN)):
                momenta.append(
                    _run(
                        label,
                        min(RUN, count - first),
                        constituents,
                        seed + 10 * i + label,
                        bar,
                    )
                )
            labels += [float(label)] * count
    order = np.random.default_rng(seed).permutation(size)
    momenta, labels = np.concatenate(momenta), np.array(labels, "float32")
    return momenta[order], labels[order]
