"""A wrong argument is named in one line, before anything is built.

The annotations of each constructor say what is wrong, so that no class can be
forgotten.
"""

import inspect
import math

import keras
import numpy as np
import pytest
from test_registry import MADE, PLAIN, parameters

import keras_remul as kr
from keras_remul.utils.arguments import check, one_of

pytestmark = pytest.mark.backend_independent

POINTS = kr.Symmetry(kr.groups.SO3(), "vector", "vector")
CALLBACKS = [kr.callbacks.EquivarianceError(np.ones((2, 3)), POINTS)]
WRONG = {
    "int": [-2, "3", 2.5, True],
    "float": ["0.5", math.nan, True],
    "bool": ["yes", 2],
    "str": [3, "of no kind"],
    "Sequence[int]": [3, "3", [2.5], [-1]],
    "Sequence[float]": ["0.5", ["0.5"], [math.nan]],
    "float | dict[str, float]": ["0.5", math.nan, True, -1.0, {}],
    "float | Sequence[float]": ["0.5", math.nan, True, -1.0, ["0.5"]],
    "Sequence[str]": ["charges", [3]],
    "Sequence[keras.Model]": [3, [3], []],
    "Sequence[str | Representation]": [3, [3], ["of no kind"]],
    "Mapping[int, float]": [3, {"H": 1.0}, {1: "a"}],
    "dict[str, Group]": [3, {"space": "of no kind"}],
    "Group | dict[str, Group]": [3, "of no kind"],
    "str | Representation": [3, "of no kind"],
    "str | Sequence[float]": [3, "of no kind", [1.0], ["a", 1.0, 1.0]],
    "keras.Model": [3],
    "Symmetry": [3],
    "LossWeighting": [3],
}
FREE = {"mask", "prefix", "factor", "identity"}  # names of the user's
# Nests of any structure, and what is looked for by name in a model.
UNCHECKED = {"x", "inputs", "outputs", "loss", "points", "layer", "bones"}
SIGNED = {"degree"}


def wrong_values(key, annotation):
    """Values that an argument must not take."""
    named = annotation.removesuffix(" | None")
    values = [*WRONG.get(named.partition(" | Callable")[0], ())]
    assert values or key in UNCHECKED, f"{key}: {annotation}"
    if key in FREE:
        values.remove("of no kind")
    if annotation == "float" and key not in SIGNED:
        values.append(-1.0)
    return values if named != annotation else [*values, None]


CASES = [
    pytest.param(made, key, parameter, id=f"{type(made).__name__}-{key}")
    for made in [*PLAIN, *CALLBACKS, *(make() for make in MADE.values())]
    for key, parameter in parameters(type(made)).items()
    if key not in UNCHECKED
]


def test_each_callback_has_an_example():
    classes = filter(inspect.isclass, vars(kr.callbacks).values())
    public = {c for c in classes if issubclass(c, keras.callbacks.Callback)}
    assert public == {type(made) for made in CALLBACKS}


def required(made):
    """The arguments without which there is no object of a class."""
    return {
        key: getattr(made, "parts" if key == "representations" else key)
        for key, parameter in parameters(type(made)).items()
        if parameter.default is parameter.empty
    }


@pytest.mark.parametrize("made, key, parameter", CASES)
def test_wrong_values(made, key, parameter):
    for value in wrong_values(key, parameter.annotation):
        with pytest.raises((ValueError, TypeError)) as caught:
            type(made)(**{**required(made), key: value})
        said = str(caught.value)
        assert f"`{key}`" in said and "\n" not in said, said
        assert str(value).strip("[]{}") in said, said


def test_numbers_of_numpy_become_those_of_python():
    for value, kind in ((np.int64(3), "int"), (np.float32(0.5), "float")):
        found = check("n", value, kind)
        assert found == value and type(found).__name__ == kind
    found = check("n", np.arange(1, 3), "Sequence[int]")
    assert [*found] == [1, 2]


def test_long_values_are_cut():
    with pytest.raises(ValueError, match=r"Received: n=array.{75} \.\.\.$"):
        check("n", np.zeros(100), "int")
    with pytest.raises(ValueError, match="one of 1, 2 or 4. Received: n=3"):
        check("n", 3, "int", one_of(1, 2, 4))
