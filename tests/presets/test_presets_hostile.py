"""Everything that Keras exports, tried in a preset: nothing may happen.

The list of what is allowed is compared with what Keras has, so that a name
which a later Keras adds is refused until somebody reads it and lists it.
"""

import contextlib
import copy
import inspect
import json
import sys
import time

import keras
import numpy as np
import pytest
from test_groups_contract import EXAMPLES as GROUPS
from test_models_sizes import MODELS
from test_presets_safety import layer, sign
from test_representations_contract import EXAMPLES as REPRESENTATIONS
from test_weighting import EXAMPLES as WEIGHTINGS

import keras_remul as kr
from keras_remul.presets import configuration, read_metadata
from keras_remul.presets.allowed import CLASSES, FUNCTIONS

OUTSIDE = []  # what happened while a preset was read
WATCHING = []
# Writing, connecting, starting; reading is allowed: modules are imported.
HARMFUL = (
    "os.remove os.rename os.mkdir os.rmdir os.link os.symlink os.truncate "
    "os.chmod os.chown os.putenv os.unsetenv os.system os.exec os.posix_spawn "
    "os.spawn os.fork os.forkpty subprocess.Popen socket.connect socket.bind "
    "socket.getaddrinfo socket.sendto shutil.copyfile shutil.move "
    "shutil.rmtree tempfile.mkstemp tempfile.mkdtemp urllib.Request "
    "http.client.connect pickle.find_class webbrowser.open ctypes.dlopen"
).split()


def watch(event, arguments):
    if not WATCHING:
        return
    if event == "open":
        path, mode, flags = arguments
        wanted = isinstance(mode, str) and set(mode) & set("wax+")
        # Python writes what it compiled of modules that it imports.
        if (wanted or flags & 3) and ".pyc" not in str(path):
            OUTSIDE.append((event, str(path)))
    elif event in HARMFUL:
        OUTSIDE.append((event, str(arguments)))


sys.addaudithook(watch)  # stays for the process: Python removes none


@contextlib.contextmanager
def nothing_happens(tmp_path):
    """Fails where a file, a socket, a process or a setting was touched."""
    before = settings()
    OUTSIDE.clear()
    WATCHING.append(True)
    try:
        yield
    finally:
        WATCHING.clear()
    assert OUTSIDE == []
    assert settings() == before
    assert list(tmp_path.iterdir()) == []


def settings():
    get = keras.config
    return {
        "floatx": get.floatx(),
        "epsilon": get.epsilon(),
        "image": get.image_data_format(),
        "policy": get.dtype_policy().name,
        "epochs": get.max_epochs(),
        "steps": get.max_steps_per_epoch(),
        "distribution": keras.distribution.distribution(),
        "custom": len(keras.saving.get_custom_objects()),
        "filtering": get.is_traceback_filtering_enabled(),
        "logging": get.is_interactive_logging_enabled(),
        "safe": keras.src.saving.serialization_lib.in_safe_mode(),
    }


def exported():
    """(module, name) of all that Keras has loaded, private ones included."""
    found = set()
    for path, module in list(sys.modules.items()):
        if path.partition(".")[0] == "keras" and module is not None:
            for name, value in list(vars(module).items()):
                if callable(value):
                    found.add((path, name))
    return sorted(found)


NAMES = exported()


def input_layer():
    return {
        **layer("InputLayer", {"batch_shape": [None, 3], "name": "i"}),
        "name": "i",
        "inbound_nodes": [],
    }


def tensor():
    return {
        "class_name": "__keras_tensor__",
        "config": {
            "shape": [None, 3],
            "dtype": "float32",
            "keras_history": ["i", 0, 0],
        },
    }


def functional(node, *args, **kwargs):
    """A model in which `node` is called with these arguments."""
    called = {
        **node,
        "name": "called",
        "inbound_nodes": [{"args": list(args), "kwargs": kwargs}],
    }
    return layer(
        "Functional",
        {
            "name": "model",
            "trainable": True,
            "layers": [input_layer(), called],
            "input_layers": [["i", 0, 0]],
            "output_layers": [["called", 0, 0]],
        },
        "keras.src.models.functional",
    )


def function(module, name):
    return layer("function", name, module, name)


def dense(**arguments):
    return layer("Dense", {"units": 2, **arguments})


def placements(module, name):
    """A name as class, function and operand, and where layers take them."""
    cls, fn = layer(name, {}, module), function(module, name)
    yield "class", cls
    yield "function", fn
    yield "layer", functional(cls, tensor())
    yield "operand", functional(dense(), tensor(), fn)
    yield "operand class", functional(dense(), tensor(), cls)
    yield "keyword", functional(dense(), tensor(), training=fn)
    for key in ("activation", "kernel_initializer", "kernel_regularizer"):
        yield key, dense(**{key: fn})
        yield key + " class", dense(**{key: cls})
    yield "builtins", function("builtins", name)


def accepted(config):
    try:
        configuration.checked(config, "config.json")
    except ValueError:
        return False
    return True


def test_nothing_is_accepted_but_what_is_listed(tmp_path):
    assert len(NAMES) > 5000
    found = {}
    with nothing_happens(tmp_path):
        for module, name in NAMES:
            for place, config in placements(module, name):
                if accepted(config):
                    found.setdefault(place, set()).add((module, name))
    classes = {(m, n) for m, names in CLASSES.items() for n in names}
    functions = {(m, n) for m, names in FUNCTIONS.items() for n in names}
    assert found["class"] <= classes
    assert found["layer"] == found["class"]
    assert found["function"] <= functions
    assert "operand" not in found and "operand class" not in found
    assert "keyword" not in found
    # By name alone, from the same modules only.
    names = {name for _, name in functions}
    assert {name for _, name in found["builtins"]} <= names
    for key in ("activation", "kernel_initializer", "kernel_regularizer"):
        assert found[key] == found["function"]
        assert found[key + " class"] == found["class"]


@pytest.mark.backend_independent
def test_what_is_listed_is_what_keras_has():
    exists = set(NAMES)
    for table in (CLASSES, FUNCTIONS):
        for module, names in table.items():
            missing = [n for n in names if (module, n) not in exists]
            assert missing == [], module


def variants(cls, tmp_path):
    """Configurations of a class: no arguments, and a path as each of them."""
    yield {}
    for name in inspect.signature(cls.__init__).parameters:
        if name not in ("self", "args", "kwargs"):
            yield {name: str(tmp_path / "outside")}
            yield {name: ["file://outside"]}


@pytest.mark.backend_independent
def test_what_is_listed_does_nothing(tmp_path):
    made = 0
    for module, names in CLASSES.items():
        for name in sorted(names):
            cls = getattr(sys.modules[module], name)
            for config in variants(cls, tmp_path):
                node = layer(name, config, module)
                for whole in (node, functional(node, tensor(), "outside")):
                    with nothing_happens(tmp_path):
                        try:
                            configuration.make(whole, "config.json")
                            made += 1
                        except ValueError:
                            pass
    assert made > 300


def preset_with(tmp_path, config):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    path = tmp_path / "p"
    kr.save_to_preset(model, path, x=np.ones((2, 3), "float32"))
    (path / "config.json").write_text(json.dumps(config))
    sign(path)
    return path


PICTURE = {
    "class_name": "__numpy__",
    "config": {"value": [[[[0, 0, 0]] * 4] * 4], "dtype": "uint8"},
}


def attacks(outside):
    """What once ran code, and its siblings."""
    gallery = layer("plot_image_gallery", {}, "keras.visualization")
    switch = layer("Switch", {"name": "z"}, "keras.src.ops.core", "Switch")
    call = [None, None, None, 1, 1, [0, 255], 2, str(outside), False]
    yield functional(switch, tensor(), [gallery], PICTURE, *call)
    yield functional(switch, 0, [gallery], PICTURE, *call)
    set_floatx = function("keras.config", "set_floatx")
    yield functional(switch, tensor(), [set_floatx], "float16")
    yield functional(
        layer("Activation", {"activation": set_floatx}), tensor(), "float16"
    )
    yield functional(
        layer("Activation", {"activation": "relu"}), inputs=set_floatx
    )
    for name in ("Map", "Scan", "Cond", "WhileLoop", "VectorizedMap"):
        node = layer(name, {}, "keras.src.ops.core", name)
        yield functional(node, gallery, tensor())
    # A layer called without a tensor would run at once.
    yield functional(layer("Add", {}, "keras.src.ops.numpy"), 1, 2)
    yield functional(layer("Identity", {}), PICTURE)
    # Names that Keras reads in another way than we do.
    yield {**dense(), "registered_name": "Lambda"}
    yield {**dense(), "registered_name": "keras_remul>Transformer>"}
    yield {**dense(), "class_name": "__lambda__"}
    yield {**dense(), "spec_name": "x"}
    yield {"class_name": "Dense", "config": {"units": 2}}
    yield functional(dense(), {"class_name": "TFSMLayer"}, tensor())
    yield layer("Dense", {"units": 2}, "keras.layers.")
    yield layer("Dense", {"units": 2}, "keras.src.layers.core.dense")
    yield layer("Dense", {"units": 2}, ["keras.layers"])
    yield layer("function", ["relu"], "keras.activations")
    yield layer("function", "Transformer", "builtins", "keras_remul>x")
    for config in (set_floatx, gallery):
        yield {**dense(), "build_config": {"input_shape": [2, 3], "a": config}}


CASES = len(list(attacks("outside")))


@pytest.mark.backend_independent
@pytest.mark.parametrize("case", range(CASES))
def test_attacks(case, tmp_path):
    outside = tmp_path / "outside.png"
    config = list(attacks(outside))[case]
    path = preset_with(tmp_path, config)
    for load in (kr.from_preset, kr.verify_preset):
        with contextlib.suppress(ValueError):
            load(path)
            raise AssertionError("This was loaded.")
    facts = json.loads((path / "metadata.json").read_text())
    facts["symmetry"] = config
    (path / "metadata.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError):
        read_metadata(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p"]
    assert keras.config.floatx() == "float32"


@keras.saving.register_keras_serializable("theirs")
def theirs(x):
    CALLED.append(x)
    return x


CALLED = []


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "config",
    [
        dense(activation="theirs>theirs"),
        dense(activation=function("builtins", "theirs>theirs")),
        dense(activation=function("builtins", "theirs")),
        functional(layer("Activation", {"activation": "theirs>theirs"})),
        {"Dense": "theirs>theirs"},
    ],
)
def test_functions_of_others_are_not_found_by_name(config, tmp_path):
    path = preset_with(tmp_path, config)
    with pytest.raises(ValueError):
        kr.from_preset(path)
    assert CALLED == []


def whole_numbers(node, path=()):
    """The paths of all whole numbers but seeds in a configuration."""
    if isinstance(node, (dict, list)):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            if key != "seed":
                yield from whole_numbers(value, (*path, key))
    elif isinstance(node, int) and not isinstance(node, bool):
        yield path


def replaced(node, path, value):
    node = copy.deepcopy(node)
    part = node
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return node


def small_model(name):
    if name == "Sequential":
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model = getattr(kr.models, name)(**MODELS[name])
    widths = {"positions": 3, "velocities": 3, "charges": 1}
    # A model that is built says so in its configuration.
    model({key: keras.Input((3, width)) for key, width in widths.items()})
    return model


def assert_quick(function, seconds):
    """Tried again where it was slow: the machine may have paused."""
    for _ in range(3):
        start = time.process_time()
        function()
        taken = time.process_time() - start
        if taken < seconds:
            return
    raise AssertionError(f"{taken} s at the third attempt")


def assert_bounded(config, load):
    for path in whole_numbers(config):
        for value in (10**9, 10**5, 50_000, -(10**9)):

            def attempt(path=path, value=value):
                with contextlib.suppress(ValueError):
                    load(replaced(config, path, value))

            assert_quick(attempt, 5.0)


@pytest.mark.backend_independent
@pytest.mark.parametrize("name", ["Sequential", *MODELS])
def test_sizes_of_models_are_bounded(name, tmp_path):
    """A few bytes of JSON take neither minutes nor all memory."""
    path = tmp_path / "p"
    kr.save_to_preset(small_model(name), path)

    def load(config):
        (path / "config.json").write_text(json.dumps(config))
        sign(path)
        kr.from_preset(path)

    assert_bounded(json.loads((path / "config.json").read_text()), load)


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "thing",
    [*GROUPS, *REPRESENTATIONS, *WEIGHTINGS],
    ids=lambda thing: type(thing).__name__,
)
def test_sizes_of_other_things_are_bounded(thing):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(thing)))
    assert_bounded(config, lambda c: configuration.make(c, "metadata.json"))


@pytest.mark.backend_independent
def test_many_layers_are_refused_before_they_are_made():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.1)])
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    layers = config["config"]["layers"]
    layers += [layers[-1]] * 100_000

    def attempt():
        with pytest.raises(ValueError, match="asks for more than 1,024"):
            configuration.make(config, "config.json")

    assert_quick(attempt, 2.0)
    deep = config["config"]["layers"][0]
    for _ in range(100):
        deep = layer("TimeDistributed", {"layer": deep})
    with pytest.raises(ValueError, match="nested more than"):
        configuration.make(deep, "config.json")


def repeated(name, **arguments):
    config = keras.saving.serialize_keras_object(small_model(name))
    config = json.loads(json.dumps(config))
    config.pop("build_config", None)
    config["config"].update(arguments)
    return config


@pytest.mark.backend_independent
def test_layers_of_many_models_are_counted_together():
    """Each of them asks for as many as one model may have."""
    one = repeated("Transformer", num_layers=256)
    few = layer("Sequential", {"layers": [one] * 3}, "keras")
    configuration.checked(few, "config.json")
    many = layer("Sequential", {"layers": [one] * 4}, "keras")
    products = repeated("SE3Transformer", num_layers=33, num_degrees=33)
    for config in (many, products, [one, [one, one], one]):
        with pytest.raises(ValueError, match="asks for more than 1,024"):
            configuration.checked(config, "config.json")
    # A negative number takes nothing off.
    less = repeated("Transformer", num_layers=-256)
    with pytest.raises(ValueError, match="asks for more than 1,024"):
        configuration.checked([less] + [one] * 4, "config.json")
    # A large model has a large file.
    configuration.checked(many, "config.json", size=2**20)


def test_a_model_larger_than_its_file_takes_no_memory(tmp_path):
    config = keras.saving.serialize_keras_object(
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    )
    layers = json.loads(json.dumps(config))
    wide = replaced(layers, ("config", "layers", 1, "config", "units"), 60_000)
    wide["config"]["layers"].append(dense(units=60_000))
    path = preset_with(tmp_path, wide)

    def attempt():
        with pytest.raises(ValueError, match="asks for weights of 14,401"):
            kr.from_preset(path)

    assert_quick(attempt, 5.0)


def test_a_load_that_fails_leaves_no_trace(tmp_path):
    good = preset_with(tmp_path, {})
    (tmp_path / "q").mkdir()
    bad = functional(dense(), tensor())
    bad["config"]["output_layers"] = [["nowhere", 0, 0]]
    (good / "config.json").write_text(json.dumps(bad))
    sign(good)
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot be made"):
            kr.from_preset(good)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    kr.save_to_preset(model, tmp_path / "q" / "p", x=np.ones((2, 3), "float32"))
    assert kr.verify_preset(tmp_path / "q" / "p") == 0.0
