"""What becomes of a training on Kubernetes, whichever way its pods end; docs/when-it-fails.md."""

import itertools
import re

import pytest

from tests.jobs.workers import ROOT
from tests.launch.kubernetes.manifests import jobset_of, only, pods_of
from tests.launch.kubernetes.policies import Ended, Job, JobSet
from tfscale.errors import (
    CONFIG_CODE,
    FAILURE_CODE,
    HANGUP_CODE,
    INTERRUPTED_CODE,
    PREEMPTED_CODE,
    START_TIMEOUT_CODE,
)

pytestmark = pytest.mark.promise("kubernetes")

SETS = ["jobset.yaml", "trainjob.yaml"]
KILLED = 137
NEVER, COUNTED, AGAIN, COMPLETED = "never again", "again, counted", "again", "completed"


def _rows():
    """Of each exit code: what the documents say that a Job and a JobSet make of it."""
    text = (ROOT / "docs" / "when-it-fails.md").read_text()
    table = text.partition("## Exit codes")[2].partition("\n\n- ")[0]
    for line in table.strip().splitlines()[2:]:
        codes, *_, job, jobset = (cell.strip() for cell in line.strip("|").split("|"))
        for code in re.findall(r"\d+", codes):
            yield int(code), job, jobset


ROWS = list(_rows())
CODES = [code for code, *_ in ROWS]


def _job():
    return Job("digits", only("indexed-job.yaml", "Job")["spec"])


def _all(code, **more):
    return [Ended(index, code, **more) for index in (0, 1)]


def _of_job(*ended):
    job = _job().sees(*ended)
    if job.state != "Running":
        return {"Complete": COMPLETED, "Failed": NEVER}[job.state]
    return COUNTED if any(job.failures.values()) else AGAIN


def _of_set(name, *ended):
    jobset = JobSet(jobset_of(name)).sees(*ended)
    if jobset.state != "Running":
        return {"Completed": COMPLETED, "Failed": NEVER}[jobset.state]
    assert jobset.restarts == 1
    return COUNTED if jobset.counted else AGAIN


def test_every_code_that_a_worker_ends_with_is_in_the_table():
    ours = {CONFIG_CODE, FAILURE_CODE, HANGUP_CODE, INTERRUPTED_CODE, PREEMPTED_CODE}
    assert {0, START_TIMEOUT_CODE, KILLED, *ours} <= set(CODES)


@pytest.mark.parametrize(("code", "job", "jobset"), ROWS, ids=map(str, CODES))
def test_each_exit_code_does_what_the_documents_say(code, job, jobset):
    assert _of_job(*_all(code)) == job
    assert [_of_set(name, *_all(code)) for name in SETS] == [jobset, jobset]


def test_a_code_of_nobody_is_a_failure_and_one_of_a_part_of_it_is_not_taken_for_it():
    for code in (3, 22, 12, 200):  # no 2 within a longer number
        assert _of_job(*_all(code)) == COUNTED
        assert [_of_set(name, *_all(code)) for name in SETS] == [COUNTED, COUNTED]


@pytest.mark.parametrize("order", [*itertools.permutations([Ended(0, FAILURE_CODE), Ended(1, 2)])])
def test_what_can_never_work_ends_all_even_where_others_have_failed_for_it(order):
    assert _of_job(*order) == NEVER
    assert [_of_set(name, *order) for name in SETS] == [NEVER, NEVER]


# Disruptions: evicted or drained pods are told to stop; all workers then save, and end with 143.
ENDINGS = {
    "T18: one pod was deleted": _all(PREEMPTED_CODE),
    "drained": [Ended(1, PREEMPTED_CODE, is_disrupted=True), Ended(0, PREEMPTED_CODE)],
    "preempted, no time to save": [Ended(1, KILLED, is_disrupted=True), Ended(0, FAILURE_CODE)],
    "T19: memory pressure": [Ended(0, KILLED, is_disrupted=True), Ended(1, FAILURE_CODE)],
    "T18: its node is gone": [Ended(1, None, is_disrupted=True), Ended(0, FAILURE_CODE)],
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("case", ENDINGS)
def test_all_are_started_again_after_a_disruption_as_often_as_it_takes(case, name):
    jobset = JobSet(jobset_of(name))
    for _ in range(50):
        jobset.sees(*ENDINGS[case])
    assert (jobset.state, jobset.restarts, jobset.counted) == ("Running", 50, 0)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("case", ENDINGS)
def test_whoever_is_seen_first_all_are_started_again(case, name):
    for order in itertools.permutations(ENDINGS[case]):
        jobset = JobSet(jobset_of(name)).sees(order[0])  # the others are ended with their job
        assert (jobset.state, jobset.restarts) == ("Running", 1)
        assert jobset.counted == (order[0].code == FAILURE_CODE)


@pytest.mark.parametrize("case", ENDINGS)
def test_a_job_starts_its_pods_again_and_does_not_count_disruptions(case):
    job = _job()
    for _ in range(5):
        job.sees(*ENDINGS[case])
    assert job.state == "Running"
    assert all(not count or index != _disrupted(case) for index, count in job.failures.items())


def _disrupted(case):
    return next((pod.index for pod in ENDINGS[case] if pod.is_disrupted), None)


@pytest.mark.parametrize("name", SETS)
def test_failures_end_a_set_after_as_many_restarts_as_it_has(name):
    jobset = JobSet(jobset_of(name))
    for _ in range(10):
        jobset.sees(*_all(FAILURE_CODE))
        jobset.sees(*_all(PREEMPTED_CODE))  # between them, and not counted
    assert (jobset.state, jobset.counted) == ("Running", 10)
    assert jobset.sees(*_all(FAILURE_CODE)).state == "Failed"


def test_failures_end_a_job_as_soon_as_one_worker_has_no_tries_left():
    job = _job()
    for _ in range(10):
        job.sees(*_all(FAILURE_CODE))
    assert job.state == "Running"
    job.sees(Ended(1, 139))
    assert (job.state, job.reason) == ("Failed", "MaxFailedIndexesExceeded")


def test_one_worker_that_fails_alone_has_the_others_back_before_they_give_up():  # T21
    """Who is left ends with 1 soon after; each pause is that of its own worker."""
    job = _job()
    timeout = _start_timeout()
    for _ in range(10):
        job.sees(Ended(1, 139))
        job.sees(Ended(0, FAILURE_CODE))
        assert job.pauses[0] == job.pauses[1] < timeout
    shared = {key: value for key, value in job.spec.items() if "Index" not in key}
    counted = Job("digits", {**shared, "backoffLimit": 10})
    for _ in range(6):
        counted.sees(*_all(FAILURE_CODE))
    assert counted.reason == "BackoffLimitExceeded", "six failures of two workers are twelve"


def _start_timeout():
    words = pods_of("indexed-job.yaml")[0].container["args"]
    (text,) = (word.partition("=")[2] for word in words if word.startswith("--start_timeout="))
    return float(text)


@pytest.mark.parametrize("order", [*itertools.permutations(_all(0))])
def test_a_training_that_is_done_stays_done_whatever_comes_after_it(order):  # T20
    """Workers that were started again would find a run that has come to its end."""
    evicted = Ended(1, KILLED, is_disrupted=True)
    for name in SETS:
        assert JobSet(jobset_of(name)).sees(Ended(0, 0)).sees(evicted).state == "Completed"
        assert JobSet(jobset_of(name)).sees(*order).state == "Completed"
    assert _job().sees(Ended(0, 0)).sees(evicted).state == "Complete"
    job = _job()
    del job.spec["successPolicy"]
    assert job.sees(Ended(0, 0)).sees(evicted).state == "Running", "it waits for the first in vain"


def test_old_pods_are_gone_before_new_ones_come():
    for name in SETS:
        assert jobset_of(name)["spec"]["failurePolicy"]["restartStrategy"] == "BlockingRecreate"
    for pod in (*pods_of("indexed-job.yaml"), *pods_of("jobset.yaml"), *pods_of("trainjob.yaml")):
        assert pod.spec["restartPolicy"] == "Never", "or there is no policy for its pods"


def test_a_tf_job_restarts_what_was_killed_or_stopped_and_nothing_that_cannot_work():
    """The operator restarts pods from code 128 on; within a pod `--restarts` does the rest."""
    spec = only("tfjob.yaml", "TFJob")["spec"]["tfReplicaSpecs"]["Worker"]
    assert spec["restartPolicy"] == "ExitCode"
    assert CONFIG_CODE < 128 <= min(PREEMPTED_CODE, KILLED)
    assert "--restarts=3" in pods_of("tfjob.yaml")[0].container["args"]
