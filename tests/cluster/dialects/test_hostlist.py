"""Host lists as Slurm writes them (T4)."""

import pytest

from tfscale.cluster.dialects.hostlist import counts, expand


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("node1", ["node1"]),
        ("a,b", ["a", "b"]),
        ("node[001-003,007]", ["node001", "node002", "node003", "node007"]),
        ("a[1-2]b[01-02]", ["a1b01", "a1b02", "a2b01", "a2b02"]),
        ("b[2,1],a", ["b2", "b1", "a"]),  # in Slurm's order
        ("n[8-11]", ["n8", "n9", "n10", "n11"]),
        ("n[08-11]-ib", ["n08-ib", "n09-ib", "n10-ib", "n11-ib"]),
        ("gpu-a[0-1].cluster,login", ["gpu-a0.cluster", "gpu-a1.cluster", "login"]),
    ],
)
def test_a_list_is_its_names_in_their_order(text, names):
    assert expand(text) == names


@pytest.mark.parametrize(
    "text", ["", "a[1-2", "a]1", "a[]x[,]", "a[2-1]", "a[x]", "a,,b", "n[0-99999999]", "a[1-]"]
)
def test_what_is_no_list_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        expand(text)


@pytest.mark.parametrize(
    ("text", "numbers"), [("1", [1]), ("2(x3),1", [2, 2, 2, 1]), ("4,2(x2)", [4, 2, 2])]
)
def test_tasks_of_nodes(text, numbers):
    assert counts(text) == numbers


@pytest.mark.parametrize("text", ["", "x", "2(3)", "2(x)", "-1"])
def test_what_is_no_number_of_tasks_is_refused(text):
    with pytest.raises(ValueError, match=r"is no number"):
        counts(text)
