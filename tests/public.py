"""What is public: the classes, functions and methods that users call."""

import inspect

import keras

import keras_remul as kr
from keras_remul import evaluation, experiments, presets, training


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


def arguments(function):
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.name not in ("self", "cls")]
