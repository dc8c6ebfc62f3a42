"""The main job in a few minutes: simulate, train, measure, draw, save, load.

Transformers of one size learn where five charged bodies will be one time unit
ahead: with plain training, with data augmentation, with REMUL, and with REMUL
towards the model's own predictions and a larger beta. First they are trained on
systems in all orientations. Then the first three are trained on systems in one
orientation only, and tested on rotated ones.
"""

import math
import pathlib
import time
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from keras_remul import datasets, models
from keras_remul.datasets import registry
from keras_remul.datasets.nbody_charged import splits
from keras_remul.evaluation import evaluate_equivariance
from keras_remul.evaluation.measures import EQUIVARIANCE_ERROR
from keras_remul.presets import from_preset, save_to_preset, verify_preset
from keras_remul.training import RemulModel
from keras_remul.training.weighting import Constant
from keras_remul.utils import atomic
from keras_remul.utils.leaves import to_numpy
from keras_remul.utils.start import is_installed
from keras_remul.version import __version__

DATASET = "nbody_charged"
SPLITS = ("train", "validation", "test")
# Of paths, which may hold what Rich takes for markup.
AS_IT_IS: dict[str, Any] = dict(markup=False, emoji=False, soft_wrap=True)

# Augmentation is alpha = 0, with two rotated copies of each sample in one step:
# as many rows as REMUL.
OBJECTIVES: dict[str, dict[str, Any]] = {
    "plain": dict(alpha=1.0, beta=0.0, target="labels", num_samples=1),
    "augmented": dict(alpha=0.0, beta=1.0, target="labels", num_samples=2),
    "REMUL": dict(alpha=1.0, beta=1.0, target="labels", num_samples=1),
    "REMUL strong": dict(
        alpha=1.0, beta=10.0, target="predictions", num_samples=1
    ),
}
ONE_ORIENTATION = ("plain", "augmented", "REMUL")


def load_data(data_dir=None):
    """The training, validation and test data; (x, y) of each.

    Without TensorFlow Datasets they are simulated, and not kept.

    Args:
        data_dir: folder of the data sets, see `datasets.load`.
    """
    if data_dir is not None or is_installed("tensorflow_datasets"):
        return datasets.load(DATASET, split=list(SPLITS), data_dir=data_dir)
    target, arrays = registry.entry(DATASET).target, splits.simulated()
    return [
        registry.divide(
            {key: a.astype("float32") for key, a in arrays[name].items()},
            target,
        )
        for name in SPLITS
    ]


def align(symmetry, x, y):
    """Rotates each system into one orientation: its own principal axes.

    The axes of inertia of the positions become x, y, z, right-handed. Each
    points to the side of the body that is farthest from the center along it.
    """
    positions = x["positions"] - x["positions"].mean(axis=1, keepdims=True)
    _, axes = np.linalg.eigh(np.swapaxes(positions, 1, 2) @ positions)
    frame = np.swapaxes(axes[:, :, ::-1], 1, 2)  # rows: axes, widest first
    along = positions @ np.swapaxes(frame, 1, 2)  # (B, N, 3)
    farthest = np.abs(along).argmax(axis=1)[:, None]  # (B, 1, 3)
    sign = np.sign(np.take_along_axis(along, farthest, axis=1))
    frame = frame * np.swapaxes(sign, 1, 2)
    frame[:, 2] *= np.linalg.det(frame)[:, None]
    return transform_pair(symmetry, frame.astype("float32"), x, y)


def transform_pair(symmetry, g, x, y):
    """phi(g) x and rho(g) y as NumPy arrays."""
    moved = symmetry.transform_inputs(g, x), symmetry.transform_outputs(g, y)
    return to_numpy(moved)


def train(name, symmetry, data, epochs, seed):
    """Trains one transformer; returns it and the history."""
    (x, y), (x_valid, y_valid) = data
    keras.utils.set_random_seed(seed)
    model = models.Transformer(num_layers=3, hidden_dim=64, num_heads=4)
    objective = OBJECTIVES[name]
    remul = RemulModel(
        model,
        symmetry,
        Constant(objective["alpha"], objective["beta"]),
        target=objective["target"],
        num_samples=objective["num_samples"],
        seed=seed,
    )
    batch_size = 100
    steps = epochs * math.ceil(len(y) / batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=3e-3, warmup_steps=steps // 20
    )
    remul.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-4),
        loss="mse",
        metrics=[keras.metrics.MeanSquaredError("mse")],
    )
    history = remul.fit(
        x,
        y,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=(x_valid, y_valid),
        validation_batch_size=500,
        verbose=0,
        callbacks=[_Progress(name, epochs)],
    )
    return model, history.history


class _Progress(keras.callbacks.Callback):
    """One bar for a training, instead of one for each epoch."""

    def __init__(self, name, epochs):
        super().__init__()
        self.bar = Progress(
            TextColumn(f"{name:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self.task = self.bar.add_task("compiling", total=epochs)

    def on_train_begin(self, logs=None):
        self.bar.start()

    def on_epoch_end(self, epoch, logs: Any = None):
        text = f"validation MSE {logs['val_mse']:.4f}"
        self.bar.update(self.task, advance=1, description=text)

    def on_train_end(self, logs=None):
        self.bar.stop()


def mse(model, x, y):
    return float(np.mean((model.predict(x, verbose=0) - y) ** 2))


def run(output="quickstart_output", epochs=30, seed=0, data_dir=None):
    """Runs everything and writes tables, pictures and a preset.

    Args:
        output: folder for `results.json`, `quickstart.png` and `preset/`.
        epochs: epochs of each of the trainings. Defaults to 30.
        seed: integer seed of the weights, the batches and g. Defaults to 0.
        data_dir: folder of the data sets, see `datasets.load`.

    Returns:
        The results, as written to `results.json`.
    """
    from keras_remul.experiments import figures

    start = time.perf_counter()
    console = Console()
    output = pathlib.Path(output)
    atomic.make_folder(output)
    console.print(
        f"keras_remul {__version__}, Keras {keras.__version__}, backend "
        f"[bold]{keras.backend.backend()}[/bold]"
    )
    console.print("\n[bold]1. Data[/bold]: five charged bodies, simulated")
    symmetry = datasets.symmetry(DATASET)
    training, (x_valid, y_valid), (x, y) = load_data(data_dir)
    some = {key: value[:500] for key, value in x_valid.items()}, y_valid[:500]
    everywhere = training, some
    one_way = align(symmetry, *training), align(symmetry, *some)
    test_one_way = align(symmetry, x, y)
    test_rotated = transform_pair(
        symmetry, symmetry.sample(len(y), seed=1), x, y
    )

    console.print(
        f"\n[bold]2. Training[/bold] on {len(training[1])} systems in all "
        f"orientations, {epochs} epochs each"
    )
    trained, curves, rows = {}, {}, {}
    for name in OBJECTIVES:
        model, curves[name] = train(name, symmetry, everywhere, epochs, seed)
        trained[name] = model
        result = evaluate_equivariance(
            model, x, symmetry, y, num_samples=10, origin=x["positions"]
        )
        rows[name] = {"test_mse": mse(model, x, y), **result}
    console.print(_table_everywhere(rows))

    console.print(
        f"\n[bold]3. Training[/bold] on {len(training[1])} systems in one "
        f"orientation only, {epochs} epochs each"
    )
    one_way_models, one_way_rows = {}, {}
    for name in ONE_ORIENTATION:
        model, _ = train(name, symmetry, one_way, epochs, seed)
        one_way_models[name] = model
        one_way_rows[name] = {
            "test_mse": mse(model, *test_one_way),
            "test_mse_rotated": mse(model, *test_rotated),
        }
    console.print(_table_one_way(one_way_rows))

    console.print("\n[bold]4. Preset[/bold]")
    folder = output / "preset"
    few = {key: value[:16] for key, value in x.items()}
    save_to_preset(
        trained["REMUL"],
        folder,
        x=few,
        metadata=atomic.finite(
            {"dataset": DATASET, "seed": seed, "metrics": rows["REMUL"]}
        ),
    )
    difference = verify_preset(folder)
    again = mse(from_preset(folder), x, y)
    console.print(
        f"Saved to {folder}, loaded back: test MSE {again:.5f}, outputs "
        f"within {difference:.1e} of the stored ones.",
        **AS_IT_IS,
    )
    picture = output / "quickstart.png"
    figure = figures.quickstart_figure(
        curves,
        {name: one_way_models[name] for name in ("plain", "REMUL")},
        symmetry,
        test_one_way,
    )
    atomic.write_figure(picture, figure, dpi=130)
    results = {
        "backend": keras.backend.backend(),
        "epochs": epochs,
        "seed": seed,
        "all_orientations": rows,
        "one_orientation": one_way_rows,
        "preset_test_mse": again,
        "seconds": time.perf_counter() - start,
    }
    atomic.write_json(output / "results.json", atomic.finite(results))
    console.print(
        f"Picture: {picture}. Figures: {output / 'results.json'}.", **AS_IT_IS
    )
    console.print(f"Done in {results['seconds'] / 60:.1f} minutes.")
    return results


def _table_everywhere(rows):
    table = Table(
        title="Test set, all orientations",
        caption=f"{EQUIVARIANCE_ERROR} Relative: divided by the mean "
        "displacement. Orbit variance: the share of the MSE that averaging "
        "over rotations removes.",
    )
    for heading in ("training", "alpha,\nbeta", "target"):
        table.add_column(heading, no_wrap=True)
    for heading in ("test MSE", "E'", "relative\nE'", "orbit\nvariance"):
        table.add_column(heading, justify="right")
    for name, row in rows.items():
        objective = OBJECTIVES[name]
        table.add_row(
            name,
            f"{objective['alpha']:g}, {objective['beta']:g}",
            objective["target"],
            f"{row['test_mse']:.4f}",
            f"{row['equivariance_error']:.3f}",
            f"{row['relative_equivariance_error']:.1%}",
            f"{row['orbit_variance_share']:.1%}",
        )
    return table


def _table_one_way(rows):
    table = Table(title="Trained on one orientation only")
    table.add_column("training")
    table.add_column("test MSE,\nthat orientation", justify="right")
    table.add_column("test MSE,\nrotated at random", justify="right")
    for name, row in rows.items():
        table.add_row(
            name, f"{row['test_mse']:.4f}", f"{row['test_mse_rotated']:.4f}"
        )
    return table
