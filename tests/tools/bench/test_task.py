import pytest

from tfscale.errors import ConfigError
from tools.bench.module_commands import module_command
from tools.bench.task import SYSTEMS, Options, Task, Variant

HOSTS = ("10.0.0.1:2222", "10.0.0.2:2222")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_alone_has_the_default_options(system):
    assert Variant.parse(system) == Variant(system, Options())


def test_every_option_is_read_with_its_type():
    text = "tfscale:devices=2:compress=int8:bucket_mb=0.5"
    assert Variant.parse(text).options == Options("float32", 0.5, "int8", 2)


@pytest.mark.parametrize(
    "text",
    [
        "stock",
        "tfscale:wire_dtype=bfloat16",
        "tfscale:wire_dtype=float16:bucket_mb=8",
        "tfscale:bucket_mb=10",
        "tfscale:jit=1",
        "tfscale:bucket_mb=0.1",
        "tfscale:bucket_mb=4.5:compress=topk:devices=2",
        "plain_keras:jit=1:precision=mixed_bfloat16",
        f"tfscale:bucket_mb={1 / 3}",
    ],
)
def test_the_name_of_a_variant_reads_as_the_same_variant(text):
    assert str(Variant.parse(text)) == text


def test_defaults_and_the_order_of_options_make_no_second_name():
    text = "tfscale:bucket_mb=8.0:devices=0:wire_dtype=float16:compress=none"
    assert str(Variant.parse(text)) == "tfscale:wire_dtype=float16:bucket_mb=8"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "--systems= is unknown; expected tfscale, stock, ddp, plain_keras, bare"),
        ("horovod", "--systems=horovod is unknown"),
        ("tfscale:bucket=8", "any of :wire_dtype=, :bucket_mb=, :compress=, :devices="),
        ("tfscale:", "--systems=tfscale: is unknown"),
        ("tfscale:bucket_mb", "could not convert string to float: ''; expected a number"),
        ("tfscale:bucket_mb=big", "could not convert string to float: 'big'; expected a number"),
        ("tfscale:devices=1.5", "invalid literal for int.*; expected a number"),
        ("tfscale:bucket_mb=-1", "--bucket_mb=-1.0 is out of range"),
        ("tfscale:bucket_mb=nan", "--bucket_mb=nan is out of range"),
        ("tfscale:jit=2", "jit is 2; expected 0 or 1"),
        ("tfscale:devices=-1", "--devices=-1 is out of range"),
        ("tfscale:wire_dtype=float8", "--wire_dtype=float8 is unknown"),
        ("tfscale:wire_dtype=", "--wire_dtype= is unknown"),
        ("tfscale:compress=zip", "--compress=zip is unknown"),
        ("tfscale:compress=int8:wire_dtype=float16", "both say how gradients travel"),
    ],
)
def test_what_none_can_mean_is_refused_before_anything_starts(text, reason):
    with pytest.raises(ConfigError, match=reason):
        Variant.parse(text)


@pytest.mark.parametrize(
    "task",
    [
        Task(Variant.parse("stock"), "tiny-mlp"),
        Task(
            Variant.parse("tfscale:wire_dtype=float16:bucket_mb=0.1:devices=2"),
            "models/resnet.py",
            0.5,
            HOSTS,
            1,
            dataset="datasets/digits.py",
            batch_size=8,
            is_timed=True,
        ),
    ],
    ids=["defaults", "everything"],
)
def test_a_task_survives_its_way_to_the_worker(task):
    assert Task.from_json(module_command("worker", task)[-1]) == task


def test_a_task_without_hosts_is_a_worker_alone():
    cluster = Task(Variant.parse("stock"), "tiny-mlp").cluster
    assert (cluster.num_workers, cluster.index) == (1, 0)


def test_a_task_with_hosts_has_its_place_among_them():
    cluster = Task(Variant.parse("stock"), "tiny-mlp", hosts=HOSTS, index=1).cluster
    assert (cluster.num_workers, cluster.index) == (2, 1)


def test_the_options_of_a_task_are_those_of_its_variant():
    assert Task(Variant.parse("tfscale:bucket_mb=2"), "tiny-mlp").options == Options(bucket_mb=2.0)
