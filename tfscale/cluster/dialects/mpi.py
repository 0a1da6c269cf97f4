"""MPI and what is like it: rank and size, and no word about where the others are."""

import re
from collections.abc import Mapping

from tfscale.cluster.dialects.said import Said, place

# Who starts tasks, the variable of how many, that of which, and what tells a launch from others.
# Not among them: OMPI_UNIVERSE_SIZE, which counts slots.
_KINDS = (
    ("mpirun (Open MPI)", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMIX_NAMESPACE"),
    ("mpirun (MVAPICH)", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", ""),
    ("mpiexec (PALS)", "PMI_SIZE", "PALS_RANKID", "PALS_APID"),
    ("mpiexec (PMI)", "PMI_SIZE", "PMI_RANK", ""),
    ("jsrun", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_ID"),
    ("flux", "FLUX_JOB_SIZE", "FLUX_TASK_RANK", "FLUX_JOB_ID"),
)


def read(environ: Mapping[str, str]) -> Said | None:
    """The task of whichever of them has started it."""
    for launcher, size_variable, rank_variable, key_variable in _KINDS:
        found = place(environ, size_variable, rank_variable)
        if found is not None:
            key = _plain(environ.get(key_variable, "")) if key_variable else ""
            return Said(launcher, *found, size_variable, rank_variable, key=key)
    return None


def _plain(text: str) -> str:
    """A name of a launch without the letters that a file's name can't have."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-")
