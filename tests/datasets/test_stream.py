"""Streams: their order, data in several files, what each process reads."""

import pickle
import tracemalloc

import keras
import numpy as np
import pytest

from keras_remul import datasets
from keras_remul.backend import devices
from keras_remul.backend.devices import processes
from keras_remul.datasets.batches import BLOCK, WINDOW, Batches, Order
from keras_remul.datasets.nbody_gravity.builder import NbodyGravityConfig


def rows(sizes, **arguments):
    """A stream whose y are the numbers of the rows, of shards of such sizes."""
    places = np.split(np.arange(sum(sizes), dtype="float32"), np.cumsum(sizes))
    shards = [
        {"x": np.stack([p, -p], axis=1), "y": p[:, None]} for p in places[:-1]
    ]
    settings = dict(batch_size=6, shuffle=True, seed=0)
    return Batches(shards, "y", **{**settings, **arguments})


def read(batches):
    """The rows in the order of an epoch; x and y belong together."""
    found = [batches[i] for i in range(len(batches))]
    for x, y in found:
        np.testing.assert_array_equal(x["x"][:, :1], y)
        np.testing.assert_array_equal(x["x"][:, 1:], -y)
    return np.concatenate([y for _, y in found])[:, 0]


@pytest.mark.parametrize(
    "size",
    [1, BLOCK - 1, BLOCK, BLOCK + 1, 10 * BLOCK + 7]
    + [BLOCK * WINDOW + n for n in (-1, 0, 1, BLOCK, 3 * BLOCK + 5)],
)
def test_an_order_has_each_row_once(size):
    found = Order(size, [0, 0]).rows(0, size)
    np.testing.assert_array_equal(np.sort(found), np.arange(size))
    other = Order(size, [0, 1]).rows(0, size)
    assert size == 1 or not np.array_equal(found, other)
    # A part alone is that part, also across windows.
    first, last = size // 3, size - size // 4
    np.testing.assert_array_equal(
        Order(size, [0, 0]).rows(first, last), found[first:last]
    )


def test_an_order_mixes_what_lies_apart_and_reads_it_once():
    size = 3 * BLOCK * WINDOW
    found = Order(size, [0, 0]).rows(0, size)
    # Neighbors are no neighbors any more, and a batch comes from all over.
    assert np.mean(np.abs(np.diff(found)) == 1) < 1e-3
    assert np.std(found[:100]) > 0.2 * size
    # A block of the disk is done with after one window.
    blocks = [set(part // 4096) for part in np.split(found, 3)]
    halves = [set(part // BLOCK) for part in np.split(found, 3)]
    assert all(len(b) > 40 for b in blocks)
    assert max(len(a & b) for a in halves for b in halves if a is not b) < (
        2 * WINDOW
    )
    assert max(len(h) for h in halves) <= 2 * WINDOW


def test_the_order_of_a_billion_rows_fits_into_little_memory():
    tracemalloc.start()
    found = Order(10**9, [0, 0]).rows(5 * 10**8, 5 * 10**8 + 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(found)) == 100 and peak < 100e6


@pytest.mark.parametrize("sizes", [[30], [7, 11, 12], [1, 0, 29]])
def test_shards_are_one_data_set(sizes):
    expected = read(rows([30]))
    assert not np.array_equal(expected, np.arange(30))
    np.testing.assert_array_equal(read(rows(sizes)), expected)
    np.testing.assert_array_equal(
        read(rows(sizes, shuffle=False)), np.arange(30)
    )


@pytest.mark.parametrize(
    "other",
    [
        {"x": np.zeros((3, 2))},
        {"x": np.zeros((3, 1)), "y": np.zeros((3, 1))},
        {"x": np.zeros((3, 2), "float32"), "y": np.zeros((3, 1))},
    ],
)
def test_shards_of_other_features(other):
    first = {"x": np.zeros((3, 2)), "y": np.zeros((3, 1))}
    with pytest.raises(ValueError, match="the same features"):
        Batches([first, other], "y", 2, True, 0)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("size", [30, 29])
def test_each_process_reads_its_part(monkeypatch, size, count):
    expected = rows([11, size - 11])
    parts = []
    for index in range(count):
        batches = rows([11, size - 11])
        monkeypatch.setattr(
            devices, "process", lambda place=(index, count): place
        )
        parts.append([batches[i] for i in range(len(batches))])
    monkeypatch.setattr(devices, "process", lambda: (0, 1))
    for i in range(len(expected)):
        x, y = expected[i]
        for index in range(count):
            own = processes.own_rows(len(y), index, count)
            found_x, found_y = parts[index][i]
            np.testing.assert_array_equal(found_y[own], y[own])
            np.testing.assert_array_equal(found_x["x"][own], x["x"][own])
            # The rest was not read.
            assert (
                np.isfinite(found_y).sum()
                == len(set(own))
                <= (-(-len(y) // count))
            )
        all_own = [processes.own_rows(len(y), j, count) for j in range(count)]
        assert set(np.concatenate(all_own)) == set(range(len(y)))


def test_processes_need_a_seed_and_evaluate_everything(monkeypatch):
    monkeypatch.setattr(devices, "process", lambda: (1, 2))
    with pytest.raises(ValueError, match="`seed` of a stream must be given"):
        rows([30], seed=None)[0]
    ordered = rows([30], seed=None, shuffle=False)
    np.testing.assert_array_equal(read(ordered), np.arange(30))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(batch_size=0), "`batch_size` must be an integer, at least 1"),
        (dict(batch_size=True), "`batch_size` must be an integer"),
        (dict(seed=-1), "`seed` must be an integer, at least 0"),
        (dict(seed=1.5), "`seed` must be an integer"),
        (dict(seed="a"), "`seed` must be an integer"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        rows([30], **arguments)


def test_batches_are_counted_from_the_end_too():
    assert rows([30], batch_size=np.int64(7)).batch_size == 7
    for shuffle in (True, False):
        batches = rows([30], shuffle=shuffle)
        np.testing.assert_array_equal(batches[-1][1], batches[4][1])
        with pytest.raises(IndexError):
            batches[5]
    with pytest.raises(ValueError, match="must hold a sample"):
        rows([0])


def test_without_a_seed_orders_differ_but_copies_agree():
    first, second = rows([500], seed=None), rows([500], seed=None)
    assert not np.array_equal(read(first), read(second))
    copy = pickle.loads(pickle.dumps(first))  # as worker processes get it
    np.testing.assert_array_equal(read(copy), read(first))


class Spy(Batches):
    def __getitem__(self, index):
        batch = super().__getitem__(index)
        self.seen.append((self.epoch, index, batch[1][0, 0]))
        return batch


def test_a_run_goes_on_with_the_orders_that_were_left():
    def train(epochs, done=0):
        shard = rows([24]).shards[0]
        batches = Spy([shard], "y", 6, True, 0)
        batches.seen, batches.epoch = [], done
        inputs = {"x": keras.Input((2,), name="x")}
        model = keras.Model(inputs, keras.layers.Dense(1)(inputs["x"]))
        model.compile("sgd", "mse")
        model.fit(
            batches,
            shuffle=False,
            initial_epoch=done,
            epochs=epochs,
            verbose=0,
        )
        return {seen for seen in batches.seen if seen[0] > done}

    # The first of its items stand for the batches.
    whole, second = train(epochs=3), train(epochs=3, done=2)
    assert len(whole) == 12 and len(second) == 4
    assert second == {seen for seen in whole if seen[0] == 3}


def test_several_data_sets(tmp_path):
    configs = [
        NbodyGravityConfig(name=f"s{i}", train=5 + i, validation=2, test=2)
        for i in range(2)
    ]
    arguments = dict(data_dir=tmp_path, verbose=0)
    batches = datasets.stream(
        "nbody_gravity",
        "train+test[:1]",
        config=configs,
        shuffle=False,
        **arguments,
    )
    expected = [
        datasets.load("nbody_gravity", split, config=config, **arguments)
        for config in configs
        for split in ("train", "test[:1]")
    ]
    x, y = batches[0]
    np.testing.assert_array_equal(y, np.concatenate([e[1] for e in expected]))
    np.testing.assert_array_equal(
        x["masses"], np.concatenate([e[0]["masses"] for e in expected])
    )
    with pytest.raises(ValueError, match="the same features"):
        more = NbodyGravityConfig(
            name="more", train=5, validation=2, test=2, planets=4
        )
        datasets.stream("nbody_gravity", config=[configs[0], more], **arguments)
    with pytest.raises(ValueError, match="must not be empty"):
        datasets.stream([], **arguments)
    with pytest.raises(ValueError, match="the same target"):
        datasets.stream(["nbody_gravity/tiny", "top_jets"], **arguments)
