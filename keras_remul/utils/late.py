"""Names of a package that are imported when they are first used.

Most programs use few of the functions of this package, and the command
`keras-remul` none of them to show its help. So `import keras_remul` imports the
classes that Keras must know, and leaves the rest to `__getattr__` of the
package (PEP 562).
"""

import importlib
import sys


def attach(package, places):
    """The functions `__getattr__` and `__dir__` of a package.

    Args:
        package: `__name__` of the package.
        places: dict from names to the modules that define them. A module
            that is a name itself is its own place.

    Returns:
        The two functions, for the namespace of the package.
    """

    def get(name):
        if name not in places:
            # With these two, Python names the nearest in its traceback.
            raise AttributeError(
                f"module {package!r} has no attribute {name!r}",
                name=name,
                obj=sys.modules[package],
            )
        value = importlib.import_module(places[name])
        if not places[name].endswith(f".{name}"):
            value = getattr(value, name)
        setattr(sys.modules[package], name, value)
        return value

    def names():
        return sorted({*vars(sys.modules[package]), *places})

    return get, names
