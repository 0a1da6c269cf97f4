import keras
import numpy as np
import pytest
import tensorflow as tf

from datasets import digits
from models import detector, mlp, resnet, small_cnn
from tfscale.model import boxes


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


@pytest.fixture
def small_detector(monkeypatch):
    monkeypatch.setattr(detector, "width", 8)
    monkeypatch.setattr(detector, "max_detections", 6)
    return detector.build(_spec(40, 56, 3), 2)


def _objects(*images):
    """Labels of images, each a list of (class, box)."""
    boxes, classes = np.zeros((len(images), 3, 4), "float32"), np.full((len(images), 3), -1)
    for number, image in enumerate(images):
        for place, (kind, box) in enumerate(image):
            boxes[number, place], classes[number, place] = box, kind
    return {"boxes": boxes, "classes": classes}


LEFT, RIGHT = (0, [0.1, 0.1, 0.5, 0.4]), (1, [0.3, 0.5, 0.9, 0.9])


def _loss(model, x, y, sample_weight=None):
    return float(model.compute_loss(x, y, model(x), sample_weight))


def test_detector_looks_at_cells_of_four_pixels(small_detector):
    maps = _forward(small_detector, 40, 56, 3)
    assert maps["heat"].shape == (2, 10, 14, 2)
    assert maps["boxes"].shape == (2, 10, 14, 4)
    assert small_detector.compiled


def test_detector_gives_as_many_detections_as_are_asked_for(small_detector):
    x = np.random.default_rng(0).uniform(size=(5, 40, 56, 3)).astype("float32")
    found = small_detector.predict(x, batch_size=2, verbose=0)
    assert found["boxes"].shape == (5, 6, 4)
    assert found["scores"].shape == found["classes"].shape == (5, 6)
    assert set(np.unique(found["classes"])) <= {-1, 0, 1}
    assert np.all(np.diff(found["scores"]) <= 0)


def test_detector_has_a_loss_that_is_the_mean_over_examples(small_detector):
    x = np.random.default_rng(0).uniform(size=(3, 40, 56, 3)).astype("float32")
    images = ([LEFT], [LEFT, RIGHT], [])
    each = [
        _loss(small_detector, x[number : number + 1], _objects(image))
        for number, image in enumerate(images)
    ]
    assert _loss(small_detector, x, _objects(*images)) == pytest.approx(np.mean(each), rel=1e-5)
    weighted = _loss(small_detector, x, _objects(*images), np.array([0.0, 3.0, 0.0], "float32"))
    assert weighted == pytest.approx(each[1], rel=1e-5)


@pytest.mark.parametrize("kind", ["crowd", "difficult"])
def test_detector_is_not_trained_on_objects_that_need_not_be_found(small_detector, kind):
    x = np.random.default_rng(0).uniform(size=(1, 40, 56, 3)).astype("float32")
    marked = {**_objects([LEFT, RIGHT]), kind: np.array([[False, True, False]])}
    assert _loss(small_detector, x, marked) == _loss(small_detector, x, _objects([LEFT]))


def test_detector_that_says_what_is_true_has_hardly_a_loss(small_detector):
    y = _objects([LEFT, RIGHT])
    targets = boxes.encode(y["boxes"], y["classes"], num_classes=2, cells=(10, 14))
    cells = np.array([10, 14])
    rows, columns = np.meshgrid(np.arange(10), np.arange(14), indexing="ij")
    first, last = targets.boxes.numpy()[..., :2] * cells, targets.boxes.numpy()[..., 2:] * cells
    offsets = (first + last) / 2 - np.stack([rows, columns], -1) - 0.5
    sides = np.log(np.maximum(last - first, 1e-3) / 4)
    right = {
        "heat": tf.where(targets.heat >= 1.0, 20.0, -20.0),
        "boxes": tf.constant(np.concatenate([offsets, sides], -1), tf.float32),
    }
    assert float(small_detector.compute_loss(None, y, right)) < 1e-3
    found = boxes.best_detections(
        tf.sigmoid(right["heat"]),
        boxes.decode(right["boxes"]),
        count=2,
        candidates=9,
        most_overlap=0.5,
    )
    np.testing.assert_allclose(
        sorted(found["boxes"][0].numpy().tolist()), y["boxes"][0, :2], atol=1e-6
    )
    wrong = {**right, "heat": -right["heat"]}
    assert float(small_detector.compute_loss(None, y, wrong)) > 100


def test_detector_maps_stay_float32_in_mixed_precision(monkeypatch):
    monkeypatch.setattr(detector, "width", 8)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = detector.build(_spec(32, 32, 3), 2)
    assert model.layers[1].compute_dtype == "bfloat16"
    assert {output.dtype for output in model.outputs} == {"float32"}


def test_detector_sees_one_example_at_a_time(small_detector):
    kinds = {type(layer) for layer in small_detector.layers}
    assert keras.layers.GroupNormalization in kinds
    assert not kinds & {keras.layers.BatchNormalization, keras.layers.Dropout}


def test_detector_rate_rises_and_falls_over_the_steps_that_are_given(monkeypatch):
    monkeypatch.setattr(detector, "width", 8)
    monkeypatch.setattr(detector, "total_steps", 100)
    rate = detector.build(_spec(32, 32, 3), 2).optimizer._learning_rate
    found = [float(rate(step)) for step in (0, 10, 55, 100)]
    np.testing.assert_allclose(found, [0.0, 2e-3, 1e-3, 0.0], atol=1e-6)
