"""Takes a finished run into the zoo, or makes its lists and cards anew.

    python tools/publish_preset.py runs/my_run --name my_preset \
        --recipe recipes/my_data.py:my_recipe --description "What it is."
    python tools/publish_preset.py

The first form copies `preset/` of the run, measures its latency here and adds
what the card needs; both then write on every card its twins and what its data
set says of units, time and limits, and `manifest.json`.
"""

import argparse
import pathlib
import platform
import re
import shutil
import statistics
import time

import keras
import numpy as np

from keras_remul import datasets
from keras_remul.datasets import registry
from keras_remul.evaluation.measures import summary
from keras_remul.evaluation.tagging import are_tags
from keras_remul.experiments import figures
from keras_remul.models import Potential
from keras_remul.presets import (
    files,
    from_preset,
    golden,
    read_metadata,
    verify_preset,
)
from keras_remul.presets.folder import update_metadata
from keras_remul.utils import atomic
from keras_remul.utils.plain_files import read_json

ZOO = pathlib.Path(__file__).parents[1] / "zoo"
RESULTS = ZOO.parent / "recipes" / "results"
PICTURE = "predictions.png"
OF_POTENTIALS = {
    "energy": "eV, less the reference energies",
    "energy_per_atom": "eV",
    "forces": "eV/Angstrom",
    "stress": "eV/Angstrom^3",
    "mask": "1 for atoms, 0 for padding",
}


def publish(run, name, recipe, description, zoo=ZOO):
    """Copies a run's preset into the zoo, with what only publishing knows."""
    source, target = pathlib.Path(run) / "preset", zoo / name
    verify_preset(source)
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target)
    facts = read_metadata(target)
    figure, text = draw(target, facts)
    builder = registry.builder_class(facts["dataset"])
    update_metadata(
        target,
        description=description,
        picture={"file": PICTURE, "text": text},
        dataset_version=str(builder.VERSION),
        latency=latency(target),
        licenses={
            "code": "Apache-2.0",
            "weights": "Apache-2.0",
            "data": builder.LICENSE,
        },
        training=facts["training"] | {"recipe": recipe},
    )
    figure.savefig(target / PICTURE, dpi=70)
    facts = read_json(target / files.METADATA)
    listed = files.describe(target)
    del listed[files.METADATA]  # which cannot hold its own hash
    facts["files"] = listed
    atomic.write_json(target / files.METADATA, facts)


def draw(target, facts):
    """The picture of the card, from the test split, and what it shows."""
    data = datasets.load(facts["dataset"], split="test", verbose=0)
    model = from_preset(target)
    if isinstance(model, Potential):
        x, y = keras.tree.map_structure(lambda a: a[::20], data)
        figure = figures.potential_figure(model, facts["symmetry"], x, y)
        text = "Errors of forces, and of energies of molecules that are turned"
    elif are_tags(data[1]):
        figure = figures.tagger_figure(model, facts["symmetry"], *data)
        text = "Rejection of background, and logits of jets that are moved"
    else:
        x, y = keras.tree.map_structure(lambda a: a[:3], data)
        figure = figures.predictions_figure(model, facts["symmetry"], x, y)
        text = "Predictions for systems moved by g"
    return figure, text


def latency(path, repeats=30):
    """Median milliseconds of `predict_on_batch`, by what was measured."""
    model = from_preset(path)
    x = golden.restore("input", golden.read(path / files.GOLDEN))
    result = {}
    for batch in (1, 100):
        rows = np.arange(batch) % len(keras.tree.flatten(x)[0])
        some = keras.tree.map_structure(lambda a, rows=rows: a[rows], x)
        seconds = []
        for _ in range(repeats + 3):
            start = time.perf_counter()
            model.predict_on_batch(some)
            seconds.append(time.perf_counter() - start)
        key = (
            f"batch {batch}, {keras.backend.backend()} on one "
            f"{platform.machine()} CPU"
        )
        result[key] = round(1e3 * statistics.median(seconds[3:]), 3)
    return result


def refresh(zoo=ZOO):
    """Writes the twins on each card, and the manifest."""
    names = sorted(file.parent.name for file in zoo.glob(f"*/{files.METADATA}"))
    facts = {name: files.check_files(zoo / name) for name in names}
    for name in names:
        twins = [
            {
                "name": other,
                "parameters": facts[other]["parameters"],
                **compared(facts[other]),
            }
            for other in names
            if other != name
            and facts[other]["dataset"] == facts[name]["dataset"]
        ]
        update_metadata(zoo / name, twins=twins, **of_data(facts[name]))
    atomic.write_json(zoo / "manifest.json", manifest(zoo, names))


def of_data(facts):
    """What the data set of a preset says of its use, and its other seeds."""
    builder = registry.builder_class(facts["dataset"])
    units = {
        key: unit
        for keys, unit in builder.UNITS.items()
        for key in keys.split(", ")
    }
    found = {"limits": " ".join(builder.LIMITS.split())}
    if facts["class"].endswith(">Potential"):
        units |= OF_POTENTIALS
    elif "velocities" in registry.entry(facts["dataset"]).inputs:
        found["horizon"] = datasets.time_step(facts["dataset"]).horizon
    elif "labels" in units:
        units["targets"] = "logit"
    recipe = re.sub(r"recipes/|\.py", "", facts["training"]["recipe"])
    errors = [
        read_json(file).get("test_mse")
        for file in RESULTS.glob(f"{recipe.replace(':', '_')}_seed*.json")
    ]
    if len(errors) > 1 and None not in errors:
        found["seeds"] = {
            "number": len(errors),
            "mean": float(np.mean(errors)),
            "deviation": float(np.std(errors, ddof=1)),
        }
    return found | {"units": units}


def compared(facts):
    """The figures that presets are compared by."""
    return {key: facts["metrics"][key] for key in summary(facts["metrics"])}


def manifest(zoo, names):
    """Hashes and sizes of all files, and what tables of presets show."""
    presets = {}
    for name in names:
        facts = files.check_files(zoo / name)
        shown = {
            key: facts[key]
            for key in ("class", "parameters", "dataset", "description")
        }
        presets[name] = {
            "files": files.describe(zoo / name),
            "summary": {**shown, "metrics": compared(facts)},
        }
    return {"format": files.FORMAT, "presets": presets}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", nargs="?", help="folder of a finished run")
    parser.add_argument("--name", help="of the preset")
    parser.add_argument("--recipe", help="what makes the run: FILE.py:NAME")
    parser.add_argument("--description", help="one sentence for the card")
    arguments = parser.parse_args()
    if arguments.run:
        if not (arguments.name and arguments.recipe and arguments.description):
            parser.error("--name, --recipe and --description are needed")
        publish(
            arguments.run,
            arguments.name,
            arguments.recipe,
            arguments.description,
        )
    refresh()


if __name__ == "__main__":
    main()
