"""Errors of others, said in one line."""

import keras
import numpy as np
import pytest

from keras_remul.utils.causes import cause

pytestmark = pytest.mark.backend_independent


def test_the_first_of_a_chain():
    try:
        try:
            raise ValueError("\n\x1b[96mno such thing\x1b[0m\nlong story")
        except ValueError as error:
            raise RuntimeError("It failed.") from error
    except RuntimeError as error:
        assert cause(error) == "ValueError: no such thing"
    assert cause(OSError()) == "OSError()"


def test_the_sentences_of_keras_and_tensorflow_are_left_out():
    class Wrong(keras.layers.Layer):
        def call(self, x):
            raise ValueError("five is not six")

    with pytest.raises(ValueError) as caught:
        Wrong()(np.ones((2, 3)))
    assert cause(caught.value) == "ValueError: five is not six"
    text = "Graph execution error:\n\nDetected at node a defined at:\nNo eigh\n"
    assert cause(RuntimeError(text)) == "RuntimeError: No eigh"
