"""All that is used of Keras without being public: a Keras that has moved it is told here, by name.

What is replaced on classes that are public stands here too: Keras would go on without it, and a
replacement that nobody calls any more changes nothing and says nothing.
"""

import pkgutil
from collections.abc import Sequence

import keras

from tfscale.structures import Foreign

WRITTEN_FOR = "3.15.1"  # as in requirements.txt

# Modules of which names are used, or replaced.
_MODULES = (
    "keras.src.backend.common.global_state",
    "keras.src.backend.config",
    "keras.src.backend.tensorflow.trainer",
    "keras.src.losses.loss",
    "keras.src.random.seed_generator",
    "keras.src.trainers.data_adapters",
)
_OF_MODULES = (
    "keras.src.backend.common.global_state.get_global_attribute",
    "keras.src.backend.common.global_state.set_global_attribute",
    "keras.src.backend.config.keras_home",
    "keras.src.backend.tensorflow.trainer.TFEpochIterator",
    "keras.src.losses.loss.apply_mask",
    "keras.src.losses.loss.reduce_values",
    "keras.src.losses.loss.scale_loss_for_distribution",
    "keras.src.losses.loss.unscale_loss_for_distribution",
    "keras.src.random.seed_generator.GLOBAL_SEED_GENERATOR",
    "keras.src.random.seed_generator.global_seed_generator",
    "keras.src.trainers.data_adapters.get_data_adapter",
)
_OF_CLASSES = (
    "keras.Model._get_metrics_result_or_logs",
    "keras.Model._maybe_symbolic_build",
    "keras.Model._symbolic_build",
    "keras.Model.distribute_strategy",
    "keras.Model.get_compile_config",
    "keras.Model.make_predict_function",
    "keras.Model.make_test_function",
    "keras.Model.make_train_function",
    "keras.Model.reset_metrics",
    "keras.layers.BatchNormalization._moments",
    "keras.layers.Layer._flatten_layers",
    "keras.optimizers.Optimizer._all_reduce_sum_gradients",
    "keras.optimizers.Optimizer._get_current_learning_rate",
    "keras.optimizers.Optimizer._overwrite_model_variables_with_average_value",
    "keras.optimizers.Optimizer.scale_loss",
)


def found(names: Sequence[str]) -> list[Foreign]:
    """What is there under these dotted names.

    Raises:
        ImportError: something isn't, with the names of all that isn't.
    """
    there, missing = [], []
    for name in names:
        try:
            there.append(pkgutil.resolve_name(name))
        except (ImportError, AttributeError):
            missing.append(name)
    if missing:
        raise ImportError(
            f"Keras {keras.__version__} has no {', no '.join(missing)}; expected Keras "
            f"{WRITTEN_FOR}, for which tfscale/fit/keras/ is written. Install that one: "
            "pip install -r requirements.txt"
        )
    return there


global_state, config, keras_trainer, keras_loss, seed_generator, data_adapters, *_ = found(
    (*_MODULES, *_OF_MODULES, *_OF_CLASSES)
)
