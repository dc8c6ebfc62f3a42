"""Libraries of NVIDIA that several frameworks brought into one environment.

Each wants its own versions, and pip keeps one of each. This reads the metadata
of what is installed and imports none of it.
"""

import importlib.metadata
import re

from packaging.requirements import Requirement
from packaging.version import Version

REMEDY = (
    "Take one environment for each framework, or the CPU build of those that "
    "are not the backend, such as pip install torch --index-url "
    "https://download.pytorch.org/whl/cpu"
)


def stacks():
    """The frameworks that are installed with CUDA, and what each wants.

    Returns:
        Dict from "jax", "torch" and "tensorflow" to dicts from names of
        packages, "nvidia-cudnn-cu12" and the like, to the versions wanted, a
        `packaging.specifiers.SpecifierSet`.
    """
    found = {}
    for package in ("torch", "tensorflow"):
        wanted = _wanted(package, extras=("", "and-cuda"))
        # TensorFlow does not say whether it was asked for with CUDA.
        if wanted and all(map(_version, wanted)):
            found[package] = wanted
    plugins = sorted(
        name
        for each in importlib.metadata.distributions()
        if re.fullmatch(r"jax-cuda\d+-plugin", name := _plain(each.name))
    )
    if plugins:
        found["jax"] = {}
        for plugin in plugins:
            found["jax"] |= _wanted(plugin, extras=("", "with-cuda"))
    return found


def check():
    """A line about frameworks with CUDA; None where there are not two.

    Raises:
        ValueError: one of them wants another version of a library than the
            one that is installed.
    """
    found = stacks()
    if len(found) < 2:
        return None
    words = " and ".join(found)
    wrong = [
        f"{framework} wants {name}{versions}, {_version(name)} is installed"
        for framework, wanted in found.items()
        for name, versions in wanted.items()
        if (version := _version(name))
        and not versions.contains(Version(version), prereleases=True)
    ]
    if wrong:
        raise ValueError(
            f"{words} with CUDA in one environment: {'; '.join(wrong)}. "
            f"{REMEDY}"
        )
    return f"{words} are installed with CUDA; their libraries fit each other"


def _wanted(package, extras):
    """`{name: versions}` of the libraries that a package requires."""
    try:
        lines = importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    required = map(Requirement, lines)
    return {
        _plain(one.name): one.specifier
        for one in required
        if _plain(one.name).startswith("nvidia-")
        and (
            one.marker is None
            or any(one.marker.evaluate({"extra": name}) for name in extras)
        )
    }


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()
