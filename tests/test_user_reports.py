"""What users of other launchers ran into: a test that names each, or the reason why there is none.

A test names a case by its number, in its own name, a comment or a parameter: `# T7`.
"""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
CASE = re.compile(r"(?:\bT|_t)([0-9]{1,2})\b")
CASES = {
    1: "the first host's name resolves to 127.0.1.1",
    2: "a name resolves to a slow or unroutable interface",
    3: "a connection goes through docker0",
    4: "a host list is parsed wrongly",
    5: "a step has fewer nodes than its job",
    6: "two jobs of one user on one node take the same port",
    7: "a batch script without srun waits for ever",
    8: "RANK is expected under srun",
    9: "the time limit comes, and nothing is saved",
    10: "a signal reaches the batch shell only",
    11: "a requeued run begins its epoch again",
    12: "another handler has the signal",
    13: "only SIGTERM is sent at a preemption",
    14: "mpirun hands on no variables, and the second node lacks some",
    15: "all ranks of a node take GPU 0",
    16: "srun without PMI, or another mpirun first in the PATH",
    17: "a peer's name is not there for 30 s, then it is",
    18: "one pod is deleted, and the gang is not started again",
    19: "a node under memory pressure",
    20: "a worker is done, its pod is deleted, a new one begins from nothing",
    21: "one worker's reload leaves the rest hanging",
    22: "TF_CONFIG with a master, or a chief and a worker of index 0",
    23: "one index for all workers, or only one process started",
    24: "a strategy that is built after the first tensor",
    25: "TF_CONFIG that is changed after the strategy is there",
    26: "a firewall: every server starts, and nobody connects",
    27: "SageMaker without TF_CONFIG",
    28: "addresses of pod and host differ",
    29: "rank 0 is not the head node",
    30: "a global rank modulo GPUs on uneven nodes",
}
NOT_TESTED: dict[int, str] = {}


def test_every_case_has_a_test_or_a_reason():
    own = Path(__file__).resolve()
    paths = [path for path in TESTS.rglob("test_*.py") if path.resolve() != own]
    lines = [line for path in paths for line in path.read_text().splitlines()]
    # A T4 is a GPU too.
    named = {int(found) for line in lines if "Tesla" not in line for found in CASE.findall(line)}
    missing = {number: case for number, case in CASES.items() if number not in named}
    assert missing.keys() == NOT_TESTED.keys(), missing
