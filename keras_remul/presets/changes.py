"""What the caller of `from_preset` changes about the model of a preset."""

import copy
import inspect

import keras
import numpy as np

from keras_remul.presets.renamed import OWN_PACKAGE

# What the configurations of Keras's own models can change.
_OF_ANY_MODEL = ("name", "trainable")
_POLICIES = ("DTypePolicy", "FloatDTypePolicy")
_STARS = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


class Changes:
    """Another dtype, and other arguments, for a configuration.

    Args:
        dtype: name of a dtype or of a policy, or a `keras.DTypePolicy`; or
            None for that of the preset.
        arguments: dict of arguments of the model's constructor.

    Raises:
        ValueError: `dtype` is none for models.

    Attributes:
        wider: how many times more memory the weights may take.
    """

    def __init__(self, dtype=None, arguments=()):
        self.policy = None if dtype is None else _policy(dtype)
        self.arguments = dict(arguments)
        # From the narrowest dtype of weights to the widest.
        self.wider = 1 if dtype is None else 4

    def __bool__(self):
        return self.policy is not None or bool(self.arguments)

    def applied(self, config, where):
        """The configuration with the changes; it is changed in place.

        Args:
            config: a configuration that was checked.
            where: its file, for the error.

        Raises:
            ValueError: the model has no argument of a name.
        """
        if self.arguments:
            self._set(config, where)
        if self.policy is not None:
            set_policy(config, keras.dtype_policies.serialize(self.policy))
        return config

    def _set(self, config, where):
        title, known = config.get("class_name"), arguments_of(config)
        unknown = sorted({*self.arguments} - known)
        if unknown:
            raise ValueError(
                f"{where} is of a {title}, which has no argument "
                f"{', '.join(map(repr, unknown))}. There are: {sorted(known)}"
            )
        # What is an object becomes the configuration of one.
        config["config"] |= {
            name: keras.saving.serialize_keras_object(value)
            for name, value in self.arguments.items()
        }

    def check_cast(self, model):
        """Raises ValueError where a weight became infinite or NaN.

        Args:
            model: the loaded model.
        """
        for variable in model.weights:
            value = keras.ops.convert_to_numpy(variable)
            if not keras.backend.is_float_dtype(variable.dtype):
                continue
            # NumPy itself knows no bfloat16.
            if not np.isfinite(value.astype("float64")).all():
                raise ValueError(
                    f"The weight {variable.path} is not finite in "
                    f"{variable.dtype}. Give a `dtype` of a wider range, such "
                    "as 'bfloat16'."
                )


def arguments_of(config):
    """The names of the arguments that a configuration may give its class.

    Args:
        config: a configuration that was checked.

    Returns:
        A set.
    """
    cls = keras.saving.get_registered_object(config.get("registered_name"))
    if cls is None:  # a graph of layers
        return {*_OF_ANY_MODEL}
    found = {*_OF_ANY_MODEL, *config["config"]}
    # Those of old presets may lack what is new.
    for base in cls.__mro__[: cls.__mro__.index(keras.Model)]:
        if "__init__" in vars(base):
            given = inspect.signature(base.__init__).parameters.values()
            found |= {p.name for p in given if p.kind not in _STARS}
    return found - {"self", "dtype"}


def set_policy(node, policy):
    """Gives a policy to all layers of a configuration, nested ones included.

    Layers of integers keep theirs.

    Args:
        node: the configuration, which is changed in place.
        policy: the configuration of a `keras.DTypePolicy`.
    """
    if isinstance(node, dict):
        inside = node.get("config")
        if "class_name" in node and isinstance(inside, dict):
            if _is_float_policy(inside.get("dtype")) or _lacks_policy(node):
                inside["dtype"] = copy.deepcopy(policy)
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            set_policy(child, policy)


def _is_float_policy(node):
    if not isinstance(node, dict) or node.get("class_name") not in _POLICIES:
        return False
    config = node.get("config")
    return isinstance(config, dict) and "float" in str(config.get("name"))


def _lacks_policy(node):
    """Whether an old preset left out the dtype of a model of this package."""
    name = str(node.get("registered_name"))
    if not name.startswith(f"{OWN_PACKAGE}>") or "dtype" in node["config"]:
        return False
    cls = keras.saving.get_registered_object(name)
    return inspect.isclass(cls) and issubclass(cls, keras.Model)


def _policy(dtype):
    try:
        policy = keras.dtype_policies.get(dtype)
        floats = keras.backend.is_float_dtype(policy.variable_dtype)
    except (ValueError, TypeError, AttributeError):
        floats = False
    # Others quantize, or depend on the names of layers.
    if not floats or type(policy).__name__ not in _POLICIES:
        raise ValueError(
            "Argument `dtype` must be a dtype or policy of floats, such as "
            "'bfloat16' or 'mixed_bfloat16', or a keras.DTypePolicy of one. "
            f"Received: dtype={dtype!r}"
        )
    return policy
