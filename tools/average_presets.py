"""The mean of models of finished runs, each aligned, in a folder like a run's.

    python tools/average_presets.py runs/mean runs/first runs/second

What is not a `models.Alignment` yet becomes one: the mean has the symmetry of
the runs exactly, which must be that of an alignment. `tools/publish_preset.py`
takes the folder.
"""

import argparse
import pathlib

import keras

from keras_remul import Alignment, datasets
from keras_remul.models import Ensemble
from keras_remul.models.linear.ridge import aligned
from keras_remul.presets import from_preset, read_metadata, save_to_preset
from keras_remul.presets.evaluate import mean_squared_error, measure
from keras_remul.utils import atomic


def average(runs, output, data_dir=None):
    """Writes `preset/` there, and returns its figures.

    Args:
        runs: folders of finished runs of one data set and symmetry.
        output: the folder.
        data_dir: see `datasets.load`.
    """
    facts = [read_metadata(run / "preset") for run in runs]
    symmetry, dataset = facts[0]["symmetry"], facts[0]["dataset"]
    if {(repr(f["symmetry"]), f["dataset"]) for f in facts} != {
        (repr(symmetry), dataset)
    }:
        raise ValueError(
            "Expected runs of one data set and symmetry. Received: "
            f"{[(f['dataset'], f['symmetry']) for f in facts]}"
        )
    data = datasets.load_all(dataset, data_dir=data_dir)
    models = [from_preset(run / "preset") for run in runs]
    model = Ensemble(
        [
            m
            if isinstance(m, Alignment)
            else aligned(m, symmetry, data["train"][0])
            for m in models
        ]
    )
    x, y = data["validation"]
    model(keras.tree.map_structure(lambda a: a[:1], x))
    metrics = measure(model, symmetry, data, independent=False)
    metrics["validation_mse"] = mean_squared_error(model, x, y)
    metrics = atomic.finite(metrics)
    save_to_preset(
        model,
        output / "preset",
        x={key: value[:16] for key, value in data["test"][0].items()},
        symmetry=symmetry,
        metadata={
            "dataset": dataset,
            "metrics": metrics,
            "training": {"mean of": [run.name for run in runs]},
        },
    )
    return metrics


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("runs", type=pathlib.Path, nargs="+")
    parser.add_argument("--data-dir")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    print(average(arguments.runs, arguments.output, arguments.data_dir))


if __name__ == "__main__":
    main()
