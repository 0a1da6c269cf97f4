import pytest

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


def test_a_second_run_of_another_kind_is_refused_in_the_same_process(monkeypatch):
    monkeypatch.setattr(strategy, "_made", {(Cluster(), CPU, "none"): "the first strategy"})

    def make(devices, collectives):
        return make_strategy(
            Cluster(), devices, collectives, timeout_seconds=1.0, complain=pytest.fail
        )

    assert make(CPU, "none") == "the first strategy"
    with pytest.raises(ConfigError, match="Start a new process"):
        make(CPUS, "ring")
