"""`load`: a data set as NumPy arrays, whichever backends are installed."""

from __future__ import annotations

import contextlib
import io
import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_remul.datasets import manifest, reader, registry
from keras_remul.utils.start import is_installed
from keras_remul.utils.typing import StrPath

if TYPE_CHECKING:
    import keras


def _file_format():
    """tfrecord can be read by everyone, written only with TensorFlow."""
    if is_installed("tensorflow"):
        return "tfrecord"
    if is_installed("array_record"):
        return "array_record"
    raise registry.needs_extra(
        "Preparing a data set without TensorFlow (on Windows: install that)",
        "array_record",
    )


@contextlib.contextmanager
def _quiet(verbose):
    """Switches bars and messages of TFDS off where `verbose` is 0."""
    import tensorflow_datasets as tfds

    from keras_remul.datasets.builder import shows_progress

    if verbose:
        yield
        return
    shown = shows_progress()
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.display_progress_bar(shown)


@contextlib.contextmanager
def errors_only():
    """Hides the warnings of TFDS about folders that do not exist yet."""
    from absl import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _check_split(split, valid):
    """Raises ValueError for an unknown split name; slices are left to TFDS."""
    if not isinstance(split, str):
        return
    for part in split.split("+"):
        split_name = re.sub(r"\[.*\]\s*$", "", part).strip()
        if split_name not in (*valid, "all"):
            raise registry.nearest("split", split, valid)


def builder_maker(name, config=None, data_dir=None):
    """A function that makes the TFDS builder of `"name"` or `"name/config"`.

    Raises:
        ValueError: for an unknown name or configuration, or two configurations.
            The function itself raises it if the metadata of TFDS are damaged.
        ImportError: without the extra `datasets`.
    """
    _, in_name = registry.split_name(name)
    cls = registry.builder_class(name)
    if in_name is not None:
        if config is not None:
            raise ValueError(
                "Pass the configuration in `name` or as `config`, not both. "
                f"Received: name={name!r}, config={config!r}"
            )
        config = in_name
    if isinstance(config, str) and config not in cls.builder_configs:
        raise registry.nearest("config", config, cls.builder_configs)

    def make():
        from google.protobuf import json_format

        try:
            return cls(config=config, data_dir=data_dir)
        except (
            json_format.ParseError,
            AssertionError,
            OSError,
            UnicodeDecodeError,
        ) as error:
            raise ValueError(
                f"The dataset_info.json of {name!r} with the configuration "
                f"{getattr(config, 'name', config)!r}, version {cls.VERSION}, "
                f"in {data_dir or 'the folder of TFDS'} is damaged: {error} "
                "Remove the folder of this data set and load it again: it "
                "will be prepared anew."
            ) from error

    return make


def _prepare(make_builder, manual_dir, verbose):
    """Prepares the data set; leaves nothing behind if this fails."""
    import tensorflow_datasets as tfds

    builder = make_builder()
    settings = tfds.download.DownloadConfig(manual_dir=manual_dir)
    try:
        with _quiet(verbose):
            builder.download_and_prepare(
                download_config=settings, file_format=_file_format()
            )
    except OSError:
        # Another process may have finished the same data set meanwhile.
        builder = make_builder()
        if not builder.is_prepared():
            raise
    return make_builder()


def _older(builder):
    """A sentence about data that earlier releases prepared, or ""."""
    folder = pathlib.Path(builder.data_dir).parent
    found = sorted(path.name for path in folder.glob("[0-9]*.[0-9]*.[0-9]*"))
    if not found:
        return ""
    return (
        f" {folder} holds the versions {', '.join(found)}; from 1.1.1 on the "
        "hashes of the arrays are kept, so that changed files are "
        "detected."
    )


def _prepared(name, splits, config, data_dir, manual_dir, download, verbose):
    """The builder, prepared; checks the names of the splits first."""
    make_builder = builder_maker(name, config, data_dir)
    with errors_only():
        builder = make_builder()
        for split in splits:
            _check_split(split, builder.split_names)
        if not builder.is_prepared():
            if pathlib.Path(builder.data_dir).exists():
                raise manifest.missing("dataset_info.json", builder)
            if not download:
                raise FileNotFoundError(
                    f"The data set {name!r} is not prepared in "
                    f"{builder.data_dir}, and download=False. Call "
                    f"`load({name!r}, download=True)` once, or pass "
                    f"`data_dir`.{_older(builder)}"
                )
            builder = _prepare(make_builder, manual_dir, verbose)
    return builder


def load(
    name: str,
    split: Any = "train",
    config: Any = None,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
    download: bool = True,
    verbose: int | bool = 1,
) -> Any:
    """Loads a data set as NumPy arrays; prepares it at the first call.

    TFDS keeps the data set under `data_dir` and writes it there in one step: an
    interrupted preparation leaves no partial data set. Works on each backend,
    without TensorFlow; TensorFlow Datasets is needed, from the extra
    `datasets`. With TensorFlow, TFDS writes TFRecords, which `tfds.load` reads;
    without it, ArrayRecords, which `tfds.data_source` reads. This function
    reads the arrays beside them.

    Args:
        name: name of a data set, see `list_datasets`; with a configuration,
            `"name/config"`, as in TFDS.
        split: split in the syntax of TFDS, such as `"train"`,
            `"train[:100]"`, `"test[50%:]"` or `"train+validation"`, or a
            `tfds.core.ReadInstruction`, or a list of these. Defaults to
            `"train"`.
        config: name of a configuration of the builder, or a
            `tfds.core.BuilderConfig`. Defaults to the one in `name`, or to the
            first.
        data_dir: folder of the data sets. Defaults to that of TFDS: the
            environment variable `TFDS_DATA_DIR`, or `~/tensorflow_datasets`.
        manual_dir: folder of files that you downloaded by hand, for data sets
            that need them. Defaults to `downloads/manual` in `data_dir`.
        download: whether to prepare (download or simulate) a data set that is
            not prepared yet. Defaults to True.
        verbose: 0 for no progress bar and no messages. Defaults to 1.

    Returns:
        `(x, y)`: x is a dict of arrays with a leading sample axis, y an array,
        or a dict of arrays where there are several targets. A list of such
        pairs where `split` is a list.

    Raises:
        ValueError: for an unknown name, split or configuration; if a file of
            the prepared data set is missing or was changed (rows, shape, dtype
            and sha256 are compared); if the data were prepared with another
            configuration of the same name; if a source file is faulty.
        FileNotFoundError: the data set is not prepared and `download` is False,
            or a file that must be downloaded by hand is missing.
        ImportError: without `pip install "keras-remul[datasets]"`.

    Example:

    >>> x, y = keras_remul.datasets.load("nbody_charged", split="test[:100]")
    >>> x["positions"].shape, y.shape
    ((100, 5, 3), (100, 5, 3))
    >>> x, y = keras_remul.datasets.load("nbody_gravity/remul", "test_ood")
    """
    splits = split if isinstance(split, (list, tuple)) else [split]
    builder = _prepared(
        name, splits, config, data_dir, manual_dir, download, verbose
    )
    target = registry.entry(name).target
    pairs = [
        registry.divide(reader.read(builder, one), target) for one in splits
    ]
    return pairs if isinstance(split, (list, tuple)) else pairs[0]


def load_all(name: str, **kwargs: Any) -> dict[str, tuple[Any, Any]]:
    """All splits of a data set, a dict of their names to (x, y).

    Args:
        name: as for `load`.
        **kwargs: those of `load`, except `split`.

    Example:

    >>> data = keras_remul.datasets.load_all("nbody_gravity/remul")
    >>> list(data)
    ['train', 'validation', 'test', 'test_ood']
    """
    data_dir = kwargs.get("data_dir")
    make_builder = builder_maker(name, kwargs.get("config"), data_dir)
    with errors_only():
        splits = list(make_builder().split_names)
    pairs = load(name, splits, **kwargs)
    return dict(zip(splits, pairs, strict=True))


def stream(
    name: str | Sequence[str],
    split: Any = "train",
    batch_size: int = 100,
    shuffle: bool = True,
    seed: int | None = None,
    config: Any = None,
    data_dir: StrPath | None = None,
    manual_dir: StrPath | None = None,
    download: bool = True,
    verbose: int | bool = 1,
    **kwargs: Any,
) -> keras.utils.PyDataset:
    """Batches of a data set for `fit`, read from disk as they are needed.

    For data sets that do not fit into memory or into one data set. Works on
    each backend. A stream shuffles its samples itself: call `fit(batches,
    shuffle=False)`, so that Keras does not shuffle the batches again.

    With several processes, on one host or many, each process reads only the
    part of a shuffled batch that it trains on, and has NaN for the rest; the
    order is that of one process. For `evaluate` and validation use
    `shuffle=False`; each process then reads all samples.

    To resume a run at epoch k, set `batches.epoch = k` and call `fit(batches,
    initial_epoch=k, ...)`.

    Args:
        name: as for `load`, or a list of such names, streamed as one data set.
        split: as for `load`, such as `"train"` or `"train[:50%]+validation"`.
        batch_size: samples of a batch; the last one may have fewer. Defaults
            to 100.
        shuffle: whether the order of samples is random, and different in each
            epoch: blocks of 256 samples are shuffled, then the samples within
            256 such blocks. Defaults to True.
        seed: integer seed of the orders. Defaults to a random one.
        config: as for `load`, or a list of configurations, as with `name`.
        data_dir, manual_dir, download, verbose: as for `load`.
        **kwargs: `workers`, `use_multiprocessing` and `max_queue_size` of
            `keras.utils.PyDataset`.

    Returns:
        A `keras.utils.PyDataset` of batches (x, y).

    Raises:
        ValueError: as `load`; for a `batch_size` below 1; for data sets with
            different features; and, while reading, if several processes read
            without a `seed`.
        FileNotFoundError, ImportError: as `load`.

    Example:

    >>> batches = keras_remul.datasets.stream("nbody_gravity/gatr", seed=0)
    >>> remul.fit(batches, shuffle=False, epochs=10)
    """
    from keras_remul.datasets.batches import Batches

    names = name if isinstance(name, (list, tuple)) else [name]
    configs = config if isinstance(config, (list, tuple)) else [config]
    if not names or not configs:
        raise ValueError(
            "Arguments `name` and `config` must not be empty lists. Received: "
            f"name={name!r}, config={config!r}"
        )
    targets = {registry.entry(one).target for one in names}
    if len(targets) > 1:
        raise ValueError(
            "Argument `name`: what is streamed together must have the same "
            f"target. Received: name={name!r} with the targets "
            f"{sorted(map(str, targets))}"
        )
    shards = []
    for one in names:
        for kind in configs:
            builder = _prepared(
                one, [split], kind, data_dir, manual_dir, download, verbose
            )
            shards += reader.parts(builder, split)
    (target,) = targets
    return Batches(shards, target, batch_size, shuffle, seed, **kwargs)
