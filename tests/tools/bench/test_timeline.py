import json

import pytest

from tools.bench.timeline import (
    LANES,
    Moments,
    Span,
    chrome_trace,
    exposed_of,
    side_by_side,
    spans_of_step,
)

# Two layers and two buckets: the second bucket leaves in backward and ends after it.
STEP = {
    "start": 10.0,
    "forward": [11.0, 12.0],
    "backward": [16.0, 14.0],
    "ready": [14.0, 16.0],
    "done": [17.0, 18.5],
    "end": 19.0,
}


def _spans(worker=0, **changes):
    buckets = changes.pop("buckets", ())
    return spans_of_step(worker, ["conv", "fc"], Moments(**{**STEP, **changes}), buckets)


def _named(spans):
    return [(span.lane, span.name, span.start, span.end) for span in spans]


def _events(spans, phase):
    return [event for event in chrome_trace(spans)["traceEvents"] if event["ph"] == phase]


def test_a_step_is_forward_then_backward_from_the_last_layer_then_the_update():
    assert _named(_spans()) == [
        ("forward", "conv", 10.0, 11.0),
        ("forward", "fc", 11.0, 12.0),
        ("backward", "fc", 12.0, 14.0),
        ("backward", "conv", 14.0, 16.0),
        ("all-reduce", "0", 14.0, 17.0),
        ("all-reduce", "1", 16.0, 18.5),
        ("update", "", 18.5, 19.0),
    ]


def test_every_span_is_of_the_worker():
    assert {span.worker for span in _spans(worker=3)} == {3}


def test_buckets_have_the_names_that_they_are_given():
    spans = _spans(buckets=["fc", "conv"])
    assert [span.name for span in spans if span.lane == "all-reduce"] == ["fc", "conv"]


@pytest.mark.parametrize(
    "changes",
    [{"forward": [11.0]}, {"backward": [14.0] * 3}, {"done": [17.0]}, {"buckets": ["one"]}],
    ids=lambda changes: next(iter(changes)),
)
def test_times_that_have_no_name_are_refused(changes):
    with pytest.raises(ValueError, match="zip"):
        _spans(**changes)


def test_the_update_of_a_worker_alone_follows_backward():
    spans = _spans(ready=[], done=[])
    assert _named(spans)[-1] == ("update", "", 16.0, 19.0)
    assert exposed_of(spans) == (16.0, 16.0)


def test_a_clock_that_is_a_little_behind_makes_no_span_of_less_than_nothing():
    spans = _spans(start=11.5, done=[13.9, 18.5], end=18.0)
    assert all(span.end >= span.start for span in spans)
    assert _named(spans)[0] == ("forward", "conv", 11.5, 11.5)
    assert _named(spans)[-1] == ("update", "", 18.5, 18.5)


def test_layers_of_two_branches_are_in_the_order_in_which_they_were_done():
    names, times = ["stem", "left", "right"], {"forward": [11.0, 13.0, 12.0]}
    moments = Moments(**{**STEP, **times, "backward": [17.0, 16.0, 15.0]})
    spans = spans_of_step(0, names, moments)
    assert [span.name for span in spans[:3]] == ["stem", "right", "left"]
    assert [(span.start, span.end) for span in spans[1:4]] == [(11, 12), (12, 13), (13, 15)]


@pytest.mark.parametrize(
    ("done", "exposed"),
    [([17.0, 18.5], (16.0, 18.5)), ([18.5, 17.0], (16.0, 18.5)), ([15.0, 16.0], (16.0, 16.0))],
)
def test_exposed_is_what_the_last_sum_takes_after_backward(done, exposed):
    assert exposed_of(_spans(done=done)) == exposed


def test_what_overlaps_is_side_by_side_and_what_touches_is_not():
    times = [(0, 2), (1, 4), (2, 3), (3, 5), (3.5, 4)]
    placed = side_by_side([Span(0, "all-reduce", "", *each) for each in times])
    assert [(row, span.start) for row, span in placed] == [
        (0, 0),
        (1, 1),
        (0, 2),
        (0, 3),
        (2, 3.5),
    ]


def test_nothing_is_side_by_side_with_nothing():
    assert side_by_side([]) == []


def test_a_trace_has_microseconds_from_the_first_start_of_all_workers():
    spans = [Span(0, "forward", "conv", 7.5, 8.0), Span(1, "backward", "fc", 7.25, 7.250001)]
    first, second = _events(spans, "X")
    assert first == {
        "ph": "X",
        "name": "conv",
        "cat": "forward",
        "pid": 0,
        "tid": 0,
        "ts": 250_000.0,
        "dur": 500_000.0,
    }
    assert (second["pid"], second["ts"], second["dur"]) == (1, 0.0, 1.0)


def test_a_trace_names_and_orders_workers_and_lanes():
    about = _events(_spans(worker=0) + _spans(worker=1), "M")
    of_workers = [event for event in about if "tid" not in event]
    assert [(event["pid"], event["name"], event["args"]) for event in of_workers] == [
        (0, "process_name", {"name": "worker 0"}),
        (0, "process_sort_index", {"sort_index": 0}),
        (1, "process_name", {"name": "worker 1"}),
        (1, "process_sort_index", {"sort_index": 1}),
    ]
    names = {e["tid"]: e["args"]["name"] for e in about if e["name"] == "thread_name"}
    assert [names[thread] for thread in sorted(names)] == [
        "forward",
        "backward",
        "all-reduce",
        "all-reduce 2",
        "update",
    ]
    order = {e["tid"]: e["args"]["sort_index"] for e in about if e["name"] == "thread_sort_index"}
    assert order == {thread: thread for thread in names}


def test_in_a_trace_no_two_events_of_a_thread_overlap():
    ready = [14.0, 14.5, 15.0, 17.0]
    spans = _spans(ready=ready, done=[16.0, 15.0, 18.0, 18.5])
    events = _events(spans, "X")
    assert len(events) == len(spans)
    for thread in {event["tid"] for event in events}:
        own = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["tid"] == thread)
        assert all(end <= start for (_, end), (start, _) in zip(own, own[1:], strict=False))
    lane = {event["name"]: event["tid"] for event in events if event["cat"] == "all-reduce"}
    assert lane["0"] == lane["3"] == lane["1"] - 1 == lane["2"] - 1


def test_what_has_no_name_is_called_after_its_lane():
    assert [event["name"] for event in _events(_spans(), "X")][-1] == LANES[-1]


def test_a_trace_is_json_and_says_milliseconds():
    trace = chrome_trace(_spans())
    assert json.loads(json.dumps(trace)) == trace
    assert trace["displayTimeUnit"] == "ms"


def test_a_trace_of_nothing_is_empty():
    assert chrome_trace([])["traceEvents"] == []
