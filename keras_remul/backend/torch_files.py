"""Files of weights that PyTorch wrote, read on any backend."""

import io

import numpy as np


def read_weights(raw):
    """The arrays in a file of `torch.save`, by their names, in float32.

    Only tensors and plain containers are read: no code of the file runs.

    Args:
        raw: the bytes of the file.

    Raises:
        ValueError: it holds something else than a dict of tensors.
        ImportError: PyTorch is not installed.
        Exception: other errors of PyTorch about files that it does not read.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Weights of PyTorch are read by PyTorch, on any backend: pip "
            "install torch"
        ) from error
    state = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not all(
        isinstance(a, torch.Tensor) for a in state.values()
    ):
        raise ValueError("Expected a dict of tensors, a state dict.")
    return {
        str(key): np.asarray(a.to(torch.float32)) for key, a in state.items()
    }
