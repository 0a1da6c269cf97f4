from tools.doctor.orders import Order
from tools.doctor.tensorflow_child import timed

LARGEST = 256 * 2**20


def _order(*, seconds=6.0, most_bytes=LARGEST):
    return Order((), 0, "auto", "float32", 0, seconds, 15.0, most_bytes)


def _timed(speed, **how):
    spent, sizes = [0.0], []

    def seconds_of(elements, repetitions):
        took = 1e-4 + 4 * elements / speed
        spent[0] += took * (1 + repetitions)
        sizes.append(4 * elements)
        return took

    return timed(seconds_of, _order(**how)), spent[0], sizes


def test_a_fast_link_is_measured_at_all_sizes():
    found, _, _ = _timed(10e9)
    assert [size for size, _ in found] == [1024 * 4**power for power in range(10)]
    assert found[-1][1] == 1e-4 + LARGEST / 10e9


def test_a_slow_link_ends_in_time_with_what_it_has_done():
    for speed in (1e6, 12e6, 125e6):
        found, spent, _ = _timed(speed)
        assert spent <= 6.5
        assert found[-1][0] < LARGEST


def test_more_than_the_memory_holds_is_left_out():
    _, _, sizes = _timed(10e9, most_bytes=2**20)
    assert max(sizes) == 2**20


def test_an_order_comes_as_it_was_sent():
    order = Order(("a:1", "b:1"), 1, "ring", "bfloat16", 2, 6.0, 15.0, LARGEST)
    assert Order.from_json(order.as_json()) == order
