"""What sets alpha and beta."""

import keras


class LossWeighting(keras.layers.Layer):
    """alpha and beta of L = alpha L_obj + beta L_equi, at each step.

    To add one, give `call`. State that changes while training belongs in
    variables made in `__init__` with `self.add_weight(..., trainable=False)`:
    it is then saved, loaded and carried through compiled steps like that of
    any layer.

    Call arguments:
        objective: L_obj of the batch, a scalar.
        equivariance: L_equi of the batch, a scalar.
        training: False in `evaluate`, where no state may change.

    Returns:
        (alpha, beta), scalars.
    """

    def __init__(self, **kwargs):
        # Losses are float32 whatever the precision of the model.
        super().__init__(autocast=False, **kwargs)
        self.built = True

    @property
    def uses_equivariance(self):
        """False where beta is always 0: the second task is then left out."""
        return True

    def call(self, objective, equivariance, training=False):
        raise NotImplementedError
