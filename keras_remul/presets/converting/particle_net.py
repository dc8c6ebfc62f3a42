"""`ParticleNet` with the weights of weaver-core."""

from keras_remul.models.jets.particle_net import ParticleNet
from keras_remul.presets.converting.state import State


def convert(arrays):
    """The `ParticleNet` of JetClass with these weights.

    Args:
        arrays: dict of their names in weaver-core to arrays.

    Raises:
        ValueError: they are those of another architecture.
    """
    state = State(arrays)
    model = ParticleNet.variant("jetclass")
    model.build({"four_momenta": (None, None, 4), "mask": (None, None)})
    state.batch_norm(model.norm, "bn_fts")
    for i, block in enumerate(model.blocks):
        name = f"edge_convs.{i}"
        for j, (conv, norm) in enumerate(
            zip(block.convs, block.norms, strict=True)
        ):
            state.dense(conv, f"{name}.convs.{j}")
            state.batch_norm(norm, f"{name}.bns.{j}")
        state.dense(block.shortcut, f"{name}.sc")
        state.batch_norm(block.shortcut_norm, f"{name}.sc_bn")
    state.dense(model.hidden, "fc.0.0")
    state.dense(model.head, "fc.1")
    state.check_used()
    return model
