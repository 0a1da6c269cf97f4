"""torchrun and what speaks like it: rank, size, and where rank 0 is."""

from collections.abc import Mapping
from dataclasses import replace

from tfscale.cluster.dialects.said import Said, place, whole


def torchrun(environ: Mapping[str, str]) -> Said | None:
    """`RANK`, `WORLD_SIZE` and `MASTER_ADDR`, as torchrun and many others set them.

    `MASTER_PORT` is the launcher's own: its store listens there.
    """
    found = place(environ, "WORLD_SIZE", "RANK")
    if found is None:
        return None
    key = environ.get("TORCHELASTIC_RUN_ID", "") or environ.get("MASTER_PORT", "")
    leader = environ.get("MASTER_ADDR", "")
    return Said("torchrun", *found, "WORLD_SIZE", "RANK", leader=leader, key=key)


def azure_ml(environ: Mapping[str, str]) -> Said | None:
    """Azure ML: `NODE_RANK`, `AZUREML_NODE_COUNT`, `MASTER_ADDR`."""
    found = place(environ, "AZUREML_NODE_COUNT", "NODE_RANK")
    if found is None:
        return None
    leader, key = environ.get("MASTER_ADDR", ""), environ.get("AZUREML_RUN_ID", "")
    return Said("Azure ML", *found, "AZUREML_NODE_COUNT", "NODE_RANK", leader=leader, key=key)


def aws_batch(environ: Mapping[str, str]) -> Said | None:
    """AWS Batch, whose main node need not be number 0 and isn't told its own address."""
    size_variable, rank_variable = "AWS_BATCH_JOB_NUM_NODES", "AWS_BATCH_JOB_NODE_INDEX"
    found = place(environ, size_variable, rank_variable)
    if found is None:
        return None
    size, index = found
    main = whole(environ.get("AWS_BATCH_JOB_MAIN_NODE_INDEX", "")) or 0
    first = main if main < size else 0
    # The main node is the chief, and what was 0 takes its number.
    rank = {first: 0, 0: first}.get(index, index)
    said = Said("AWS Batch", size, rank, size_variable, rank_variable)
    leader = environ.get("AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS", "")
    return replace(said, leader=leader, key=environ.get("AWS_BATCH_JOB_ID", "").partition("#")[0])
