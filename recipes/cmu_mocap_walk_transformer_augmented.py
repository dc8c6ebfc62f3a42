"""As cmu_mocap_run_transformer_augmented, on a walker; a split of our own."""

from cmu_mocap_run_transformer_augmented import RECIPE as RUN

RECIPE = RUN.replace(dataset="cmu_mocap/walk_35")
