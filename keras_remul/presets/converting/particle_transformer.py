"""`ParticleTransformer` with the weights of weaver-core."""

from keras_remul.models.jets.particle_transformer import ParticleTransformer
from keras_remul.presets.converting.state import State


def convert(arrays):
    """The `ParticleTransformer` with these weights, in their sizes.

    Their architecture is that of version 1 in weaver-core, with kinematic
    inputs and, as for the public weights, an activation behind the last layer
    of pairs (`use_pre_activation_pair=False`), which no array shows.

    Args:
        arrays: dict of their names in weaver-core to arrays.

    Raises:
        ValueError: they are those of another architecture.
    """
    state = State(arrays)
    model = ParticleTransformer(**_sizes(state))
    model.build({"four_momenta": (None, None, 4), "mask": (None, None)})
    state.batch_norm(model.norm, "embed.input_bn")
    for i, (norm, dense) in enumerate(
        zip(model.embed_norms, model.embed_denses, strict=True)
    ):
        state.layer_norm(norm, f"embed.embed.{3 * i}")
        state.dense(dense, f"embed.embed.{3 * i + 1}")
    state.batch_norm(model.pair_norm, "pair_embed.embed.0")
    for i, (dense, norm) in enumerate(
        zip(model.pair_denses, model.pair_norms, strict=True)
    ):
        state.dense(dense, f"pair_embed.embed.{3 * i + 1}")
        state.batch_norm(norm, f"pair_embed.embed.{3 * i + 2}")
    for kind, blocks in (
        ("blocks", model.blocks),
        ("cls_blocks", model.class_blocks),
    ):
        for i, block in enumerate(blocks):
            _fill(block, state, f"{kind}.{i}")
    state.put(model.token, state.take("cls_token"), "cls_token")
    state.layer_norm(model.class_norm, "norm")
    state.dense(model.head, "fc.0")
    state.check_used()
    return model


def _sizes(state):
    def widths(name):
        pattern = f"{name}.{{}}.weight"
        number = 0
        found = []
        while pattern.format(3 * number + 1) in state:
            found.append(state.shape(pattern.format(3 * number + 1))[0])
            number += 1
        return found

    (features,) = state.shape("embed.input_bn.weight")
    if features != 7:
        raise ValueError(
            "Expected weights for the 7 kinematic features of constituents, "
            f"such as ParT_kin. Received: those for {features}."
        )
    *pair_dims, num_heads = widths("pair_embed.embed") or [0]
    embed_dims = widths("embed.embed")
    hidden, dim = state.shape("blocks.0.fc1.weight")
    return dict(
        embed_dims=embed_dims,
        pair_dims=pair_dims,
        num_layers=state.count("blocks.{}.fc1.weight"),
        num_class_layers=state.count("cls_blocks.{}.fc1.weight"),
        num_heads=num_heads,
        mlp_ratio=hidden // dim,
        units=state.shape("fc.0.weight")[0],
    )


def _fill(block, state, name):
    attention = block.attention
    # Older versions write "_" for the last dot.
    dot = "." if f"{name}.attn.in_proj.weight" in state else "_"
    for variable, part in (
        (attention.qkv.kernel, f"{name}.attn.in_proj{dot}weight"),
        (attention.qkv.bias, f"{name}.attn.in_proj{dot}bias"),
    ):
        array = _by_heads(state.take(part), attention.num_heads)
        state.put(variable, array.T, part)
    state.dense(attention.output_dense, f"{name}.attn.out_proj")
    state.layer_norm(block.attention_norm, f"{name}.pre_attn_norm")
    state.layer_norm(block.attention_post_norm, f"{name}.post_attn_norm")
    state.layer_norm(block.mlp_norm, f"{name}.pre_fc_norm")
    state.dense(block.mlp_in, f"{name}.fc1")
    state.layer_norm(block.mlp_post_norm, f"{name}.post_fc_norm")
    state.dense(block.mlp_out, f"{name}.fc2")
    for variable, part in (
        (block.head_scale, f"{name}.c_attn"),
        (block.residual_scale, f"{name}.w_resid"),
    ):
        state.put(variable, state.take(part), part)


def _by_heads(array, heads):
    """Rows q of all heads, then k, then v, as q, k, v of each head in turn."""
    rows = array.reshape(3, heads, -1, *array.shape[1:])
    return rows.swapaxes(0, 1).reshape(array.shape)
