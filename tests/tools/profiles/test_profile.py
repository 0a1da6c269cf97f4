import json
import math

import pytest

from tfscale.errors import ConfigError
from tools.profiles.profile import (
    SHIPPED,
    LayerProfile,
    Profile,
    load_profile,
    profile_text,
    require_writable,
)

# name: layers, weights, examples, milliseconds of a step, first layer, last layer
FACTS = {
    "resnet-50": (54, 25_557_032, 128, 128_000 / 321.8, "conv1", "fc"),
    "vgg-16": (16, 138_357_544, 16, 71.7, "block1_conv1", "predictions"),
    "bert-base": (26, 109_482_240, 32, 32_000 / 103.58, "embeddings", "pooler"),
    "wait-12": (12, 25_165_824, 32, 720, "layer_0", "layer_11"),
    "wait-12-small": (12, 6_291_456, 32, 720, "layer_0", "layer_11"),
}
MINIMAL = {
    "name": "one",
    "examples_per_step": 2,
    "layers": [{"name": "dense", "shape": [3, 4], "forward_ms": 1, "backward_ms": 2}],
}


def _written(folder, content):
    path = folder / "profile.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def _changed(**changes):
    return MINIMAL | {"layers": [MINIMAL["layers"][0] | changes]}


def _layer(profile, name):
    return next(layer for layer in profile.layers if layer.name == name)


def _gradient_bytes(layer):
    return 4 * sum(math.prod(shape) for shape in layer.shapes)


def test_every_shipped_profile_is_known_here():
    assert {path.stem for path in SHIPPED.glob("*.json")} == set(FACTS)


@pytest.mark.parametrize("name", FACTS)
class TestShipped:
    def test_it_has_the_layers_and_weights_of_the_model(self, name):
        profile = load_profile(name)
        layers, weights, examples, _, first, last = FACTS[name]
        assert profile.name == name
        assert len(profile.layers) == layers
        assert profile.num_weights == weights
        assert profile.examples_per_step == examples
        assert (profile.layers[0].name, profile.layers[-1].name) == (first, last)

    def test_its_layers_take_as_long_as_the_published_step(self, name):
        profile = load_profile(name)
        assert 1000 * profile.compute_seconds == pytest.approx(FACTS[name][3], rel=1e-4)

    def test_backward_takes_twice_as_long_as_forward(self, name):
        for layer in load_profile(name).layers:
            assert layer.backward_ms == pytest.approx(2 * layer.forward_ms, abs=0.002)

    def test_every_layer_takes_time_and_has_a_name_of_its_own(self, name):
        layers = load_profile(name).layers
        assert min(layer.forward_ms for layer in layers) > 0
        assert len({layer.name for layer in layers}) == len(layers)

    def test_it_says_where_its_times_come_from(self, name):
        source = load_profile(name).source
        assert source.startswith("Invented") or ("V100" in source and "https://" in source)

    def test_its_file_has_one_line_for_each_layer(self, name):
        lines = (SHIPPED / f"{name}.json").read_text().splitlines()
        assert len([line for line in lines if "forward_ms" in line]) == FACTS[name][0]

    def test_its_text_can_be_read_again(self, name, tmp_path):
        profile = load_profile(name)
        assert load_profile(_written(tmp_path, profile_text(profile))) == profile


def test_the_largest_gradient_of_vgg_is_three_quarters_of_all():
    profile = load_profile("vgg-16")
    fc1 = _layer(profile, "fc1")
    assert fc1.shapes == ((25088, 4096), (4096,))
    assert _gradient_bytes(fc1) == pytest.approx(411e6, rel=1e-3)
    assert _gradient_bytes(fc1) / (4 * profile.num_weights) == pytest.approx(0.743, abs=0.001)


def test_the_dense_layers_of_vgg_take_no_less_than_reading_their_weights():
    profile = load_profile("vgg-16")
    for name in ("fc1", "fc2", "predictions"):
        layer = _layer(profile, name)
        assert layer.forward_ms >= 1000 * _gradient_bytes(layer) / 900e9 - 0.001


def test_the_last_gradient_of_bert_is_its_largest():
    profile = load_profile("bert-base")
    assert profile.layers[0].shapes[0] == (30522, 768)
    assert _gradient_bytes(profile.layers[0]) == max(map(_gradient_bytes, profile.layers))


def test_the_convolutions_of_a_resnet_block_follow_each_other():
    names = [layer.name for layer in load_profile("resnet-50").layers]
    start = names.index("conv3_block1_1")
    assert names[start : start + 5] == [
        *("conv3_block1_1", "conv3_block1_2", "conv3_block1_3", "conv3_block1_shortcut"),
        "conv3_block2_1",
    ]


def test_the_channels_of_resnet_fit_from_layer_to_layer():
    profile = load_profile("resnet-50")
    main_path = [layer for layer in profile.layers if not layer.name.endswith("shortcut")]
    for before, after in zip(main_path, main_path[1:], strict=False):
        assert before.shapes[0][-1] == after.shapes[0][-2]


def test_a_file_is_read_by_its_path(tmp_path):
    assert load_profile(_written(tmp_path, MINIMAL)) == Profile(
        "one", 2, (LayerProfile("dense", ((3, 4),), 1.0, 2.0),)
    )


def test_a_layer_may_have_several_weights_or_none(tmp_path):
    def shapes(**weights):
        layer = {"name": "dense", "forward_ms": 0, "backward_ms": 0} | weights
        return load_profile(_written(tmp_path, MINIMAL | {"layers": [layer]})).layers[0].shapes

    assert shapes(tensors=[[3, 4], [4]]) == ((3, 4), (4,))
    assert shapes(tensors=[]) == ()
    assert shapes(shape=[]) == ((),)


def test_a_slower_device_takes_longer_for_the_same_layers(tmp_path):
    profile = load_profile("vgg-16")
    slower = profile.scaled(2.5)
    assert slower.compute_seconds == pytest.approx(2.5 * profile.compute_seconds)
    assert [layer.shapes for layer in slower.layers] == [layer.shapes for layer in profile.layers]
    assert slower.num_weights == profile.num_weights
    assert (slower.name, slower.source) == ("vgg-16*2.5", profile.source)
    assert slower.examples_per_step == profile.examples_per_step


@pytest.mark.parametrize("name", ["alexnet", "no/such.json", "no/such", ""])
def test_a_profile_that_is_not_there_is_refused_with_those_that_are(name):
    with pytest.raises(ConfigError) as caught:
        load_profile(name)
    assert f"--profile={name} is not there" in str(caught.value)
    assert "bert-base, resnet-50, vgg-16, wait-12" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("\udcff", "UnicodeDecodeError"),
        ({}, "KeyError: 'layers'"),
        ({"layers": None}, "TypeError"),
        (MINIMAL | {"layers": []}, "it has no layers"),
        (MINIMAL | {"layers": ["dense"]}, "TypeError"),
        (MINIMAL | {"layers": MINIMAL["layers"] * 2}, "two layers have the name dense"),
        (MINIMAL | {"examples_per_step": 0}, "a step of 0 examples"),
        (MINIMAL | {"examples_per_step": "many"}, "ValueError"),
        (MINIMAL | {"examples_per_step": math.inf}, "OverflowError"),
        ({"layers": MINIMAL["layers"], "examples_per_step": 1}, "KeyError: 'name'"),
        ({"layers": MINIMAL["layers"], "name": "one"}, "KeyError: 'examples_per_step'"),
        (_changed(forward_ms=-1), "layer dense takes -1 ms"),
        (_changed(backward_ms=-0.5), "layer dense takes -0.5 ms"),
        (_changed(forward_ms=math.nan), "layer dense takes nan ms"),
        (_changed(backward_ms=math.inf), "layer dense takes inf ms"),
        (_changed(forward_ms="long"), "ValueError"),
        (_changed(shape=3), "TypeError"),
        (_changed(shape=[3, -4]), "layer dense has a weight of shape"),
        (_changed(tensors=[3]), "TypeError"),
        ({**MINIMAL, "layers": [{"name": "dense", "shape": [1]}]}, "KeyError: 'forward_ms'"),
        ({**MINIMAL, "layers": [{"name": "dense"}]}, "KeyError: 'shape'"),
    ],
)
def test_what_is_no_profile_is_refused_with_the_reason_and_the_form(content, why, tmp_path):
    path = tmp_path / "profile.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError) as caught:
        load_profile(str(path))
    assert f"--profile={path} is no profile" in str(caught.value)
    assert why in str(caught.value)
    assert '"forward_ms"' in str(caught.value)


def test_a_file_that_could_not_be_read_again_is_refused_before_it_is_written(tmp_path):
    (tmp_path / "folder.json").mkdir()
    for path in ("profile.txt", "profile", "no/such/profile.json", "folder.json"):
        with pytest.raises(ConfigError, match="can't be written; expected a file named .json"):
            require_writable(str(tmp_path / path))
    require_writable(str(tmp_path / "profile.json"))
    require_writable("")
