"""RemulModel: the REMUL objective around any Keras model."""

from __future__ import annotations

from typing import Any, Self

import keras
from keras import ops

from keras_remul import backend
from keras_remul.backend import devices, keras_internals
from keras_remul.symmetry import Symmetry
from keras_remul.training import pair, partly_labeled
from keras_remul.training.batches import Batches
from keras_remul.training.checks import (
    DataChecks,
    check_arguments,
)
from keras_remul.training.fitting import ChecksData
from keras_remul.training.leaves import Leaves, full_precision, output_masks
from keras_remul.training.losses import NestedLoss
from keras_remul.training.metrics import centered
from keras_remul.training.pair import Pair, Predictions
from keras_remul.training.parts import make_parts
from keras_remul.training.random_states import SavesRandomStates
from keras_remul.training.running_mean import RunningMean
from keras_remul.training.weighting import Constant, LossWeighting
from keras_remul.utils.arguments import SHARE, at_least, checked
from keras_remul.utils.kept_variables import KeepsVariables
from keras_remul.utils.masking import AttachMask, ReadMasks
from keras_remul.utils.structures import leafwise, per_output
from keras_remul.utils.typing import Array, Config, Shapes, Tree


@keras.saving.register_keras_serializable(package="keras_remul")
class RemulModel(
    backend.TaskGradients,
    ChecksData,
    SavesRandomStates,
    KeepsVariables,
    keras.Model,
):
    """Trains a Keras model with equivariance as a second task.

    L = alpha L_obj + beta L_equi with

        L_obj  = l(f(x), y)
        L_equi = l(f(phi(g) x), rho(g) y)       target="labels"
        L_equi = l(f(phi(g) x), rho(g) f(x))    target="predictions"

    and a new random g per sample and step. The wrapped model f is not changed:
    use `remul.model` for inference, where REMUL costs nothing.

    x and phi(g) x go through the model as one batch of twice the size, which
    is cheaper than two passes. Layers that look across the batch, such as
    BatchNormalization, therefore see both; Dropout draws for each anew.

    With `target="predictions"` the equivariance task needs no labels: give
    `fit(x, y, unlabeled=more)` further inputs, or batches of `PartlyLabeled`.

    The losses of the layers (regularisers, `add_loss`) are added once, as
    Keras does, for any alpha and beta. Integers that g acts on become floats.

    Training logs `loss`, the total with the losses of the layers;
    `objective_loss`, `equivariance_loss`, `equivariance_error` (E', the mean of
    ||f(phi(g) x) - rho(g) f(x)||), `alpha`, `beta`, and the metrics of
    `compile`, which see f(x) only; where a weighting has parts,
    `equivariance_error_<part>` and `beta_<part>`. In `evaluate` and validation
    `loss` is L_obj (and the losses of the layers), comparable between epochs
    and weightings, so that `EarlyStopping()` and `ModelCheckpoint()` work as
    for a plain model; to monitor another value, give them `mode="min"`. There
    sample i has the same g at each call, for any batch size. `predict` uses the
    wrapped model only.

    Args:
        model: any Keras model; its inputs and outputs may be nested.
        symmetry: the `Symmetry` of its inputs and outputs. A mask among the
            inputs takes padded nodes out of every loss and metric.
        weighting: a `weighting.LossWeighting`. Defaults to
            `weighting.Constant(alpha=1.0, beta=1.0)`.
        target: `"labels"` (the paper's form) or `"predictions"` (no labels
            enter L_equi; the gradient flows through both sides). Between
            predictions a cross-entropy is replaced by a symmetric divergence,
            see `losses.consistency`.
        loss: the loss l of the equivariance task, or one for each output, as
            `compile` takes them. Defaults to that of `compile`.
        fraction: share of each training batch, in (0, 1], that the
            equivariance task sees: its first samples, so shuffle the data.
            The cost falls in proportion. Defaults to 1.0.
        num_samples: elements g per sample and training step. Defaults to 1.
        interval: the equivariance task is trained at every `interval`-th step
            of the optimizer, the others are plain. Defaults to 1.
        augment: whether each training step first transforms x and y by another
            random g. L_obj is then the loss of data augmentation, and with
            `target="predictions"` L_equi is the spread of the predictions over
            an orbit. `Constant(beta=0.0)` then gives plain augmentation. So
            does `Constant(alpha=0.0)` with labels, on `num_samples` copies and
            without f(x). Defaults to False.
        seed: integer seed of the draws of g. Defaults to a random one.
        **kwargs: `name` and `dtype`, for `keras.Model`.

    Raises:
        ValueError: an argument is not valid; in `fit` and `evaluate`, the
            data do not fit the symmetry or hold NaN.

    Example:

    >>> remul = RemulModel(model, symmetry, weighting.Constant(beta=1.0))
    >>> remul.compile(optimizer="adam", loss="mse")
    >>> remul.fit(x, y, epochs=10)
    >>> remul.model.save("model.keras")

    Reference: "Relaxed Equivariance via Multitask Learning", arXiv 2410.17878.
    """

    @checked(fraction=SHARE, seed=at_least(0))
    def __init__(
        self,
        model: keras.Model,
        symmetry: Symmetry,
        weighting: LossWeighting | None = None,
        target: str = "labels",
        loss: Tree | None = None,
        fraction: float = 1.0,
        num_samples: int = 1,
        interval: int = 1,
        augment: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        weighting = Constant() if weighting is None else weighting
        check_arguments(model, symmetry, weighting, target)
        # By its dtype Keras decides on the scaling of losses in float16.
        # Without autocast: the wrapped model says in what it wants its inputs.
        kwargs.setdefault("dtype", model.dtype_policy)
        super().__init__(autocast=False, **kwargs)
        self.model = model
        self.symmetry = symmetry
        self.fraction = float(fraction)
        self.num_samples = num_samples
        self.interval = interval
        self.augment = bool(augment)
        self.weighting = weighting
        self.target = target
        self.equivariance_loss = loss
        self.seed = seed
        self.supports_masking = True
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._read_masks, self._attach_mask = ReadMasks(), AttachMask()
        self._nested_loss: Any = None  # until `compile`
        self._checks = DataChecks(self)
        self._batches = Batches(self)
        self.parts = make_parts(symmetry, weighting.parts)
        # Without f(x) and its loss, what is left is training on moved data.
        self.only_moved = target == "labels" and not weighting.uses_objective
        self._moves = self.augment or self.only_moved
        self.pairs = weighting.uses_equivariance and not self.only_moved
        if interval > 1 and self.only_moved:
            raise ValueError(
                f"Argument `interval`: with {weighting!r} there is nothing to "
                f"train at the steps between. Received: interval={interval}"
            )
        if self.pairs:
            self._objective_tracker = RunningMean("objective_loss")
            self._equivariance_tracker = RunningMean("equivariance_loss")
            self.error_tracker = RunningMean("equivariance_error")
            self._alpha_tracker = RunningMean("alpha")
            self._beta_trackers = [
                RunningMean(key) for key in self.parts.keys("beta")
            ]
            self._part_trackers = [
                RunningMean(f"equivariance_error_{name}")
                for name in self.parts.names
            ]
        if model.built:
            self.built = True

    # The wrapped model, as it is.

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, by which losses may be given in a dict."""
        return self.model.output_names

    def build(self, input_shape: Shapes) -> None:
        if not self.model.built:
            self.model.build(input_shape)
        self.built = True

    def call(self, x: Tree, training: bool | None = None) -> Tree:
        if isinstance(x, Pair):
            return self._call_pair(x, training)
        x, _ = partly_labeled.split(x)
        if training:
            return devices.forward(self, self.model, x)
        return self.model(x, training=training)

    def _call_pair(self, x, training):
        """The `Predictions` for a `Pair`, from one forward pass."""
        inputs, sizes = x.x, None
        if x.g is not None:
            inputs, sizes = x.stacked(self.symmetry), x.sizes()
        y = self.call(inputs, training=training)
        return Predictions.split(y, self._read_masks(y), sizes)

    def _alone(self, y_pred):
        """The `Predictions` of x only, with which Keras builds its losses."""
        return Predictions.split(y_pred, self._read_masks(y_pred))

    def has_both_tasks(self, x: Tree) -> bool:
        """Whether x is a `Pair` with elements g.

        Args:
            x: inputs of a training or test step.
        """
        return isinstance(x, Pair) and x.g is not None

    def compute_mask(self, x: Tree, previous_mask: Tree | None = None) -> None:
        return None

    # The steps: x becomes a `Pair`.

    def train_step(self, *args: Any) -> dict[str, Array]:
        args = devices.shard(args)
        if self._moves:
            args = backend.map_batch(self, self._batches.moved, args)
        if not self.pairs:
            return self._plain_step(*args)
        if self.interval == 1:
            return self._pair_step(*args)
        return backend.every(
            self, self.interval, self._pair_step, self._plain_step, args
        )

    def _pair_step(self, *args):
        return super().train_step(
            *backend.map_batch(self, self._batches.pair, args)
        )

    def _plain_step(self, *args):
        return super().train_step(
            *backend.map_batch(self, self._batches.alone, args)
        )

    def test_step(self, *args: Any) -> dict[str, Array]:
        prepare = self._batches.alone
        if self.pairs:
            prepare = self._batches.pair_by_place
        return super().test_step(*backend.map_batch(self, prepare, args))

    def labels(self, y: Tree) -> Tree:
        """Labels in the structure of the outputs of `symmetry`.

        Args:
            y: labels as `fit` takes them. An output without labels gets None.
        """
        return per_output(y, self.symmetry.outputs, self._names(), argument="y")

    def _names(self):
        return getattr(self, "output_names", None)

    # The objective.

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "rmsprop",
        loss: Tree | None = None,
        loss_weights: Tree | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`; `loss` also serves the equivariance task.

        Args:
            loss: one loss, or one for each output.
            loss_weights: weights of the outputs, in both tasks.
            optimizer, *args, **kwargs: as for Keras.

        Raises:
            ValueError: a task has no loss, or the loss cannot compare two
                predictions and `target="predictions"`.
        """
        equivariance_loss = self.equivariance_loss or loss
        if self.weighting.uses_equivariance and equivariance_loss is None:
            raise ValueError(
                "The equivariance task needs a loss: give `loss` to compile() "
                "or to RemulModel()."
            )
        if loss is None and self.weighting.uses_objective:
            raise ValueError(
                "The objective needs a loss: give `loss` to compile(). The one "
                "of RemulModel() is that of the equivariance task."
            )
        if equivariance_loss is not None:
            self._nested_loss = NestedLoss(
                equivariance_loss,
                loss_weights,
                self._names(),
                between_predictions=self.target == "predictions",
            )
            self.parts.check_losses(self._nested_loss)
        super().compile(optimizer, loss, loss_weights, *args, **kwargs)

    def compile_from_config(self, config: Config) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self,
        x: Tree | None = None,
        y: Tree | None = None,
        y_pred: Tree | None = None,
        sample_weight: Tree | None = None,
        training: bool = True,
    ) -> Array:
        """alpha L_obj + beta L_equi + the losses of the layers, a scalar.

        In evaluation L_obj replaces the first two terms, so that `val_loss`
        means the same at each step and with each weighting.

        Args:
            x, y_pred: inputs and outputs, or a `Pair` and its `Predictions`.
            y, sample_weight: as for Keras.
            training: whether this is a training step.
        """
        if not isinstance(y_pred, Predictions):
            x, y_pred = Pair(x), self._alone(y_pred)
        objective = self._objective(x, y, y_pred, sample_weight)
        total = objective
        if y_pred.moved is not None:
            total = self._both(x, y, y_pred, sample_weight, objective, training)
        elif training:
            total = self._weighted(x, objective)
        if training:
            self.weighting.advance()
        total = total if training else objective
        for loss in self.losses:
            own = keras_internals.summed_loss(self, loss)
            total = total + ops.cast(own, total.dtype)
        return total

    def _objective(self, x, y, y_pred, sample_weight):
        """l(f(x), y); 0 if it has no weight, and no labels or no loss."""
        compiled = keras_internals.compiled_loss(self)
        loss = self._nested_loss if self.only_moved else compiled
        if not self.weighting.uses_objective and (loss is None or y is None):
            return ops.zeros(())
        leaves = self._leaves(x.x, y_pred.clean, y_pred.clean_mask)
        return loss(
            leaves.y_true(y),
            leaves.y_pred,
            leaves.sample_weight(sample_weight),
        )

    def _weighted(self, x, objective):
        """The total of a step on x only, or on moved data."""
        alpha, beta = self.weighting.loss_weights()
        if self.pairs:  # a step between two of `interval`
            self._update_trackers(pair.batch_size(x.x), objective, alpha, beta)
        weight = alpha if self.weighting.uses_objective else beta
        return ops.cast(weight, objective.dtype) * objective

    def _both(self, x, y, y_pred, sample_weight, objective, training):
        """alpha L_obj + beta L_equi; updates the trackers and the weighting."""
        symmetry = self.symmetry
        sources = x.of_moved(x.x, x.unlabeled)
        mask = symmetry.get_mask(sources)
        leaves = self._leaves(sources, y_pred.moved, y_pred.moved_mask)
        output = full_precision(x.of_moved(y_pred.clean, y_pred.unlabeled))
        transformed = symmetry.transform_outputs(x.g, output, mask)
        target = transformed
        if self.target == "labels":
            labels = self.labels(x.of_moved(y))
            target = symmetry.transform_outputs(x.g, labels, mask)
        weights = pair.weights_of_moved(x, sample_weight)
        equivariance = self.parts.losses(
            self._nested_loss, leaves, target, weights, x.turns
        )
        # Copies: torch's backward pass reads them after `update` wrote to the
        # variables that they may be.
        alpha, beta = (
            ops.cast(1.0 * w, equivariance.dtype)
            for w in self.weighting.loss_weights()
        )
        difference = leafwise(
            lambda a, b: a - ops.cast(b, a.dtype), transformed, y_pred.moved
        )
        total = self.parts.total(equivariance)
        losses = devices.unscale(objective), devices.unscale(total)
        norms = self.parts.measure(leaves.without_masked(difference), x.turns)
        n, _ = x.sizes()
        self._update_trackers(n, objective, alpha, beta, total, norms)
        if training:
            size = leaves.without_masked(centered(output, symmetry, mask))
            sizes = self.parts.measure(size, x.turns)
            measured = self.parts.step_measures(
                losses[0], devices.unscale(equivariance), norms, sizes
            )
            if self.weighting.uses_gradient_norms:
                self.update_with_gradients(losses, measured)
            else:
                self.weighting.update(measured)
        return alpha * objective + ops.sum(beta * equivariance)

    def _update_trackers(
        self, n, objective, alpha, beta, equivariance=None, norms: Any = None
    ):
        """Adds a batch of n samples and its `Norms` to the logged means."""
        self._objective_tracker.update_state(devices.unscale(objective), n)
        self._alpha_tracker.update_state(alpha, n)
        betas = ops.unstack(ops.reshape(beta, (-1,)), len(self._beta_trackers))
        for tracker, value in zip(self._beta_trackers, betas, strict=True):
            tracker.update_state(value, n)
        if equivariance is not None:
            equivariance = devices.unscale(equivariance)
            self._equivariance_tracker.update_state(equivariance, n)
            self.error_tracker.update_state(norms.whole)
            for i, tracker in enumerate(self._part_trackers):
                tracker.update_state(norms.of_parts[i], norms.members[i])

    def _leaves(self, x, y_pred, own_masks):
        masks = output_masks(self.symmetry, x, y_pred, own_masks)
        return Leaves(y_pred, masks, self._attach_mask, self._names())

    def compute_metrics(
        self, x: Tree, y: Tree, y_pred: Tree, sample_weight: Tree | None = None
    ) -> dict[str, Array]:
        if not isinstance(y_pred, Predictions):
            x, y_pred = Pair(x), self._alone(y_pred)
        leaves = self._leaves(x.x, y_pred.clean, y_pred.clean_mask)
        return super().compute_metrics(
            x.x,
            leaves.y_true(y),
            leaves.y_pred,
            leaves.sample_weight(sample_weight),
        )

    def get_metrics_result(self) -> dict[str, Array]:
        return devices.results(self, super().get_metrics_result)

    # Saving.

    def get_build_config(self) -> Config | None:
        return self.model.get_build_config()

    def build_from_config(self, config: Config | None) -> None:
        if config and not self.model.built:
            self.model.build_from_config(config)
        self.built = self.model.built

    def get_config(self) -> Config:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "model": serialize(self.model),
            "symmetry": serialize(self.symmetry),
            "weighting": serialize(self.weighting),
            "target": self.target,
            "loss": serialize(self.equivariance_loss),
            "fraction": self.fraction,
            "num_samples": self.num_samples,
            "interval": self.interval,
            "augment": self.augment,
            "seed": self.seed,
        }

    @classmethod
    def from_config(
        cls, config: Config, custom_objects: dict[str, Any] | None = None
    ) -> Self:
        config = dict(config)
        for key in ("model", "symmetry", "weighting", "loss"):
            config[key] = keras.saving.deserialize_keras_object(
                config[key], custom_objects=custom_objects
            )
        return cls(**config)
