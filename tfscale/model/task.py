"""What a model is trained for: loss and metrics from the data set's task, unless it has its own."""

from typing import Any

import keras
import tensorflow as tf

from tfscale.data.dataset_file import DatasetFile
from tfscale.errors import ConfigError
from tfscale.structures import Spec

_PROBABILITIES = ("softmax", "sigmoid")


def compile_model(
    model: keras.Model,
    dataset: DatasetFile,
    labels: Spec,
    optimizer: keras.optimizers.Optimizer,
) -> None:
    """Compiles a model that came uncompiled, with the loss and the metrics of its task.

    Args:
        model: the user's.
        dataset: its task and number of classes.
        labels: the spec of one replica's `y`.
        optimizer: made in the scope that this is called in.

    Raises:
        ConfigError: the task has no defaults, or the model's output doesn't fit the labels.
    """
    loss, metrics = _loss_and_metrics(model, dataset, labels)
    model.compile(
        optimizer=optimizer, loss=loss, metrics=metrics, weighted_metrics=[], jit_compile=False
    )


def _loss_and_metrics(
    model: keras.Model,
    dataset: DatasetFile,
    labels: Spec,
) -> tuple[Any, list[Any]]:
    if dataset.task == "detection" or not isinstance(labels, tf.TensorSpec):
        what = f"task {dataset.task!r}" if isinstance(labels, tf.TensorSpec) else "several labels"
        raise ConfigError(
            f"{dataset.name} has {what}, for which there is no default loss; expected the model "
            "file to compile its model. Call model.compile(optimizer, loss, metrics) in build."
        )
    outputs = _output_shape(model)
    from_logits = not _gives_probabilities(model)
    per_example = labels.shape.rank - 1
    if dataset.task == "regression":
        size = labels.shape[-1] if per_example else 1
        _require_fit(dataset, labels, outputs, outputs in (None, size))
        return keras.losses.MeanSquaredError(), [keras.metrics.MeanAbsoluteError(name="mae")]
    if dataset.task == "multilabel" or outputs == 1:
        is_binary = per_example or dataset.num_classes in (None, 1, 2)
        _require_fit(dataset, labels, outputs, bool(is_binary))
        threshold = 0.0 if from_logits else 0.5
        return (
            keras.losses.BinaryCrossentropy(from_logits=from_logits),
            [keras.metrics.BinaryAccuracy(name="accuracy", threshold=threshold)],
        )
    if labels.dtype.is_integer and per_example == 0:
        classes = dataset.num_classes
        _require_fit(dataset, labels, outputs, None in (outputs, classes) or outputs == classes)
        return (
            keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
            [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        )
    _require_fit(dataset, labels, outputs, outputs is None or labels.shape[-1] == outputs)
    return (
        keras.losses.CategoricalCrossentropy(from_logits=from_logits),
        [keras.metrics.CategoricalAccuracy(name="accuracy")],
    )


def _require_fit(
    dataset: DatasetFile, labels: tf.TensorSpec, outputs: int | None, fits: bool
) -> None:
    if not fits:
        raise ConfigError(
            f"The model gives {outputs} outputs for each example, but {dataset.name} has labels "
            f"{labels.dtype.name}{tuple(labels.shape[1:])} with num_classes = "
            f"{dataset.num_classes}; expected as many outputs as classes. Use num_classes in build."
        )


def _output_shape(model: keras.Model) -> int | None:
    """Size of the last axis of a single output, None where it isn't known before building."""
    outputs = getattr(model, "outputs", None) or []
    return outputs[0].shape[-1] if len(outputs) == 1 and len(outputs[0].shape) > 1 else None


def _gives_probabilities(model: keras.Model) -> bool:
    last = model.layers[-1] if model.layers else None
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Softmax):
        return True
    return getattr(activation, "__name__", "") in _PROBABILITIES
