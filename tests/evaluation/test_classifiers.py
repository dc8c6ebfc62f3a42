"""Accuracy and agreement of classifiers of moved inputs."""

import numpy as np
import pytest

import keras_remul as kr

pytestmark = pytest.mark.backend_independent

SYMMETRY = kr.Symmetry(kr.groups.Cyclic(4), "image", "scalar")


def corner(x):
    """The class is the corner with the largest value."""
    x = np.asarray(x)
    return np.stack([x[:, i, j, 0] for i in (0, -1) for j in (0, -1)], axis=-1)


def brightness(x):
    """Invariant: whether the mean is above zero."""
    mean = np.asarray(x).mean((1, 2, 3))
    return np.stack([-mean, mean], axis=-1)


@pytest.fixture
def images(rng):
    return rng.normal(size=(8, 4, 4, 1)).astype("float32")


def test_a_classifier_that_turns_agrees_only_with_itself(images):
    images[:, 0, 0] = 9.0
    figures = kr.evaluate_classifier(corner, images, SYMMETRY, np.zeros(8, int))
    # The identity is one of the four elements.
    assert figures["agreement"] == figures["moved_accuracy"] == 0.25
    assert figures["accuracy"] == 1.0
    assert figures["symmetrized_accuracy"] == 1.0  # all equal: the first


def test_an_invariant_classifier_agrees(images):
    y = np.eye(2)[(images.mean((1, 2, 3)) > 0).astype(int)]
    figures = kr.evaluate_classifier(brightness, images, SYMMETRY, y)
    assert set(figures.values()) == {1.0} and len(figures) == 4
    alone = kr.evaluate_classifier(brightness, images, SYMMETRY)
    assert alone == {"agreement": 1.0}


@pytest.mark.parametrize(
    "f, y, message",
    [
        (brightness, np.full(8, 2), "`y` must hold 8 integers from 0 to 1"),
        (brightness, np.zeros(8), "`y` must hold.*float64"),
        (lambda x: brightness(x)[:, :1], None, r"two classes.*\(8, 1\)"),
        (lambda x: brightness(x) * np.nan, None, "NaN"),
    ],
)
def test_what_is_no_classifier(images, f, y, message):
    with pytest.raises(ValueError, match=message):
        kr.evaluate_classifier(f, images, SYMMETRY, y)
