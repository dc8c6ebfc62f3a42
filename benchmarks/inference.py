"""Time of inference of all models, as multiples of that of Transformer.

    OMP_NUM_THREADS=1 KERAS_BACKEND=jax python benchmarks/inference.py

Equal depth and parameters, calls interleaved, medians of CPU time. Each model
runs as under `predict`: compiled on JAX and TensorFlow, eager on torch. Where
torch is installed, an eager `torch.nn.TransformerEncoder` stands beside them.
Writes inference.csv and inference.png.
"""

import argparse
import importlib.util

from keras import ops

import _common  # isort: skip


def main():
    has_torch = importlib.util.find_spec("torch") is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    _common.add_arguments(parser)
    parser.add_argument("--output", default="inference", help="file stem")
    arguments = parser.parse_args()
    size = arguments.parameters, arguments.layers
    models = {
        name: _common.make(name, *size)
        for name in _common.available(arguments.models)
    }
    predict = {name: _common.inference(m) for name, m in models.items()}
    if has_torch:
        _, tensor, encoder, _ = _common.torch_encoder(*size)

    def make_functions(batch, nodes):
        x, _ = _common.data(batch, nodes)
        tensors = {k: ops.convert_to_tensor(a) for k, a in x.items()}
        functions = {
            name: lambda f=f: f(tensors) for name, f in predict.items()
        }
        if has_torch:
            inputs = tensor(x)
            functions["torch encoder"] = lambda: encoder(inputs)
        return functions

    _common.run(arguments, make_functions, arguments.output)


if __name__ == "__main__":
    main()
