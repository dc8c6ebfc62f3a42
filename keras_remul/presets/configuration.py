"""A configuration from a file, read before Keras sees it.

Keras resolves names while it creates a model, and calls the objects that they
name. So a configuration is first copied, node by node, into one that holds only
what is allowed: classes of the list in `allowed`, registered classes of the
packages that the caller trusts, plain values, and tensors in the graph of a
Functional model. Anything else is refused. Sizes are bounded, since a few bytes
of JSON can ask for terabytes.
"""

import dataclasses
import inspect
import math

import keras

from keras_remul.presets.allowed import CLASSES, DTYPES, FUNCTIONS
from keras_remul.presets.renamed import OWN_PACKAGE, current

_DEEPEST = 64
_OBJECTS = 10_000
_BYTES_AN_OBJECT = 256  # an array in a file of weights takes more
_SMALL_FILE = 2**16
_KEYS = {
    "module",
    "class_name",
    "config",
    "registered_name",
    "build_config",
    "compile_config",
    "shared_object_id",
    "name",
    "inbound_nodes",
}
# Integers that are no sizes.
_NO_SIZES = ("seed", "decay_steps", "first_decay_steps", "boundaries")
# Arguments that say how often a part with weights of its own is repeated.
_REPEATS = ("num_layers", "num_degrees", "num_blocks")
_PLAIN = (str, int, float, bool, type(None))


def checked(config, where, packages=(), size=0, parts=True):
    """A copy of a configuration that holds only what is allowed.

    Args:
        config: the result of `json.loads`.
        where: the file, for the errors.
        packages: names under which trusted classes are registered (the part
            before `>`), in addition to this package.
        size: bytes of the weights. No integer except a seed may be larger, and
            there may be no more than one layer for each 256 bytes. Small files
            may have integers up to 65,536, `num_layers` up to 256, and 1024
            objects, including the layers of each `num_layers`.
        parts: whether Keras classes and built objects are allowed. A symmetry
            has none.

    Raises:
        ValueError: it names something that is not allowed, or is too large.
    """
    return _Check(where, {OWN_PACKAGE, *packages}, size, parts).node(config)


def make(config, where, changes=None, **limits):
    """Creates the object of a configuration; nothing in it is executed.

    Args:
        config, where, **limits: see `checked`.
        changes: `Changes` of the caller, who is trusted. Optional.

    Raises:
        ValueError: it names something that is not allowed or cannot be created.
    """
    config = checked(config, where, **limits)
    if changes:
        config = changes.applied(config, where)
    try:
        return keras.saving.deserialize_keras_object(config, safe_mode=True)
    except Exception as error:
        text = str(error).partition("Full object config")[0]
        raise ValueError(
            f"{where} cannot be made into an object. Was it written by another "
            f"version? Keras {keras.__version__} says: {text[:2000]}"
        ) from error


def packages_of(node):
    """The packages under which the classes in a configuration are registered.

    Args:
        node: a configuration from an object here, not from a file.
    """
    found = set()
    if isinstance(node, dict):
        for key in ("registered_name", "config"):
            name = node.get(key)
            if isinstance(name, str) and "class_name" in node:
                found |= {name.rpartition(">")[0]}
        node = list(node.values())
    if isinstance(node, str):
        found |= {node.rpartition(">")[0]} if _registered(node) else set()
    if isinstance(node, (list, tuple)):
        found = found.union(*map(packages_of, node))
    return found - {""}


def _registered(name):
    return name in keras.saving.get_custom_objects()


@dataclasses.dataclass
class _Check:
    where: str
    packages: set
    size: int
    parts: bool
    objects: int = 0

    def refuse(self, what, why):
        raise ValueError(f"{self.where} {what}. {why}")

    def node(self, node, depth=0, key=None, tensors=None):
        """A copy of a node. `tensors` collects the tensors of a graph."""
        if depth > _DEEPEST:
            self.refuse(
                f"is nested more than {_DEEPEST} deep", "No model is that deep."
            )
        if isinstance(node, dict) and "class_name" in node:
            return self.named(node, depth, tensors)
        if isinstance(node, dict):
            copy = {
                k: self.graph(v, depth)
                if k == "inbound_nodes"
                else self.node(v, depth + 1, k, tensors)
                for k, v in node.items()
            }
            repeats = [node[k] for k in _REPEATS if type(node.get(k)) is int]
            if repeats:
                # Degrees in each of the layers: their product.
                self.count(math.prod(max(n, 1) for n in repeats))
            return copy
        if isinstance(node, list):
            return [self.node(v, depth + 1, key, tensors) for v in node]
        if not isinstance(node, _PLAIN):
            self.refuse(f"holds a {type(node).__name__}", "JSON has none.")
        if isinstance(node, str) and _registered(node):
            self.trusted(node)
        if isinstance(node, int) and not isinstance(node, bool):
            self.number(node, key)
        return node

    def number(self, value, key):
        if key in _NO_SIZES:
            return
        most = max(self.size, _SMALL_FILE)
        if key in _REPEATS:
            most //= _BYTES_AN_OBJECT
        if abs(value) > most:
            self.refuse(
                f"asks for {key or 'a size'}={value}",
                f"Its weights are a file of {self.size:,} bytes, which "
                f"cannot hold more than {most:,}.",
            )

    def count(self, objects):
        """Counts the created objects: many small ones would take minutes."""
        self.objects += objects
        most = min(
            _OBJECTS, max(self.size, 4 * _SMALL_FILE) // _BYTES_AN_OBJECT
        )
        if self.objects > most:
            self.refuse(
                f"asks for more than {most:,} layers and other objects",
                f"Its weights are a file of {self.size:,} bytes.",
            )

    def named(self, node, depth, tensors):
        """A copy of a node from which Keras would create an object."""
        node = current(node)
        name = node["class_name"]
        if not isinstance(name, str) or "config" not in node:
            self.refuse(
                f"names the class {name!r} without a config",
                "It cannot be made into a model.",
            )
        if name.startswith("__"):
            return self.value(name, node["config"], depth, tensors)
        if tensors is not None:
            self.refuse(
                f"gives {_title(node)} to a layer as an argument",
                "Only tensors and plain values are allowed.",
            )
        unknown = sorted({*node} - _KEYS)
        if unknown:
            self.refuse(f"holds {unknown} of {name!r}", "Keras writes no such.")
        self.count(1)
        if name == "function":
            return self.function(node)
        copy = self.class_of(node)
        # Presets hold no optimizers, losses and metrics; of old ones theirs
        # are left out.
        for part in {*node} - {*copy, "compile_config"}:
            copy[part] = (
                self.graph(node[part], depth)
                if part == "inbound_nodes"
                else self.node(node[part], depth + 1, part)
            )
        if not self.parts and "build_config" in copy:
            self.refuse(f"builds {_title(node)}", "Nothing in it has weights.")
        return copy

    def class_of(self, node):
        """Finds the class of a node exactly as Keras does."""
        name, full = node["class_name"], node.get("registered_name")
        found = None
        if isinstance(full, str):
            # Or in a custom_object_scope, which the caller has opened.
            found = keras.saving.get_registered_object(full)
            if found is None and ">" in full:
                self.refuse(
                    f"asks for the class {full!r}, which is not registered",
                    "Import the package that registers it first.",
                )
        if found is not None:
            if not inspect.isclass(found):
                self.refuse(f"asks for {full!r}", "It is not a class.")
            if _registered(full):
                self.trusted(full)
            return {
                "module": found.__module__,
                "class_name": found.__name__,
                "registered_name": full,
            }
        module = node.get("module")
        allowed = CLASSES.get(module, ()) if isinstance(module, str) else ()
        if full not in (None, name) or name not in allowed or not self.parts:
            self.not_allowed(node)
        return {"module": module, "class_name": name, "registered_name": None}

    def function(self, node):
        name, module = node["config"], node.get("module")
        if not isinstance(name, str):
            self.not_allowed(node)
        if _registered(name):
            self.trusted(name)
            found = "builtins"
        else:
            found = next(
                (
                    listed
                    for listed, names in FUNCTIONS.items()
                    if module in (listed, "builtins", None) and name in names
                ),
                None,
            )
        if found is None:
            self.not_allowed(node)
        return {
            "module": found,
            "class_name": "function",
            "config": name,
            "registered_name": name,
        }

    def trusted(self, full):
        """Refuses classes registered by a package that is not trusted."""
        package = full.rpartition(">")[0]
        if package not in self.packages:
            self.refuse(
                f"asks for {full!r}, of the package {package!r}",
                "If you trust what this package registers with any arguments, "
                f"say so: packages=[{package!r}].",
            )

    def not_allowed(self, node):
        self.refuse(
            f"asks for {_title(node)}, which is not on the list of classes "
            "that presets may hold",
            "Presets run no code: they are made of layers of Keras that only "
            "calculate, and of registered classes of the packages that you "
            "trust. Register yours with keras.saving.register_keras_"
            "serializable, import it first, and name its package: packages=.",
        )

    def value(self, name, config, depth, tensors):
        """A copy of a node that describes a tensor, an array or a slice."""
        if name == "__keras_tensor__" and tensors is not None:
            tensors.append(config)
            config = self.node(config, depth + 1, "shape")
        elif name in ("__numpy__", "__tensor__"):
            if not isinstance(config, dict) or (
                str(config.get("dtype")) not in DTYPES
            ):
                self.refuse(f"holds {name} without numbers", "Give numbers.")
            self.numbers(config.get("value"), depth)
        elif name == "__slice__":
            config = self.node(config, depth + 1)
        elif name != "__ellipsis__":
            self.refuse(
                f"holds {name!r}, which could run code", "Presets must not."
            )
        return {"class_name": name, "config": config}

    def numbers(self, value, depth):
        if depth > _DEEPEST:
            self.refuse("holds a deeply nested array", "It has no numbers.")
        if isinstance(value, list):
            for entry in value:
                self.numbers(entry, depth + 1)
        elif not isinstance(value, (int, float)):
            self.refuse("holds an array without numbers", "Give numbers.")

    def graph(self, calls, depth):
        """The calls of one layer of a Functional model."""
        if not isinstance(calls, list):
            self.refuse("holds a graph that is not a list", "Keras writes one.")
        copies = []
        for call in calls:
            if not isinstance(call, dict) or {*call} != {"args", "kwargs"}:
                self.refuse(
                    "holds a call of a layer that has no args and kwargs",
                    "Write the preset again with a newer Keras.",
                )
            tensors = []
            copies.append(self.node(call, depth + 1, tensors=tensors))
            if not tensors:
                self.refuse(
                    "calls a layer without a tensor",
                    "It would run while the model is made.",
                )
        return copies


def _title(node):
    name, module = node["class_name"], node.get("module")
    if name == "function":
        name = f"the function {node['config']!r}"
    else:
        name = f"the class {name!r}"
    return f"{name} of {module!r}"[:200]


def of_model(model):
    """The configuration of a model, as it is written."""
    config = keras.saving.serialize_keras_object(model)
    _drop_compilation(config)
    return config


def _drop_compilation(node):
    """Removes optimizers, losses and metrics, also of nested models."""
    if isinstance(node, dict):
        if "class_name" in node:
            node.pop("compile_config", None)
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            _drop_compilation(child)
