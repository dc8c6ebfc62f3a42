"""Equivariant models on a GPU that rounds what it multiplies (TF32).

JAX writes a program down before it runs: here it is run with each product of
matrices rounded as a GPU would, where it does not ask for more. So that no GPU
is needed to see whether a model is as exact as it says.
"""

import keras
import numpy as np
import pytest
from keras import ops
from test_graphs import numpy

from keras_remul import groups, models
from keras_remul.backend import devices
from keras_remul.layers import exact

SMALL = {
    "EGNN": dict(hidden_dim=8),
    "VectorTransformer": dict(hidden_dim=8, vector_dim=4, num_heads=2),
    "GATr": dict(hidden_dim=8, multivector_dim=8, num_heads=2),
    "SE3Transformer": dict(
        num_degrees=3, hidden_dim=4, num_heads=2, radial_dim=8
    ),
}
jax_only = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="reads the program of JAX"
)


def rounded(model):
    """The model as a GPU with TF32 would compute it, and what was rounded.

    Returns:
        A function of inputs, and a list of the products that it rounds.
    """
    import jax
    import jax.numpy as jnp
    from jax.extend.core import Literal

    found = []

    def tf32(x):
        # Ten bits of the mantissa are left of 23.
        bits = jax.lax.bitcast_convert_type(x, jnp.uint32) + 0x1000
        return jax.lax.bitcast_convert_type(bits & ~0x1FFF, jnp.float32)

    def run(jaxpr, constants, *values):
        known = dict(zip(jaxpr.constvars, constants, strict=True))
        known.update(zip(jaxpr.invars, values, strict=True))

        def read(v):
            return v.val if isinstance(v, Literal) else known[v]

        for equation in jaxpr.eqns:
            values = [read(v) for v in equation.invars]
            parameters = dict(equation.params)
            inner = [
                parameters[key]
                for key in ("jaxpr", "call_jaxpr", "fun_jaxpr")
                if key in parameters
            ]
            primitive = equation.primitive
            if primitive.name in ("scan", "while", "cond"):
                raise NotImplementedError(primitive.name)
            if primitive.name == "dot_general":
                precision = parameters["precision"]
                if precision is None and values[0].dtype == jnp.float32:
                    found.append(equation)
                    values = [tf32(a) for a in values]
                result = primitive.bind(*values, **parameters)
            elif inner:
                result = run(inner[0].jaxpr, inner[0].consts, *values)
            else:
                result = primitive.bind(*values, **parameters)
            if not primitive.multiple_results and not inner:
                result = [result]
            known.update(zip(equation.outvars, result, strict=True))
        return [read(v) for v in jaxpr.outvars]

    program = jax.make_jaxpr(lambda x: model(x))(inputs())
    compiled = jax.jit(lambda *x: run(program.jaxpr, program.consts, *x)[0])
    return lambda x: np.asarray(compiled(*jax.tree.leaves(x))), found


def inputs():
    rng = np.random.default_rng(0)
    widths = {"positions": 3, "velocities": 3, "charges": 1}
    return {
        key: rng.normal(size=(16, 5, width)).astype("float32")
        for key, width in widths.items()
    }


def error(model, call):
    """|f(g x) - g f(x)| / |f(x) - x - v|, root mean squares."""
    x = inputs()
    g = numpy(groups.SO3().sample(16, seed=0))
    turned = dict(x)
    for key in ("positions", "velocities"):
        turned[key] = np.einsum(
            "bij,bnj->bni", g.astype("float64"), x[key]
        ).astype("float32")
    y = call(x)
    step = y - x["positions"] - x["velocities"]
    gap = call(turned) - np.einsum("bij,bnj->bni", g, y)
    return np.sqrt((gap**2).mean() / (step**2).mean())


def make(name):
    keras.utils.set_random_seed(0)
    model = getattr(models, name)(1, **SMALL[name])
    x = inputs()
    model.build({key: a.shape for key, a in x.items()})
    model.set_weights([3 * w for w in model.get_weights()])  # a larger step
    return model


@jax_only
@pytest.mark.parametrize("name", SMALL)
def test_models_ask_for_full_precision_where_it_matters(name):
    model = make(name)
    call, found = rounded(model)
    assert error(model, call) < 1e-5
    assert found  # what scalars need is left to the GPU


@jax_only
def test_regression_is_not_rounded():
    """Equivariant or not: coordinates keep their digits."""
    model = models.LinearNodes()
    model.build({key: a.shape for key, a in inputs().items()})
    assert rounded(model)[1] == []


@jax_only
def test_rounded_vectors_would_be_seen():
    model = make("VectorTransformer")
    model.vector_embedding.call = lambda x: ops.matmul(
        x, model.vector_embedding.kernel
    )
    assert error(model, rounded(model)[0]) > 1e-4


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 0, 3, 4)])
def test_product(shape, rng):
    x = rng.normal(size=shape).astype("float32")
    matrix = rng.normal(size=(4, 5)).astype("float32")
    y = exact.exact_product(
        ops.convert_to_tensor(x), ops.convert_to_tensor(matrix)
    )
    np.testing.assert_allclose(numpy(y), x @ matrix, atol=1e-5)


def has_gpu():
    return any("cpu" not in str(name).lower() for name in devices.names())


@pytest.mark.gpu
@pytest.mark.skipif("not has_gpu()", reason="needs a GPU")
@pytest.mark.parametrize("name", SMALL)
def test_models_on_a_gpu(name):
    model = make(name)
    assert error(model, lambda x: model.predict(x, verbose=0)) < 1e-5
