"""Plain transformer on atoms that corrects ridge regression.

    keras-remul train recipes/xtb_md_transformer_plain_ridge.py

Test MSE: aspirin 0.0323, ethanol 0.0538, naphthalene 0.000422, uracil 0.000818
(1 seed; 1 min on one CPU core, JAX).
Reference: REMUL, arXiv 2410.17878.
"""

from xtb_md_transformer_plain import RECIPE as ALONE

from keras_remul import models, ridge


def on_ridge(recipe, **kwargs):
    """The recipe, with its network on top of aligned ridge regression."""
    return recipe.replace(
        model=lambda: models.Correction(
            ridge.make(recipe.symmetry(), time_unit=50.0),
            recipe.model(),
            **kwargs,
        )
    )


RECIPE = on_ridge(ALONE)
