"""How often a step is traced: to trace takes longer than most tests train."""

import keras
import pytest

from keras_remul import RemulModel, Symmetry, groups, models, weighting

INPUTS = {"positions": "point", "velocities": "vector", "charges": "scalar"}


def counting(cls, calls):
    class Counting(cls):
        def train_step(self, *args):
            calls.append(args)
            return super().train_step(*args)

    return Counting


def plain(calls, x):
    cls = counting(models.EGNN, calls)
    model = cls(num_layers=1, hidden_dim=4)
    model.build({key: a.shape for key, a in x.items()})
    return model


def remul(calls, x):
    return counting(RemulModel, calls)(
        models.EGNN(num_layers=1, hidden_dim=4),
        Symmetry(groups.SO3(), INPUTS, "point"),
        weighting.GradNorm(),
    )


@pytest.mark.parametrize("make", [plain, remul])
def test_a_step_is_traced_once(bodies, make):
    """On TensorFlow it was twice where the step made the optimizer's slots."""
    x, y = bodies
    calls, steps = [], 6
    model = make(calls, x)
    model.compile("adam", "mse")
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    eager = keras.backend.backend() == "torch"
    assert len(calls) == (steps if eager else 1)
    assert int(model.optimizer.iterations) == steps
    model.fit(x, y, batch_size=4, verbose=0)
    assert len(calls) == (steps + steps // 2 if eager else 1)
