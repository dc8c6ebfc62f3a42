"""Inputs without labels: what each task sees of them, by hand."""

import keras
import numpy as np
import pytest
from test_training import QuarterTurn, dense_model, remul

from keras_remul import PartlyLabeled, RemulModel, Symmetry, weighting
from keras_remul.training import fitting
from keras_remul.training.partly_labeled import PartlyLabeledBatches

TURN = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])


def inputs(rng, n):
    return {
        key: rng.normal(size=(n, 5, width)).astype("float32")
        for key, width in [("positions", 3), ("velocities", 3), ("charges", 1)]
    }


def prediction(model, x):
    kernel, bias = model.get_weights()
    return np.concatenate([*x.values()], axis=-1) @ kernel + bias


def change(model, x):
    """Squared differences of f(gx) and g f(x), the mean of each sample."""
    moved = {**x, "positions": x["positions"] @ TURN.T}
    moved["velocities"] = x["velocities"] @ TURN.T
    difference = prediction(model, moved) - prediction(model, x) @ TURN.T
    return (difference**2).mean(axis=(1, 2))


@pytest.mark.parametrize("weighted", [False, True])
def test_step_by_hand(bodies, rng, weighted):
    (x, y), more = bodies, inputs(rng, 5)
    weights = rng.uniform(0.5, 2.0, size=len(y)) if weighted else np.ones(12)
    model = dense_model()
    squares = ((prediction(model, x) - y) ** 2).mean(axis=(1, 2))
    objective = (weights * squares).mean()
    changes = [weights * change(model, x), change(model, more)]
    equivariance = np.concatenate(changes).mean()
    wrapper = remul(
        model,
        QuarterTurn(),
        target="predictions",
        weighting=weighting.Constant(alpha=0.5, beta=3.0),
    )
    arguments = dict(sample_weight=weights) if weighted else {}
    logs = wrapper.train_on_batch(
        PartlyLabeled(x, more), y, return_dict=True, **arguments
    )
    assert logs["objective_loss"] == pytest.approx(objective, rel=1e-5)
    assert logs["equivariance_loss"] == pytest.approx(equivariance, rel=1e-5)
    total = 0.5 * objective + 3.0 * equivariance
    assert logs["loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [dict(augment=True, fraction=0.5), dict(num_samples=2, interval=2)],
)
def test_every_kind_of_step(bodies, rng, arguments):
    (x, y), more = bodies, inputs(rng, 7)
    wrapper = remul(
        target="predictions",
        weighting=weighting.GradNorm(),
        **arguments,
    )
    wrapper.fit(x, y, verbose=0)  # then without a new trace of other shapes
    logs = wrapper.fit(
        x,
        y,
        8,
        unlabeled=more,
        unlabeled_batch_size=3,
        epochs=2,
        validation_data=(x, y),
        verbose=0,
    ).history
    assert all(np.isfinite(values).all() for values in logs.values())
    assert logs["val_objective_loss"][1] < logs["val_objective_loss"][0]


def test_equal_inputs_with_and_without_labels(bodies):
    # Twice the same samples: what is learned is as if once.
    x, y = bodies
    kept = dict(batch_size=4, epochs=2, shuffle=False, verbose=0)
    plain = remul(group=QuarterTurn(), target="predictions")
    twin = remul(group=QuarterTurn(), target="predictions")
    twin.model.set_weights(plain.model.get_weights())
    plain.fit(x, y, **kept)
    batches = [
        (PartlyLabeled(part, part), y[i : i + 4])
        for i in range(0, 12, 4)
        for part in [{key: a[i : i + 4] for key, a in x.items()}]
    ]

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            return batches[index]

    del kept["batch_size"]
    twin.fit(Batches(), **kept)
    for a, b in zip(
        plain.model.get_weights(), twin.model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_padded_nodes_do_not_count(bodies, rng):
    (x, y), more = bodies, inputs(rng, 6)
    symmetry = Symmetry(
        QuarterTurn(),
        {
            "positions": "point",
            "velocities": "vector",
            "charges": "scalar",
        },
        "point",
    )

    class Masked(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = dense_model()

        def call(self, x):
            return self.inner({k: x[k] for k in x if k != "mask"})

    losses = []
    for filling in (0.0, 1e6):
        padded = {k: v.copy() for k, v in more.items()}
        padded["positions"][:, 3:] = filling
        mask = np.arange(5) < 3
        keras.utils.set_random_seed(0)
        wrapper = RemulModel(Masked(), symmetry, target="predictions", seed=0)
        wrapper.compile("sgd", "mse")
        logs = wrapper.train_on_batch(
            PartlyLabeled(
                {**x, "mask": np.ones((12, 5), bool)},
                {**padded, "mask": np.tile(mask, (6, 1))},
            ),
            y,
            return_dict=True,
        )
        losses.append(logs["equivariance_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.backend_independent
def test_each_sample_with_a_label_comes_once(bodies, rng):
    (x, y), more = bodies, inputs(rng, 5)
    dataset = PartlyLabeledBatches(x, y, None, more, 4, 3, shuffle=True, seed=0)
    orders, others = [], []
    for _ in range(5):
        parts = [dataset[i] for i in range(len(dataset))]
        orders.append(np.concatenate([y for _, y in parts]))
        others += [part.unlabeled["charges"] for part, _ in parts]
        dataset.on_epoch_end()
    for order in orders:
        np.testing.assert_array_equal(np.sort(order, 0), np.sort(y, 0))
    assert not np.array_equal(orders[0], orders[1])
    # 45 draws of 5 samples: each of them nine times.
    drawn = np.concatenate(others)
    for one in more["charges"]:
        assert (drawn == one).all(axis=(1, 2)).sum() == 9


@pytest.mark.backend_independent
def test_processes_that_start_from_one_state_have_one_order(
    bodies, rng, monkeypatch
):
    (x, y), more, seen = bodies, inputs(rng, 5), []

    class Noted(PartlyLabeledBatches):
        def on_epoch_end(self):
            super().on_epoch_end()
            seen.append((self.order.tolist(), self.other_rows.tolist()))

    monkeypatch.setattr(fitting, "PartlyLabeledBatches", Noted)
    start = lambda model: np.random.seed(7)  # noqa: E731
    monkeypatch.setattr(fitting.devices, "synchronize", start)
    for process in range(2):
        np.random.seed(process)
        remul(target="predictions").fit(x, y, unlabeled=more, verbose=0)
    half = len(seen) // 2
    assert half and seen[:half] == seen[half:]


@pytest.mark.parametrize(
    "model, change, message",
    [
        ({}, {}, "predictions only.*target='labels'"),
        (
            dict(target="predictions", weighting=weighting.Constant(beta=0.0)),
            {},
            "with a beta",
        ),
        (dict(target="predictions"), dict(unlabeled=None), "needs `unlabeled`"),
        (dict(target="predictions"), dict(y=None), "to be arrays"),
        (
            dict(target="predictions"),
            dict(validation_split=0.5),
            "`validation_split`",
        ),
        (
            dict(target="predictions"),
            dict(unlabeled_batch_size=0),
            "`unlabeled_batch_size`.*at least 1",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(bodies, rng, model, change, message):
    x, y = bodies
    given = dict(unlabeled=inputs(rng, 4), unlabeled_batch_size=2, y=y)
    with pytest.raises(ValueError, match=message):
        remul(**model).fit(x, verbose=0, **{**given, **change})


def test_data_that_do_not_fit_are_refused(bodies, rng):
    x, y = bodies
    wrapper = remul(target="predictions")
    fewer = {key: a[:, :4] for key, a in inputs(rng, 4).items()}
    with pytest.raises(ValueError, match="shapes of those with labels"):
        wrapper.fit(x, y, unlabeled=fewer, verbose=0)
    nan = inputs(rng, 4)
    nan["velocities"][1] = np.nan
    with pytest.raises(ValueError, match="unlabeled.*velocities"):
        wrapper.fit(x, y, unlabeled=nan, verbose=0)
    with pytest.raises(ValueError):
        wrapper.fit(x, y, unlabeled={"positions": x["positions"]}, verbose=0)
    wrapper.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="for training"):
        wrapper.test_on_batch(PartlyLabeled(x, inputs(rng, 4)), y)
