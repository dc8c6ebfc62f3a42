"""Keras models that are as equivariant as you ask, on three backends."""

from typing import TYPE_CHECKING

from keras_remul.utils import late, start
from keras_remul.version import __version__

if not start.is_command():
    start.begin()
    # Classes for Keras, methods for models. The command does it when it runs.
    import keras_remul.presets.methods  # noqa: F401

if TYPE_CHECKING:
    from keras_remul import (
        datasets,
        distribution,
        graphs,
        groups,
        layers,
        models,
        representations,
    )
    from keras_remul.evaluation import callbacks, testing, visualization
    from keras_remul.evaluation.classifiers import evaluate_classifier
    from keras_remul.evaluation.comparison import compare_errors
    from keras_remul.evaluation.equivariance import evaluate_equivariance
    from keras_remul.evaluation.landscape import loss_landscape
    from keras_remul.evaluation.lie import lie_derivative
    from keras_remul.evaluation.motion.rolling import rollout
    from keras_remul.evaluation.motion.time_step import TimeStep
    from keras_remul.evaluation.potentials import evaluate_potential
    from keras_remul.evaluation.profile import equivariance_profile
    from keras_remul.evaluation.rotations import evaluate_rotations
    from keras_remul.evaluation.search.find import find_symmetry
    from keras_remul.models.linear import ridge
    from keras_remul.models.linear.blending import blend_with_ridge
    from keras_remul.models.wrappers.alignment import Alignment
    from keras_remul.models.wrappers.frames import (
        Canonicalization,
        FrameAveraging,
    )
    from keras_remul.models.wrappers.symmetrized import symmetrize
    from keras_remul.presets import ase
    from keras_remul.presets.compiling import compiled
    from keras_remul.presets.describe import describe_preset
    from keras_remul.presets.evaluate import compare_presets, evaluate_preset
    from keras_remul.presets.exporting import export
    from keras_remul.presets.folder import (
        from_preset,
        save_to_preset,
        verify_preset,
    )
    from keras_remul.presets.resolve import download_preset, list_presets
    from keras_remul.presets.upload import upload_preset
    from keras_remul.symmetry import Symmetry
    from keras_remul.training import losses, metrics, weighting
    from keras_remul.training.partly_labeled import PartlyLabeled
    from keras_remul.training.remul_model import RemulModel

_PLACES = {
    "Alignment": "keras_remul.models.wrappers.alignment",
    "Canonicalization": "keras_remul.models.wrappers.frames",
    "FrameAveraging": "keras_remul.models.wrappers.frames",
    "PartlyLabeled": "keras_remul.training.partly_labeled",
    "RemulModel": "keras_remul.training.remul_model",
    "Symmetry": "keras_remul.symmetry",
    "TimeStep": "keras_remul.evaluation.motion.time_step",
    "ase": "keras_remul.presets.ase",
    "blend_with_ridge": "keras_remul.models.linear.blending",
    "callbacks": "keras_remul.evaluation.callbacks",
    "compare_errors": "keras_remul.evaluation.comparison",
    "compare_presets": "keras_remul.presets.evaluate",
    "compiled": "keras_remul.presets.compiling",
    "datasets": "keras_remul.datasets",
    "describe_preset": "keras_remul.presets.describe",
    "distribution": "keras_remul.distribution",
    "download_preset": "keras_remul.presets.resolve",
    "equivariance_profile": "keras_remul.evaluation.profile",
    "evaluate_classifier": "keras_remul.evaluation.classifiers",
    "evaluate_equivariance": "keras_remul.evaluation.equivariance",
    "evaluate_potential": "keras_remul.evaluation.potentials",
    "evaluate_preset": "keras_remul.presets.evaluate",
    "evaluate_rotations": "keras_remul.evaluation.rotations",
    "export": "keras_remul.presets.exporting",
    "find_symmetry": "keras_remul.evaluation.search.find",
    "from_preset": "keras_remul.presets.folder",
    "graphs": "keras_remul.graphs",
    "groups": "keras_remul.groups",
    "layers": "keras_remul.layers",
    "lie_derivative": "keras_remul.evaluation.lie",
    "list_presets": "keras_remul.presets.resolve",
    "loss_landscape": "keras_remul.evaluation.landscape",
    "losses": "keras_remul.training.losses",
    "metrics": "keras_remul.training.metrics",
    "models": "keras_remul.models",
    "representations": "keras_remul.representations",
    "ridge": "keras_remul.models.linear.ridge",
    "rollout": "keras_remul.evaluation.motion.rolling",
    "save_to_preset": "keras_remul.presets.folder",
    "symmetrize": "keras_remul.models.wrappers.symmetrized",
    "testing": "keras_remul.evaluation.testing",
    "upload_preset": "keras_remul.presets.upload",
    "verify_preset": "keras_remul.presets.folder",
    "visualization": "keras_remul.evaluation.visualization",
    "weighting": "keras_remul.training.weighting",
}
__getattr__, __dir__ = late.attach(__name__, _PLACES)

__all__ = [
    "Alignment",
    "Canonicalization",
    "FrameAveraging",
    "PartlyLabeled",
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
