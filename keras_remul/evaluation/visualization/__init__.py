"""Pictures of motion, molecules and jets, with Matplotlib.

Figures are returned and not shown: `figure.savefig("picture.png")`; in a
notebook, a figure that is the last line of a cell is displayed.
"""

from keras_remul.evaluation.visualization.growth import error_growth
from keras_remul.evaluation.visualization.moving import animation
from keras_remul.evaluation.visualization.pictures import (
    jets,
    molecule,
    skeleton,
    trajectories,
)
from keras_remul.evaluation.visualization.skeletons import CMU_BONES

__all__ = [
    "CMU_BONES",
    "animation",
    "error_growth",
    "jets",
    "molecule",
    "skeleton",
    "trajectories",
]
