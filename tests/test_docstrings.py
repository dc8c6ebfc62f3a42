"""Each argument of what is public is explained in its docstring."""

import inspect
import re

import pytest

import keras_remul as kr

pytestmark = pytest.mark.backend_independent


def public():
    """`{name: object}` of the classes and functions that users import."""
    found = {}
    modules = [kr, *(getattr(kr, name) for name in kr.__all__)]
    for module in filter(inspect.ismodule, modules):
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                found[f"{module.__name__}.{name}"] = thing
    return found


def arguments(function):
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.name not in ("self", "cls")]


def listed(section, parameter):
    """Whether "name: ..." or "name, other: ..." stands in a section."""
    stars = {parameter.VAR_KEYWORD: "**", parameter.VAR_POSITIONAL: "*"}
    name = re.escape(stars.get(parameter.kind, "") + parameter.name)
    return re.search(rf"^\s*([\w*]+, )*{name}(, [\w*]+)*:", section, re.M)


@pytest.mark.parametrize("name", sorted(public()))
def test_arguments_are_explained(name):
    thing = public()[name]
    text = inspect.getdoc(thing) or ""
    assert text, "no docstring"
    _, _, section = text.partition("Args:\n")
    if not section:  # of a dataclass
        _, _, section = text.partition("Attributes:\n")
    if inspect.isclass(thing):
        own = vars(thing).get("__init__")
        parameters = arguments(own) if own else []
    else:
        parameters = arguments(thing)
    assert [p.name for p in parameters if not listed(section, p)] == []
