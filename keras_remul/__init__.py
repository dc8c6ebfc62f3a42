"""Keras models that are as equivariant as you ask, on three backends."""

import keras_remul.utils.start  # noqa: F401  chooses the backend of Keras

# isort: split
from keras_remul import (
    datasets,
    distribution,
    graphs,
    groups,
    layers,
    models,
    representations,
)
from keras_remul.evaluation import (
    TimeStep,
    callbacks,
    compare_errors,
    equivariance_profile,
    evaluate_classifier,
    evaluate_equivariance,
    evaluate_potential,
    evaluate_rotations,
    lie_derivative,
    loss_landscape,
    rollout,
    testing,
    visualization,
)
from keras_remul.evaluation.search import find_symmetry
from keras_remul.models.linear import ridge
from keras_remul.models.linear.blending import blend_with_ridge
from keras_remul.models.wrappers.alignment import Alignment
from keras_remul.models.wrappers.frames import Canonicalization, FrameAveraging
from keras_remul.models.wrappers.symmetrized import symmetrize
from keras_remul.presets import (
    ase,
    download_preset,
    from_preset,
    list_presets,
    save_to_preset,
    upload_preset,
    verify_preset,
)
from keras_remul.presets.compiling import compiled
from keras_remul.presets.describe import describe_preset
from keras_remul.presets.evaluate import compare_presets, evaluate_preset
from keras_remul.presets.exporting import export
from keras_remul.symmetry import Symmetry
from keras_remul.training import RemulModel, losses, metrics, weighting
from keras_remul.version import __version__

__all__ = [
    "Alignment",
    "Canonicalization",
    "FrameAveraging",
    "RemulModel",
    "Symmetry",
    "TimeStep",
    "__version__",
    "ase",
    "blend_with_ridge",
    "callbacks",
    "compare_errors",
    "compare_presets",
    "compiled",
    "datasets",
    "describe_preset",
    "distribution",
    "download_preset",
    "equivariance_profile",
    "evaluate_classifier",
    "evaluate_equivariance",
    "evaluate_potential",
    "evaluate_preset",
    "evaluate_rotations",
    "export",
    "find_symmetry",
    "from_preset",
    "graphs",
    "groups",
    "layers",
    "lie_derivative",
    "list_presets",
    "loss_landscape",
    "losses",
    "metrics",
    "models",
    "representations",
    "ridge",
    "rollout",
    "save_to_preset",
    "symmetrize",
    "testing",
    "upload_preset",
    "verify_preset",
    "visualization",
    "weighting",
]
