import keras
import numpy as np
import pytest
import tensorflow as tf

from datasets import digits
from models import mlp, resnet, small_cnn


@pytest.fixture(autouse=True)
def _forget_layers_and_fix_the_seed():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    keras.backend.clear_session(free_memory=False)  # the collector will find it


def _spec(*shape):
    return tf.TensorSpec(shape, tf.float32)


def _num_trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)


def _forward(model, *shape):
    return model(np.zeros((2, *shape), "float32"), training=False)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (mlp, (8, 8, 1)),
        (mlp, (30,)),
        (small_cnn, (8, 8, 1)),
        (small_cnn, (64, 64, 3)),
        (resnet, (32, 32, 3)),
    ],
)
def test_one_logit_a_class_comes_out_and_the_model_is_not_compiled(module, shape, monkeypatch):
    monkeypatch.setattr(resnet, "depth", 18)
    model = module.build(_spec(*shape), 7)
    assert _forward(model, *shape).shape == (2, 7)
    assert not model.compiled
    assert model.layers[-1].activation is keras.activations.linear


@pytest.mark.parametrize("module", [mlp, small_cnn, resnet])
def test_logits_stay_float32_in_mixed_precision(module, monkeypatch):
    monkeypatch.setattr(resnet, "depth", 18)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = module.build(_spec(16, 16, 3), 3)
    assert model.layers[1].compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


def test_mlp_hidden_sets_the_layers(monkeypatch):
    monkeypatch.setattr(mlp, "hidden", (5,))
    assert _num_trainable(mlp.build(_spec(4), 2)) == (4 * 5 + 5) + (5 * 2 + 2)


def test_small_cnn_has_nothing_that_depends_on_how_a_batch_is_spread():
    kinds = {type(layer) for layer in small_cnn.build(_spec(8, 8, 1), 10).layers}
    assert not kinds & {keras.layers.BatchNormalization, keras.layers.Dropout}


def test_small_cnn_reads_97_percent_of_the_digits_after_15_epochs():
    def arrays(split):
        examples = digits.load(split).map(lambda record: digits.preprocess(record, False))
        return next(examples.batch(2000).as_numpy_iterator())

    keras.utils.set_random_seed(0)
    model = small_cnn.build(_spec(8, 8, 1), digits.num_classes)
    steps = 15 * (1257 // 64)
    model.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.0025, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(*arrays("train"), batch_size=64, epochs=15, verbose=0)
    assert model.evaluate(*arrays("test"), verbose=0, return_dict=True)["accuracy"] >= 0.97


# The counts of the paper's networks as torchvision, an independent implementation, has them.
@pytest.mark.parametrize(
    ("depth", "count"),
    [
        (18, 11_689_512),
        (34, 21_797_672),
        (50, 25_557_032),
    ],
)
def test_resnet_has_the_known_number_of_parameters(depth, count, monkeypatch):
    monkeypatch.setattr(resnet, "depth", depth)
    assert _num_trainable(resnet.build(_spec(224, 224, 3), 1000)) == count


def _stage_sides(model):
    return [layer.output.shape[1] for layer in model.layers if isinstance(layer, keras.layers.Add)]


def test_resnet_halves_a_large_image_five_times_and_a_small_one_three_times(monkeypatch):
    monkeypatch.setattr(resnet, "depth", 18)
    assert _stage_sides(resnet.build(_spec(224, 224, 3), 10)) == [56, 56, 28, 28, 14, 14, 7, 7]
    assert _stage_sides(resnet.build(_spec(32, 32, 3), 10)) == [32, 32, 16, 16, 8, 8, 4, 4]
    assert _stage_sides(resnet.build(_spec(64, 32, 3), 10))[-1] == 8
    assert _stage_sides(resnet.build(_spec(64, 64, 3), 10))[-1] == 2


def test_resnet_takes_images_of_any_size_when_the_spec_leaves_it_open(monkeypatch):
    monkeypatch.setattr(resnet, "depth", 18)
    model = resnet.build(_spec(None, None, 3), 10)
    assert _forward(model, 96, 64, 3).shape == (2, 10)


def test_resnet_bottleneck_halves_in_its_3x3_convolution():
    model = resnet.build(_spec(32, 32, 3), 10)
    strided = [
        layer.kernel_size
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.strides == (2, 2)
    ]
    assert strided.count((3, 3)) == 3
    assert strided.count((1, 1)) == 3, "the projection of each of the three shortcuts"


def test_resnet_blocks_start_as_the_identity(monkeypatch):
    monkeypatch.setattr(resnet, "depth", 18)
    model = resnet.build(_spec(32, 32, 3), 10)
    gammas = [
        float(np.max(layer.gamma))
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert gammas.count(0.0) == 8, "one scale in each of the eight blocks"


def test_resnet_synchronized_reaches_every_normalisation(monkeypatch):
    monkeypatch.setattr(resnet, "depth", 18)
    monkeypatch.setattr(resnet, "synchronized", True)
    layers = resnet.build(_spec(32, 32, 3), 10).layers
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert norms
    assert all(layer.synchronized for layer in norms)


def test_resnet_of_an_unknown_depth_is_refused_with_the_known_ones(monkeypatch):
    monkeypatch.setattr(resnet, "depth", 20)
    with pytest.raises(
        ValueError, match=r"depth 20.*18, 34, 50, 101, 152.*--model_option=depth=50"
    ):
        resnet.build(_spec(32, 32, 3), 10)
