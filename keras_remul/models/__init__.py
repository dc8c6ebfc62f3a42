"""Models; none of them knows how it is trained."""

from keras_remul.models.egnn import EGNN
from keras_remul.models.forces import ConservativeForces
from keras_remul.models.message_passing import MessagePassingNetwork
from keras_remul.models.transformer import Transformer

__all__ = ["EGNN", "ConservativeForces", "MessagePassingNetwork", "Transformer"]
