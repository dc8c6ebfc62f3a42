"""PyTorch: a step changes its variables in place."""

import torch


def matmul(a, b):
    # float32 products are exact unless the user allows TF32.
    return torch.matmul(a, b)


def map_batch(model, fn, args):
    (data,) = args
    return (fn(data),)


def every(model, interval, step, other, args):
    iterations = int(model.optimizer.iterations)
    return step(*args) if iterations % interval == 0 else other(*args)


class TaskGradients:
    def gradient_norms(self, losses, variables):
        values = [v.value for v in variables]
        return torch.stack(
            [
                _norm(torch.autograd.grad(loss, values, retain_graph=True))
                for loss in losses
            ]
        )


def _norm(gradients):
    return torch.sqrt(sum(torch.sum(torch.square(g)) for g in gradients))
