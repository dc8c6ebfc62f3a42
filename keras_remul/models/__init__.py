"""Models; they do not depend on how they are trained."""

from keras_remul.models.egnn import EGNN
from keras_remul.models.gatr import GATr
from keras_remul.models.jets.jet_transformer import JetTransformer
from keras_remul.models.jets.particle_net import ParticleNet
from keras_remul.models.jets.particle_transformer import ParticleTransformer
from keras_remul.models.jets.spurions import with_beam_spurions
from keras_remul.models.linear.linear_nodes import LinearNodes
from keras_remul.models.message_passing import MessagePassingNetwork
from keras_remul.models.point_edge_transformer import PointEdgeTransformer
from keras_remul.models.se3_transformer import SE3Transformer
from keras_remul.models.transformer import Transformer
from keras_remul.models.vector_transformer import VectorTransformer
from keras_remul.models.wrappers.correction import Correction
from keras_remul.models.wrappers.ensemble import Ensemble
from keras_remul.models.wrappers.forces import ConservativeForces
from keras_remul.models.wrappers.potential import Potential
from keras_remul.models.wrappers.skeleton import OnSkeleton

__all__ = [
    "EGNN",
    "ConservativeForces",
    "Correction",
    "Ensemble",
    "GATr",
    "JetTransformer",
    "LinearNodes",
    "MessagePassingNetwork",
    "OnSkeleton",
    "ParticleNet",
    "ParticleTransformer",
    "PointEdgeTransformer",
    "Potential",
    "SE3Transformer",
    "Transformer",
    "VectorTransformer",
    "with_beam_spurions",
]
