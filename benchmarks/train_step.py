"""Time of a training step of all models, and of a REMUL step of Transformer.

    OMP_NUM_THREADS=1 KERAS_BACKEND=jax python benchmarks/train_step.py

Equal depth and parameters, interleaved, medians of CPU time, as multiples of
the plain step of Transformer. One step is a `fit` of ten batches divided by
ten, so that what Keras adds to each step counts. Where torch is installed, an
eager step of `torch.nn.TransformerEncoder`, in a bare loop, stands beside them.
Writes train_step.csv and train_step.png.
"""

import argparse
import importlib.util

import keras
import numpy as np

import keras_remul as kr

import _common  # isort: skip

STEPS = 10


def main():
    has_torch = importlib.util.find_spec("torch") is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    _common.add_arguments(parser)
    parser.add_argument("--output", default="train_step", help="file stem")
    arguments = parser.parse_args()
    size = arguments.parameters, arguments.layers
    models = {
        name: _common.make(name, *size)
        for name in _common.available(arguments.models)
    }
    symmetry = kr.datasets.symmetry("nbody_charged")
    models["Transformer, REMUL"] = kr.RemulModel(
        _common.make("Transformer", *size), symmetry
    )
    for model in models.values():
        model.compile(keras.optimizers.Adam(1e-4), "mse")
    if has_torch:
        _, tensor, _, step = _common.torch_encoder(*size)

    def make_functions(batch, nodes):
        x, y = _common.data(batch * STEPS, nodes)
        functions = {
            name: lambda m=m: m.fit(x, y, batch_size=batch, verbose=0)
            for name, m in models.items()
        }
        if has_torch:
            inputs = np.split(tensor(x), STEPS)
            labels = np.split(tensor({"y": y}), STEPS)

            def steps():
                for pair in zip(inputs, labels, strict=True):
                    step(*pair)

            functions["torch encoder"] = steps
        return functions

    _common.run(arguments, make_functions, arguments.output, STEPS)


if __name__ == "__main__":
    main()
