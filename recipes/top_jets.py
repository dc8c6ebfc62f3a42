"""Jets of top quarks against those of light quarks and gluons.

    keras-remul train recipes/top_jets.py:NAME

Each step takes 100 jets through the network: those of `transformer_remul` are
50 and the same 50 moved, boosted along the beam and turned about it. All take
the same number of steps. The data are simulated: `pip install
"keras-remul[jets]"`.

Reference: ParT, arXiv 2202.03772; REMUL, arXiv 2410.17878.
"""

import functools

import objectives

from keras_remul import Symmetry, groups, models, weighting
from keras_remul.experiments import Recipe, Tagging

JETS = ({"four_momenta": "four_vector"}, "scalar")


def collider():
    """Boosts along the beam and rotations about it."""
    beam = {"boost": groups.Boosts("z"), "turn": groups.SO2("z")}
    return Symmetry(beam, *JETS)


def lorentz():
    """What the label, but not the selection of jets, is invariant to."""
    return {"lorentz": Symmetry(groups.Lorentz(0.5), *JETS)}


def transformer(**kwargs):
    """A transformer of the constituents, with features of their pairs."""
    return models.JetTransformer(head_dim=64, constituents=30, **kwargs)


PLAIN = Recipe(
    dataset="top_jets/pythia",
    symmetry=collider,
    model=transformer,
    objective=objectives.plain,
    task=Tagging(),
    epochs=10,
    batch_size=100,
    learning_rate=5e-3,
    weight_decay=0.01,
    checkpoint_every=1,
    moved_by=lorentz,
)

RECIPES = {
    "transformer_plain": PLAIN,
    "transformer_augmented": PLAIN.replace(objective=objectives.augmented_once),
    "transformer_remul": PLAIN.replace(
        objective=lambda: objectives.remul(
            weighting=weighting.Constant(beta=1.0)
        ),
        epochs=5,
        batch_size=50,
    ),
    "lorentz": PLAIN.replace(
        model=functools.partial(transformer, invariance="lorentz")
    ),
}
