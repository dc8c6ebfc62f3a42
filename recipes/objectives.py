"""The objectives that twins differ in."""

from keras_remul import weighting


def plain():
    """No symmetry."""
    return dict(weighting=weighting.Constant(beta=0.0))


def augmented():
    """Two moved copies of each sample in one step."""
    return dict(
        weighting=weighting.Constant(alpha=0.0, beta=1.0), num_samples=2
    )


def augmented_once():
    """One moved copy of each sample, and nothing else: one row a sample."""
    return dict(weighting=weighting.Constant(beta=0.0), augment=True)


def remul(**kwargs):
    """Predictions for the sample moved by g, and by one more, are alike."""
    return dict(target="predictions", augment=True, **kwargs)


# REMUL as in the paper: the sample as it is, and the labels moved by g.
labels = dict
