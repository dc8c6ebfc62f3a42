"""Ridge regression, alone, averaged with a network, and corrected by one."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_remul import (
    RemulModel,
    Symmetry,
    blend_with_ridge,
    evaluate_equivariance,
    from_preset,
    groups,
    models,
    representations,
    ridge,
    save_to_preset,
)
from keras_remul.models.linear.ridge import Ridge, fit_time

pytestmark = pytest.mark.usefixtures("untraced")

INPUTS = {"positions": "point", "velocities": "vector"}


def predict(model, x):
    return model.predict(x, verbose=0)


@pytest.fixture
def linear_data(rng):
    """Bodies whose motion is linear in all coordinates, with a constant."""
    w = rng.normal(size=(30, 15)) / 10

    def make(samples):
        x = {
            "positions": rng.normal(size=(samples, 5, 3)).astype("float32"),
            "velocities": rng.normal(size=(samples, 5, 3)).astype("float32"),
        }
        centered = x["positions"] - x["positions"].mean(axis=1, keepdims=True)
        z = np.concatenate([centered, 2 * x["velocities"]], axis=1)
        y = x["positions"] + (z.reshape(samples, 30) @ w).reshape(samples, 5, 3)
        return x, (y + 0.7).astype("float32")

    return make(200), make(50), make(50)


def test_ridge_with_intercept(linear_data):
    train, validation, (x, y) = linear_data
    time = fit_time(*train)
    errors = [
        np.mean(
            (Ridge(time, 2.0, intercept=i).fit(train, validation)(x) - y) ** 2
        )
        for i in (True, False)
    ]
    assert errors[0] < 1e-6 < 0.1 < errors[1]


def test_labels_of_another_shape_are_refused(linear_data):
    """Not broadcast against the predictions."""
    train, validation, _ = linear_data
    symmetry = Symmetry(groups.SO3(), INPUTS, "point")
    x, y = train
    one_step = y[:, None]
    mask = np.ones((200, 5), bool)
    mask[3, 4] = False
    cases = [
        ((x, y[..., :1]), "`train.1.` to have the shape"),
        ((x, one_step), "`train.1.` to have the shape"),
        ((x, np.where(mask[..., None], y, np.nan)), "finite data"),
        (({**x, "velocities": x["velocities"][:, :1]}, y), "velocities"),
        (({**x, "mask": mask}, y), "without padding"),
    ]
    network = models.EGNN(num_layers=1, hidden_dim=4)
    for wrong, match in cases:
        with pytest.raises(ValueError, match=match):
            Ridge(0.7, 2.0).fit(wrong, validation)
        with pytest.raises(ValueError, match=match):
            ridge.fit(ridge.make(symmetry), wrong, validation)
        with pytest.raises(ValueError, match=match):
            blend_with_ridge(network, wrong, validation, symmetry)
        with pytest.raises(ValueError, match=match.replace("train", "valid")):
            try:
                ridge.fit(ridge.make(symmetry), train, wrong)
            except ValueError as error:
                raise ValueError(
                    str(error).replace("validation", "valid")
                ) from error
    # All there: a mask of ones takes nothing out.
    ridge.fit(ridge.make(symmetry), ({**x, "mask": mask | True}, y), validation)
    broken = models.EGNN(num_layers=1, hidden_dim=4)
    predict(broken, x)
    broken.set_weights([w * np.nan for w in broken.get_weights()])
    with pytest.raises(ValueError, match="predicts NaN"):
        blend_with_ridge(broken, train, validation, symmetry)
    scalars = models.EGNN(num_layers=1, hidden_dim=4, readout="nodes")
    with pytest.raises(ValueError, match="`model.x.` to have the shape"):
        blend_with_ridge(scalars, train, validation, symmetry)


def test_blend(linear_data):
    train, validation, (x, y) = linear_data
    network = models.Transformer(
        num_layers=1, hidden_dim=8, num_heads=2, length_unit=3.0, time_unit=2.0
    )
    predict(network, x)
    symmetry = Symmetry(groups.Translations(), INPUTS, "point")
    blend = blend_with_ridge(network, train, validation, symmetry)
    # An untrained network has no share, and the rest is the regression.
    assert blend.shares == [0.0, 1.0]
    np.testing.assert_allclose(predict(blend, x), y, atol=1e-4)


@pytest.mark.backend_independent
def test_blend_on_a_skeleton(linear_data):
    """The regression sees the bones that the network sees."""
    train, validation, (x, _) = linear_data
    network = models.Transformer(num_layers=1, hidden_dim=8, num_heads=2)
    model = models.OnSkeleton(network, [[1, 0], [2, 1]], [1.0, 2.0])
    predict(model, x)
    symmetry = Symmetry(groups.Translations(), INPUTS, "point")
    blend = blend_with_ridge(model, train, validation, symmetry)
    regression = blend.models[1]
    assert regression.length == [1.0, 2.0]
    assert isinstance(regression.model, models.LinearNodes)


def test_linear_nodes(bodies):
    x, _ = bodies
    model = models.LinearNodes(length_unit=2.0, time_unit=3.0)
    drift = x["positions"] + 3.0 * x["velocities"]
    np.testing.assert_allclose(predict(model, x), drift, atol=1e-6)
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(30, 15)).astype("float32")
    model.linear.kernel.assign(kernel)
    centered = x["positions"] - x["positions"].mean(axis=1, keepdims=True)
    z = np.concatenate([centered, 3.0 * x["velocities"]], axis=1)
    step = (z.reshape(12, 30) @ kernel).reshape(12, 5, 3)
    np.testing.assert_allclose(predict(model, x), drift + step, atol=1e-4)
    few = {key: value[:, :4] for key, value in x.items()}
    with pytest.raises(ValueError, match="Received: 4 nodes"):
        model(few)
    with pytest.raises(ValueError, match='the key "velocities"'):
        models.LinearNodes()({"positions": x["positions"]})
    for name, value in (
        ("node_identity", True),
        ("readout", "graph"),
        ("units", 3),
    ):
        with pytest.raises(ValueError, match=f"no arguments.*{name}"):
            models.LinearNodes(**{name: value})


# A body of nodes, a left and a right one among them, that moves linearly as
# seen from itself.
LEFT_AND_RIGHT = [0, 2, 1, 3, 5, 4]


@pytest.fixture
def turning_body(rng):
    group = groups.O2(axis="y")
    symmetry = Symmetry(
        group,
        {**INPUTS, "joints": representations.MirrorPermutation(LEFT_AND_RIGHT)},
        "point",
    )
    shape = 3 * rng.normal(size=(6, 3))
    mirrored = shape[LEFT_AND_RIGHT] * [-1, 1, 1]
    w = rng.normal(size=(36, 18)) / 10
    # The same motion, mirrored: w commutes with the reflection.
    swap = np.kron(np.eye(6)[LEFT_AND_RIGHT], np.diag([-1.0, 1.0, 1.0]))
    w = (w + np.kron(np.eye(2), swap) @ w @ swap) / 2

    def make(samples):
        p = (shape + mirrored) / 2 + 0.1 * rng.normal(size=(samples, 6, 3))
        p = p - p.mean(axis=1, keepdims=True)
        v = 0.1 * rng.normal(size=(samples, 6, 3))
        step = (
            np.concatenate([p, v], axis=1).reshape(samples, 36) @ w
        ).reshape(samples, 6, 3)
        joints = np.tile(np.eye(6), (samples, 1, 1))
        x = {"positions": p, "velocities": v, "joints": joints}
        x, y = keras.tree.map_structure(
            lambda a: a.astype("float32"), (x, p + step)
        )
        g = symmetry.sample(samples, seed=samples)
        moved = (
            symmetry.transform_inputs(g, x),
            symmetry.transform_outputs(g, y),
        )
        return keras.tree.map_structure(ops.convert_to_numpy, moved)

    return symmetry, make(300), make(50), make(51)


def mse(model, x, y):
    return np.mean((predict(model, x) - y) ** 2)


def test_aligned_ridge(turning_body):
    symmetry, train, validation, test = turning_body
    plain = Ridge(0.0, 1.0, intercept=True).fit(train, validation)
    model = ridge.make(symmetry)
    ridge.fit(model, train, validation)
    # Not linear in the frame of the reference: that depends on the positions.
    assert mse(model, *test) < 0.1 * np.mean((plain(test[0]) - test[1]) ** 2)
    result = evaluate_equivariance(model, test[0], symmetry, num_samples=4)
    assert result["relative_equivariance_error"] < 1e-5


@pytest.mark.traced
def test_correction(turning_body, tmp_path):
    symmetry, *data = turning_body
    # What no linear map can say.
    train, validation, test = (
        (x, y + np.array([0, 100, 0], "float32") * x["velocities"] ** 2)
        for x, y in data
    )
    network = models.Transformer(
        num_layers=1, hidden_dim=8, num_heads=2, time_unit=10.0
    )
    start = ridge.make(symmetry)
    model = models.Correction(start, network)
    ridge.fit(start, train, validation)
    model.adapt(*train)
    network.head.kernel.assign(np.zeros((8, 3)))
    before = mse(start, *train)
    np.testing.assert_allclose(mse(model, *train), before, rtol=1e-4)
    np.testing.assert_allclose(float(model.scale), before**0.5, rtol=1e-4)
    kept = start.get_weights()
    remul = RemulModel(model, symmetry, seed=0)
    remul.compile(keras.optimizers.Adam(2e-2), loss="mse")
    remul.fit(*train, batch_size=100, epochs=8, verbose=0)
    assert mse(model, *train) < 0.8 * before
    for old, new in zip(kept, start.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    save_to_preset(model, tmp_path / "preset", x=test[0], symmetry=symmetry)
    again = from_preset(tmp_path / "preset")
    assert isinstance(again, models.Correction)
    np.testing.assert_allclose(
        predict(again, test[0]), predict(model, test[0]), atol=1e-5
    )


def test_correction_by_an_equivariant_model(turning_body):
    symmetry, train, validation, (x, y) = turning_body
    # Without mirror images: for EGNN, left and right are just numbers.
    turns = groups.SO2(axis="y")
    symmetry = Symmetry(turns, symmetry.inputs, symmetry.outputs)
    start = ridge.make(symmetry)
    ridge.fit(start, train, validation)
    egnn = models.EGNN(num_layers=1, hidden_dim=4)
    model = models.Correction(start, egnn, shows_start=False)
    x = {**x, "mask": np.arange(6)[None] < np.full((len(y), 1), 6)}
    result = evaluate_equivariance(model, x, symmetry, num_samples=4)
    assert result["relative_equivariance_error"] < 1e-5
    # EGNN would take the step of the regression for scalars.
    model = models.Correction(start, models.EGNN(num_layers=1, hidden_dim=4))
    result = evaluate_equivariance(model, x, symmetry, num_samples=4)
    assert result["relative_equivariance_error"] > 1e-4


def test_ensemble(bodies, tmp_path):
    x, y = bodies
    parts = [
        models.EGNN(num_layers=1, hidden_dim=4),
        models.LinearNodes(),
    ]
    model = models.Ensemble(parts, weights=[0.25, 0.75])
    expected = 0.25 * predict(parts[0], x) + 0.75 * predict(parts[1], x)
    np.testing.assert_allclose(predict(model, x), expected, atol=1e-5)
    save_to_preset(model, tmp_path / "preset", x=x)
    again = from_preset(tmp_path / "preset")
    assert isinstance(again, models.Ensemble)
    np.testing.assert_allclose(predict(again, x), expected, atol=1e-5)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(predict(again, x), expected, atol=1e-5)
    assert models.Ensemble(parts).shares == [0.5, 0.5]
    for wrong in ([], parts):
        with pytest.raises(ValueError, match="as many `weights`"):
            models.Ensemble(wrong, weights=[1.0])


@pytest.mark.traced
def test_ensemble_trains_and_leaves_padding_out(bodies):
    x, y = bodies
    mask = np.ones((12, 5), bool)
    mask[:, 3:] = False
    y = np.where(mask[..., None], y, 1e6).astype("float32")
    model = models.Ensemble([models.EGNN(num_layers=1, hidden_dim=4)] * 1)
    model.compile("adam", loss="mse")
    history = model.fit({**x, "mask": mask}, y, epochs=2, verbose=0)
    assert max(history.history["loss"]) < 100


def test_ensemble_of_structures(rng):
    inputs = keras.Input((3,))
    outputs = {name: keras.layers.Dense(2)(inputs) for name in "ab"}
    parts = [keras.Model(inputs, outputs) for _ in range(2)]
    x = rng.normal(size=(4, 3)).astype("float32")
    y = models.Ensemble(parts)(x)
    np.testing.assert_allclose(
        ops.convert_to_numpy(y["b"]), predict(parts[0], x)["b"], atol=1e-6
    )
