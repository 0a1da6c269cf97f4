"""What each launcher sets, as its manual or its source has it, and what looks like it."""

import pytest

from tfscale.cluster.launchers import task_of

pytestmark = pytest.mark.promise("two_runs")

SECOND_OF_TWO = {
    "srun": {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"},
    "mpirun (Open MPI)": {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"},
    "mpiexec (PMI)": {"PMI_SIZE": "2", "PMI_RANK": "1"},
    "mpiexec (PALS)": {"PMI_SIZE": "2", "PALS_RANKID": "1"},
    "mpirun (MVAPICH)": {"MV2_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_RANK": "1"},
    "torchrun": {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "node0"},
    "jsrun": {"JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_RANK": "1"},
    "flux": {"FLUX_JOB_SIZE": "2", "FLUX_TASK_RANK": "1"},
    "Kubeflow": {"PET_NNODES": "2", "PET_NODE_RANK": "1"},
    "SkyPilot": {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"},
    "dstack": {"DSTACK_NODES_NUM": "2", "DSTACK_NODE_RANK": "1"},
    "AWS Batch": {"AWS_BATCH_JOB_NUM_NODES": "2", "AWS_BATCH_JOB_NODE_INDEX": "1"},
    "Azure ML": {"AZUREML_NODE_COUNT": "2", "NODE_RANK": "1"},
}
NOT_SAID = {
    "a terminal": {"HOME": "/home/me"},
    "a batch script without srun": {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_NNODES": "2"},
    "slots of Open MPI": {"OMPI_UNIVERSE_SIZE": "8"},
    "a size without a rank": {"WORLD_SIZE": "2"},
    "a rank without a size": {"RANK": "1", "PMIX_RANK": "1", "JOB_COMPLETION_INDEX": "1"},
    "no numbers": {"WORLD_SIZE": "auto", "RANK": ""},
    "numbers that don't fit": {"WORLD_SIZE": "2", "RANK": "2"},
    "no task": {"WORLD_SIZE": "0", "RANK": "0"},
}


@pytest.mark.parametrize("launcher", SECOND_OF_TWO)
def test_a_task_is_told_by_its_launchers_variables(launcher):
    task = task_of(SECOND_OF_TWO[launcher])
    assert (task.launcher, task.rank, task.size) == (launcher, 1, 2)
    assert SECOND_OF_TWO[launcher][task.rank_variable] == "1"
    assert SECOND_OF_TWO[launcher][task.size_variable] == "2"


@pytest.mark.parametrize("case", NOT_SAID)
def test_what_says_nothing_of_tasks_is_no_task(case):
    assert task_of(NOT_SAID[case]) is None


def test_mpirun_within_slurm_is_what_counts():
    helper = {"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "2"}
    alone = {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}
    assert task_of(helper | alone).size == 1
