"""Rows and random states that the processes of one run share."""

import random

import numpy as np


def own_rows(n, index, count):
    """The rows of a batch of n that process `index` of `count` trains on.

    Rows repeat at the end, so that all processes have the same number.
    """
    each = -(-n // count)
    return (index * each + np.arange(each)) % n


def generator_states():
    """The states of Python's and NumPy's global generators, `(W,)` uint32.

    Keras uses these generators to order batches and samples. The normal variate
    that each may hold for the next call is omitted.
    """
    _, key, place, _, _ = np.random.get_state()
    words = [*random.getstate()[1], *key, place]
    return np.array(words, "uint32")


def set_generator_states(states):
    """Restores the states that `generator_states` returned."""
    words = [int(word) for word in states]
    version, own, _ = random.getstate()
    random.setstate((version, tuple(words[: len(own)]), None))
    key, place = words[len(own) : -1], words[-1]
    np.random.set_state(("MT19937", np.array(key, "uint32"), place, 0, 0.0))
