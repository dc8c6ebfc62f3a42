"""As cmu_mocap_run_transformer_remul, for all rotations of space."""

from cmu_mocap_run_transformer_remul import RECIPE as REMUL

from keras_remul import datasets, groups

RECIPE = REMUL.replace(
    symmetry=lambda: datasets.symmetry("cmu_mocap", groups.SO3())
)
