"""Inputs and outputs in presets of others: refused by ValueError, by name."""

import io
import json
import struct
import tracemalloc
import zipfile

import keras
import numpy as np
import pytest
from test_presets_safety import sign

import keras_remul as kr
from keras_remul import save_to_preset, verify_preset
from keras_remul.presets import golden
from keras_remul.presets.evaluate import evaluate_preset
from keras_remul.presets.folder import load_preset, read_metadata

SYMMETRY = kr.Symmetry(
    kr.groups.O3(), {"positions": "point"}, {"positions": "point"}
)
X = {"positions": np.random.default_rng(0).normal(size=(4, 5, 3))}
X = {key: value.astype("float32") for key, value in X.items()}
KEY = "input/positions"


@pytest.fixture(scope="module")
def model():
    x = {"positions": keras.Input((5, 3), name="positions")}
    y = keras.layers.Rescaling(2.0)(x["positions"])
    y = keras.layers.Dense(3, "linear", False, "identity")(y)
    return keras.Model(x, {"positions": y})


@pytest.fixture
def preset(model, tmp_path):
    save_to_preset(model, tmp_path / "p", x=X, symmetry=SYMMETRY)
    return tmp_path / "p"


def arrays(preset):
    with np.load(preset / "golden.npz", allow_pickle=False) as file:
        return dict(file)


def put(preset, content):
    np.savez(preset / "golden.npz", **content)
    sign(preset)


def facts(preset, **changes):
    file = preset / "metadata.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def refused(preset, message, also_loaded=True):
    loads = (verify_preset, load_preset) if also_loaded else (verify_preset,)
    for load in loads:
        with pytest.raises(ValueError, match=message) as caught:
            load(preset)
        # By the name of the preset, and not of a private copy of it.
        assert str(preset) in str(caught.value)


def test_a_symmetry_that_is_null(model, preset):
    assert verify_preset(preset) == 0.0
    facts(preset, symmetry=None)
    refused(preset, r"golden.npz must hold \['input', 'output'\]", False)
    assert read_metadata(preset)["symmetry"] is None
    save_to_preset(model, preset, x=X)
    facts(preset, symmetry=None)
    assert verify_preset(preset) == 0.0


@pytest.mark.parametrize(
    "x",
    [
        {"positions": X["positions"][:0]},
        {"positions": np.float32(3)},
        {"positions": X["positions"], "t": X["positions"][:2]},
    ],
)
def test_inputs_that_are_no_samples(model, preset, tmp_path, x):
    with pytest.raises(ValueError, match="Argument `x` must hold one sample"):
        save_to_preset(model, tmp_path / "new", x=x, symmetry=SYMMETRY)
    assert not (tmp_path / "new").exists()
    content = arrays(preset) | golden.flatten("input", x)
    put(preset, content)
    refused(preset, "input in .*golden.npz must hold one sample", False)


def test_no_rows_at_all(preset):
    put(preset, {key: value[:0] for key, value in arrays(preset).items()})
    refused(preset, "must hold one sample or more", False)


@pytest.mark.parametrize(
    "element",
    [
        {"element": np.ones(4, "float32")},
        {"element": np.float32(1)},
        {"element": np.ones((3, 3, 3), "float32")},
        {"element/a": np.ones((4, 3, 3), "float32")},
    ],
)
def test_elements_of_another_shape(preset, element):
    content = arrays(preset)
    for key in [key for key in content if key.startswith("element")]:
        del content[key]
    put(preset, content | element)
    refused(preset, "golden.npz must hold elements of the shapes", False)


@pytest.mark.parametrize(
    "x", [X["positions"][..., :2], X["positions"][0, 0, :], X["positions"][0]]
)
def test_inputs_of_another_shape(preset, x):
    content = arrays(preset) | {KEY: x}
    content["element"] = content["element"][:1].repeat(len(x), 0)
    put(preset, content)
    refused(preset, "cannot be run on the inputs in .*golden.npz|gives", False)


def header(text, body=bytes(240)):
    text = text.encode() + b" " * ((53 - len(text)) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + body


def described(shape, dtype="<f4"):
    return header(
        f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    )


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def rewrite(preset, member, name=KEY):
    """Puts these bytes in the place of an array."""
    content = arrays(preset)
    with zipfile.ZipFile(preset / "golden.npz", "w") as archive:
        for key, array in content.items():
            raw = member if key == name else npy(array)
            archive.writestr(f"{key}.npy", raw)
    sign(preset)


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "member",
    [
        header("((("),
        header("(" * 3000),
        header("{[]:1}"),
        header("{'descr': " + "[" * 300 + "]" * 300 + "}"),
        described((True, 4, 15)),
        described((-4, -5, 3)),
        described((2**40,)),
        described((2**40, 0, 3)),
        described((2**40,), "|V0"),
        described((4, 5, 3), "zz"),
        described((4, 5, 3), "<M8[D]"),
        npy(np.array(["text"] * 4)),
        b"text",
        b"",
    ],
)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_arrays_that_are_none(preset, member):
    rewrite(preset, member)
    refused(preset, "golden.npz is not (used|accepted)")


def directory(raw, place, new):
    """Changes the entry of an input in the directory of a zip file."""
    start = raw.index(b"PK\1\2")
    while raw[start + 46 :][: len(KEY)] != KEY.encode():
        start = raw.index(b"PK\1\2", start + 4)
    raw[start + place : start + place + len(new)] = new


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "place, new",
    [
        (8, b"\1\0"),  # encrypted
        (6, b"\x63"),  # of a later version
        (42, b"\xff\xff\xff\x0f"),  # it begins after the end
        (20, b"\xff\xff\xff\x7f"),  # compressed bytes
        (24, b"\xf0\xff\xff\xff"),  # bytes
        (16, b"1234"),  # its CRC
    ],
)
def test_directories_of_zip_files_that_lie(preset, place, new):
    raw = bytearray((preset / "golden.npz").read_bytes())
    directory(raw, place, new)
    (preset / "golden.npz").write_bytes(raw)
    sign(preset)
    refused(preset, "golden.npz is not used")


@pytest.mark.backend_independent
def test_a_small_file_takes_no_memory(preset):
    """It claims an array of 128 MB, and one array a hundred times."""
    rewrite(preset, described((2**25,)))
    raw = bytearray((preset / "golden.npz").read_bytes())
    directory(raw, 24, struct.pack("<I", 2**27 + 128))
    (preset / "golden.npz").write_bytes(raw)
    sign(preset)
    big = npy(np.zeros(2**18))
    tracemalloc.start()
    try:
        refused(preset, "golden.npz is not used")
        with zipfile.ZipFile(preset / "golden.npz", "w") as archive:
            archive.writestr("input/a00.npy", big)
            (info,) = archive.infolist()
            for i in range(1, 30):
                info = zipfile.ZipInfo.__new__(zipfile.ZipInfo)
                for name in zipfile.ZipInfo.__slots__:
                    if hasattr(archive.filelist[0], name):
                        setattr(info, name, getattr(archive.filelist[0], name))
                info.filename = info.orig_filename = f"input/a{i:02}.npy"
                archive.filelist.append(info)
            archive._didModify = True
        sign(preset)
        refused(preset, "golden.npz is not used.*more than")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * 2**20


@pytest.mark.backend_independent
def test_bytes_that_are_cut_out(preset):
    whole = (preset / "golden.npz").read_bytes()
    for start in range(0, len(whole), 97):
        (preset / "golden.npz").write_bytes(whole[:start] + whole[start + 11 :])
        sign(preset)
        with pytest.raises(ValueError, match=str(preset)):
            verify_preset(preset)


@pytest.mark.backend_independent
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_arrays_that_are_there_twice(preset):
    content = arrays(preset)
    with zipfile.ZipFile(preset / "golden.npz", "a") as archive:
        archive.writestr(f"{KEY}.npy", npy(content[KEY]))
    sign(preset)
    refused(preset, "two members")
    put(preset, content | {f"{KEY}:bfloat16": content[KEY]})
    refused(preset, "occurs twice")
    content[f"{KEY}:bfloat16"] = content.pop(KEY).astype("float64")
    put(preset, content)
    refused(preset, "not an array of numbers")


@pytest.mark.backend_independent
def test_the_order_of_bytes_is_no_matter(preset):
    put(preset, {k: v.astype(">f4") for k, v in arrays(preset).items()})
    assert verify_preset(preset) == 0.0


@pytest.mark.backend_independent
@pytest.mark.parametrize("number", [True, -5, 0, 2, None, "1"])
def test_formats_that_are_none(preset, number):
    facts(preset, format=number)
    refused(preset, f"has the format {number}")


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "changes, missing",
    [
        ({"symmetry": None}, "symmetry"),
        ({"metrics": [1]}, "metrics"),
        ({"dataset": None}, "dataset"),
    ],
)
def test_figures_that_cannot_be_measured_again(preset, changes, missing):
    given = {"dataset": "nbody_charged", "metrics": {"test_mse": 1.0}}
    facts(preset, **(given | changes))
    with pytest.raises(ValueError, match=rf"lacks \['{missing}'\]"):
        evaluate_preset(preset)
