import pytest
import tensorflow as tf

from tfscale import errors as failures
from tfscale.errors import (
    ConfigError,
    Disagreement,
    End,
    Kind,
    SharedFailure,
    at_step,
    describe_failure,
    end_of,
    one_line,
)


def test_an_error_is_its_type_and_its_message():
    assert one_line(ValueError("no such file")) == "ValueError: no such file"


def test_an_error_of_many_lines_is_one_line():
    assert one_line(ValueError("first\n\n  second  \nthird\n")) == "ValueError: first second third"


def test_an_error_that_names_its_type_does_not_name_it_twice():
    assert one_line(ValueError("ValueError: no such file")) == "ValueError: no such file"


def test_the_page_that_tensorflow_wraps_around_an_error_is_left_out():
    def preprocess(record):
        raise KeyError(f"no field 'label' in {sorted(record)}")

    with pytest.raises(KeyError) as caught:
        tf.data.Dataset.from_tensors({"image": 1}).map(preprocess)
    assert "in user code" in str(caught.value)
    assert len(str(caught.value).splitlines()) > 3
    text = one_line(caught.value)
    assert text.startswith("KeyError: ")
    assert "no field 'label' in ['image']" in text
    assert "in user code" not in text


@tf.function
def _two_lookups(ids, others):
    table = tf.zeros([50, 4])
    return tf.gather(table, ids) + tf.gather(table, others)


@pytest.mark.parametrize("ids", [(77, 1), (77, 78)], ids=["one", "several"])
def test_what_a_kernel_says_stands_behind_the_lines_of_code(ids):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        _two_lookups(*(tf.constant([number]) for number in ids))
    text = one_line(caught.value)
    assert text.startswith("InvalidArgumentError: indices[0] = 7")
    assert "is not in [0, 50) (in GatherV2" in text
    assert "File" not in text
    assert "Detected" not in text


def test_labels_of_a_whole_batch_are_cut():
    @tf.function
    def loss(labels):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.zeros([500, 3]))

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        loss(tf.fill([500], 255))
    assert "label value of 255 which is outside the valid range of [0, 3)" in one_line(caught.value)
    assert one_line(caught.value).count("255") == 9


def test_colours_of_a_terminal_are_left_out():
    assert one_line(ValueError("\x1b[1mno such layer\x1b[0m")) == "ValueError: no such layer"


def test_a_long_error_is_cut_and_says_so():
    text = one_line(ValueError("x" * 10_000))
    assert len(text) == failures._LONGEST
    assert text.endswith("...")
    assert text.startswith("ValueError: xxx")


def test_an_error_at_the_limit_is_not_cut():
    message = "x" * (failures._LONGEST - len("ValueError: "))
    assert one_line(ValueError(message)) == f"ValueError: {message}"


def test_what_the_user_has_to_change_says_that_trying_again_is_useless():
    reason, code = describe_failure(ConfigError("--seed=-1 is out of range;\n expected 0"))
    assert reason == "--seed=-1 is out of range; expected 0"
    assert code == failures.CONFIG_CODE


def test_a_config_error_is_never_cut_because_what_to_do_stands_at_its_end():
    text = "x" * 1000 + " Use --seed=0."
    assert describe_failure(ConfigError(text)) == (text, failures.CONFIG_CODE)


def test_anything_else_may_work_the_next_time():
    assert describe_failure(OSError("disk full")) == ("OSError: disk full", failures.FAILURE_CODE)


def test_a_failure_of_another_worker_keeps_its_reason_and_its_code():
    assert describe_failure(SharedFailure("worker 1 is out of memory", 75)) == (
        "worker 1 is out of memory",
        75,
    )


def test_a_shared_failure_reads_as_its_reason():
    assert str(SharedFailure("worker 1 is out of memory", 1)) == "worker 1 is out of memory"


def test_the_codes_can_be_told_apart_and_none_is_success():
    codes = {failures.CONFIG_CODE, failures.FAILURE_CODE, failures.START_TIMEOUT_CODE}
    assert len(codes) == 3
    assert 0 not in codes


def test_what_our_own_code_raised_in_a_graph_is_told_without_the_graph():
    error = RuntimeError(
        "ConfigError: a.tfrecord, byte 270: the record is damaged\nTraceback (most recent call "
        "last):\n  File 'x.py'\n [[{{node PyFunc}}]]"
    )
    assert one_line(error) == "a.tfrecord, byte 270: the record is damaged"


def test_an_assertion_outside_of_a_graph_is_told_as_one_in_it():
    error = RuntimeError(
        "Expected 'tf.Tensor(False, shape=(), dtype=bool)' to be true. Summarized data: "
        "b'mine gives the label'\n17\nb'at record'\n3\nb\"; it's wrong\""
    )
    assert one_line(error) == "mine gives the label 17 at record 3 ; it's wrong"


def test_a_refusal_of_something_very_long_keeps_its_beginning_and_its_end():
    reason, code = describe_failure(ConfigError(f"--model={'a' * 100_000} came; expected b."))
    assert code == failures.CONFIG_CODE
    assert reason.startswith("--model=aaa") and reason.endswith("came; expected b.")
    assert len(reason) < 3100


def test_a_table_of_differences_keeps_its_lines_and_every_other_error_is_one():
    text = "The workers differ in 2 things.\n  what  workers  value"
    assert describe_failure(Disagreement(text)) == (text, failures.CONFIG_CODE)
    assert describe_failure(ConfigError(text)) == (" ".join(text.split()), failures.CONFIG_CODE)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (failures.CONFIG_CODE, Kind.CONFIGURATION),
        (failures.START_TIMEOUT_CODE, Kind.START_TIMEOUT),
        (failures.PREEMPTED_CODE, Kind.PREEMPTED),
        (failures.INTERRUPTED_CODE, Kind.INTERRUPTED),
        (failures.FAILURE_CODE, Kind.FAILURE),
        (137, Kind.FAILURE),
    ],
)
def test_where_nothing_else_is_known_the_code_says_what_an_end_was(code, kind):
    assert End.of(code, "a reason") == End("a reason", code, kind, None)
    assert SharedFailure("a reason", code).end == End.of(code, "a reason")


def test_an_end_comes_through_a_file_as_it_was():
    end = End("75 worker 1:  is\n'missing'; (more in é)", 1, Kind.NOT_FINITE, 37)
    assert End.of_text(end.as_text()) == end
    assert type(End.of_text(end.as_text()).kind) is Kind


@pytest.mark.parametrize(
    "text", ["", '{"reason": "cut o', "7", "[1]", "{}", '{"reason": "", "code": 1, "kind": "new"}']
)
def test_what_is_no_end_is_none(text):
    with pytest.raises(ValueError):
        End.of_text(text)


def test_the_step_of_an_error_stays_beside_its_words():
    error = at_step(ValueError("no step in here"), 8)
    assert (type(error), str(error)) == (ValueError, "no step in here")
    assert end_of(error) == End("ValueError: no step in here", 1, Kind.FAILURE, 8)
    assert end_of(ValueError("at step 8")).step is None
    explained = RuntimeError("worker 1 has decided otherwise")
    explained.__cause__ = error
    assert end_of(explained).step == 8


def test_a_shared_failure_keeps_its_kind_and_its_step():
    failure = SharedFailure("it is nan", 1, Kind.NOT_FINITE, 37)
    assert end_of(failure) == End("it is nan", 1, Kind.NOT_FINITE, 37)
