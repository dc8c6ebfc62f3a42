"""Objects that are equal when their configurations are."""

from __future__ import annotations

from typing import Self

from keras_remul.utils.typing import Config


class Configurable:
    """Equality, hash and repr from `get_config`, as Keras serialises it."""

    def get_config(self) -> Config:
        """The arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """The object with this configuration.

        Args:
            config: the dict that `get_config` returned.
        """
        return cls(**config)

    def __eq__(self, other):
        return (
            type(self) is type(other)
            and self.get_config() == other.get_config()
        )

    def __hash__(self):
        return hash(repr(self))

    def __repr__(self):
        arguments = ", ".join(
            f"{name}={value!r}" for name, value in self.get_config().items()
        )
        return f"{type(self).__name__}({arguments})"
