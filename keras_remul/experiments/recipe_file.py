"""Recipes in files: `FILE.py` with one, `FILE.py:NAME` for one of several."""

import pathlib
import re
import runpy
import sys
import traceback

from keras_remul.experiments import shipped
from keras_remul.experiments.recipe import Recipe


def split_address(address):
    """Splits `FILE.py:NAME` into path and name; None for `FILE.py`."""
    found = re.fullmatch(r"(.+\.py|\w+):(\w+)", str(address))
    path, name = found.groups() if found else (address, None)
    return pathlib.Path(path), name


def run_name(address):
    """The name of the runs of a recipe: `FILE_NAME`, or `FILE`."""
    path, name = split_address(address)
    return f"{path.stem}_{name}" if name else path.stem


def load_recipe(address):
    """Loads a recipe from a file, which may import modules in its folder.

    Args:
        address: `FILE.py:NAME` for one of the dict `RECIPES` in a file, or
            `FILE.py` for its `RECIPE`; without `.py` for a file of the package,
            such as `nbody_charged:egnn`.

    Raises:
        ValueError: the file does not exist, holds no such recipe, or raises an
            error.
    """
    path, name = split_address(address)
    if re.fullmatch(r"\w+", str(path)) and not path.exists():
        path = shipped.path(str(path))
    if not path.is_file():
        here = sorted(map(str, path.parent.glob("*.py")))
        raise ValueError(
            f"There is no recipe {path}. In its folder: {here}. `keras-remul "
            "recipes` lists those of the package."
        )
    return _recipe_of(path, name, _names_of(path))


def load_recipes(path):
    """The dict `RECIPES` of a file, see `load_recipe`."""
    names = _names_of(path)
    return {
        name: _recipe_of(path, name, names) for name in names.get("RECIPES", {})
    }


def _names_of(path):
    """What a file defines."""
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        return runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise ValueError(_of_file(path, error)) from error
    finally:
        sys.path.pop(0)


def _recipe_of(path, name, names):
    what, several = "RECIPE", names.get("RECIPES", {})
    if name is None and "RECIPES" not in names:
        if "RECIPE" not in names:
            raise ValueError(f"{path} does not define RECIPE, a Recipe.")
        recipe = names["RECIPE"]
    elif not isinstance(several, dict) or name not in several:
        known = several
        if isinstance(several, dict):
            known = [f"{path}:{key}" for key in several]
        raise ValueError(
            f"Expected {path}:NAME with a name of RECIPES there, a dict: "
            f"{known}. Received: {path if name is None else f'{path}:{name}'}"
        )
    else:
        what, recipe = f"RECIPES[{name!r}]", several[name]
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"{what} in {path} must be a keras_remul.experiments.Recipe. "
            f"Received: {type(recipe).__name__}"
        )
    return recipe


def _of_file(path, error):
    """What is wrong in a recipe, and in which of its lines."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
    where = f"{path}, line {lines[-1]}" if lines and lines[-1] else str(path)
    remedy = "Repair it there."
    if isinstance(error, ModuleNotFoundError):
        remedy = f"Try: pip install {str(error.name).partition('.')[0]}"
    return f"{where}: {type(error).__name__}: {error}. {remedy}"


def changes_of(settings):
    """A dict from texts such as `["epochs=5"]`.

    Raises:
        ValueError: a text has no name or no value.
    """
    pairs = [text.partition("=") for text in settings]
    for name, _, value in pairs:
        if not name or not value:
            raise ValueError(
                "Expected settings as NAME=VALUE, such as epochs=5. Received: "
                f"{[*settings]}"
            )
    return {name: value for name, _, value in pairs}
