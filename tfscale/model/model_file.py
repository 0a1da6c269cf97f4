"""The user's model file: `build`, and the callbacks that it may ask for."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import keras
import tensorflow as tf

from tfscale.data.sources.dataset_file import DatasetFile
from tfscale.errors import ConfigError, one_line
from tfscale.structures import Spec
from tfscale.user_files import load_module, require_function
from tfscale.user_paths import UserFile, located, name_of


@dataclass(frozen=True)
class ModelFile:
    """What a model file says.

    Args:
        name: how to name it in a message.
        build: `build(spec, ...)` gives a Keras model; what else it takes it gets by name.
        callbacks: gives the Keras callbacks that the run is to have, on every worker.
        metrics: that are asked for beside the task's, as the file has them.
        module: what `load_module` made of the file; None where no path was given.
        options: constants of it that were set, by their names.
    """

    name: str
    build: Callable[..., Any]
    callbacks: Callable[[], list[keras.callbacks.Callback]]
    metrics: object = ()
    module: ModuleType | None = None
    options: Mapping[str, object] = field(default_factory=dict)


def read_model_file(model: object, options: tuple[str, ...] = ()) -> ModelFile:
    """Reads the user's model file.

    Args:
        model: a path, a module or other object with a `build`, or such a function itself.
        options: `NAME=VALUE` texts for the file's constants.

    Raises:
        ConfigError: there is no `build`.
    """
    if inspect.isfunction(model):
        return ModelFile(model.__name__, model, list)
    model, name = located(model), name_of(model)
    if not isinstance(model, UserFile):
        build = require_function(model, "build", name)
        callbacks, metrics = getattr(model, "callbacks", list), getattr(model, "metrics", ())
        return ModelFile(name, build, callbacks, metrics)
    module = load_module(model, options)
    build = require_function(module, "build", name)
    chosen = {key: getattr(module, key) for key in (text.partition("=")[0] for text in options)}
    callbacks, metrics = getattr(module, "callbacks", list), getattr(module, "metrics", ())
    return ModelFile(name, build, callbacks, metrics, module, chosen)


def build_model(
    model_file: ModelFile,
    dataset: DatasetFile,
    spec: Spec,
    strategy: tf.distribute.Strategy,
) -> keras.Model:
    """Calls the user's `build` in the strategy's scope.

    Args:
        model_file: the user's.
        dataset: gives `num_classes`.
        spec: of one replica's `(x, y[, sample_weight])`; `build` gets that of one example's x.
        strategy: whose replicas hold the variables.

    Raises:
        ConfigError: `build` failed, or gave something else than a Keras 3 model.
    """
    features, named = build_arguments(model_file, dataset, spec)
    try:
        with strategy.scope():
            model = model_file.build(*features, **named)
    except Exception as error:
        raise ConfigError(f"{model_file.name}: build raised {one_line(error)}") from error
    if not isinstance(model, keras.Model):
        raise ConfigError(
            f"{model_file.name}: build returned {type(model).__module__}.{type(model).__name__}; "
            "expected a keras.Model of Keras 3."
        )
    _require_new(model, model_file, strategy)
    return model


def build_arguments(
    model_file: ModelFile, dataset: DatasetFile, spec: Spec
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What `build` is called with: the spec if it takes anything, and all others by their names.

    Args:
        model_file: the user's.
        dataset: gives `num_classes`, `data_dir`, its constants and what its `statistics` learned.
        spec: as in `build_model`.

    Returns:
        The arguments by place, and those by name.

    Raises:
        ConfigError: it wants something that nobody says.
    """
    features = tf.nest.map_structure(
        lambda leaf: tf.TensorSpec(leaf.shape[1:], leaf.dtype), spec[0]
    )
    known = {**dataset.constants, "data_dir": dataset.data_dir}
    known.pop("num_classes", None)
    if dataset.num_classes is not None:
        known["num_classes"] = dataset.num_classes
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(model_file.build).parameters.values()
    wanted = {one.name: one.default for one in parameters if one.kind not in kinds}
    first = next(iter(wanted), "num_classes")
    takes_spec = first == "spec" or first not in {*known, "num_classes"}
    if takes_spec:
        del wanted[first]
    named = {name: known[name] for name in wanted if name in known}
    empty = inspect.Parameter.empty
    missing = [name for name, value in wanted.items() if value is empty and name not in known]
    if "num_classes" in missing:
        raise ConfigError(
            f"{model_file.name}: build(spec, num_classes) wants the number of classes, which "
            f"{dataset.name} doesn't say. Add for example num_classes = 10 to it."
        )
    if missing:
        raise ConfigError(
            f"{model_file.name}: build wants {' and '.join(missing)}, which {dataset.name} doesn't "
            f"define; expected names out of {', '.join(sorted(known))}. Define it there, or give "
            "the parameter a default."
        )
    return ((features,) if takes_spec else ()), named


def _require_new(
    model: keras.Model, model_file: ModelFile, strategy: tf.distribute.Strategy
) -> None:
    """Refuses a model of before: its weights are on no replica, or it was made ready once."""
    known = "expected a new one from each call. Make it within build"
    if "make_train_function" in vars(model):  # see fit.keras.install
        raise ConfigError(
            f"{model_file.name}: build returned a model that was trained before; {known}, and "
            "give it the weights of the other with set_weights."
        )
    if not isinstance(
        strategy, tf.distribute.MirroredStrategy | tf.distribute.MultiWorkerMirroredStrategy
    ):
        return
    for weight in model.trainable_variables:
        if not strategy.extended.variable_created_in_scope(weight.value):
            raise ConfigError(
                f"{model_file.name}: build returned a model whose {weight.path} was made before "
                f"it was called, on no replica; {known}."
            )
