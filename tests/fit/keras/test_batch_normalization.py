import keras
import numpy as np
import pytest
import tensorflow as tf

from tfscale.fit.keras.batch_normalization import fuse_batch_normalization


def _model(shape=(4, 3, 5), dtype="float32", **options):
    mixed = keras.DTypePolicy(dtype)
    options = {"momentum": 0.7, "epsilon": 1e-5} | options
    layer = keras.layers.BatchNormalization(name="norm", dtype=mixed, **options)
    inputs = keras.Input(shape, dtype=mixed.compute_dtype)
    model = keras.Model(inputs, layer(inputs))
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.5, 2, w.shape) for w in model.get_weights()])
    return model


def _images(batch=6, shape=(4, 3, 5), dtype="float32"):
    images = np.random.default_rng(1).normal(2, 3, (batch, *shape))
    return tf.cast(tf.constant(images), dtype)


def _run(model, images, *, training):
    """Outputs, gradients by the input and by gamma and beta, and the moving averages."""

    @tf.function
    def run(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = model(images, training=training)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float64) ** 3)
        weights = [variable.value for variable in model.trainable_variables]
        return outputs, tape.gradient(loss, [images, *weights])

    outputs, gradients = run(images)
    found = [outputs, *gradients, *model.non_trainable_variables]
    return [np.asarray(tf.cast(leaf, tf.float64)) for leaf in found]


def _require_same(options, images, tolerance, *, training):
    ours, keras_own = _model(**options), _model(**options)
    assert fuse_batch_normalization(ours) == 1
    pairs = zip(
        _run(ours, images, training=training),
        _run(keras_own, images, training=training),
        strict=True,
    )
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def _fused_nodes(model, images, *, training):
    traced = tf.function(lambda x: model(x, training=training)).get_concrete_function(images)
    return [node for node in traced.graph.get_operations() if "FusedBatchNorm" in node.type]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"scale": False}, {"center": False}, {"axis": 3}, {"trainable": False}],
)
def test_it_gives_what_keras_gives(options, training):
    _require_same(options, _images(), 5e-6, training=training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_it_gives_what_keras_gives_in_mixed_precision(dtype, training):
    half = dtype.removeprefix("mixed_")
    # Both compute in float32 and round to 16 bits once.
    _require_same({"dtype": dtype}, _images(dtype=half), 2e-2, training=training)


def test_a_single_pixel_has_no_variance_and_gives_no_nan():
    # Keras subtracts the mean after it has divided by the root of epsilon.
    _require_same({"shape": (1, 1, 5)}, _images(1, (1, 1, 5)), 1e-4, training=True)


def test_a_batch_of_unknown_size_is_counted_when_it_comes():
    options, images = {}, _images(3)
    ours, keras_own = _model(**options), _model(**options)
    fuse_batch_normalization(ours)
    for model in (ours, keras_own):
        call = tf.function(
            lambda x, model=model: model(x, training=True),
            input_signature=[tf.TensorSpec([None, None, None, 5])],
        )
        call(images)
    for found, expected in zip(ours.get_weights(), keras_own.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_the_kernel_is_the_fused_one():
    model = _model()
    assert not _fused_nodes(model, _images(), training=True)
    fuse_batch_normalization(model)
    assert len(_fused_nodes(model, _images(), training=True)) == 1
    assert len(_fused_nodes(model, _images(), training=False)) == 1


def test_layers_within_layers_are_fused_too():
    inner = _model()
    inputs = keras.Input((4, 3, 5))
    assert fuse_batch_normalization(keras.Model(inputs, inner(inputs))) == 1


class _Own(keras.layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=training, mask=mask) + 1


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.BatchNormalization(synchronized=True),
        keras.layers.BatchNormalization(renorm=True),
        _Own(),
        keras.layers.LayerNormalization(),
    ],
)
def test_what_computes_something_else_is_left_alone(layer):
    assert fuse_batch_normalization(keras.Sequential([keras.Input((4, 3, 5)), layer])) == 0


@pytest.mark.parametrize(
    ("options", "dtype"),
    [({"shape": (7,)}, "float32"), ({"axis": 1}, "float32"), ({"dtype": "float64"}, "float64")],
)
def test_what_the_kernel_does_not_take_is_left_to_keras(options, dtype):
    images = _images(6, options.get("shape", (4, 3, 5)), dtype)
    ours, keras_own = _model(**options), _model(**options)
    fuse_batch_normalization(ours)
    assert not _fused_nodes(ours, images, training=True)
    pairs = zip(
        _run(ours, images, training=True), _run(keras_own, images, training=True), strict=True
    )
    for found, expected in pairs:
        np.testing.assert_array_equal(found, expected)


def test_a_mask_is_left_to_keras():
    model, images = _model(), _images()
    mask = tf.constant(np.arange(6 * 4 * 3).reshape(6, 4, 3) % 3 > 0)
    expected = model.get_layer("norm")(images, training=True, mask=mask)
    model = _model()
    fuse_batch_normalization(model)
    found = model.get_layer("norm")(images, training=True, mask=mask)
    np.testing.assert_array_equal(found, expected)


def test_the_model_is_saved_as_a_plain_one(tmp_path):
    model, images = _model(), _images()
    fuse_batch_normalization(model)
    expected = model(images, training=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(images, training=False), expected, rtol=1e-5, atol=1e-5)
    assert not _fused_nodes(loaded, images, training=False)
