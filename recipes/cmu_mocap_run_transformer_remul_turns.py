"""As cmu_mocap_run_transformer_remul, without mirror images: SO(2)."""

from cmu_mocap_run_transformer_remul import RECIPE as REMUL

from keras_remul import datasets

RECIPE = REMUL.replace(symmetry=lambda: datasets.symmetry("cmu_mocap"))
