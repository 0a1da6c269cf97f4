import pytest

from tools.ssh.messages import Order, Record


def test_an_order_is_one_line_whatever_is_in_it():
    order = Order(("launch/worker.py", "--x=a\nb", "ü'\""), {"A": "1\n2"}, "run", "{}", "mark")
    assert "\n" not in order.as_text()
    assert Order.of_text(order.as_text()) == order


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"command": [], "x": 1}'])
def test_what_is_no_order_is_refused(text):
    with pytest.raises(ValueError):
        Order.of_text(text)


@pytest.mark.parametrize(
    "record",
    [Record(before="{}"), Record(step=3), Record(is_done=True), Record(code=-9, end="{}\n")],
)
def test_a_record_is_one_line_behind_its_mark(record):
    line = record.as_line("mark")
    assert line.endswith("\n")
    assert "\n" not in line[:-1]
    assert Record.of_line(line.removeprefix("mark")) == record
