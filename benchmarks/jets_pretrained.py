"""ParticleNet of JetClass on top jets: as it is, and with a head of 1000 jets.

    KERAS_BACKEND=torch python benchmarks/jets_pretrained.py FILE PRESET

FILE as for `jets.py`; PRESET is what `keras-remul convert particlenet` wrote.
The head is logistic regression on the features before the last layer and the
logits, with a penalty chosen on 200 of the 1000 jets. Prints areas under the
curve on 1000 test jets, as they are and moved along and about the beam.
"""

import argparse

import jets
import keras
import numpy as np
from scipy import optimize

import keras_remul as kr
from keras_remul.evaluation import tagging

QCD, TOP = 0, 8  # classes of JetClass: QCD, t -> b q q


def features(model, x, size=100):
    """What the model makes of jets before the last layer, and its logits."""
    result = []
    for i in range(0, len(x["mask"]), size):
        batch = {key: a[i : i + size] for key, a in x.items()}
        h = model.embed(batch, training=False)
        both = keras.ops.concatenate([h, model.head(h)], axis=1)
        result.append(keras.ops.convert_to_numpy(keras.ops.stop_gradient(both)))
    return np.concatenate(result)


def fit(x, y, penalty):
    """Weights of the logistic regression of standardized x with a 1."""

    def loss(w):
        u = (2 * y - 1) * (x @ w)
        slope = x.T @ ((1 - 2 * y) / (1 + np.exp(u))) / len(y)
        return np.logaddexp(0, -u).mean() + penalty * w @ w, (
            slope + 2 * penalty * w
        )

    start = np.zeros(x.shape[1])
    return optimize.minimize(loss, start, jac=True, method="L-BFGS-B").x


def main():
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("preset")
    arguments = parser.parse_args()
    model = kr.from_preset(arguments.preset)
    train, _, test = [
        ({key: a[:1000] for key, a in x.items()}, y[:1000, 0])
        for x, y in jets.load(arguments.file)
    ]
    beam = jets.symmetry(jets.GROUPS["beam"])
    moved = beam.transform_inputs(beam.sample(1000, seed=1), test[0])
    moved = {k: keras.ops.convert_to_numpy(a) for k, a in moved.items()}
    x, y = features(model, train[0]), train[1]
    mean, std = x.mean(0), x.std(0) + 1e-3

    def columns(x):
        return np.concatenate([(x - mean) / std, np.ones((len(x), 1))], axis=1)

    def chosen(penalty):
        w = fit(columns(x[:800]), y[:800], penalty)
        return tagging.area_under_curve(columns(x[800:]) @ w, y[800:])

    w = fit(columns(x), y, max((1e-3, 1e-2, 0.1, 1.0), key=chosen))
    width = model.hidden_dim
    for name, jets_of in (("test", test[0]), ("beam", moved)):
        found = features(model, jets_of)
        scores = found[:, width + TOP] - found[:, width + QCD]
        print(
            name,
            f"as it is {tagging.area_under_curve(scores, test[1]):.4f}",
            f"head {tagging.area_under_curve(columns(found) @ w, test[1]):.4f}",
        )


if __name__ == "__main__":
    main()
