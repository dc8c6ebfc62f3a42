"""PyTorch: a step changes its variables in place."""

import torch


def matmul(a, b):
    # float32 products are exact unless the user allows TF32.
    return torch.matmul(a, b)


def map_batch(model, fn, args):
    (data,) = args
    return (fn(data),)
