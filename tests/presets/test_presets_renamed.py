"""What older files call otherwise still loads."""

import json

import keras
import pytest
from test_registry import MADE, PLAIN

from keras_remul.presets import configuration, renamed

OLD = [
    *((new, old, None, None) for old, new in renamed.CLASSES.items()),
    *(
        (name, name, (old, new), None)
        for name, arguments in renamed.ARGUMENTS.items()
        for old, new in arguments.items()
    ),
    *(
        (name, name, (key, key), (old, new))
        for (name, key), values in renamed.VALUES.items()
        for old, new in values.items()
    ),
]


def written(made):
    return json.loads(json.dumps(keras.saving.serialize_keras_object(made)))


@pytest.mark.parametrize("name, old_name, keys, values", OLD)
def test_old_names_load(name, old_name, keys, values):
    plain = {type(example).__name__: example for example in PLAIN}
    made = written(plain[name] if name in plain else MADE[name]())
    if values:
        made["config"][keys[1]] = values[1]
    old = {
        **made,
        "class_name": old_name,
        "registered_name": f"keras_remul>{old_name}",
    }
    if keys:
        old["config"] = dict(made["config"])
        old["config"][keys[0]] = old["config"].pop(keys[1])
    if values:
        old["config"][keys[0]] = values[0]
    assert old != made
    loaded = configuration.make(old, "file", size=2**20)
    again = json.loads(json.dumps(keras.saving.serialize_keras_object(loaded)))
    for part in ("registered_name", "config"):
        assert again[part] == made[part]
