"""A network and ridge regression, averaged."""

import numpy as np

from keras_remul.datasets.baselines import Ridge, fit_time
from keras_remul.models.ensemble import Ensemble
from keras_remul.models.linear_nodes import LinearNodes

SHARES = np.linspace(0.0, 1.0, 21)


def blend_with_ridge(model, train, validation):
    """The mean of a trained network and of ridge regression.

    From few samples both overfit, each in its way, so that their mean may be
    better than either. The penalty of the regression, and then the share of
    the network, are those of the smallest error on validation data.

    Args:
        model: trained `NodeModel` of positions, such as `Transformer`.
        train, validation: (x, y), with `"positions"` and `"velocities"`
            `(S, N, D)` in x, and nodes that come in a fixed order.

    Returns:
        An `Ensemble` of `model` and a `LinearNodes`.
    """
    x, y = train
    time = fit_time(x, y)
    ridge = Ridge(time, model.time_unit, intercept=True).fit(train, validation)
    linear = LinearNodes(model.length_unit, model.time_unit)
    linear({key: value[:1] for key, value in x.items()})
    linear.linear.kernel.assign(ridge.weights)
    linear.linear.bias.assign(ridge.intercept / model.length_unit)
    linear.velocity_scale.assign(time / model.time_unit)
    x, y = validation
    predictions = [m.predict(x, verbose=0) for m in (model, linear)]
    errors = [
        np.mean(
            (share * predictions[0] + (1 - share) * predictions[1] - y) ** 2
        )
        for share in SHARES
    ]
    share = float(SHARES[np.argmin(errors)])
    return Ensemble([model, linear], [share, 1.0 - share])
