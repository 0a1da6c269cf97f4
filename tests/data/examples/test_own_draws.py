"""What `preprocess` draws as every tutorial does is each example's own, on any workers."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfscale.data.sharding import Sharding
from tfscale.data.sources.dataset_file import read_dataset_file
from tfscale.data.sources.source import source_of
from tfscale.data.training_batches import training_input
from tfscale.errors import ConfigError

SIZE, EPOCHS, BATCH = 12, 2, 4
IMAGES = np.random.default_rng(0).uniform(20, 200, (SIZE, 24, 24, 3)).astype(np.float32)
STRATEGY = tf.distribute.get_strategy()


def _file(preprocess):
    return read_dataset_file(
        SimpleNamespace(
            __name__="mine",
            load=lambda split: tf.data.Dataset.from_tensor_slices((IMAGES, np.arange(SIZE))),
            preprocess=lambda record, training: (preprocess(*record), record[1]),
        )
    )


def _made(preprocess, *, workers=1, first_step=0, seed=0):
    """What became of each record: by part, then epoch and number, from a step of the run on."""
    file, seen = _file(preprocess), {}
    steps = SIZE // BATCH
    for worker in range(workers):
        made = training_input(
            file,
            source_of(file, "train"),
            Sharding(BATCH, workers, worker, 1),
            STRATEGY,
            seed=seed,
            steps_per_epoch=steps,
        )
        batches = iter(made.make(first_step))
        for step in range(first_step, EPOCHS * steps):
            x, numbers = next(batches)
            for row, number in enumerate(np.array(numbers)):
                for name, part in (x if isinstance(x, dict) else {"": x}).items():
                    place = step // steps, int(number)
                    seen.setdefault(name, {})[place] = np.array(part)[row].tobytes()
    return seen


def _erased(image, number):
    """A box by the number of a tutorial: an `if` about a tensor, which becomes a branch."""
    if tf.random.uniform([]) < 0.7:
        image = tf.image.random_flip_left_right(image) + tf.random.normal([])
    return image


def _in_a_box(image, number):
    begin, size, _ = tf.image.sample_distorted_bounding_box(
        tf.shape(image), [[[0.0, 0.0, 1.0, 1.0]]], min_object_covered=0.1
    )
    return tf.image.resize(tf.slice(image, begin, size), (8, 8))


MIXED = keras.Sequential([layers.RandomFlip(), layers.RandomRotation(0.3), layers.RandomZoom(0.2)])
NOISE, DROPOUT = layers.GaussianNoise(0.5), layers.Dropout(0.5)
GENERATOR = keras.random.SeedGenerator(7)
DRAWS = {
    "brightness": lambda image, number: tf.image.random_brightness(image, 0.1),
    "with_a_seed": lambda image, number: tf.image.random_brightness(image, 0.1, seed=3),
    "hue": lambda image, number: tf.image.random_hue(image, 0.1),
    "crop": lambda image, number: tf.image.random_crop(image, [8, 8, 3]),
    "box": _in_a_box,
    "quality": lambda image, number: tf.image.random_jpeg_quality(image / 255.0, 10, 90),
    "uniform": lambda image, number: tf.random.uniform([3]),
    "integers": lambda image, number: tf.random.uniform([9], 1, 7, tf.int32),
    "normal": lambda image, number: tf.random.normal([3], mean=5.0),
    "truncated": lambda image, number: tf.random.truncated_normal([3]),
    "gamma": lambda image, number: tf.random.gamma([2], [1.0, 2.0]),
    "poisson": lambda image, number: tf.random.poisson([9], [1.0, 50.0]),
    "shuffle": lambda image, number: tf.random.shuffle(tf.range(24)),
    "categorical": lambda image, number: tf.random.categorical([[0.0, 0.0, 1.0]], 30)[0],
    "numpy's names": lambda image, number: tf.experimental.numpy.random.rand(3),
    "dropout": lambda image, number: tf.nn.dropout(image, 0.5),
    "branch": tf.autograph.to_graph(_erased),
    "layers": lambda image, number: MIXED(image, training=True),
    "noise": lambda image, number: NOISE(image, training=True),
    "dropped": lambda image, number: DROPOUT(image, training=True),
    "generator": lambda image, number: image * keras.random.uniform([], seed=GENERATOR),
}


def _require_own(draws):
    """Each example's own in each epoch, the same on two workers and after a resume."""

    def preprocess(image, number):
        return {name: draw(image, number) for name, draw in draws.items()}

    alone, others = _made(preprocess), _made(preprocess, seed=1)
    shared, resumed = _made(preprocess, workers=2), _made(preprocess, first_step=4)
    for name in draws:
        # A draw that says no in some examples leaves them as they were.
        assert len(set(alone[name].values())) > SIZE, name
        assert shared[name] == alone[name] != others[name]
        assert resumed[name] == {key: alone[name][key] for key in resumed[name]}


def test_what_is_drawn_belongs_to_the_example():
    _require_own(DRAWS)


# One that takes its seed in each way that Keras's layers have.
OF_KERAS = {
    "flip": layers.RandomFlip(),
    "crop": layers.RandomCrop(20, 20),
    "erasing": layers.RandomErasing(0.9),
    "jitter": layers.RandomColorJitter((0, 255), 0.5),
}


def test_what_random_layers_of_images_draw_does_so_too():
    _require_own(
        {
            name: lambda image, number, layer=layer: layer(image, training=True)
            for name, layer in OF_KERAS.items()
        }
    )


def test_a_layer_that_chooses_in_python_is_refused():
    layer = layers.AugMix()
    with pytest.raises(ConfigError, match="draws from Python's random"):
        _made(lambda image, number: layer(image, training=True))


def test_one_seed_turns_an_image_and_its_mask_alike():
    both = layers.RandomFlip(seed=5), layers.RandomFlip(seed=5)

    def preprocess(image, number):
        mask = image[..., :1]
        pairs = [
            [tf.image.random_flip_left_right(one, seed=1) for one in (image, mask)],
            [tf.image.random_crop(one[..., :1], [8, 8, 1], seed=2) for one in (image, mask)],
            [flip(one, training=True) for flip, one in zip(both, (image, mask), strict=True)],
        ]
        return tf.stack([tf.reduce_max(tf.abs(a[..., :1] - b)) for a, b in pairs])

    assert set(_made(preprocess)[""].values()) == {np.zeros(3, np.float32).tobytes()}


def test_two_draws_of_one_example_are_two_numbers():
    def preprocess(image, number):
        layer = tf.reduce_mean(NOISE(tf.zeros([9]), training=True))
        again = tf.reduce_mean(NOISE(tf.zeros([9]), training=True))
        return tf.stack([tf.random.uniform([]), tf.random.uniform([]), layer, again])

    rows = [np.frombuffer(row, np.float32) for row in _made(preprocess)[""].values()]
    assert all(len(set(row)) == 4 for row in rows)


def test_distributions_are_those_that_were_asked_for():
    def preprocess(image, number):
        many = [5000]
        chosen = tf.random.categorical(tf.math.log([[0.2, 0.8]]), 5000)[0]
        parts = {
            0.5: tf.random.uniform(many),
            3.0: tf.cast(tf.random.uniform(many, 1, 6, tf.int32), tf.float32),
            7.0: tf.random.normal(many, 7.0, 2.0),
            1.0: tf.random.truncated_normal(many, 1.0, 0.5),
            4.0: tf.random.gamma(many, 2.0, beta=0.5),
            9.0: tf.random.poisson(many, 9.0),
            0.8: tf.cast(chosen, tf.float32),
        }
        return tf.stack([tf.reduce_mean(part) - mean for mean, part in parts.items()])

    rows = [np.frombuffer(row, np.float32) for row in _made(preprocess)[""].values()]
    assert np.abs(rows).max() < 0.25
    assert np.abs(np.mean(rows, axis=0)).max() < 0.05


@tf.function
def _in_a_function(image):
    return tf.image.random_flip_left_right(image)


REFUSED = {
    "loop": lambda image, number: tf.map_fn(lambda row: row * tf.random.uniform([]), image),
    "layer in a loop": lambda image, number: tf.map_fn(
        lambda row: NOISE(row, training=True), image
    ),
    "function": lambda image, number: _in_a_function(image),
}


@pytest.mark.parametrize("preprocess", REFUSED.values(), ids=REFUSED)
def test_where_all_passes_would_get_one_number_it_is_refused(preprocess):
    with pytest.raises(ConfigError, match=r"mine: preprocess (draws random numbers|changes a var)"):
        _made(preprocess)


def test_nothing_stays_replaced():
    before = tf.random.uniform, keras.random.SeedGenerator.next
    _made(DRAWS["uniform"])
    drawn = tf.data.Dataset.range(2).map(lambda _: tf.random.uniform([]))
    graph = next(iter(drawn._functions())).function.graph
    assert "RandomUniform" in {node.type for node in graph.get_operations()}
    assert before == (tf.random.uniform, keras.random.SeedGenerator.next)
