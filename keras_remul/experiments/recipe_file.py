"""The recipe of a file."""

import pathlib
import runpy
import sys
import traceback

from keras_remul.experiments.recipe import Recipe


class UsageError(ValueError):
    """What was typed cannot be meant."""


def load_recipe(path):
    """The `RECIPE` of a file; it may import its neighbours.

    Raises:
        ValueError: where there is no such file, no recipe in it, or an error.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        here = sorted(map(str, path.parent.glob("*.py")))
        raise ValueError(f"There is no recipe {path}. In its folder: {here}")
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        names = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise ValueError(_of_file(path, error)) from error
    finally:
        sys.path.pop(0)
    if "RECIPE" not in names:
        raise ValueError(f"{path} does not define RECIPE, a Recipe.")
    recipe = names["RECIPE"]
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"RECIPE in {path} must be a keras_remul.experiments.Recipe. "
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
        UsageError: for one without a name or a value.
    """
    pairs = [text.partition("=") for text in settings]
    for name, _, value in pairs:
        if not name or not value:
            raise UsageError(
                "Expected settings as NAME=VALUE, such as epochs=5. Received: "
                f"{[*settings]}"
            )
    return {name: value for name, _, value in pairs}
