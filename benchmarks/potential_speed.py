"""How long potentials take for energy and forces, next to MACE.

    pip install mace-torch  # optional
    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/potential_speed.py

Untrained networks in float32, as calculators of ASE: acetylacetone (15 atoms,
`dft_acac`), and 64 molecules of water in a periodic cell (192 atoms). Atoms
move by 0.01 Angstrom from step to step, so that lists of neighbors are kept or
made as in dynamics. One core; each backend is a process of its own, and steps
of all are taken in turn, so that a slow spell strikes all. On PyTorch nothing
is compiled, neither here nor by MACE. Median CPU time of a step, and the
simulated time that a day gives at 0.5 fs.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time

TIMESTEP = 0.5  # fs
ELEMENTS = [1, 6, 8]
ARMS = {
    "jax": ["PointEdgeTransformer", "EGNN", "VectorTransformer"],
    "torch": [
        "PointEdgeTransformer",
        "EGNN",
        "VectorTransformer",
        "MACE 64x0e",
        "MACE 128x0e",
        "MACE 128x0e + 128x1o",
    ],
}


# --- In a process of one backend ---


def systems(data_dir, manual_dir):
    """Atoms by the names of the systems."""
    import ase
    import ase.build
    import numpy as np

    import keras_remul as kr

    data = kr.datasets.load_all(
        "dft_acac", data_dir=data_dir, manual_dir=manual_dir, verbose=0
    )
    x, _ = data["test"]
    acac = ase.Atoms(x["atomic_numbers"][0, :, 0], x["positions"][0])
    water = ase.build.molecule("H2O")
    water.set_cell(3 * [3.104])  # 1 g/cm^3
    rng, cell = np.random.default_rng(0), water.repeat(4)
    for first in range(0, len(cell), 3):
        part = cell[first : first + 3]
        part.euler_rotate(*rng.uniform(0, 360, 3), center="COM")
        cell.positions[first : first + 3] = part.positions
    cell.pbc = True
    return {"acetylacetone": acac, "water": cell}


def ours(name):
    """A calculator of one of our networks, and its number of weights."""
    import keras_remul as kr

    sizes = dict(num_layers=3, hidden_dim=64, cutoff=5.0)
    if name == "PointEdgeTransformer":
        net = kr.models.PointEdgeTransformer.variant("small", readout="nodes")
    else:
        net = getattr(kr.models, name)(**sizes, readout="nodes")
    potential = kr.models.Potential(
        net,
        elements=None if name == "PointEdgeTransformer" else ELEMENTS,
        references=dict.fromkeys(ELEMENTS, 0.0),
    )
    return kr.ase.Calculator(potential, compile=None), net.count_params


def mace(irreps):
    """A calculator of an untrained MACE: 2 layers, 5 Angstrom."""
    import numpy as np
    import torch

    torch.serialization.add_safe_globals([slice])  # of the tables of e3nn
    from e3nn import o3
    from mace import modules
    from mace.calculators import MACECalculator

    blocks = modules.interaction_classes
    network = modules.ScaleShiftMACE(
        r_max=5.0,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=blocks["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticResidualInteractionBlock"],
        num_interactions=2,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps(irreps),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros((1, len(ELEMENTS))),
        avg_num_neighbors=20.0,
        atomic_numbers=ELEMENTS,
        correlation=3,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    size = sum(p.numel() for p in network.parameters())
    calculator = MACECalculator(
        models=[network], device="cpu", default_dtype="float32"
    )
    return calculator, lambda: size


def worker(data_dir, manual_dir):
    """Answers each line, an arm and a system, by the seconds of a step."""
    answers, sys.stdout = sys.stdout, sys.stderr
    import numpy as np

    import keras_remul  # noqa: F401, before torch

    if os.environ["KERAS_BACKEND"] == "torch":
        import torch

        torch.set_num_threads(1)
    atoms, rng = systems(data_dir, manual_dir), np.random.default_rng(0)
    calculators = {}
    for line in sys.stdin:
        arm, system = json.loads(line)
        try:
            if (arm, system) not in calculators:
                is_mace = arm.startswith("MACE ")
                calculators[arm, system] = (
                    mace(arm[5:]) if is_mace else ours(arm)
                )
            calculator, size = calculators[arm, system]
            moved = atoms[system].copy()
            moved.positions += rng.normal(0, 0.01, moved.positions.shape)
            moved.calc = calculator
            start = time.process_time()
            moved.get_forces()
            found = {"seconds": time.process_time() - start, "size": size()}
        except (ImportError, ValueError) as error:
            found = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), file=answers, flush=True)


# --- All of them ---


def ask(process, *question):
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def measure(processes, repeats):
    """Rows of the table."""
    runs = {
        (backend, arm, system): []
        for system in ("acetylacetone", "water")
        for backend, arms in ARMS.items()
        for arm in arms
    }
    sizes = {}
    for index in range(repeats + 2):  # two steps that compile
        for key in list(runs):
            found = ask(processes[key[0]], *key[1:])
            if "error" in found:
                print(*key, f"left out: {found['error'][:120]}", sep=", ")
                del runs[key]
            elif index >= 2:
                runs[key].append(found["seconds"])
                sizes[key] = found["size"]
    for (backend, arm, system), seconds in runs.items():
        median = statistics.median(seconds)
        low, *_, high = statistics.quantiles(seconds, n=4)
        yield {
            "system": system,
            "network": arm,
            "backend": backend,
            "weights": sizes[backend, arm, system],
            "ms": f"{1e3 * median:.3g}",
            "quartiles": f"{1e3 * low:.3g} to {1e3 * high:.3g}",
            "ns/day": f"{TIMESTEP * 1e-6 * 86400 / median:.3g}",
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--manual-dir", default=None)
    parser.add_argument("--output", default="potential_speed.csv")
    parser.add_argument("--worker", action="store_true")
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.data_dir, arguments.manual_dir)
        return
    processes = {
        backend: subprocess.Popen(
            [sys.executable, *sys.argv, "--worker"],
            env={**os.environ, "KERAS_BACKEND": backend},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for backend in ARMS
    }
    rows = list(measure(processes, arguments.repeats))
    for process in processes.values():
        process.stdin.close()
        process.wait()
    print("| " + " | ".join(rows[0]) + " |")
    print("|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")
    with open(arguments.output, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
