"""How long the layers of a model take, forward and backward, on the device at hand.

The whole step is what is measured well: its forward and its backward time are medians, with one
call of TensorFlow each. Layers by themselves say only how these two are shared out. Each is run
alone on what it got in a real step, and all their times are scaled so that they add up to the
step's. What a step does outside of layers, additions for example, is thereby spread over all.

- A layer that is called several times stands where it is called first, with the time of all its
  calls: only the backward of the first call completes its gradient.
- A layer that fails by itself, is called within a loop of TensorFlow's or isn't called at all gets
  its share by its number of weights; so do weights that a layer of layers has of its own.
- Time starts with the model's inputs and ends with its outputs: no loss, no optimizer.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError, one_line
from tfscale.fit.data_and_model import build
from tfscale.fit.keras.layers import LayerCall, calls_recorded, layers_within
from tfscale.process.terminal import Terminal
from tfscale.settings import Config
from tfscale.startup.job import Job
from tfscale.structures import Structure
from tools.profiles.layer_shares import Part, Times, shared_out
from tools.profiles.profile import Profile

_WARM_UP = 2  # calls: the first one traces, the second still allocates


def profile_files(config: Config, dataset: object, model: object, repetitions: int) -> Profile:
    """Measures the model of a model file on a batch of a dataset file's train split.

    Args:
        config: batch size, precision, seed and options of the files; the rest isn't used.
        dataset: path of a dataset file, or a module or object with the same attributes.
        model: path of a model file, such a module or object, or a `build` function.
        repetitions: each time is the median of so many.

    Raises:
        ConfigError: one of the files can't be used, or the model has nothing to measure.
    """
    for flag, path in (("dataset", dataset), ("model", model)):
        if not path:
            raise ConfigError(
                f"--{flag} is missing; expected the path of a file. Use for example "
                "--dataset=datasets/digits.py --model=models/small_cnn.py"
            )
    if repetitions < 1:
        raise ConfigError(f"--steps={repetitions} measures nothing; expected at least 1.")
    # A stream need not say how many examples it has: one batch of it is enough.
    job = Job.alone(replace(config, steps_per_epoch=1), Cluster(), Terminal())
    built = build(job, dataset, model)
    training = built.data.training
    training.start()
    batch = next(training.iterator)
    source = (
        f"{built.model_file.name} on {config.batch_size} examples a step of "
        f"{built.data.file.name}, {config.precision}, on {job.devices.names[0]}, TensorFlow "
        f"{tf.__version__}"
    )
    return measure(built.model, batch[0], source=source, repetitions=repetitions)


def measure(model: keras.Model, inputs: Structure, *, source: str, repetitions: int) -> Profile:
    """Measures a model and its layers on one batch.

    Args:
        model: on TensorFlow; its moving statistics change.
        inputs: what the model is called with: tensors, the batch first.
        source: what is measured on what, for the profile.
        repetitions: each time is the median of so many.

    Raises:
        ConfigError: no weight gets a gradient, or the model doesn't run on the batch.
    """
    # On the device: the way to it is the input pipeline's, and overlaps with the step before.
    inputs = tf.nest.map_structure(tf.identity, inputs)
    step, calls = _recorded(model, inputs)
    if not model.trainable_variables:
        raise ConfigError(
            f"The model {model.name!r} has no weights that are trained, so there is nothing to "
            "send between workers; expected at least one. Give it a layer with weights, or set "
            "trainable = True."
        )
    try:
        whole = _times(step, model.trainable_variables, repetitions, inputs_watched=False)
    except Exception as error:
        raise ConfigError(
            f"A step of the model {model.name!r} raised {one_line(error)}; expected outputs that "
            "have a gradient. Check that the model trains with launch/worker.py."
        ) from error
    overhead = _overhead(repetitions)
    parts = _parts(model, calls, overhead, repetitions)
    lost = [part.name for part in parts if part.shapes and part.times is None]
    by_weights = f" By their weights: {', '.join(lost)}." if lost else ""
    return Profile(
        model.name,
        int(tf.shape(tf.nest.flatten(inputs)[0])[0]),
        shared_out(whole, parts),
        f"Measured: {source}. Medians of {repetitions} steps, forward {1000 * whole.forward:.4g} "
        f"ms, backward {1000 * whole.backward:.4g} ms, shared over the layers in proportion to "
        f"their times alone.{by_weights}",
    )


def _recorded(model: keras.Model, inputs: Structure) -> tuple[LayerCall, list[LayerCall]]:
    """Runs the model once; gives its own call and those of all layers in it."""
    step = LayerCall(model, (inputs,), {"training": True})
    try:
        # A layer may make other layers when it is built, which the first call does.
        model(inputs, training=True)
        with calls_recorded([model, *_layers(model)]) as calls:
            model(inputs, training=True)
    except Exception as error:
        raise ConfigError(
            f"The model {model.name!r} raised {one_line(error)} on a batch of the dataset; "
            "expected outputs. Check that build(spec, num_classes) takes what load gives."
        ) from error
    return step, calls


def _layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """What a layer consists of, down to recurrent layers.

    A recurrent layer's cell runs once for each time, or not at all where cuDNN has all of it.
    """
    if isinstance(layer, keras.layers.RNN):
        return []
    within = layers_within(layer)
    hidden = {
        id(cell)
        for one in within
        if isinstance(one, keras.layers.RNN)
        for cell in layers_within(one)
    }
    return [one for one in within if id(one) not in hidden]


def _parts(
    model: keras.Model, calls: Sequence[LayerCall], overhead: float, repetitions: int
) -> list[Part]:
    """Measures the layers of a model by themselves; gives them in forward order."""
    parts: list[Part] = []
    taken: set[int] = set()
    for layer in _in_forward_order([model, *_layers(model)], calls):
        within = _layers(layer)
        of_others = {id(weight) for one in within for weight in one.trainable_variables}
        own = [
            weight
            for weight in layer.trainable_variables
            # A weight that two layers share is sent once, when the first of them is done.
            if id(weight) not in of_others and id(weight) not in taken
        ]
        times = None
        if not within:
            of_layer = [call for call in calls if call.layer is layer]
            times = _times_alone(of_layer, overhead, repetitions, inputs_watched=bool(taken))
        taken.update(id(weight) for weight in own)
        shapes = tuple(tuple(int(size) for size in weight.shape) for weight in own)
        parts.append(Part(layer.name, shapes, times))
    return parts


def _in_forward_order(
    layers: Sequence[keras.layers.Layer], calls: Sequence[LayerCall]
) -> list[keras.layers.Layer]:
    """Sorts by the first call; a layer that isn't called stays behind the one listed before it."""
    first: dict[int, int] = {}
    for number, call in enumerate(calls):
        first.setdefault(id(call.layer), number)
    numbers: list[int] = []
    for layer in layers:
        numbers.append(first.get(id(layer), numbers[-1] if numbers else -1))
    order = sorted(range(len(layers)), key=lambda position: (numbers[position], position))
    return [layers[position] for position in order]


def _times_alone(
    calls: Sequence[LayerCall], overhead: float, repetitions: int, *, inputs_watched: bool
) -> Times | None:
    """All calls of one layer together, or None where there are none or one can't be repeated."""
    forward = backward = 0.0
    measured: dict[str, Times] = {}
    for call in calls:
        kind = str(tf.nest.map_structure(_kind, (call.args, call.kwargs)))
        if kind not in measured:
            weights = call.layer.trainable_variables
            try:
                measured[kind] = _times(call, weights, repetitions, inputs_watched=inputs_watched)
            except Exception:
                # A layer may count on what others do around it: it gets its share by weights.
                return None
        forward += max(0.0, measured[kind].forward - overhead)
        backward += measured[kind].backward
    return Times(forward, backward) if calls else None


def _kind(leaf: Structure) -> str:
    return f"{leaf.dtype}{leaf.shape}" if tf.is_tensor(leaf) else repr(leaf)


def _times(
    call: LayerCall, weights: Sequence[keras.Variable], repetitions: int, *, inputs_watched: bool
) -> Times:
    """Measures one call with and without its gradients.

    Args:
        call: what is called with what.
        weights: gradients of these are computed.
        repetitions: of each.
        inputs_watched: whether those of the inputs are too: some layer before this one waits for
            them.
    """
    leaves = tf.nest.flatten((call.args, call.kwargs))
    positions = [number for number, leaf in enumerate(leaves) if tf.is_tensor(leaf)]
    given = [leaves[position] for position in positions]
    if any(tf.is_symbolic_tensor(tensor) for tensor in given):
        raise ValueError("called within a graph")

    def outputs(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        filled = list(leaves)
        for position, tensor in zip(positions, tensors, strict=True):
            filled[position] = tensor
        args, kwargs = tf.nest.pack_sequence_as((call.args, call.kwargs), filled)
        return [one for one in tf.nest.flatten(call.layer(*args, **kwargs)) if tf.is_tensor(one)]

    def gradients(tensors: Sequence[tf.Tensor]) -> list[Any]:
        sources = [weight.value for weight in weights]
        with tf.GradientTape() as tape:
            if inputs_watched:
                floating = [tensor for tensor in tensors if tensor.dtype.is_floating]
                tape.watch(floating)
                sources = [*floating, *sources]
            targets = [one for one in outputs(tensors) if one.dtype.is_floating]
        found = tape.gradient(targets, sources)
        if weights and all(one is None for one in found[-len(weights) :]):
            raise ValueError("no weight gets a gradient from the outputs")
        return [one for one in found if one is not None] or targets

    # Arguments, not constants: constants would be computed with before the clock runs.
    forward, both = _median_seconds(
        [tf.function(outputs), tf.function(gradients)], given, repetitions
    )
    return Times(forward, max(0.0, both - forward))


def _overhead(repetitions: int) -> float:
    """Seconds that a call takes which does nothing: a small layer takes less than that."""
    return _median_seconds([tf.function(tf.identity)], tf.zeros([1]), repetitions)[0]


def _median_seconds(
    functions: Sequence[Callable[..., Any]],
    argument: Structure,
    repetitions: int,
) -> list[float]:
    """Runs the functions in turn, so that whatever else the machine does meets all of them."""
    for function in functions:
        for _ in range(_WARM_UP):
            _wait_for(function(argument))
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(repetitions):
        for function, own in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            _wait_for(function(argument))
            own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in seconds]


def _wait_for(results: Structure) -> None:
    """Reads one number back: a GPU has then done everything that it was told before."""
    tensors = tf.nest.flatten(results, expand_composites=True)
    if tensors:
        tf.reshape(tensors[-1], [-1])[:1].numpy()
