"""As cmu_mocap_run_transformer_plain, on a walker; a split of our own."""

from cmu_mocap_run_transformer_plain import RECIPE as RUN

RECIPE = RUN.replace(dataset="cmu_mocap/walk_35")
