"""What `import keras_remul` does: classes for Keras, methods for models.

Importing the classes makes them known to Keras, which loads saved models by
their names. Presets import models, so models cannot import presets: the methods
that load and save presets are added to the base classes here.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, TypeVar

import keras

import keras_remul.models  # noqa: F401  known to Keras from here on
from keras_remul.models.base import NodeModel
from keras_remul.models.jets.base import JetModel
from keras_remul.models.wrappers.base import Wrapper
from keras_remul.training import RemulModel
from keras_remul.utils.addresses import redact
from keras_remul.utils.typing import StrPath

M = TypeVar("M", bound=keras.Model)
MODELS: tuple[Any, ...] = (NodeModel, JetModel, Wrapper, RemulModel)


class Presets:
    """`Class.presets`: the published presets of a class and its subclasses.

    A dict from their names to one sentence each, of the list in the package:
    no network is needed.
    """

    def __get__(self, model, cls):
        from keras_remul.presets.resolve import index

        found = {}
        for name, entry in index().items():
            summary = entry.get("summary", {})
            registered = keras.saving.get_registered_object(
                summary.get("class", "")
            )
            if inspect.isclass(registered) and issubclass(registered, cls):
                found[name] = summary.get("description", "")
        return found


def _from_preset(
    cls: type[M],
    name_or_path: StrPath,
    load_weights: bool = True,
    dtype: str | keras.DTypePolicy | None = None,
    zoo: str | None = None,
    packages: Collection[str] = (),
    **kwargs: Any,
) -> M:
    """Loads a preset of this class or of a subclass.

    Args:
        name_or_path, load_weights, dtype, zoo, **kwargs: as for
            `keras_remul.from_preset`.
        packages: as there; the package of this class is trusted as well.

    Raises:
        ValueError: the preset holds a model of another class, or cannot be
            loaded, see `keras_remul.from_preset`.
    """
    from keras_remul.presets.folder import from_preset

    own = keras.saving.get_registered_name(cls).rpartition(">")[0]
    model = from_preset(
        name_or_path,
        load_weights,
        dtype,
        zoo,
        {own, *packages} - {""},
        **kwargs,
    )
    if not isinstance(model, cls):
        found = type(model).__name__
        raise ValueError(
            f"Preset {redact(name_or_path)!r} is a {found}, not a "
            f"{cls.__name__}. Use {found}.from_preset or "
            "keras_remul.from_preset."
        )
    return model


def _save_to_preset(self: keras.Model, path: StrPath, **kwargs: Any) -> None:
    """Writes a preset.

    Args:
        path: folder to write.
        **kwargs: the other arguments of `keras_remul.save_to_preset`.
    """
    from keras_remul.presets.folder import save_to_preset

    save_to_preset(self, path, **kwargs)


for model in MODELS:
    model.presets = Presets()
    model.from_preset = classmethod(_from_preset)
    model.save_to_preset = _save_to_preset
