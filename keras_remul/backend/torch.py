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
    def update_with_gradients(self, losses, measured):
        variables = self.weighting.gradient_variables(self.model)
        values = [v.value for v in variables]
        norms = [
            _norm(torch.autograd.grad(loss, values, retain_graph=True))
            for loss in losses
        ]
        self.weighting.update(
            measured._replace(gradient_norms=torch.stack(norms))
        )


def _norm(gradients):
    return torch.sqrt(sum(torch.sum(torch.square(g)) for g in gradients))
