"""What each class that is registered owes, whatever it is.

A class that is registered without an example here, or in the file of its kind,
fails: so that none can be forgotten.
"""

import copy
import functools
import inspect
import json
import pathlib
import sys

import keras
import numpy as np
import pytest
from compiled import outputs
from test_groups_contract import EXAMPLES as GROUPS
from test_models_sizes import MODELS, READOUTS
from test_representations_contract import EXAMPLES as REPRESENTATIONS
from test_weighting import EXAMPLES as WEIGHTINGS
from test_wrappers import CASES as WRAPPERS
from test_wrappers import READS, network

import keras_remul as kr
from keras_remul.models.base import NodeModel
from keras_remul.presets import golden
from keras_remul.presets.resolve import bundled

PRESETS = pathlib.Path(__file__).parent / "stored"
LAYERS = {
    "EdgeConv": dict(dim=4, neighbors=2),
    "EGNNLayer": dict(
        dim=4, update_nodes=False, update_positions=False, weighted=True
    ),
    "GATrBlock": dict(dim=4, multivector_dim=4, num_heads=2, mlp_ratio=3),
    "IrrepDense": dict(units=3),
    "MessagePassing": dict(dim=4, update=False),
    "MultiHeadSelfAttention": dict(dim=4, num_heads=2, dropout=0.25),
    "MultivectorDense": dict(units=3),
    "MultivectorNormalization": dict(epsilon=0.125),
    "PointEdgeBlock": dict(
        dim=4, num_heads=2, num_blocks=2, mlp_ratio=3, num_angles=2
    ),
    "RadialBasis": dict(num_basis=4, cutoff=2.0),
    "ReferenceEnergies": dict(energies={1: -13.5, 8: -2041.25}),
    "NormFormerBlock": dict(
        dim=4, num_heads=2, mlp_ratio=3, dropout=0.25, stochastic_depth=0.5
    ),
    "PairBias": dict(num_layers=1, num_heads=2, hidden_dim=4),
    "SE3TransformerBlock": dict(
        num_degrees=2, dim=4, num_heads=2, radial_dim=8
    ),
    "TransformerBlock": dict(
        dim=4, num_heads=2, mlp_ratio=3, dropout=0.25, stochastic_depth=0.5
    ),
    "VectorNormalization": dict(epsilon=0.125),
    "VectorTransformerBlock": dict(
        dim=4, vector_dim=2, num_heads=2, mlp_ratio=3
    ),
}
JETS = {
    "JetTransformer": dict(
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        mlp_ratio=3,
        dropout=0.25,
        pair_dim=4,
        invariance="lorentz",
        units=2,
        head_dim=4,
        constituents=5,
    ),
    "ParticleNet": dict(
        widths=[8], neighbors=4, hidden_dim=8, dropout=0.25, units=2
    ),
    "ParticleTransformer": dict(
        embed_dims=[8],
        pair_dims=[4],
        num_layers=1,
        num_class_layers=1,
        num_heads=2,
        mlp_ratio=3,
        dropout=0.25,
        units=2,
    ),
}
OTHERS = {
    **JETS,
    "LinearNodes": dict(identity="one_hot", length_unit=2.0, time_unit=3.0),
}
# Of the base of these models, at other values than the defaults.
NODE_MODEL = dict(
    readout="graph",
    units=2,
    length_unit=2.0,
    time_unit=3.0,
    node_identity=True,
)


def inner(cls):
    return network(readout=READS.get(cls, "positions"))


def remul(model, **kwargs):
    return kr.RemulModel(
        model,
        kr.Symmetry(
            kr.groups.E3(2.0),
            {"positions": "point", "velocities": "vector"},
            "point",
        ),
        kr.weighting.Constrained(0.05, measure="relative_equivariance_error"),
        target="predictions",
        augment=True,
        loss="mae",
        fraction=0.5,
        num_samples=2,
        interval=3,
        seed=7,
        **kwargs,
    )


def registered_class(name):
    return keras.saving.get_registered_object(f"keras_remul>{name}")


def layer_examples():
    """Functions that make each layer and model, given further arguments."""
    tables = {**LAYERS, **MODELS, **OTHERS}
    found = {
        name: functools.partial(registered_class(name), **arguments)
        for name, arguments in tables.items()
    }
    for cls, make in WRAPPERS.items():
        found[cls.__name__] = lambda cls=cls, make=make, **kwargs: make(
            inner(cls), **kwargs
        )
    found["RemulModel"] = lambda **kwargs: remul(network(), **kwargs)
    return found


MADE = layer_examples()
PLAIN = [
    *GROUPS,
    *REPRESENTATIONS,
    *WEIGHTINGS,
    kr.Symmetry(
        kr.groups.E3(2.0), {"p": "point", "v": ["vector"]}, "point", mask="m"
    ),
]
# Arguments of which an example has the default, and where they are tested.
ELSEWHERE = {
    ("Alignment", "identity"): "test_alignment.py",
    ("Potential", "elements"): "test_potential.py",
    ("Potential", "forces"): "test_potential.py",
    ("Potential", "stress"): "test_potential.py",
}


def names():
    return {
        name.removeprefix("keras_remul>")
        for name in keras.saving.get_custom_objects()
        if name.startswith("keras_remul>")
    }


def test_each_registered_class_has_an_example():
    plain = {type(example).__name__ for example in PLAIN}
    assert names() == {*MADE} | plain


def round_trip(made):
    """The object of a configuration that went through a file."""
    config = keras.saving.serialize_keras_object(made)
    written = json.loads(json.dumps(config))
    given = copy.deepcopy(written)
    again = keras.saving.deserialize_keras_object(given)
    back = json.loads(json.dumps(keras.saving.serialize_keras_object(again)))
    assert back == written
    # `from_config` leaves what it is given as it was.
    inside = copy.deepcopy(written["config"])
    type(made).from_config(inside)
    assert inside == written["config"]
    return again


def parameters(cls):
    found = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("keras_remul"):
            found |= inspect.signature(base.__init__).parameters
    return {
        name: parameter
        for name, parameter in found.items()
        if name != "self"
        and parameter.kind
        not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }


@pytest.mark.parametrize("made", PLAIN, ids=lambda made: type(made).__name__)
def test_plain_objects(made):
    again = round_trip(made)
    assert type(again) is type(made)
    assert repr(again) == repr(made) == repr(copy.deepcopy(made))
    assert repr(made)


@pytest.mark.parametrize("name", MADE)
def test_configuration(name):
    made = MADE[name](name="mine", trainable=False)
    config = made.get_config()
    # Those of the base: in test_arguments_of_the_base.
    of_base = NODE_MODEL if isinstance(made, NodeModel) else {}
    for key, parameter in parameters(type(made)).items():
        if (name, key) in ELSEWHERE or key in of_base:
            continue
        assert key in config, key
        if parameter.default is not parameter.empty:
            assert config[key] != parameter.default, key
    again = round_trip(made)
    assert (again.name, again.trainable) == ("mine", False)
    for key in config:
        if key != "loss" and isinstance(config[key], (int, float, str)):
            # `loss` of a Keras model is the one that it was compiled with.
            assert getattr(again, key, config[key]) == config[key]
    assert type(made).__name__ in repr(made)
    copy.deepcopy(made)


@pytest.mark.parametrize("name", MODELS)
def test_arguments_of_the_base(name):
    cls, kwargs = registered_class(name), dict(NODE_MODEL)
    if name not in READOUTS:
        del kwargs["readout"], kwargs["units"]
    example = {k: v for k, v in MODELS[name].items() if k != "num_times"}
    config = round_trip(cls(**{**example, **kwargs})).get_config()
    assert {key: config[key] for key in kwargs} == kwargs


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
@pytest.mark.parametrize("name", MADE)
def test_dtype_policies(name, policy):
    made = MADE[name](dtype=policy)
    assert made.dtype_policy.name == policy
    assert round_trip(made).dtype_policy.name == policy


# Outputs that another backend gave.


def inputs(batch=3, nodes=4):
    rng = np.random.default_rng(0)
    x = {
        key: rng.normal(size=(batch, nodes, 3)).astype("float32")
        for key in ("positions", "velocities")
    }
    x["mask"] = np.arange(nodes) < np.array([[nodes]] * (batch - 1) + [[3]])
    return x


def is_model(name):
    return issubclass(registered_class(name), keras.Model)


def in_zoo():
    found = set()
    for file in bundled().glob("*/config.json"):
        found.add(json.loads(file.read_text())["registered_name"])
    return {name.removeprefix("keras_remul>") for name in found}


WITH_PRESET = sorted({name for name in MADE if is_model(name)} - in_zoo())


@pytest.mark.parametrize("name", WITH_PRESET)
def test_outputs_are_those_of_another_backend(name):
    """PyTorch wrote them: `python tests/test_registry.py` writes them anew."""
    path = PRESETS / name.lower()
    model = kr.from_preset(path)
    assert type(model).__name__ == name
    stored = golden.read(path / "golden.npz")
    x = golden.restore("input", stored)
    found = golden.comparable("output", outputs(model, x))
    expected = golden.comparable("output", golden.restore("output", stored))
    golden.check(found, expected, 1e-5, f"{path}")


def write_presets(names):
    """Writes the presets of models that the zoo has none of."""
    for name in names:
        keras.utils.set_random_seed(0)
        model, x = MADE[name](), inputs()
        if name == "LinearNodes":
            x["one_hot"] = np.tile(np.eye(4, dtype="float32"), (3, 1, 1))
        if name in JETS:
            p = np.pad(x["positions"], ((0, 0), (0, 0), (1, 0)))
            p[..., 0] = 3.0
            x = {"four_momenta": p, "mask": x["mask"]}
        model(x)
        kr.save_to_preset(model, PRESETS / name.lower(), x)


if __name__ == "__main__":
    write_presets(sys.argv[1:] or WITH_PRESET)
