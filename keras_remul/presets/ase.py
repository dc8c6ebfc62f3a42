"""`Calculator`: potentials in ASE, which is imported when it is asked for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_remul.presets.calculator import Calculator

__all__ = ["Calculator"]


def __getattr__(name):
    if name != "Calculator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from keras_remul.presets.calculator import Calculator
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "ase":
            raise
        raise ImportError(
            "`Calculator` needs the package ase, which is not installed. Try: "
            'pip install "keras-remul[ase]"'
        ) from error
    return Calculator
