"""What the processes of one run, on one host or many, have in common."""

import random

import numpy as np


def own_rows(n, index, count):
    """The rows of a batch of n that process `index` of `count` trains on.

    Begins anew at the end, so that all processes have equally many.
    """
    each = -(-n // count)
    return (index * each + np.arange(each)) % n


def generator_states():
    """The states of Python's and NumPy's global generators, `(W,)` uint32.

    By these Keras orders batches and samples. Normal variates that they keep
    for the next call are left out.
    """
    _, key, place, _, _ = np.random.get_state()
    words = [*random.getstate()[1], *key, place]
    return np.array(words, "uint32")


def set_generator_states(states):
    """Puts back what `generator_states` gave."""
    words = [int(word) for word in states]
    version, own, _ = random.getstate()
    random.setstate((version, tuple(words[: len(own)]), None))
    key, place = words[len(own) : -1], words[-1]
    np.random.set_state(("MT19937", np.array(key, "uint32"), place))
