"""What a model is trained for: loss and metrics from the data set's task, unless it has its own."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.errors import ConfigError, one_line
from tfscale.model.asked_metrics import Asked, make_metrics
from tfscale.model.output_kind import Output, output_of
from tfscale.structures import Foreign, Spec, Structure

_AS_CLASSES = "as many outputs as classes. Use num_classes in build."


def compile_model(
    model: keras.Model,
    dataset: DatasetFile,
    labels: Spec,
    optimizer: keras.optimizers.Optimizer,
    first: Structure,
    metrics: Asked = (),
) -> str:
    """Compiles a model that came uncompiled, with the loss and the metrics of its task.

    Args:
        model: the user's.
        dataset: its task and number of classes.
        labels: the spec of one replica's `y`.
        optimizer: made in the scope that this is called in.
        first: a few real examples `(x, y, ...)`, stacked, by which probabilities are told from
            logits, and labels that are no classes are found.
        metrics: that are asked for beside the task's.

    Returns:
        The loss, and what it takes the model's output for.

    Raises:
        ConfigError: the task has no defaults, the model's output doesn't fit the labels, or it
            can't be told whether it is probabilities.
    """
    _require_default_loss(dataset, labels)
    # A weight for each label, where Keras's loss has one number for all labels of an example.
    has_weights = len(first) > 2 and len(np.shape(first[2])) > 1
    goal = _goal(model, dataset, labels, first[0], has_weights=has_weights)
    if isinstance(goal.loss, keras.losses.SparseCategoricalCrossentropy):
        _require_classes(dataset, first[1], goal.loss)
    # Of padded sequences, a place that only fills up has the weight 0, and counts nowhere. Nor does
    # a pixel that the user's own weights leave out.
    has_padding = dataset.is_padded and labels.shape.rank > 1
    are_weighted = has_padding or (has_weights and dataset.class_weight is None)
    if has_padding:
        goal.loss.reduction = "mean_with_sample_weight"
    are_logits = goal.output is not None and not goal.output.are_probabilities
    made = [goal.metric, *make_metrics(metrics, own=goal.metric.name, are_logits=are_logits)]
    model.compile(
        optimizer=optimizer,
        loss=goal.loss,
        metrics=[] if are_weighted else made,
        weighted_metrics=made if are_weighted else [],
        jit_compile=False,
    )
    return goal.described


def _require_default_loss(dataset: DatasetFile, labels: Spec) -> None:
    if dataset.task == "detection" or not isinstance(labels, tf.TensorSpec):
        what = f"task {dataset.task!r}" if isinstance(labels, tf.TensorSpec) else "several labels"
        raise ConfigError(
            f"{dataset.name} has {what}, for which there is no default loss; expected the model "
            "file to compile its model. Call model.compile(optimizer, loss, metrics) in build."
        )


@keras.saving.register_keras_serializable(package="tfscale")
class BinaryCrossentropyOfLabels(keras.losses.Loss):
    """Keras's binary cross-entropy as one number for each label, so that each may have a weight.

    The mean over labels and examples is that of Keras's.

    Args:
        from_logits: whether predictions are logits.
        name: of the loss.
        **kwargs: as every Keras loss takes them.
    """

    def __init__(
        self, *, from_logits: bool = False, name: str = "binary_crossentropy", **kwargs: Foreign
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.from_logits = from_logits

    def call(self, y_true: Foreign, y_pred: Foreign) -> Foreign:
        """The losses (batch, labels)."""
        y_true = keras.ops.cast(y_true, y_pred.dtype)
        return keras.ops.binary_crossentropy(y_true, y_pred, from_logits=self.from_logits)

    def get_config(self) -> dict[str, Foreign]:
        """Gives the arguments that make the same loss again."""
        return {**super().get_config(), "from_logits": self.from_logits}


@dataclass(frozen=True)
class _Goal:
    """A loss, the metric that belongs to it, and what it takes the model's output for."""

    loss: keras.losses.Loss
    metric: keras.metrics.Metric
    output: Output | None = None

    @property
    def described(self) -> str:
        name = type(self.loss).__name__
        return f"{name} of {self.output}" if self.output else name


def _goal(
    model: keras.Model,
    dataset: DatasetFile,
    labels: tf.TensorSpec,
    x: Structure,
    *,
    has_weights: bool,
) -> _Goal:
    """What fits the labels; `has_weights` says that each label of an example has a weight."""
    shape = _output_shape(model, x, labels.shape[0])
    # A model may give one number for each example without an axis for it.
    outputs = None if shape is None else shape[-1] if len(shape) > 1 else 1
    per_example = labels.shape.rank - 1
    _require_numbers(dataset, labels)
    if dataset.task == "regression":
        size = labels.shape[-1] if per_example else 1
        advice = f"as many as a label has numbers, {size}. End the model in Dense({size})."
        _require_fit(dataset, labels, outputs, outputs in (None, size), advice)
        metric = keras.metrics.MeanAbsoluteError(name="mae")
        return _Goal(keras.losses.MeanSquaredError(), metric)
    if dataset.task == "multilabel" or outputs == 1:
        # One output can't stand for more than two classes, whatever shape a label has.
        is_binary = dataset.num_classes in (None, 1, 2)
        fits = bool(per_example) if dataset.task == "multilabel" else is_binary
        _require_fit(dataset, labels, outputs, fits or is_binary)
        output = output_of(model, x, has_classes=False)
        loss = BinaryCrossentropyOfLabels if has_weights else keras.losses.BinaryCrossentropy
        return _Goal(
            loss(from_logits=not output.are_probabilities),
            keras.metrics.BinaryAccuracy(
                name="accuracy", threshold=0.5 if output.are_probabilities else 0.0
            ),
            output,
        )
    options: dict[str, int] = {}
    if _is_sparse(labels, shape):
        options = _ignored_class(dataset)
        classes = dataset.num_classes
        _require_fit(dataset, labels, outputs, None in (outputs, classes) or outputs == classes)
        loss, metric = (
            keras.losses.SparseCategoricalCrossentropy,
            keras.metrics.SparseCategoricalAccuracy,
        )
    else:
        _require_vectors(dataset, labels)
        _require_fit(dataset, labels, outputs, outputs is None or labels.shape[-1] == outputs)
        loss, metric = keras.losses.CategoricalCrossentropy, keras.metrics.CategoricalAccuracy
    output = output_of(model, x, has_classes=True)
    made = loss(from_logits=not output.are_probabilities, **options)
    return _Goal(made, metric(name="accuracy"), output)


def _ignored_class(dataset: DatasetFile) -> dict[str, int]:
    """The label of padded places, where that is no class: TensorFlow would refuse to look it up."""
    values = dataset.padding_values
    label = values[1] if isinstance(values, tuple | list) and len(values) > 1 else 0
    return {"ignore_class": label} if isinstance(label, int) and label < 0 else {}


def _is_sparse(labels: tf.TensorSpec, outputs: tuple[int | None, ...] | None) -> bool:
    """Whether labels are the numbers of classes: one for each example, pixel or token."""
    rank = labels.shape.rank
    if not labels.dtype.is_integer:
        return False
    if rank == 1 or outputs is None:
        return bool(rank == 1)
    # In a column of its own, where there are several outputs.
    return bool(rank == len(outputs) - 1 or (rank == len(outputs) and labels.shape[-1] == 1))


def _require_numbers(dataset: DatasetFile, labels: tf.TensorSpec) -> None:
    if labels.dtype == tf.string:
        raise ConfigError(
            f"{dataset.name} has texts as labels; expected numbers. Look each up in preprocess: "
            "tf.argmax(tf.equal(y, names)), with the names of all classes in their order."
        )


def _require_classes(
    dataset: DatasetFile, y: Structure, loss: keras.losses.SparseCategoricalCrossentropy
) -> None:
    """Refuses pixels and tokens whose label is no class: the loss would, in a later step."""
    classes = dataset.num_classes
    found = np.unique(np.asarray(y))
    wrong = found[(found < 0) | (found >= classes)] if classes else found[found < 0]
    wrong = wrong[wrong != loss.ignore_class] if loss.ignore_class is not None else wrong
    if wrong.size:
        told = f"0 to {classes - 1}" if classes else "0 or more"
        raise ConfigError(
            f"{dataset.name} gives the label {wrong[0]}; expected whole numbers of {told}, the "
            "classes. What shall not count gets the weight 0 in preprocess: "
            f"void = y == {wrong[0]}; return x, tf.where(void, 0, y), tf.cast(~void, tf.float32)."
        )


def _require_vectors(dataset: DatasetFile, labels: tf.TensorSpec) -> None:
    """Refuses what is neither the number of a class nor a number for each class."""
    if labels.shape.rank == 1:
        raise ConfigError(
            f"{dataset.name} has the label {labels.dtype.name}, one for each example; expected the "
            "number of its class as an integer, or a number for each class. Give "
            "tf.cast(y, tf.int64) or tf.one_hot(y, num_classes) in preprocess, or set task = "
            '"regression".'
        )


def _require_fit(
    dataset: DatasetFile,
    labels: tf.TensorSpec,
    outputs: int | None,
    fits: bool,
    expected: str = _AS_CLASSES,
) -> None:
    if not fits:
        raise ConfigError(
            f"The model gives {outputs} outputs for each example, but {dataset.name} has labels "
            f"{labels.dtype.name}{tuple(labels.shape[1:])} with num_classes = "
            f"{dataset.num_classes}; expected {expected}"
        )


def _output_shape(model: keras.Model, x: Structure, batch: int) -> tuple[int | None, ...] | None:
    """Shape of the single output, batch first; builds the model. None for several outputs."""
    outputs: Foreign = getattr(model, "outputs", None)
    if not outputs:
        # As Keras builds a model before it trains it: from shapes and dtypes.
        symbols = tf.nest.map_structure(
            lambda leaf: keras.KerasTensor((batch, *leaf.shape[1:]), leaf.dtype.name), x
        )
        try:
            outputs = tf.nest.flatten(model(symbols, training=False))
        except Exception as error:
            raise ConfigError(
                f"The model doesn't fit the data: {one_line(error)}. The data has x = "
                f"{_described(x)}; change the model's inputs or preprocess."
            ) from error
    return tuple(outputs[0].shape) if len(outputs) == 1 else None


def _described(x: Structure) -> str:
    shapes = tf.nest.map_structure(lambda leaf: f"{leaf.dtype.name}{tuple(leaf.shape[1:])}", x)
    return str(shapes).replace("'", "")
