"""As cmu_mocap_run, on a walker; a split of our own.

    keras-remul train recipes/cmu_mocap_walk.py:NAME

Reference: REMUL, arXiv 2410.17878.
"""

import cmu_mocap_run as run

RECIPES = {
    name: recipe.replace(dataset="cmu_mocap/walk_35")
    for name, recipe in run.RECIPES.items()
    if not name.endswith(("turns", "so3"))
}
