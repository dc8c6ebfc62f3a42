"""Whether the relation of y to x has a symmetry."""

import numpy as np

_FOLDS = 10
_MOST_PRODUCTS = 700


def cross_validate(data, regressor, num_samples, seed):
    """Mean squared errors of each held-out trial, three arrays.

    Of a regressor fitted to the data, of one fitted to moved data, and of the
    former on moved data.
    """
    rng = np.random.default_rng(seed)
    trials = data.trials
    count = trials.max() + 1
    folds = np.array_split(rng.permutation(count), min(count, _FOLDS))
    features, targets, _ = data.matrices(data.x, data.y)
    if not targets.any():
        raise ValueError(
            "The targets are all zero, points relative to where they start: "
            "there is no relation to test."
        )
    copies = list(data.turned(num_samples, rng.integers(2**31)))
    errors = np.zeros((3, len(trials)))

    def squares(f, features, targets):
        return np.mean((f(features) - targets) ** 2, axis=1)

    for fold in folds:
        held = np.isin(trials, fold)
        kept = ~held
        f = regressor(features[kept], targets[kept], trials[kept])
        turned = regressor(
            np.concatenate([c[0][kept] for c in copies]),
            np.concatenate([c[1][kept] for c in copies]),
            np.tile(trials[kept], num_samples),
        )
        errors[0, held] = squares(f, features[held], targets[held])
        errors[1, held] = squares(turned, features[held], targets[held])
        errors[2, held] = np.mean(
            [squares(f, c[0][held], c[1][held]) for c in copies], axis=0
        )
    # Errors of the size of rounding in float32 are none.
    floor = 1e-12 * np.mean(targets**2)
    return [mean_by_trial(e + floor, trials) for e in errors]


def ridge(features, targets, trials):
    """Ridge regression, its penalty chosen on every third trial.

    min_W ||Y - X W||^2 + n p ||W||^2,  X and Y less their means,

    with p out of 17 values between 1e-8 and 1e4 times the mean variance of a
    feature.

    Args:
        features: X `(n, p)`.
        targets: Y `(n, q)`.
        trials: labels `(n,)`; the penalty is judged on trials that the
            weights have not seen.

    Returns:
        Function from features `(m, p)` to targets `(m, q)`.
    """
    penalties = np.logspace(-8, 4, 17)
    held = np.isin(trials, np.unique(trials)[::3])
    fits = _ridge(features[~held], targets[~held], penalties)
    errors = [np.mean((f(features[held]) - targets[held]) ** 2) for f in fits]
    best = penalties[int(np.argmin(errors))]
    return _ridge(features, targets, [best])[0]


def quadratic_ridge(features, targets, trials):
    """Ridge regression on the features and their products of two.

    It can express relations such as y = x_1 x_3, which a linear one cannot. If
    there are more than 700 products, which is so from 38 features on, 700
    products of random linear combinations replace them.

    Args:
        features, targets, trials: see `ridge`.

    Returns:
        Function from features `(m, p)` to targets `(m, q)`.
    """
    p = features.shape[1]
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-6 * np.abs(mean), spread, 1.0)
    pairs = np.triu_indices(p)
    if len(pairs[0]) > _MOST_PRODUCTS:
        factors = np.random.default_rng(0).normal(size=(2, p, _MOST_PRODUCTS))
        factors /= np.sqrt(p)

    def expanded(x):
        x = (x - mean) / spread
        if len(pairs[0]) > _MOST_PRODUCTS:
            products = (x @ factors[0]) * (x @ factors[1])
        else:
            products = x[:, pairs[0]] * x[:, pairs[1]]
        return np.concatenate([x, products], axis=1)

    f = ridge(expanded(features), targets, trials)
    return lambda x: f(expanded(x))


def _ridge(x, y, penalties):
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, y = x - x_mean, y - y_mean
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    rotated = vectors.T @ (x.T @ y) / len(x)
    values = np.maximum(values, 0.0)

    def fit(penalty):
        shrunk = values + penalty * values.mean() + 1e-300
        weights = vectors @ (rotated / shrunk[:, None])
        return lambda x: (x - x_mean) @ weights + y_mean

    return [fit(penalty) for penalty in penalties]


def mean_by_trial(values, trials):
    return np.bincount(trials, values) / np.bincount(trials)
