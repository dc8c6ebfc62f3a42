"""Taggers of top jets, moved by the symmetry of a collider and not.

    python benchmarks/jets.py FILE transformer remul ...

FILE is an npz of `p4` (S, N, 4) in GeV and `label`, 8000 jets for training,
2000 for validation, 2000 for the test, such as the arrays of
`top_jets/pythia`. Prints a line of JSON for each variant.
"""

import argparse
import json
import time

import keras
import numpy as np

import keras_remul as kr
from keras_remul.evaluation import tagging

GROUPS = {
    "beam": {"boost": kr.groups.Boosts("z"), "turn": kr.groups.SO2("z")},
    "lorentz": kr.groups.Lorentz(0.5),
}
VARIANTS = {
    "no_pairs": (dict(pair_dim=0), 0.0),
    "transformer": ({}, 0.0),
    "remul": ({}, 1.0),
    "beam": (dict(invariance="beam"), 0.0),
    "lorentz": (dict(invariance="lorentz"), 0.0),
}


def symmetry(group):
    """The symmetry of the logits."""
    return kr.Symmetry(group, {"four_momenta": "four_vector"}, "scalar")


def load(file):
    """Three pairs of inputs and labels."""
    with np.load(file) as stored:
        p, y = stored["p4"], stored["label"].astype("float32")[:, None]
    x = {"four_momenta": p, "mask": (p[..., 0] > 0).astype("float32")}
    ends = (slice(0, 8000), slice(8000, 10000), slice(10000, 12000))
    return [({k: a[s] for k, a in x.items()}, y[s]) for s in ends]


def measure(model, x, y):
    """Figures of the test set, as it is and moved."""
    labels, found = y[:, 0], {}
    for name, group in {"test": None, **GROUPS}.items():
        moved = x
        if group is not None:
            s = symmetry(group)
            moved = s.transform_inputs(s.sample(len(y), seed=1), x)
            moved = {k: np.asarray(a) for k, a in moved.items()}
        scores = model.predict(moved, batch_size=250, verbose=0)[:, 0]
        found[name] = {
            "auc": tagging.area_under_curve(scores, labels),
            "accuracy": float(np.mean((scores > 0) == (labels > 0))),
            "rejection_30": tagging.background_rejection(scores, labels, 0.3),
            "rejection_50": tagging.background_rejection(scores, labels, 0.5),
        }
    return found


def train(model, beta, train, epochs, rate, batch_size=100):
    """Trains a model; returns the seconds."""
    steps = epochs * -(-len(train[1]) // batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=rate, warmup_steps=steps // 10
    )
    remul = kr.RemulModel(
        model,
        symmetry(GROUPS["beam"]),
        kr.weighting.Constant(beta=beta),
        seed=0,
    )
    remul.compile(
        keras.optimizers.AdamW(schedule, weight_decay=0.01),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
    )
    start = time.perf_counter()
    remul.fit(
        *train, batch_size=batch_size, epochs=epochs, verbose=0, shuffle=True
    )
    return time.perf_counter() - start


def main():
    """Trains and measures the variants that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("variants", nargs="+", choices=VARIANTS)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sets = load(arguments.file)
    for name in arguments.variants:
        keras.utils.set_random_seed(arguments.seed)
        kwargs, beta = VARIANTS[name]
        model = kr.models.JetTransformer(**kwargs)
        seconds = train(model, beta, sets[0], arguments.epochs, 2e-3)
        result = {
            "variant": name,
            "seed": arguments.seed,
            "epochs": arguments.epochs,
            "seconds": round(seconds),
            **measure(model, *sets[2]),
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
