"""Each argument of what is public is explained in its docstring."""

import inspect
import re

import keras
import pytest
from public import arguments, classes, methods, public

pytestmark = pytest.mark.backend_independent


def layers():
    """`{name: class}` of the public layers that are called by users."""
    return {
        f"{cls.__module__}.{cls.__name__}": cls
        for cls in classes()
        if issubclass(cls, keras.Layer)
        and not issubclass(cls, keras.Model)
        and "call" in vars(cls)
    }


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
