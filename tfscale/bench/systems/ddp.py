"""PyTorch's DistributedDataParallel with gloo: the peer that most people know."""

import time
from collections.abc import Callable
from typing import Any

from tfscale.bench.options import Options
from tfscale.bench.profile import Profile
from tfscale.cluster import Cluster


def prepare(profile: Profile, cluster: Cluster, options: Options) -> Callable[[int], None]:
    """Makes the model of waiting layers, wraps it, and gives the usual loop."""
    import torch

    class Wait(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, layer: Any, *weights: Any) -> Any:  # noqa: ANN401
            ctx.layer, ctx.shapes = layer, [weight.shape for weight in weights]
            time.sleep(layer.forward_ms / 1000)
            return x.clone()

        @staticmethod
        def backward(ctx: Any, upstream: Any) -> Any:  # noqa: ANN401
            time.sleep(ctx.layer.backward_ms / 1000)
            value = upstream.mean().item()
            return upstream, None, *(torch.full(shape, value) for shape in ctx.shapes)

    class Layer(torch.nn.Module):
        def __init__(self, layer: Any) -> None:  # noqa: ANN401
            super().__init__()
            self.layer = layer
            self.own = torch.nn.ParameterList([torch.zeros(shape) for shape in layer.shapes])

        def forward(self, x: Any) -> Any:  # noqa: ANN401
            return Wait.apply(x, self.layer, *self.own)

    torch.set_num_threads(1)
    x = torch.ones(profile.examples_per_step, 1, requires_grad=True)
    model: Any = torch.nn.Sequential(*(Layer(layer) for layer in profile.layers))
    if cluster.num_workers > 1:
        torch.distributed.init_process_group(
            "gloo",
            init_method=f"tcp://{cluster.addresses[0]}",
            rank=cluster.index,
            world_size=cluster.num_workers,
        )
        model = torch.nn.parallel.DistributedDataParallel(model)
        if options.wire_dtype == "float16":
            from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

            model.register_comm_hook(None, default_hooks.fp16_compress_hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()

    return run
