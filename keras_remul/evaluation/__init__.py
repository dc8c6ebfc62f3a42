"""How equivariant a model is: over the group, at its identity, by layer.

And how models of motion, potentials and taggers fare.
"""

from typing import TYPE_CHECKING

from keras_remul.utils import late

if TYPE_CHECKING:
    from keras_remul.evaluation.bounds import quantile_bound
    from keras_remul.evaluation.classifiers import evaluate_classifier
    from keras_remul.evaluation.comparison import (
        compare_errors,
        standard_error,
        welch,
    )
    from keras_remul.evaluation.equivariance import evaluate_equivariance
    from keras_remul.evaluation.landscape import loss_landscape
    from keras_remul.evaluation.lie import lie_derivative
    from keras_remul.evaluation.motion.rolling import rollout
    from keras_remul.evaluation.motion.time_step import TimeStep
    from keras_remul.evaluation.orbit import (
        as_function,
        finite_elements,
        walk_orbit,
    )
    from keras_remul.evaluation.potentials import evaluate_potential
    from keras_remul.evaluation.profile import equivariance_profile
    from keras_remul.evaluation.rotations import evaluate_rotations
    from keras_remul.evaluation.tagging import evaluate_tagger

_PLACES = {
    "TimeStep": "keras_remul.evaluation.motion.time_step",
    "as_function": "keras_remul.evaluation.orbit",
    "compare_errors": "keras_remul.evaluation.comparison",
    "equivariance_profile": "keras_remul.evaluation.profile",
    "evaluate_classifier": "keras_remul.evaluation.classifiers",
    "evaluate_equivariance": "keras_remul.evaluation.equivariance",
    "evaluate_potential": "keras_remul.evaluation.potentials",
    "evaluate_rotations": "keras_remul.evaluation.rotations",
    "evaluate_tagger": "keras_remul.evaluation.tagging",
    "finite_elements": "keras_remul.evaluation.orbit",
    "lie_derivative": "keras_remul.evaluation.lie",
    "loss_landscape": "keras_remul.evaluation.landscape",
    "quantile_bound": "keras_remul.evaluation.bounds",
    "rollout": "keras_remul.evaluation.motion.rolling",
    "standard_error": "keras_remul.evaluation.comparison",
    "walk_orbit": "keras_remul.evaluation.orbit",
    "welch": "keras_remul.evaluation.comparison",
}
__getattr__, __dir__ = late.attach(__name__, _PLACES)

__all__ = [
    "TimeStep",
    "as_function",
    "compare_errors",
    "equivariance_profile",
    "evaluate_classifier",
    "evaluate_equivariance",
    "evaluate_potential",
    "evaluate_rotations",
    "evaluate_tagger",
    "finite_elements",
    "lie_derivative",
    "loss_landscape",
    "quantile_bound",
    "rollout",
    "standard_error",
    "walk_orbit",
    "welch",
]
