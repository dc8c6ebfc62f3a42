"""Energies and forces of small organic molecules, by GFN2-xTB.

    keras-remul train recipes/xtb_organic.py:NAME

Each step takes 16 molecules through the network: those of `pet_remul` are 8 in
random orientations and the same 8 moved once more. All take 12,600 steps.

Reference: PET, arXiv 2305.19302; REMUL, arXiv 2410.17878.
"""

import objectives

from keras_remul import models, weighting
from keras_remul.experiments import EnergiesAndForces, Recipe


def pet():
    """A point-edge transformer of the neighbors of each atom."""
    return models.Potential(
        models.PointEdgeTransformer.variant("small", readout="nodes")
    )


def egnn():
    """An equivariant network of about as many parameters, as a control."""
    net = models.EGNN(hidden_dim=64, cutoff=5.0, readout="nodes")
    return models.Potential(net, elements=[1, 6, 7, 8, 9])


def one_turned():
    """One copy of each sample, in a random orientation."""
    return dict(objectives.plain(), augment=True)


PLAIN = Recipe(
    dataset="xtb_organic/first",
    model=pet,
    objective=objectives.plain,
    task=EnergiesAndForces(),
    epochs=12,
    batch_size=16,
    learning_rate=2e-3,
    weight_decay=0.0,
    checkpoint_every=1,
)
AUGMENTED = PLAIN.replace(objective=one_turned)

RECIPES = {
    "pet_plain": PLAIN,
    "pet_augmented": AUGMENTED,
    "egnn": PLAIN.replace(
        model=egnn, task=EnergiesAndForces(loss="mse"), learning_rate=5e-3
    ),
    "pet_remul": PLAIN.replace(
        objective=lambda: objectives.remul(
            weighting=weighting.Constant(beta=1.0)
        ),
        epochs=6,
        batch_size=8,
    ),
}
