"""Named sizes of models."""

from __future__ import annotations

import difflib
from typing import Any, Self


class Variants:
    """Adds `variant(name)` to a model whose class lists its `variants`.

    Attributes:
        variants: dict from names to arguments of the constructor.
    """

    variants = {}

    @classmethod
    def variant(cls, name: str, **overrides: Any) -> Self:
        """The model in the size of this name.

        Args:
            name: one of `variants`.
            **overrides: arguments of the constructor that replace those of the
                variant.

        Raises:
            ValueError: there is no such variant.

        Example:
            >>> model = Transformer.variant("nbody_gravity", num_layers=2)
        """
        if name not in cls.variants:
            near = difflib.get_close_matches(name, cls.variants, 1, 0.0)
            raise ValueError(
                f"{cls.__name__} has no variant {name!r}. Did you mean "
                f"{near[0]!r}? There are: {list(cls.variants)}"
                if near
                else f"{cls.__name__} has no variants. Received: {name!r}"
            )
        return cls(**{**cls.variants[name], **overrides})
