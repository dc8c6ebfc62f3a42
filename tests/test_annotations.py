"""Each argument and result of what is public has a type."""

import inspect

import pytest
from public import arguments, classes, public

pytestmark = pytest.mark.backend_independent


def functions():
    """`{name: function}`: the public ones, and the methods of public classes.

    Those of Keras that a class overrides, `__init__` and `__call__` too.
    """
    found = {k: v for k, v in public().items() if inspect.isfunction(v)}
    for cls in classes():
        for name, thing in vars(cls).items():
            if isinstance(thing, property):
                thing = thing.fget
            thing = inspect.unwrap(getattr(thing, "__func__", thing))
            called = not name.startswith("_") or name in (
                "__init__",
                "__call__",
            )
            if inspect.isfunction(thing) and called:
                found[f"{cls.__module__}.{cls.__name__}.{name}"] = thing
    return {k: v for k, v in found.items() if of_this_package(v)}


def of_this_package(function):
    # Not what dataclasses and NamedTuples make, and what is of Keras.
    return function.__module__.startswith("keras_remul.") and (
        function.__code__.co_filename != "<string>"
    )


@pytest.mark.parametrize("name", sorted(functions()))
def test_arguments_and_results_have_types(name):
    function = functions()[name]
    signature = inspect.signature(function)
    without = [p.name for p in arguments(function) if p.annotation is p.empty]
    assert without == []
    assert signature.return_annotation is not signature.empty


def test_functions_are_found():
    found = functions()
    assert len(found) > 500
    for name in ("symmetry.Symmetry.__init__", "models.egnn.EGNN.call"):
        assert f"keras_remul.{name}" in found
