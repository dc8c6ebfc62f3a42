"""Each argument of what is public is explained in its docstring."""

import inspect
import re

import keras
import pytest

import keras_remul as kr
from keras_remul import evaluation, experiments, presets, training

pytestmark = pytest.mark.backend_independent


def names_of(module):
    """`__all__`, or what the module defines where it does not say."""
    return getattr(module, "__all__", None) or [
        name
        for name, thing in vars(module).items()
        if getattr(thing, "__module__", None) == module.__name__
        and not name.startswith("_")
    ]


def public():
    """`{name: object}` of the classes and functions that users import."""
    found = {}
    modules = [kr, evaluation, experiments, presets, training]
    modules += [getattr(kr, name) for name in kr.__all__]
    for module in filter(inspect.ismodule, modules):
        for name in names_of(module):
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                found[f"{module.__name__}.{name}"] = thing
    return found


def classes():
    """The public classes and what they inherit from in this package."""
    return {
        base
        for thing in public().values()
        if inspect.isclass(thing)
        for base in thing.__mro__
        if base.__module__.startswith("keras_remul.")
    }


def methods():
    """`{name: method}` of these classes, without the methods of Keras.

    What a class overrides is there too; `inspect.getdoc` gives it the docstring
    of the method that it overrides.
    """
    return {
        f"{cls.__module__}.{cls.__name__}.{name}": getattr(cls, name)
        for cls in classes()
        for name in vars(cls)
        if inspect.isroutine(getattr(cls, name))
        and not name.startswith("_")
        and not hasattr(keras.Model, name)
    }


def layers():
    """`{name: class}` of the public layers that are called by users."""
    return {
        f"{cls.__module__}.{cls.__name__}": cls
        for cls in classes()
        if issubclass(cls, keras.Layer)
        and not issubclass(cls, keras.Model)
        and "call" in vars(cls)
    }


def arguments(function):
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.name not in ("self", "cls")]


def listed(section, parameter):
    """Whether "name: ..." or "name, other: ..." stands in a section."""
    stars = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}
    name = re.escape(stars.get(parameter.kind, "") + parameter.name)
    return re.search(rf"^\s*([\w*]+, )*{name}(, [\w*]+)*:", section, re.M)


def of_arguments(thing):
    """The part of a docstring about arguments; of a dataclass, attributes."""
    text = inspect.getdoc(thing) or ""
    assert text, "no docstring"
    _, _, section = text.partition("Args:\n")
    if not section and inspect.isclass(thing):
        _, _, section = text.partition("Attributes:\n")
    return section


@pytest.mark.parametrize("name", sorted(public()))
def test_arguments_are_explained(name):
    thing = public()[name]
    section = of_arguments(thing)
    if inspect.isclass(thing):
        own = vars(thing).get("__init__")
        parameters = arguments(own) if own else []
    else:
        parameters = arguments(thing)
    assert [p.name for p in parameters if not listed(section, p)] == []


@pytest.mark.parametrize("name", sorted(methods()))
def test_arguments_of_methods_are_explained(name):
    method = methods()[name]
    section = of_arguments(method)
    parameters = arguments(method)
    assert [p.name for p in parameters if not listed(section, p)] == []


@pytest.mark.parametrize("name", sorted(layers()))
def test_arguments_of_calls_are_explained(name):
    layer = layers()[name]
    _, _, section = inspect.getdoc(layer).partition("Call arguments:\n")
    parameters = [p for p in arguments(layer.call) if p.name != "training"]
    assert [p.name for p in parameters if not listed(section, p)] == []


def test_methods_are_found():
    found = methods()
    assert len(found) > 100 and len(layers()) > 8
    for name in ("groups.base.Group.compose", "symmetry.Symmetry.get_mask"):
        assert f"keras_remul.{name}" in found
    assert not any(name.endswith(".get_config") for name in found)
