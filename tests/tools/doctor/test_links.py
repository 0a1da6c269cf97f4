import itertools

import pytest

from tfscale.cluster.cluster import Cluster
from tools.doctor import links
from tools.profiles.link_curve import Group, LinkCurve, Point

GIGABIT = 117e6


def _cluster(workers):
    return Cluster(tuple(f"node{rank}:2222" for rank in range(workers)), 0)


def _curve(ranks, speed, *, promised=0.0, collectives="ring", wire_dtype="float32"):
    group = Group(ranks, ("a",) * len(ranks), len(ranks), collectives, wire_dtype, promised)
    points = (Point(1024, 1e-3, 1e6), Point(2**20, 1e-3 + 2**20 / speed, speed))
    return LinkCurve(group, points)


def _measured(workers, speed_of):
    pairs = itertools.chain.from_iterable(links.pair_rounds(workers))
    return [_curve(pair, speed_of(pair)) for pair in pairs]


def _found(curves, workers):
    return [
        (one.reason.value, one.node, one.came) for one in links.judge(curves, _cluster(workers))
    ]


@pytest.mark.parametrize("workers", range(2, 12))
def test_each_round_has_a_worker_once_and_two_have_all(workers):
    rounds = links.pair_rounds(workers)
    for pairs in rounds:
        ranks = [*itertools.chain.from_iterable(pairs)]
        assert len(ranks) == len(set(ranks)) and max(ranks) < workers
    assert {*itertools.chain(*itertools.chain(*rounds))} == set(range(workers))
    assert len(rounds) == {2: 1, 3: 3}.get(workers, 2)


@pytest.mark.parametrize("workers", range(2, 9))
def test_alike_links_are_fine(workers):
    assert _found(_measured(workers, lambda pair: GIGABIT), workers) == []


@pytest.mark.parametrize(
    ("workers", "slow"), [(count, node) for count in range(3, 9) for node in range(count)]
)
def test_one_slow_node_is_named(workers, slow):
    curves = _measured(workers, lambda pair: GIGABIT / 10 if slow in pair else GIGABIT)
    ((reason, node, came),) = _found(curves, workers)
    assert (reason, node) == ("slow node", slow)
    assert came == (
        f"all-reduces with worker {slow} at node{slow}:2222 give 93.6 Mbit/s, and 936 Mbit/s "
        "between others"
    )


def test_one_slow_link_between_good_nodes_is_named_as_such():
    curves = _measured(4, lambda pair: GIGABIT / 10 if pair == (1, 2) else GIGABIT)
    ((reason, node, came),) = _found(curves, 4)
    assert (reason, node) == ("slow link", None)
    assert came.startswith("the link between worker 1 at node1:2222 and worker 2 at node2:2222")


def test_a_link_of_100_megabits_is_named_with_what_a_step_waits_t2():
    (found,) = links.judge([_curve((0, 1), 11.7e6)], _cluster(2))
    assert found.reason.value == "slow link"
    assert found.came.endswith("gives 93.6 Mbit/s: a step with 25 MB of gradients waits 2.2 s")
    assert found.remedy.startswith("Use the addresses of the fast network in --hosts")


def test_a_card_that_promises_more_is_told_against():
    (found,) = links.judge([_curve((0, 1), 1e9, promised=25e9, collectives="nccl")], _cluster(2))
    assert found.expected == "about 200 Gbit/s, as the card promises"
    # A ring over gRPC is no measure of such a card.
    assert links.judge([_curve((0, 1), 1e9, promised=25e9)], _cluster(2)) == []


@pytest.mark.parametrize(
    ("speed", "collectives", "wire_dtype", "setting"),
    [
        (20e9, "nccl", "float32", ""),
        (1e9, "nccl", "float32", "--wire_dtype=bfloat16"),
        (1e9, "ring", "bfloat16", "--compress=int8"),
        (1e7, "ring", "float32", "--compress=int8"),
    ],
)
def test_the_setting_that_would_help_follows_from_the_speed(
    speed, collectives, wire_dtype, setting
):
    curve = _curve((0, 1), speed, collectives=collectives, wire_dtype=wire_dtype)
    assert links.advice(curve).partition(" ")[0] == setting


def test_a_curve_is_said_in_words():
    assert links.described(_curve((0, 1), GIGABIT, promised=125e6)) == (
        "1 ms at least, 936 Mbit/s bus bandwidth, 94 % of 1 Gbit/s; 25 MB of gradients take 0.24 s"
    )
