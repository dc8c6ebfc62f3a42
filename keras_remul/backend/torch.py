"""PyTorch: a step changes its variables in place."""

import contextlib
import copy
import functools
import itertools
import math
import warnings
from typing import Any

import keras
import torch
import torch.nn.functional as F
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from keras_remul.backend import devices
from keras_remul.backend.mixins import ModelMixin

# Numbers of an array that a core keeps at hand.
PIECE = 2**18


def matmul(a, b) -> Any:
    # float32 products are exact unless the user allows TF32.
    return torch.matmul(a, b)


def linear(x, kernel, bias):
    if bias is None:
        return torch.matmul(x, kernel)
    return F.linear(x, kernel.t(), bias)


def layer_norm(x, gamma, beta, epsilon):
    if x.dtype.itemsize < 4:
        wide = (a.float() for a in (x, gamma, beta))
        return layer_norm(*wide, epsilon=epsilon).to(x.dtype)
    return F.layer_norm(x, x.shape[-1:], gamma, beta, epsilon)


def gelu(x):
    # An exported program has a free batch size: it must not be asked for.
    fused = torch.compiler.is_compiling() or torch.compiler.is_exporting()
    fused = fused or x.requires_grad or not x.is_cpu or x.dtype.itemsize < 4
    if fused or x.numel() < 2**14:
        return F.gelu(x, approximate="tanh")
    # 1 + tanh(z) = 2 sigmoid(2 z), and the sigmoid takes a third of the time.
    return _inside_gelu(x, 2.0).sigmoid_().mul_(x)


def _inside_gelu(x, factor):
    """The argument z of tanh, times a factor."""
    slope = factor * (2.0 / math.pi) ** 0.5
    z = torch.addcmul(x.new_tensor(slope), x, x, value=0.044715 * slope)
    return z.mul_(x)


def silu(x):
    # In place where no derivative asks for x again.
    return F.silu(x, inplace=not x.requires_grad)


def attention(qkv, heads, mask, bias):
    batch, nodes, width = qkv.shape
    width //= 3 * heads
    qkv = qkv.view(batch, nodes, heads, 3 * width)
    q, k, v = qkv.transpose(1, 2).split(width, -1)  # each (B, K, N, C/K)
    if bias is not None:
        bias = bias.to(q.dtype)
    if mask is not None:
        # Large and finite: without a valid node the softmax must not be NaN.
        mask = ~mask[:, None, None, :]
        least = torch.finfo(q.dtype).min / 2
        if bias is None:
            bias = torch.zeros(mask.shape, dtype=q.dtype, device=q.device)
        bias = bias.masked_fill(mask, least)
    if bias is None and _has_short_rows(q):
        y = torch.matmul(_weights_of_few(q * width**-0.5, k), v)
    else:
        y = F.scaled_dot_product_attention(q, k, v, bias)
    return y.transpose(1, 2).reshape(batch, nodes, heads * width)


def _has_short_rows(q):
    """Whether the fused kernel takes longer than products one by one.

    On a CPU it does for many rows that are short and do not fill its vectors.
    """
    if not q.is_cpu or q.dtype.itemsize < 4 or _is_captured():
        return False
    batch, heads, nodes, _ = q.shape
    return nodes < 48 and nodes % 16 and batch * heads * nodes > 512


def _weights_of_few(q, k):
    """Softmax of q k^T, along the columns of few nodes, which fill a vector."""
    if q.shape[2] > 16:
        return torch.softmax(torch.matmul(q, k.transpose(-1, -2)), -1)
    logits = torch.matmul(k, q.transpose(-1, -2))
    return torch.softmax(logits, -2).transpose(-1, -2)


def mlp(x, first, second):
    once = torch.is_grad_enabled() or _is_captured() or x.dtype.itemsize < 4
    width = first[0].shape[1]
    if once or not x.is_cpu or x.shape[:-1].numel() * width < 2**14:
        return linear(gelu(linear(x, *first)), *second)
    kernel, bias = second

    def run(x):
        x = linear(x, *first)
        x.addcmul_(x, _inside_gelu(x, 1.0).tanh_())  # twice the gelu
        return (linear(x, 0.5 * kernel, bias),)

    return in_pieces(run, (x,), x.shape[1:-1].numel() * width)[0]


def in_pieces(fn, arrays, width):
    # An exported program has a free batch size: it must not be asked for.
    if not arrays[0].is_cpu or _is_captured():
        return fn(*arrays)
    size = max(1, PIECE // max(width, 1))
    if arrays[0].shape[0] <= size:
        return fn(*arrays)
    pieces = zip(*(a.split(size) for a in arrays), strict=True)
    results = zip(*(fn(*piece) for piece in pieces), strict=True)
    return tuple(map(torch.cat, results))


def _is_captured():
    compiled = torch.compiler.is_compiling() or torch.compiler.is_exporting()
    return compiled or get_proxy_mode() is not None


def intercepts_calls():
    hooks = torch.nn.modules.module._has_any_global_hook()
    return hooks or any(map(torch.is_autocast_enabled, ("cpu", "cuda")))


def is_eager(arrays):
    return not _is_captured() and all(type(a) is torch.Tensor for a in arrays)


def is_traced(x):
    return torch.compiler.is_compiling() or isinstance(x, keras.KerasTensor)


def one_program(fn, static=()):
    return fn


def jvp(fn):
    # The fused kernels of attention have no forward-mode derivative. On first
    # use torch compiles its rules with a function that it calls deprecated.
    def derivative(t, v, *args):
        with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*torch\.jit\.script")
            return torch.func.jvp(lambda t: fn(t, *args), (t,), (v,))[1]

    return derivative


def kept_generators():
    # A DataLoader draws from that of the CPU, even if it does not shuffle.
    return torch.random.fork_rng(devices=[])


def value_and_gradient(fn, x, variables, add_loss=None):
    # The fused kernels of attention have no second derivative.
    train = torch.is_grad_enabled()
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        x = x if x.requires_grad else x.detach().requires_grad_()
        y = fn(x)
        (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=train)
    return (y, gradient) if train else (y.detach(), gradient)


def cond(pred, true_fn, false_fn, variables, add_loss=None):
    # An exported program has one way through; a meta tensor has no value.
    if torch.compiler.is_exporting() or pred.is_meta:
        return true_fn()
    return true_fn() if bool(pred) else false_fn()


def map_batch(model, fn, args):
    (data,) = args
    return (fn(data),)


def every(model, interval, step, other, args):
    iterations = int(model.optimizer.iterations)
    return step(*args) if iterations % interval == 0 else other(*args)


def build_early(model, data):
    pass  # nothing is compiled


@contextlib.contextmanager
def restored(model):
    yield


def write_exported(model, path, format, sample, shapes):
    # torch warns of its own deprecated parts.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = _program(model, sample, shapes)
        if format == "torch":
            torch.export.save(program, str(path))
            return
        _drop_idle_squeezes(program)
        torch.onnx.export(
            program,
            (),
            str(path),
            dynamo=True,
            verbose=False,
            external_data=False,
            input_names=list(shapes),
        )


def _program(model, sample, shapes):
    """The model as an `ExportedProgram`, with free axes."""
    lengths = {n for shape in shapes.values() for n in shape}
    names = sorted(n for n in lengths if isinstance(n, str))
    axes = {name: torch.export.Dim(name) for name in names}
    # Axes of one length count as one while they are traced; 1 is special.
    unlike = (n for n in itertools.count(5) if n not in lengths)
    traced = dict(zip(names, unlike, strict=False))

    def packed(leaves):
        return keras.tree.pack_sequence_as(sample, leaves)

    free = packed(
        [
            {i: axes[n] for i, n in enumerate(shape) if n in axes}
            for shape in shapes.values()
        ]
    )
    x = packed(
        [
            keras.ops.zeros([traced.get(n, n) for n in shape], a.dtype.name)
            for shape, a in zip(
                shapes.values(), keras.tree.flatten(sample), strict=True
            )
        ]
    )
    export = functools.partial(torch.export.export, args=(x,), strict=False)
    try:
        return export(model, dynamic_shapes=[(free,)])
    except Exception as error:
        # Of a model that takes derivatives the graph can be exported.
        try:
            with torch.no_grad():
                graph = make_fx(
                    functools.partial(model, training=False),
                    _written_out(),
                    tracing_mode="symbolic",
                    _allow_non_fake_inputs=True,
                )(x)
            return export(graph, dynamic_shapes=[free])
        except Exception:
            raise error from None


def _written_out() -> Any:
    """How derivatives are made of operations that ONNX has words for."""
    rules = torch.export.default_decompositions().items()
    return {op: rule for op, rule in rules if "backward" in op.name()}


def _drop_idle_squeezes(program):
    """Takes out squeezes of axes that are longer than 1.

    `ops.take` leaves them. They do nothing here, and are errors in ONNX.
    """
    graph = program.graph
    for node in graph.nodes:
        if node.target is torch.ops.aten.squeeze.dim:
            array, axis = node.args
            size = array.meta["val"].shape[axis]
            if isinstance(size, int) and size != 1:
                node.replace_all_uses_with(array)
                graph.erase_node(node)
    program.graph_module.recompile()


def load_exported(path, format):
    if format != "torch":
        return None
    # Loading brings a deprecated part of torch along.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(str(path)).module()

    def run(x):
        with torch.no_grad():
            y = program(
                keras.tree.map_structure(keras.ops.convert_to_tensor, x)
            )
        return keras.tree.map_structure(lambda a: a.cpu().numpy(), y)

    return run


def compiled(model, sample, shapes):
    def runner(program):
        def run(x):
            leaves = map(keras.ops.convert_to_tensor, keras.tree.flatten(x))
            with torch.no_grad():
                return program(keras.tree.pack_sequence_as(sample, [*leaves]))

        return run

    # Of the model itself torch.compile makes many pieces, between which Python
    # runs: that takes longer than no compiling. It warns of torch's own
    # deprecated parts when it first runs.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = copy.deepcopy(_program(model, sample, shapes)).module()
        fast = runner(torch.compile(program))
        fast(sample)
    return fast, runner(program)


class TaskGradients(ModelMixin):
    def update_with_gradients(self, losses: Any, measured: Any) -> None:
        """Gives the weighting the measures of a step, with gradient norms.

        Args:
            losses: L_obj and L_equi of the step, scalars with gradients.
            measured: the `StepMeasures` of the step, without norms.
        """
        variables = self.weighting.gradient_variables(self.model)
        values = [v.value for v in variables]
        # Zero for weights that the loss does not use.
        norms = [
            _norm(
                torch.autograd.grad(
                    loss, values, retain_graph=True, materialize_grads=True
                )
            )
            for loss in losses
        ]
        self.weighting.update(
            measured._replace(gradient_norms=torch.stack(norms))
        )


def _norm(gradients):
    gradients = [devices.mean_over_replicas(g) for g in gradients]
    total: Any = sum(torch.sum(torch.square(g)) for g in gradients)
    return torch.sqrt(total)
