import pytest

from tools.profiles.layer_shares import Part, Times, shared_out


def _shared(*parts, forward=1.0, backward=2.0):
    return shared_out(Times(forward, backward), [Part(*part) for part in parts])


def _times(layers):
    return [(layer.name, layer.forward_ms, layer.backward_ms) for layer in layers]


def test_a_step_is_shared_out_in_proportion_to_what_layers_take_alone():
    layers = _shared(("first", ((2, 2),), Times(0.1, 0.3)), ("last", ((5,),), Times(0.3, 0.1)))
    assert _times(layers) == [
        ("first", pytest.approx(250), pytest.approx(1500)),
        ("last", pytest.approx(750), pytest.approx(500)),
    ]
    assert [layer.shapes for layer in layers] == [((2, 2),), ((5,),)]


def test_a_layer_without_weights_gives_its_time_to_the_one_before_it():
    layers = _shared(
        ("first", ((1,),), Times(0.1, 0.1)),
        ("pool", (), Times(0.2, 0.1)),
        ("last", ((1,),), Times(0.1, 0.2)),
    )
    assert _times(layers) == [
        ("first", pytest.approx(750), pytest.approx(1000)),
        ("last", pytest.approx(250), pytest.approx(1000)),
    ]


def test_layers_without_weights_before_all_others_give_their_time_to_the_first_one():
    layers = _shared(
        ("scale", (), Times(0.1, 0.0)),
        ("crop", (), Times(0.1, 0.0)),
        ("first", ((1,),), Times(0.2, 0.1)),
        ("last", ((1,),), Times(0.4, 0.1)),
    )
    assert [layer.forward_ms for layer in layers] == pytest.approx([500, 500])
    assert [layer.backward_ms for layer in layers] == pytest.approx([1000, 1000])


def test_a_layer_that_can_not_be_run_alone_has_the_rate_of_the_others():
    layers = _shared(
        ("first", ((2, 5),), Times(0.3, 0.1)),
        ("lost", ((4,),), None),
        ("pool", (), None),
        ("last", ((10,),), Times(0.1, 0.3)),
    )
    # 20 weights in 0.4 seconds, so 4 of them in 0.08.
    assert [layer.forward_ms for layer in layers] == pytest.approx(
        [300 / 0.48, 80 / 0.48, 100 / 0.48]
    )


@pytest.mark.parametrize("times", [None, Times(0.0, 0.0)])
def test_where_no_layer_takes_time_weights_decide(times):
    layers = _shared(
        ("first", ((2, 3),), times), ("pool", (), Times(0.1, 0.1)), ("b", ((2,),), times)
    )
    assert _times(layers) == [
        ("first", pytest.approx(750), pytest.approx(1500)),
        ("b", pytest.approx(250), pytest.approx(500)),
    ]


def test_layers_of_the_same_name_get_numbers():
    layers = _shared(*((name, ((1,),), None) for name in ("a", "a", "b", "a_2", "a")))
    assert [layer.name for layer in layers] == ["a", "a_2", "b", "a_2_2", "a_3"]
