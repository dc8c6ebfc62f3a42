"""What the package uses of Keras beyond its public names.

Where a test here fails with a new version of Keras, it says what breaks.
"""

import ast
import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state
from test_structure import FILES, imports, module_of

import keras_remul
from keras_remul.backend import keras_internals

INTERNALS = {
    "keras_remul.backend.keras_internals",
    # Reads off whether a layer has no more to it than its class says.
    "keras_remul.backend.plain",
}
# Documented in spite of their looks: of named tuples, of modules, of methods.
PUBLIC = {"_replace", "_fields", "_exit"}
# Of torch: whether there are hooks on all modules; without it the first call of
# a `Transformer` fails.
OF_TORCH = {"_has_any_global_hook"}


def fitted():
    """A model of one layer that was compiled and trained for a step."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    model.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0)
    return model


def dense():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    return layer


def variable():
    return keras.Variable(np.ones(2, "float32"))


# Each private name, on what, and what breaks without it.
NAMES = {
    "_flatten_layers": (
        keras.layers.Layer,
        "`equivariance_profile` cannot list the layers of a model, and on "
        "TensorFlow `fit` traces its first step twice",
    ),
    "_symbolic_build": (
        keras.Model,
        "on TensorFlow the first step of a model without variables is traced "
        "twice",
    ),
    "_compile_loss": (
        fitted,
        "`RemulModel` cannot tell the loss of the task from those of layers",
    ),
    "_aggregate_additional_loss": (
        keras.Model,
        "`RemulModel` cannot add the losses of layers, scaled for replicas",
    ),
    "_value": (
        variable,
        "an interrupted `fit` on JAX leaves a model without weights",
    ),
    "_initializer": (
        variable,
        "loading a preset draws all weights before it reads them",
    ),
    "_deferred_initialize": (
        keras.Variable,
        "a preset cannot be refused before memory is taken for its weights",
    ),
    "get_global_attribute": (
        global_state,
        "a preset that is refused spoils every later model on JAX",
    ),
}

OF_PLAIN = {
    name: (
        owner,
        "`backend.plain` cannot tell what a call of a sublayer adds: the first "
        "call of a `Transformer` fails",
    )
    for name, owner in (
        ("_kernel", dense),
        ("_dtype_policy", dense),
        ("_remat_mode", dense),
        ("_losses", dense),
        ("_compute_dtype", keras.DTypePolicy("float32")),
        ("_variable_dtype", keras.DTypePolicy("float32")),
        ("GLOBAL_STATE_TRACKER", global_state),
    )
}


@pytest.mark.parametrize("name", [*NAMES, *OF_PLAIN])
def test_keras_has(name):
    owner, broken = {**NAMES, **OF_PLAIN}[name]
    owner = owner() if inspect.isfunction(owner) else owner
    assert hasattr(owner, name), (
        f"keras {keras.__version__} has no {name} on {owner}: {broken}. Look "
        "for another way in keras_remul/backend/keras_internals.py."
    )


def test_nothing_else_is_private():
    """What this file says of the module that may touch Keras's private parts.

    And each has a docstring: what for, and why no public name does.
    """
    used = private_names(inspect.getsource(keras_internals))
    assert used | {"get_global_attribute"} == set(NAMES)
    for name, value in vars(keras_internals).items():
        if inspect.isfunction(value):
            assert len(inspect.getdoc(value).split()) > 10, name


@pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="the trainer of JAX"
)
def test_the_trainer_of_jax():
    """Names without an underscore that no page of Keras documents."""
    step = inspect.signature(keras.Model.compute_loss_and_updates).parameters
    own = inspect.signature(
        keras_remul.RemulModel.compute_loss_and_updates
    ).parameters
    assert [*step] == [*own], (
        "GradNorm on JAX takes the place of this method: it has to have the "
        "arguments that Keras gives."
    )
    assert hasattr(keras.Model, "jax_state_sync"), (
        "an interrupted `fit` on JAX loses what it has learned"
    )


def test_values_that_were_taken_out():
    variables = [variable(), variable()]
    kept = keras_internals.values(variables)
    variables[0]._value = None
    keras_internals.put_back(variables, kept)
    assert variables[0]._value is kept[0] is not None


def test_layers_inside_of_layers():
    inner = keras.layers.Dense(1)
    outer = keras.layers.TimeDistributed(inner)
    model = keras.Sequential([outer])
    assert keras_internals.with_sublayers(model) == [model, outer, inner]


def private(names):
    """Those that begin with one underscore, and are not documented."""
    found = {name for name in names if name.startswith("_")}
    found = {name for name in found if not name.startswith("__")}
    return found - PUBLIC - OF_TORCH


def private_names(text):
    """The private names of attributes, whose ever they are, in a source."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            called = getattr(node.func, "id", getattr(node.func, "attr", None))
            if called in ("getattr", "setattr", "hasattr", "__setattr__"):
                found.add(getattr(node.args[1], "value", ""))
    return private(name for name in found if isinstance(name, str))


def own_names(file):
    """Methods and attributes of the classes of a file."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ClassDef):
            for part in node.body:
                targets = getattr(part, "targets", [part])
                found |= {getattr(target, "id", None) for target in targets}
                found.add(getattr(part, "name", None))
        elif isinstance(node, ast.Attribute) and isinstance(
            node.ctx, ast.Store
        ):
            if getattr(node.value, "id", None) in ("self", "cls"):
                found.add(node.attr)
    return found


OWN = set().union(*map(own_names, FILES))


@pytest.mark.backend_independent
def test_private_names_of_others_are_used_in_two_modules():
    for file in FILES:
        if module_of(file) in INTERNALS:
            continue
        assert private_names(file.read_text()) <= OWN, file
        for module in imports(file):
            assert not module.startswith("keras.src"), (file, module)
            if not module.startswith("keras_remul"):
                assert not private(module.split(".")), (file, module)


def test_the_search_finds_private_names():
    text = "x._value = getattr(y, '_active', 1) + self._mine() + a._replace()"
    assert private_names(text) == {"_value", "_active", "_mine"}
    assert not {"_value", "_active", "_manual_dir", "_flatten_layers"} & OWN


def test_no_private_method_of_keras_is_overridden_unawares():
    """A name of ours that Keras has too would change what Keras does."""
    theirs = {*vars(fitted()), *vars(fitted().layers[0])}
    for module in pkgutil.walk_packages(keras_remul.__path__, "keras_remul."):
        if module.name.startswith("keras_remul.backend."):
            continue
        for cls in vars(importlib.import_module(module.name)).values():
            if not inspect.isclass(cls) or cls.__module__ != module.name:
                continue
            bases = [
                b for b in cls.__mro__ if b.__module__.startswith("keras.")
            ]
            taken = theirs.union(*map(dir, bases)) if bases else set()
            own = {n for n in vars(cls) if n[0] == "_" and n[:2] != "__"}
            assert not own & taken, (cls, own & taken)
