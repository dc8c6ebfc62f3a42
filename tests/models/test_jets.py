"""Taggers of jets: the public ParticleNet, invariances, padding."""

import hashlib
import importlib.util
import pathlib

import keras
import numpy as np
import pytest
from compiled import outputs

import keras_remul as kr
from keras_remul.experiments import tagging
from keras_remul.models.jets import kinematics

TOOL = pathlib.Path(__file__).parents[2] / "tools/convert_particlenet.py"
STORED = "particlenet_jetclass/particlenet_kin.npz"
SHA256 = "b6ed8258f8276ddffe25e9f40b6032d275dc75a6034a3b412c2fe7a59238a842"
# Of the jets of the tool, in float64, by weaver-core 0.5.3 with these weights.
EXPECTED = [
    [
        *(-2.607645, -4.754447, -5.691769, -2.323321, -4.834192),
        *(-4.816223, -6.57721, -7.14669, -4.124693, -3.528326),
    ],
    [
        *(-1.417247, -4.506296, -5.148568, -2.2169, -6.993653),
        *(-6.29918, -4.15034, -4.453219, -7.793011, -3.091973),
    ],
    [
        *(-3.429935, -10.165362, -9.859835, -10.047093, -19.168044),
        *(-10.397881, -8.075428, -7.590975, -18.187852, -6.553557),
    ],
]
SMALL = dict(widths=[8], neighbors=4, hidden_dim=8)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("convert_particlenet", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_public_weights(tool, shared_data):
    path = shared_data / STORED
    if not path.is_file():
        pytest.skip(f"no reference data: {STORED} is not there")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    with np.load(path) as state:
        model = tool.convert(dict(state))
    found = outputs(model, {k: a[:3] for k, a in tool.jets().items()})
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-5, atol=1e-5)


@pytest.mark.backend_independent
def test_another_file_is_refused(tool, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"other")
    with pytest.raises(ValueError, match="sha256 73aff.*Get the file again"):
        tool.read(tmp_path / "weights.pt")


def few(tool):
    jets = tool.jets(sizes=(20, 12, 3, 0))
    return {key: a[:, :20] for key, a in jets.items()}


def test_padding_and_order(tool, rng):
    x = few(tool)
    dirty = np.where(x["mask"][..., None] > 0, x["four_momenta"], np.nan)
    order = rng.permutation(24)
    wide = {
        "four_momenta": np.pad(
            dirty, ((0, 0), (0, 4), (0, 0)), constant_values=np.nan
        )[:, order],
        "mask": np.pad(x["mask"], ((0, 0), (0, 4)))[:, order],
    }
    for model in (
        kr.models.ParticleNet(**SMALL),
        kr.models.JetTransformer(num_layers=1, hidden_dim=8, num_heads=2),
    ):
        y = outputs(model, x)
        assert y.shape == (4, 1) and np.isfinite(y).all()
        assert np.ptp(y[:3]) > 1e-2
        np.testing.assert_allclose(outputs(model, wide), y, atol=1e-4)
        no_mask = {"four_momenta": x["four_momenta"]}
        np.testing.assert_allclose(outputs(model, no_mask), y, atol=1e-5)


@pytest.mark.parametrize("invariance", [None, "beam", "lorentz"])
def test_invariances(tool, invariance):
    keras.utils.set_random_seed(0)
    model = kr.models.JetTransformer(
        num_layers=1, hidden_dim=8, num_heads=2, invariance=invariance
    )
    x = {key: a[:2] for key, a in few(tool).items()}
    y = outputs(model, x)
    beam = {"boost": kr.groups.Boosts("z", 1.5), "turn": kr.groups.SO2("z")}
    kept = {None: 1, "beam": 2, "lorentz": 3}[invariance]
    for i, group in enumerate(
        (kr.groups.SO2("z"), beam, kr.groups.Lorentz(0.5)), 1
    ):
        symmetry = kr.Symmetry(group, {"four_momenta": "four_vector"}, "scalar")
        g = symmetry.sample(2, seed=0)
        moved = symmetry.transform_inputs(g, x)
        moved = {k: keras.ops.convert_to_numpy(a) for k, a in moved.items()}
        away = np.abs(outputs(model, moved) - y).max()
        assert away < 5e-3 if i <= kept else away > 1e-2, (group, away)


def test_minkowski_products_do_not_cancel():
    """1 GeV and 500 GeV, 1e-3 apart: E E' - p p' has no digits in float32."""
    p = np.array([[1.0, 1.0, 0, 0], [500.0, 500.0, 0.5, 0]])
    p[1, 0] = np.sqrt((p[1, 1:] ** 2).sum())
    exact = p[0, 0] * p[1, 0] - (p[0, 1:] * p[1, 1:]).sum()
    tensors = [keras.ops.convert_to_tensor(a, "float32") for a in p]
    found = float(keras.ops.convert_to_numpy(kinematics.product(*tensors)))
    assert found == pytest.approx(exact, rel=1e-2)


@pytest.mark.backend_independent
def test_background_rejection():
    labels = np.repeat([1, 0], 10)
    scores = np.concatenate([np.arange(10), np.arange(10) - 4.5])
    # Half of the 1 lie at 4.5 and above, and one of the 0 does.
    found = tagging.background_rejection(scores, labels, 0.5)
    assert found == 10.0
    assert tagging.background_rejection(scores, labels, 0.3) == np.inf


@pytest.mark.backend_independent
def test_errors():
    model = kr.models.ParticleNet(**SMALL)
    for x in (
        {"positions": np.ones((1, 2, 3))},
        {"four_momenta": np.ones((1, 2, 3))},
        {"four_momenta": np.ones((1, 2, 4)), "mask": np.ones((1, 2, 1))},
        {"four_momenta": np.ones((1, 2, 4)), "charges": np.ones((1, 2, 1))},
    ):
        with pytest.raises(ValueError, match="Expected `inputs` to have"):
            model(x)
    with pytest.raises(ValueError, match="`invariance`.*'poincare'"):
        kr.models.JetTransformer(invariance="poincare")
    with pytest.raises(ValueError, match="`units`.*0"):
        kr.models.ParticleNet(units=0)


@pytest.mark.parametrize("name", ["JetTransformer", "ParticleNet"])
def test_no_constituents(name):
    with pytest.raises(ValueError, match="no nodes"):
        getattr(kr.models, name)()({"four_momenta": np.zeros((3, 0, 4))})
