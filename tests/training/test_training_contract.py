"""`fit` is a loop that can be written down: every kind of data, every loss.

The loop here is NumPy, with exact derivatives (complex steps), so that it
shares nothing with the training code.
"""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from test_training import QuarterTurn

from keras_remul import RemulModel, Symmetry, weighting

TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
RATE, PENALTY = 0.05, 0.3
# The last batch is a single sample; equal numbers let nothing wrong broadcast.
SAMPLES, BATCH, NODES = 7, 3, 3


@keras.saving.register_keras_serializable(package="keras_remul_tests")
class Bodies(keras.Model):
    """A force on each node and an energy, both linear in the positions."""

    def __init__(self, outputs="dict", **kwargs):
        super().__init__(**kwargs)
        self.outputs_as = outputs
        self.force = keras.layers.Dense(
            3, kernel_regularizer=keras.regularizers.L2(PENALTY), name="force"
        )
        self.energy = keras.layers.Dense(
            1, use_bias=False, trainable=outputs != "one", name="energy"
        )

    def build(self, shape):
        self.force.build((None, None, 3))
        self.energy.build((None, None, 3))
        self.built = True

    def call(self, x):
        energy = self.energy(x["a"])
        if "mask" in x:
            energy = energy * ops.cast(x["mask"], energy.dtype)[..., None]
        force, energy = self.force(x["a"]), ops.sum(energy, axis=1)
        return {
            "one": force,
            "dict": {"force": force, "energy": energy},
            "list": [force, energy],
        }[self.outputs_as]

    @property
    def output_names(self):
        return ["force", "energy"]


def forward(weights, x, mask):
    """force (B, N, 3) and energy (B, 1)."""
    kernel, bias, energy = weights
    parts = (x @ energy) * mask[..., None]
    return x @ kernel + bias, parts.sum(axis=1)


def task(prediction, label, w, mask, has_mask):
    """Keras' mean over what is there, of squared errors times weights."""
    force, energy = (
        (a - b) ** 2 for a, b in zip(prediction, label, strict=True)
    )
    valid = mask.sum() if has_mask else mask.size
    terms = force.mean(axis=-1) * w["force"] * mask
    return terms.sum() / valid, (energy[:, 0] * w["energy"]).mean()


def losses_by_hand(weights, batch, options):
    """(L_obj, L_equi, own losses) of a batch."""
    x, y, w, mask = batch["x"], batch["y"], batch["w"], batch["mask"]
    many = options["outputs"] != "one"
    names = (1.0, 0.25) if many else (1.0, 0.0)  # loss_weights

    def total(prediction, label, w, mask):
        terms = task(prediction, label, w, mask, options["mask"])
        return sum(a * b for a, b in zip(names, terms, strict=True))

    clean = forward(weights, x, mask)
    objective = total(clean, y, w, mask)
    k = int(np.ceil(options.get("fraction", 1.0) * len(x)))
    x, mask = x[:k], mask[:k]
    w = {key: value[:k] for key, value in w.items()}
    moved = forward(weights, x @ TURN.T, mask)
    goal = y if options["target"] == "labels" else clean
    equivariance = total(moved, (goal[0][:k] @ TURN.T, goal[1][:k]), w, mask)
    return objective, equivariance, PENALTY * (weights[0] ** 2).sum()


def loop(weights, data, options, alpha, beta):
    """One epoch of SGD; the weights, and the means of what is logged."""
    rows, weights = [], [w.astype("complex128") for w in weights]
    for step, start in enumerate(range(0, SAMPLES, BATCH)):
        part = slice(start, start + BATCH)
        batch = {
            key: {k: v[part] for k, v in value.items()}
            if isinstance(value, dict)
            else tuple(v[part] for v in value)
            if isinstance(value, tuple)
            else value[part]
            for key, value in data.items()
        }
        both = step % options.get("interval", 1) == 0

        def total(weights, batch=batch, both=both):
            objective, equivariance, own = losses_by_hand(
                weights, batch, options
            )
            return alpha * objective + both * beta * equivariance + own

        parts = losses_by_hand(weights, batch, options)
        n = len(batch["x"])
        rows.append([n, both, total(weights).real, *np.real(parts[:2])])
        gradients = []
        for i, weight in enumerate(weights):
            gradient = np.zeros(weight.shape)
            for place in np.ndindex(weight.shape):
                moved = [w.copy() for w in weights]
                moved[i][place] += 1e-20j
                gradient[place] = total(moved).imag / 1e-20
            gradients.append(gradient)
        weights = [
            w - RATE * g for w, g in zip(weights, gradients, strict=True)
        ]
    n, both, total, objective, equivariance = np.array(rows).T
    logs = {
        "loss": np.average(total, weights=n),
        "objective_loss": np.average(objective, weights=n),
        "equivariance_loss": np.average(equivariance, weights=n * both),
    }
    return [w.real for w in weights], logs


def make_data(rng, options):
    """What Keras gets, and the same for the loop."""
    x = rng.normal(size=(SAMPLES, NODES, 3)).astype("float32")
    force = rng.normal(size=x.shape).astype("float32")
    energy = rng.normal(size=(SAMPLES, 1)).astype("float32")
    mask = np.ones((SAMPLES, NODES), "float32")
    if options["mask"]:
        mask[:, 2] = 0
        mask[::2, 1] = 0
        force[mask == 0] = 1e3  # must not matter
    a = np.arange(1.0, SAMPLES + 1, dtype="float32")
    per_node = rng.uniform(0.5, 2.0, size=mask.shape).astype("float32")
    weights, w = {
        "none": (
            None,
            {"force": np.ones_like(mask), "energy": np.ones(SAMPLES)},
        ),
        "sample": (a, {"force": a[:, None] * np.ones_like(mask), "energy": a}),
        "each": (
            {"force": per_node, "energy": a},
            {"force": per_node, "energy": a},
        ),
    }[options["weights"]]
    y = {
        "one": force,
        "dict": {"force": force, "energy": energy},
        "list": [force, energy],
    }[options["outputs"]]
    if options["weights"] == "each" and options["outputs"] != "dict":
        weights = list(weights.values())
        weights = weights[0] if options["outputs"] == "one" else weights
    inputs = {"a": x, "mask": mask} if options["mask"] else {"a": x}
    by_hand = {"x": x, "y": (force, energy), "w": w, "mask": mask}
    return (inputs, y, weights), by_hand


def check_training(rng, alpha=0.7, beta=2.0, **options):
    """`fit` and its logs equal the loop, for these options."""
    (x, y, weights), by_hand = make_data(rng, options)
    outputs = {
        "one": "vector",
        "dict": {"force": "vector", "energy": "scalar"},
        "list": ["vector", "scalar"],
    }[options["outputs"]]
    many = options["outputs"] != "one"
    model = Bodies(options["outputs"])
    model.build(None)
    start = model.get_weights()
    remul = RemulModel(
        model,
        Symmetry(QuarterTurn(), {"a": "vector"}, outputs),
        weighting.Constant(alpha, beta),
        target=options["target"],
        fraction=options.get("fraction", 1.0),
        interval=options.get("interval", 1),
        seed=0,
    )
    remul.compile(
        keras.optimizers.SGD(RATE),
        {"force": "mse", "energy": "mse"} if many else "mse",
        loss_weights={"force": 1.0, "energy": 0.25} if many else None,
    )
    kept = keras.tree.map_structure(np.copy, (x, y, weights))
    history = remul.fit(
        x, y, sample_weight=weights, batch_size=BATCH, shuffle=False, verbose=0
    ).history
    expected, logs = loop(start, by_hand, options, alpha, beta)
    for name, value in logs.items():
        assert history[name][0] == pytest.approx(value, rel=2e-5), name
    for a, b in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for a, b in zip(
        *map(keras.tree.flatten, ((x, y, weights), kept)), strict=True
    ):
        np.testing.assert_array_equal(a, b)  # what the caller gave is his


CASES = [
    dict(outputs=outputs, weights=weights, mask=mask, target=target)
    for (outputs, weights, mask), target in zip(
        itertools.product(
            ("one", "dict", "list"), ("none", "sample", "each"), (False, True)
        ),
        itertools.cycle(("labels", "predictions", "predictions", "labels")),
        strict=False,
    )
]
CASES += [
    dict(outputs="dict", weights="each", mask=True, target="labels", **further)
    for further in ({"fraction": 0.5}, {"interval": 2})
]


@pytest.mark.parametrize(
    "options", CASES, ids=lambda o: "-".join(map(str, o.values()))
)
def test_fit_is_the_loop_by_hand(rng, options):
    check_training(rng, **options)
