"""What a launcher says of a process in its environment: which of how many tasks it is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# Who starts tasks, the variable of how many, that of which: who is nearer to the task comes first,
# because its tasks are what counts (mpirun within Slurm starts its helpers by a step of theirs).
# Not among them: SLURM_NTASKS, which a batch script has that no srun has started, and
# OMPI_UNIVERSE_SIZE, which counts slots.
_LAUNCHERS = (
    ("torchrun", "WORLD_SIZE", "RANK"),
    ("mpirun (Open MPI)", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("mpirun (MVAPICH)", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("mpiexec (PMI)", "PMI_SIZE", "PMI_RANK"),
    ("mpiexec (PALS)", "PMI_SIZE", "PALS_RANKID"),
    ("jsrun", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK"),
    ("flux", "FLUX_JOB_SIZE", "FLUX_TASK_RANK"),
    ("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ("Kubeflow", "PET_NNODES", "PET_NODE_RANK"),
    ("Kubeflow", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"),
    ("SkyPilot", "SKYPILOT_NUM_NODES", "SKYPILOT_NODE_RANK"),
    ("dstack", "DSTACK_NODES_NUM", "DSTACK_NODE_RANK"),
    ("AWS Batch", "AWS_BATCH_JOB_NUM_NODES", "AWS_BATCH_JOB_NODE_INDEX"),
    ("Azure ML", "AZUREML_NODE_COUNT", "NODE_RANK"),
)


@dataclass(frozen=True)
class Task:
    """A process as its launcher sees it.

    Args:
        launcher: who has started it.
        size: how many tasks it has started together, at least 1.
        rank: which of them this is, from 0.
        size_variable: that says how many.
        rank_variable: that says which.
    """

    launcher: str
    size: int
    rank: int
    size_variable: str
    rank_variable: str


def task_of(environ: Mapping[str, str]) -> Task | None:
    """Which task of which launcher this process is; None where none says so.

    Variables that are there in part, or hold no numbers that fit together, say nothing.
    """
    for launcher, size_variable, rank_variable in _LAUNCHERS:
        words = environ.get(size_variable, ""), environ.get(rank_variable, "")
        if all(re.fullmatch(r"[0-9]{1,9}", word) for word in words):
            size, rank = map(int, words)
            if rank < size:
                return Task(launcher, size, rank, size_variable, rank_variable)
    return None
