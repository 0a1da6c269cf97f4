"""PyTorch's DistributedDataParallel with gloo: the peer that most people know."""

from collections.abc import Callable
from typing import Any

from tools.bench.task import Task
from tools.bench.workloads import workload as workloads


def prepare(task: Task) -> Callable[[int], None]:
    """Makes the module, wraps it, and gives the usual loop."""
    import torch

    cluster = task.cluster
    torch.set_num_threads(1)
    workload = workloads.load(task)
    x, y = (torch.from_numpy(array) for array in workload.batch())
    x.requires_grad_(x.ndim == 2)  # a layer that only waits has nothing else to differentiate by
    model: Any
    model, loss_of = workload.torch_model()
    if cluster.num_workers > 1:
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"tcp://{cluster.addresses[0]}",
            rank=cluster.index,
            world_size=cluster.num_workers,
        )
        model = torch.nn.parallel.DistributedDataParallel(model)
        if task.options.wire_dtype == "float16":
            from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

            model.register_comm_hook(None, default_hooks.fp16_compress_hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(model(x), y).backward()
            optimizer.step()

    return run
