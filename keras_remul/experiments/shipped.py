"""The recipes that come with the package."""

import ast
import difflib
import pathlib
import shutil


def folder():
    """Their folder: in an installed package, or at the top of a checkout."""
    package = pathlib.Path(__file__).parents[1]
    installed = package / "_recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def names():
    """The names of the files with recipes, without `.py`, sorted."""
    return sorted(
        file.stem
        for file in folder().glob("*.py")
        if "RECIPES" in file.read_text(encoding="utf-8")
    )


def path(name):
    """The file of this name.

    Raises:
        ValueError: there is none.
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise ValueError(
            f"There is no recipe {name}: no such file, and the files of "
            f"recipes of the package are {known}."
            + (f" Did you mean {near[0]!r}?" if near else "")
        )
    return folder() / f"{name}.py"


def files(name=None):
    """The files that are copied: of one name, or all with their tables.

    Args:
        name: of `names`; with the files beside it that it imports. Defaults to
            None: everything.

    Raises:
        ValueError: see `path`.
    """
    if name is None:
        found = [*folder().glob("*.py"), folder() / "tables.json"]
        return sorted([*found, folder() / "README.md"])
    found, waiting = [], [path(name)]
    while waiting:
        file = waiting.pop()
        found.append(file)
        waiting += [one for one in _imported(file) if one not in found]
    return sorted({*found})


def _imported(file):
    """The files beside this one that it imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    modules = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    beside = (file.with_name(f"{module}.py") for module in modules)
    return [one for one in beside if one.is_file()]


def copy(sources, target):
    """Copies files into a folder, which is made if there is none.

    Args:
        sources: paths, see `files`.
        target: the folder.

    Raises:
        OSError: it cannot be written.
    """
    target.mkdir(parents=True, exist_ok=True)
    for file in sources:
        shutil.copyfile(file, target / file.name)
