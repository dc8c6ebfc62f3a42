"""Taggers of jets: the public ParticleNet, invariances, padding."""

import hashlib
import pathlib

import keras
import numpy as np
import pytest
from compiled import outputs

import keras_remul as kr
from keras_remul.evaluation import tagging
from keras_remul.models.jets import kinematics
from keras_remul.presets.converting import particle_net, particle_transformer
from keras_remul.presets.converting.jets import sample

GOLDEN = pathlib.Path(__file__).parents[1] / "golden/particle_transformer.npz"
STORED = "particlenet_jetclass/particlenet_kin.npz"
SHA256 = "b6ed8258f8276ddffe25e9f40b6032d275dc75a6034a3b412c2fe7a59238a842"
# Of the sample of the conversion, in float64, by weaver-core 0.5.3 with these
# weights.
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


def test_public_weights(shared_data):
    path = shared_data / STORED
    if not path.is_file():
        pytest.skip(f"no reference data: {STORED} is not there")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256
    with np.load(path) as state:
        model = particle_net.convert(state)
    found = outputs(model, {k: a[:3] for k, a in sample().items()})
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def stored():
    """Weights, jets and logits of weaver-core."""
    with np.load(GOLDEN) as arrays:
        weights = dict(arrays)
    y = weights.pop("logits")
    return weights, {k: weights.pop(k) for k in ("four_momenta", "mask")}, y


def test_particle_transformer_of_weaver(stored):
    weights, x, y = stored
    found = outputs(particle_transformer.convert(weights), x)
    assert np.ptp(y, axis=0).min() > 0.2
    np.testing.assert_allclose(found, y, rtol=1e-5, atol=1e-5)


@pytest.mark.backend_independent
def test_weights_of_another_architecture(stored):
    def converted(changes):
        return particle_transformer.convert({**stored[0], **changes})

    gate = {"mod.blocks.0.fc1_g.weight": np.ones((32, 8))}
    with pytest.raises(ValueError, match="no further weights.*blocks.0.fc1_g"):
        converted(gate)
    with pytest.raises(ValueError, match="7 kinematic.* those for 17"):
        converted({"mod.embed.input_bn.weight": np.ones(17)})
    with pytest.raises(ValueError, match=r"'norm.weight' as an array \(8,\)"):
        converted({"mod.norm.weight": np.ones(9)})
    with pytest.raises(ValueError, match="named 'bn_fts.weight'. .* mod"):
        particle_net.convert({"mod": np.ones(3)})


def few():
    jets = sample(sizes=(20, 12, 3, 0))
    return {key: a[:, :20] for key, a in jets.items()}


def test_padding_and_order(rng):
    x = few()
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
        kr.models.ParticleTransformer([8], [4], 1, 1, num_heads=2),
    ):
        y = outputs(model, x)
        assert y.shape == (4, 1) and np.isfinite(y).all()
        assert np.ptp(y[:3]) > 1e-2
        np.testing.assert_allclose(outputs(model, wide), y, atol=1e-4)
        no_mask = {"four_momenta": x["four_momenta"]}
        np.testing.assert_allclose(outputs(model, no_mask), y, atol=1e-5)


@pytest.mark.parametrize("invariance", [None, "beam", "lorentz"])
def test_invariances(invariance):
    keras.utils.set_random_seed(0)
    model = kr.models.JetTransformer(
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        invariance=invariance,
        head_dim=4,
        constituents=11,
    )
    x = {key: a[:2] for key, a in few().items()}
    y = outputs(model, x)
    beam = {"boost": kr.groups.Boosts("z", 1.5), "turn": kr.groups.SO2("z")}
    kept = {None: 1, "beam": 2, "lorentz": 3}[invariance]
    for i, group in enumerate(
        (kr.groups.SO2("z"), beam, kr.groups.Lorentz(0.5)), 1
    ):
        there = moved(group, {"four_momenta": "four_vector"}, x)
        away = np.abs(outputs(model, there) - y).max()
        assert away < 5e-3 if i <= kept else away > 1e-2, (group, away)


def moved(group, representations, x):
    symmetry = kr.Symmetry(group, representations, "scalar")
    x = symmetry.transform_inputs(symmetry.sample(len(x["mask"]), seed=0), x)
    return {k: keras.ops.convert_to_numpy(a) for k, a in x.items()}


def test_spurions(float64):
    """Moved along, they break nothing; fixed, all but turns about the beam."""
    model = kr.models.JetTransformer(
        num_layers=1, hidden_dim=8, num_heads=2, invariance="lorentz"
    )
    jets = {key: a[:2].astype("float64") for key, a in few().items()}
    x = kr.models.with_beam_spurions(jets)
    y = outputs(model, x)
    for group, spurions, kept in (
        (kr.groups.Lorentz(0.5), "four_vector per sample", True),
        (kr.groups.SO2("z"), "scalar per sample", True),
        (kr.groups.Boosts("z", 1.5), "scalar per sample", False),
        (kr.groups.Lorentz(0.5), "scalar per sample", False),
    ):
        inputs = {"four_momenta": "four_vector", "spurions": spurions}
        away = np.abs(outputs(model, moved(group, inputs, x)) - y)
        assert away.max() < 1e-5 if kept else away.max() > 1e-4, group
    with pytest.raises(ValueError, match="'mask'.*Received: .*spurions"):
        kr.models.JetTransformer(invariance="beam")(x)


def test_minkowski_products_do_not_cancel():
    """1 GeV and 500 GeV, 1e-3 apart: E E' - p p' has no digits in float32."""
    p = np.array([[1.0, 1.0, 0, 0], [500.0, 500.0, 0.5, 0]])
    p[1, 0] = np.sqrt((p[1, 1:] ** 2).sum())
    exact = p[0, 0] * p[1, 0] - (p[0, 1:] * p[1, 1:]).sum()
    tensors = [keras.ops.convert_to_tensor(a, "float32") for a in p]
    found = float(keras.ops.convert_to_numpy(kinematics.product(*tensors)))
    assert found == pytest.approx(exact, rel=1e-2)


def test_masses_do_not_cancel(rng):
    """Of a light, fast jet, E - |p| has few digits in float32."""
    space = rng.normal([0, 0, 30.0], 0.2, size=(1, 40, 3)).astype("float32")
    energy = np.linalg.norm(space.astype("float64"), axis=-1, keepdims=True)
    p = np.concatenate([(energy**2 + 0.02) ** 0.5, space], -1).astype("float32")
    exact = p.astype("float64")
    own = exact[..., 0] ** 2 - (exact[..., 1:] ** 2).sum(-1)
    total = exact.sum(1)
    mass = total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(-1)
    p, mask = keras.ops.convert_to_tensor(p), np.ones((1, 40), bool)
    jet = kinematics.total(p, keras.ops.convert_to_tensor(mask))
    found = kinematics.jet_square_mass(p, mask, jet)
    found = keras.ops.convert_to_numpy(found)
    np.testing.assert_allclose(found[:, 0], mass, rtol=1e-5)
    found = keras.ops.convert_to_numpy(kinematics.square_mass(p))
    np.testing.assert_allclose(found, np.maximum(own, 0), atol=1e-7)


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
    with pytest.raises(ValueError, match="`constituents`.*0"):
        kr.models.JetTransformer(constituents=0)
    with pytest.raises(ValueError, match="`units`.*0"):
        kr.models.ParticleNet(units=0)


@pytest.mark.parametrize("name", ["JetTransformer", "ParticleTransformer"])
def test_no_constituents(name):
    with pytest.raises(ValueError, match="no nodes"):
        getattr(kr.models, name)()({"four_momenta": np.zeros((3, 0, 4))})
