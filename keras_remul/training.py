"""RemulModel: the REMUL objective around any Keras model."""

import types
import warnings

import keras
from keras import ops

from keras_remul import backend
from keras_remul.backend import devices
from keras_remul.losses import NestedLoss
from keras_remul.masking import AttachMask
from keras_remul.metrics import centred, equivariance_norms, sample_norms
from keras_remul.orbit import Orbit, move, stack
from keras_remul.presets import PresetMethods
from keras_remul.symmetry import Symmetry
from keras_remul.validation import check_finite
from keras_remul.weighting import Constant, LossWeighting, Measured

TARGETS = ("labels", "predictions")

# g is the same at every call of `evaluate`, so that its figures can be
# compared from epoch to epoch.
_EVALUATION_SEED = 20241017


def _put_back(first, rest):
    yield first
    yield from rest


@keras.saving.register_keras_serializable(package="keras_remul")
class RemulModel(backend.TaskGradients, PresetMethods, keras.Model):
    """Trains a Keras model with equivariance as a second task.

    L = alpha L_obj + beta L_equi with

        L_obj  = l(f(x), y)
        L_equi = l(f(phi(g) x), rho(g) y)       target="labels"
        L_equi = l(f(phi(g) x), rho(g) f(x))    target="predictions"

    and one fresh g per sample and step. The wrapped model f stays as it is:
    keep `remul.model` for inference, where REMUL costs nothing.

    x and phi(g) x go through the model as one batch of twice the size, which
    is cheaper than two passes. Layers that look across the batch, such as
    BatchNormalization, therefore see both; Dropout draws for each anew.

    `evaluate` and validation log the same losses for a fixed draw of g, so
    their figures do not change from call to call. `predict` and a plain call
    are those of the wrapped model. Logged: `loss` (total), `objective_loss`,
    `equivariance_loss`, `equivariance_error` (E', see
    `metrics.EquivarianceError`), `alpha` and `beta`, and the metrics of
    `compile`, which look at f(x) alone. A callback that monitors one of the
    former needs `mode="min"`; Keras guesses the direction of `loss` only.

    Args:
        model: any Keras model; multiple inputs and outputs in dicts, lists or
            tuples.
        symmetry: the `Symmetry` of its inputs and outputs. A mask among the
            inputs takes padded nodes out of every loss and metric.
        weighting: a `weighting.LossWeighting`. Defaults to
            `weighting.Constant(alpha=1.0, beta=1.0)`.
        target: `"labels"` (the paper's form) or `"predictions"` (no labels
            enter L_equi; the gradient flows through both sides).
        loss: the loss l of the equivariance task. Defaults to that of
            `compile`.
        fraction: share of each training batch, in (0, 1], that the
            equivariance task sees: its first samples, so shuffle the data.
            The cost falls in proportion. Defaults to 1.0.
        transforms: elements g per sample and training step. Defaults to 1.
        interval: the equivariance task is trained at every `interval`-th step
            of the optimizer, the others are plain. Defaults to 1.
        augment: whether x and y of each training step are moved by a random g
            of their own first. L_obj is then that of data augmentation, and
            with `target="predictions"` L_equi is the spread of the predictions
            around an orbit, for data without a preferred orientation. Defaults
            to False.
        seed: integer seed of the draws of g. Defaults to a random one.

    Raises:
        ValueError: for an unknown target, and in `fit` and `evaluate`, before
            the first step, for data that do not fit the symmetry or that hold
            NaN.

    Example:

    >>> remul = RemulModel(model, symmetry, weighting.Constant(beta=1.0))
    >>> remul.compile(optimizer="adam", loss="mse")
    >>> remul.fit(x, y, epochs=10)
    >>> remul.model.save("model.keras")

    Reference: "Relaxed Equivariance via Multitask Learning", arXiv 2410.17878.
    """

    def __init__(
        self,
        model,
        symmetry,
        weighting=None,
        target="labels",
        loss=None,
        fraction=1.0,
        transforms=1,
        interval=1,
        augment=False,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not isinstance(model, keras.Model):
            raise ValueError(
                "Argument `model` must be a keras.Model. Received: "
                f"model={model!r} of type {type(model).__name__}"
            )
        if not isinstance(symmetry, Symmetry):
            raise ValueError(
                "Argument `symmetry` must be a keras_remul.Symmetry. "
                f"Received: symmetry={symmetry!r}"
            )
        if target not in TARGETS:
            raise ValueError(
                f"Argument `target` must be one of {TARGETS}. Received: "
                f"target={target!r}"
            )
        weighting = Constant() if weighting is None else weighting
        if not isinstance(weighting, LossWeighting):
            raise ValueError(
                "Argument `weighting` must be a keras_remul.weighting."
                "LossWeighting, such as Constant(beta=1.0). Received: "
                f"weighting={weighting!r}"
            )
        if not 0 < fraction <= 1:
            raise ValueError(
                "Argument `fraction` must be above 0 and at most 1. Received: "
                f"fraction={fraction}"
            )
        for name, value in (("transforms", transforms), ("interval", interval)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"Argument `{name}` must be an integer, at least 1. "
                    f"Received: {name}={value!r}"
                )
        self.model = model
        self.symmetry = symmetry
        self.fraction = float(fraction)
        self.transforms = transforms
        self.interval = interval
        self.augment = bool(augment)
        self.weighting = weighting
        self.target = target
        self.equivariance_loss = loss
        self.seed = seed
        self.supports_masking = True
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._attach_mask = AttachMask()
        self._nested_loss = None
        if self.weighting.uses_equivariance:
            self._objective_tracker = keras.metrics.Mean("objective_loss")
            self._equivariance_tracker = keras.metrics.Mean("equivariance_loss")
            self._error_tracker = keras.metrics.Mean("equivariance_error")
            self._alpha_tracker = keras.metrics.Mean("alpha")
            self._beta_tracker = keras.metrics.Mean("beta")
        if model.built:
            self.built = True

    # The wrapped model, as it is.

    def build(self, input_shape):
        if not self.model.built:
            self.model.build(input_shape)
        self.built = True

    def call(self, x, training=None):
        if training:
            return devices.forward(self, self.model, x)
        return self.model(x, training=training)

    def compute_mask(self, x, previous_mask=None):
        return None

    # The batch (x, phi(g) x).

    def train_step(self, *args):
        args = devices.shard(args)
        if self.augment:
            args = backend.map_batch(self, self._move, args)
        if not self.weighting.uses_equivariance:
            return super().train_step(*args)
        if self.interval == 1:
            return self._remul_step(*args)
        return backend.every(
            self, self.interval, self._remul_step, super().train_step, args
        )

    def _remul_step(self, *args):
        args = backend.map_batch(self, self._stack_for_training, args)
        return super().train_step(*args)

    def test_step(self, *args):
        if self.weighting.uses_equivariance:
            args = backend.map_batch(self, self._stack_for_evaluation, args)
        return super().test_step(*args)

    def _move(self, data):
        return move(
            self.symmetry,
            data,
            self.seed_generator,
            devices.replica(training=True),
        )

    def _stack_for_training(self, data):
        return stack(
            self.symmetry,
            data,
            self.seed_generator,
            self.fraction,
            self.transforms,
            devices.replica(training=True),
        )

    def _stack_for_evaluation(self, data):
        replica = devices.replica(training=False)
        return stack(self.symmetry, data, _EVALUATION_SEED, replica=replica)

    def _split(self, x, orbit, y_pred):
        """f(x), f(phi(g) x) and the mask of the latter, from f of both."""
        mask = self.symmetry.get_mask(x)
        masks = (None, None) if mask is None else orbit.split(mask)
        parts = orbit.split(y_pred)
        clean, moved = map(self._with_mask, parts, masks)
        return clean, moved, masks[1]

    def _with_mask(self, y_pred, mask):
        if mask is None:
            return y_pred
        return keras.tree.map_structure(
            lambda representation, leaf: (
                self._attach_mask([leaf, mask])
                if self.symmetry.is_per_node(representation, leaf)
                else leaf
            ),
            self.symmetry.outputs,
            y_pred,
        )

    # The objective.

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        *args,
        **kwargs,
    ):
        """As `keras.Model.compile`; `loss` also serves the equivariance task.

        Raises:
            ValueError: where neither this method nor the constructor was given
                a loss.
        """
        equivariance_loss = self.equivariance_loss or loss
        if self.weighting.uses_equivariance and equivariance_loss is None:
            raise ValueError(
                "The equivariance task needs a loss: give `loss` to compile() "
                "or to RemulModel()."
            )
        if equivariance_loss is not None:
            self._nested_loss = NestedLoss(equivariance_loss, loss_weights)
        super().compile(optimizer, loss, loss_weights, *args, **kwargs)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        if not isinstance(y, Orbit):
            y_pred = self._with_mask(y_pred, self.symmetry.get_mask(x))
            sample_weight = self._per_output(sample_weight, y_pred)
            alpha, _ = self.weighting.loss_weights()
            loss = super().compute_loss(x, y, y_pred, sample_weight, training)
            return ops.cast(alpha, loss.dtype) * loss
        clean, moved, mask = self._split(x, y, y_pred)
        sample_weight = self._per_output(sample_weight, clean)
        objective = super().compute_loss(
            x, y.labels, clean, sample_weight, training
        )
        output = y.of_moved(self._full_precision(clean))  # f(x)
        transformed = self.symmetry.transform_outputs(y.g, output, mask)
        if self.target == "predictions":
            target = transformed
        else:
            target = self.symmetry.transform_outputs(
                y.g, y.of_moved(y.labels), mask
            )
        equivariance = self._nested_loss(
            target, moved, y.of_moved(sample_weight)
        )
        # Copies: torch's backward pass reads them after `update` wrote to the
        # variables that they may be.
        alpha, beta = (
            ops.cast(1.0 * w, objective.dtype)
            for w in self.weighting.loss_weights()
        )
        total = alpha * objective + beta * equivariance
        norms = equivariance_norms(transformed, moved, self.symmetry, mask)
        self._error_tracker.update_state(norms)
        losses = devices.unscale(objective), devices.unscale(equivariance)
        self._objective_tracker.update_state(losses[0])
        self._equivariance_tracker.update_state(losses[1])
        self._alpha_tracker.update_state(alpha)
        self._beta_tracker.update_state(beta)
        if training:
            relative = centred(output, self.symmetry, mask)
            scale = sample_norms(relative, self.symmetry, mask)
            numbers = ops.stack([*losses, ops.mean(norms), ops.mean(scale)])
            numbers = devices.mean_over_replicas(ops.stop_gradient(numbers))
            measured = Measured(*ops.unstack(ops.cast(numbers, "float32")))
            if self.weighting.uses_gradient_norms:
                self.update_with_gradients(losses, measured)
            else:
                self.weighting.update(measured)
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if isinstance(y, Orbit):
            y_pred, *_ = self._split(x, y, y_pred)
            y = y.labels
        else:
            y_pred = self._with_mask(y_pred, self.symmetry.get_mask(x))
        sample_weight = self._per_output(sample_weight, y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_metrics_result(self):
        return devices.results(self, super().get_metrics_result)

    def _per_output(self, sample_weight, y_pred):
        """Weights `(B,)` with the axes that each output's loss has.

        Keras would have `(B,)` meet the nodes of losses `(B, N)`.
        """
        if len(getattr(sample_weight, "shape", ())) != 1:
            return sample_weight

        def expand(leaf):
            ones = ops.ones(ops.shape(leaf)[:-1], sample_weight.dtype)
            axes = (-1,) + (1,) * (len(ones.shape) - 1)
            return ones * ops.reshape(sample_weight, axes)

        return keras.tree.map_structure(expand, y_pred)

    @staticmethod
    def _full_precision(y_pred):
        floatx = keras.config.floatx()
        return keras.tree.map_structure(lambda a: ops.cast(a, floatx), y_pred)

    # Errors before the first step.

    def fit(self, x=None, y=None, *args, **kwargs):
        x = self._checked(x, y, kwargs.get("sample_weight"))
        if isinstance(kwargs.get("validation_data"), (tuple, list)):
            self._checked(*kwargs["validation_data"])
        devices.synchronize(self)
        history = super().fit(x, y, *args, **kwargs)
        warning = self.weighting.warning()
        if warning:
            warnings.warn(warning, stacklevel=2)
        return history

    def evaluate(self, x=None, y=None, *args, **kwargs):
        x = self._checked(x, y, kwargs.get("sample_weight"))
        return super().evaluate(x, y, *args, **kwargs)

    def _checked(self, x, y, sample_weight=None):
        """Checks the data, or the first batch of a stream; returns x."""
        arrays = isinstance(x, (dict, list)) or hasattr(x, "shape")
        if y is not None or arrays:
            batch = (x, y, sample_weight)
        elif isinstance(x, keras.utils.PyDataset):
            batch = x[0]
        elif isinstance(x, types.GeneratorType):
            batch = next(x)
            x = _put_back(batch, x)
        else:
            batch = next(iter(x))
        inputs, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        self.symmetry.check_inputs(inputs)
        check_finite(inputs, "x")
        if labels is not None:
            self.symmetry.check_outputs(labels)
            check_finite(labels, "y")
        check_finite(weights, "sample_weight")
        if not self.model.built:
            # Callbacks that restore weights want them before the first step.
            self.model(
                keras.tree.map_structure(
                    lambda a: keras.KerasTensor(
                        (None, *a.shape[1:]), keras.config.floatx()
                    ),
                    inputs,
                )
            )
        self.built = True
        return x

    # Saving.

    def _seed_states(self):
        """The states of all random generators, the wrapped model's too."""
        weights = {id(v) for v in self.weights}
        return [v for v in self.variables if id(v) not in weights]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for i, state in enumerate(self._seed_states()):
            store[f"seed_{i}"] = ops.convert_to_numpy(state)

    def load_own_variables(self, store):
        own = {k: store[k] for k in store.keys() if not k.startswith("seed_")}
        super().load_own_variables(own)
        for i, state in enumerate(self._seed_states()):
            if f"seed_{i}" in store.keys():
                state.assign(store[f"seed_{i}"])

    def get_build_config(self):
        return self.model.get_build_config()

    def build_from_config(self, config):
        if config and not self.model.built:
            self.model.build_from_config(config)
        self.built = self.model.built

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "model": serialize(self.model),
            "symmetry": serialize(self.symmetry),
            "weighting": serialize(self.weighting),
            "target": self.target,
            "loss": serialize(self.equivariance_loss),
            "fraction": self.fraction,
            "transforms": self.transforms,
            "interval": self.interval,
            "augment": self.augment,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for key in ("model", "symmetry", "weighting", "loss"):
            config[key] = keras.saving.deserialize_keras_object(
                config[key], custom_objects=custom_objects
            )
        return cls(**config)
