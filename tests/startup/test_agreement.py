import json

import pytest

from tfscale.errors import ConfigError
from tfscale.startup.agreement import SAME_FILES, require_same, surroundings


class _Board:
    """Workers of one process: each topic has what the others say about it."""

    def __init__(self, *others):
        self.others = others
        self.topics = []

    def all_gather(self, topic, text, timeout_seconds=0.0):
        self.topics.append((topic, text))
        own = self.topics[0][1]
        if topic == "model":
            # The others' facts travel as this worker's do.
            return [text, *(_told(other) for other in self.others)]
        name = list(json.loads(own))[int(topic.rpartition("/")[2])]
        return [text, *(json.dumps(other[name]) for other in self.others)]


def _told(facts):
    board = _Board()
    require_same(board, "model", facts)
    return board.topics[0][1]


def _refusal(own, *others, **options):
    with pytest.raises(ConfigError) as caught:
        require_same(_Board(*others), "model", own, **options)
    return str(caught.value)


LONG = [f"layer/kernel_{number} float32 128x128" for number in range(100)]


def test_workers_that_say_the_same_go_on():
    require_same(
        _Board({"loss": "mse", "variables": LONG}), "model", {"loss": "mse", "variables": LONG}
    )


def test_who_has_what_is_said_with_what_to_do():
    reason = _refusal({"loss": "mse"}, {"loss": "mae"}, advice=SAME_FILES)
    assert reason == (
        "The workers differ in loss (worker 0: mse, worker 1: mae); expected the same on all. "
        "Copy the same files to every node."
    )


def test_all_that_differs_is_said_at_once():
    own = {"loss": "mse", "seed": 1, "variables": LONG, "same": [1]}
    other = {"loss": "mae", "seed": 2, "variables": LONG[1:], "same": [1]}
    lines = _refusal(own, other, other, advice=SAME_FILES).splitlines()
    assert lines[0] == (
        "The workers differ in 3 things; expected the same on all. Copy the same files to every "
        "node."
    )
    assert [line.split() for line in lines[1:]] == [
        ["what", "workers", "value"],
        ["loss", "0", "mse"],
        ["1,", "2", "mae"],
        ["seed", "0", "1"],
        ["1,", "2", "2"],
        ["variables", "0", *LONG[0].split()],
        ["1,", "2", *LONG[1].split()],
    ]


def test_a_fact_that_a_worker_lacks_is_a_difference():
    assert "helper (worker 0: none, worker 1: 1a2b)" in _refusal(
        {"a": 1}, {"a": 1, "helper": "1a2b"}
    )
    assert "helper (worker 0: 1a2b, worker 1: none)" in _refusal(
        {"a": 1, "helper": "1a2b"}, {"a": 1}
    )


def test_of_a_long_fact_only_a_hash_travels_while_all_have_it():
    board = _Board({"variables": LONG})
    require_same(board, "model", {"variables": LONG})
    assert [topic for topic, _ in board.topics] == ["model"]
    assert len(board.topics[0][1]) < 100


def test_a_long_fact_that_differs_is_told_by_the_place_where_it_does():
    other = [*LONG[:70], "layer/kernel_70 float32 64x64", *LONG[71:]]
    reason = _refusal({"variables": LONG}, {"variables": other})
    assert (
        "differ in variables (worker 0: layer/kernel_70 float32 128x128, "
        "worker 1: layer/kernel_70 float32 64x64)"
    ) in reason
    assert "worker 1: none" in _refusal({"variables": LONG}, {"variables": LONG[:-1]})


def test_a_long_mapping_is_told_by_the_key_whose_value_differs():
    own = {"optimizer": {"class": "SGD", "config": {f"setting_{k}": k for k in range(40)}}}
    other = json.loads(json.dumps(own))
    other["optimizer"]["config"]["setting_33"] = 7
    reason = _refusal(own, other)
    assert "(worker 0: setting_33 33, worker 1: setting_33 7)" in reason


def test_a_long_text_is_told_from_shortly_before_the_place_where_it_differs():
    own, other = "a" * 500 + "b" + "a" * 500, "a" * 500 + "c" + "a" * 500
    reason = _refusal({"text": own}, {"text": other})
    assert "aaab" in reason and "aaac" in reason
    assert len(reason) < 500


def test_what_a_node_sets_by_itself_is_among_the_facts():
    facts = surroundings()
    assert facts["image_data_format of Keras"] == "channels_last"
    assert json.loads(json.dumps(facts)) == facts
