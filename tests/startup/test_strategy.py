from types import SimpleNamespace

import pytest
from tensorflow.python.distribute import collective_all_reduce_strategy
from tensorflow.python.framework import auto_control_deps

from tfscale.cluster.cluster import Cluster
from tfscale.errors import ConfigError
from tfscale.startup import strategy
from tfscale.startup.devices import Devices
from tfscale.startup.strategy import collectives_for, make_strategy

CPU, CPUS = Devices("CPU", 1, ("CPU",)), Devices("CPU", 2, ("CPU",) * 2)
GPU, GPUS = Devices("GPU", 1, ("V100",)), Devices("GPU", 2, ("V100",) * 2)


@pytest.mark.parametrize(
    ("asked", "devices", "workers", "found"),
    [
        ("auto", CPU, 1, "none"),
        ("auto", GPU, 1, "none"),
        ("ring", GPU, 1, "none"),  # nobody to sum with, whatever was asked for
        ("nccl", CPU, 1, "none"),
        ("auto", CPU, 2, "ring"),
        ("auto", CPUS, 1, "ring"),
        ("auto", GPU, 2, "nccl"),
        ("auto", GPUS, 1, "nccl"),
        ("ring", GPUS, 2, "ring"),
        ("nccl", GPUS, 2, "nccl"),
        ("ring", CPU, 2, "ring"),
    ],
)
def test_gradients_are_summed_by_nccl_where_there_are_gpus(asked, devices, workers, found):
    assert collectives_for(asked, devices, workers) == found


@pytest.mark.parametrize(("devices", "workers"), [(CPU, 2), (CPUS, 1)])
def test_nccl_without_a_gpu_is_refused_with_what_to_use(devices, workers):
    with pytest.raises(ConfigError, match="needs GPUs .* Use --collectives=auto"):
        collectives_for("nccl", devices, workers)


# T25
def test_a_second_run_of_another_kind_is_refused_in_the_same_process(monkeypatch):
    monkeypatch.setattr(strategy, "_made", {(Cluster(), CPU, "none"): "the first strategy"})

    def make(devices, collectives):
        return make_strategy(
            Cluster(), devices, collectives, timeout_seconds=1.0, complain=pytest.fail
        )

    assert make(CPU, "none") == "the first strategy"
    with pytest.raises(ConfigError, match="Start a new process"):
        make(CPUS, "ring")


# Defects of TensorFlow: a test that fails says what isn't needed any more.

EXTENDED = collective_all_reduce_strategy.CollectiveAllReduceExtended


def test_tensorflow_still_lets_one_all_reduce_wait_for_the_other_with_the_ring_too():
    """Or `_let_overlap` can go; the wire of tests/jobs/test_wires.py says what it is worth."""
    free = auto_control_deps.MUST_RUN_ORDER_INSENSITIVE_STATEFUL_OPS
    assert not free & {"CollectiveReduceV2", "CollectiveGatherV2"}


def test_tensorflow_still_gives_a_worker_of_several_one_cpu_whatever_it_has():
    """Or `_logical_cpus_allowed` can go."""
    resolver = SimpleNamespace(num_accelerators=lambda: {})
    found = EXTENDED._initialize_local_devices(None, resolver, "/task:0")
    assert found == (("/task:0/device:CPU:0",), "CPU")
    with strategy._logical_cpus_allowed(CPUS):
        found = EXTENDED._initialize_local_devices(None, resolver, "/task:0")
    assert found == (("/task:0/device:CPU:0", "/task:0/device:CPU:1"), "CPU")


@pytest.mark.parametrize(("workers", "is_sent"), [(2, True), (1, False)])
def test_tensorflow_still_sends_each_first_value_where_it_counts_workers(
    monkeypatch, workers, is_sent
):
    """Or `variables_made_apart` has nothing to do, or no effect."""
    sent = []
    library = collective_all_reduce_strategy.collective_ops
    monkeypatch.setattr(library, "broadcast_send", lambda value, *_: sent.append(value) or value)
    keys = SimpleNamespace(
        get_group_key=lambda devices: 1, get_instance_key=lambda group, device: 1
    )
    extended = SimpleNamespace(_collective_keys=keys, _num_workers=workers, _is_chief=True)
    make = EXTENDED._get_variable_creator_initial_value
    value = make(extended, 0, "CPU:0", None, initial_value=3.0)()
    assert float(value) == 3.0
    assert len(sent) == is_sent
