"""The states of random generators, saved with the weights."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from keras import ops

from keras_remul.backend.mixins import ModelMixin


class SavesRandomStates(ModelMixin):
    """Mixin of a Keras model: a resumed training has the same draws."""

    def _seed_states(self):
        """The states of all random generators, the wrapped model's too."""
        weights = {id(v) for v in self.weights}
        return [v for v in self.variables if id(v) not in weights]

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        super().save_own_variables(store)
        for i, state in enumerate(self._seed_states()):
            store[f"seed_{i}"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        own = {k: store[k] for k in store.keys() if not k.startswith("seed_")}
        super().load_own_variables(own)
        for i, state in enumerate(self._seed_states()):
            if f"seed_{i}" in store.keys():
                state.assign(store[f"seed_{i}"])
