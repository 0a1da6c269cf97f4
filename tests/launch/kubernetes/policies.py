"""What Kubernetes makes of pods that end: a small model of a Job's and a JobSet's rules.

A Job as https://kubernetes.io/docs/concepts/workloads/controllers/job/ has it, and its controller
(pkg/controller/job: pod_failure_policy.go, backoff_utils.go); a JobSet as
https://jobset.sigs.k8s.io/docs/tasks/failure_policy/ has it, and its controller
(pkg/controllers/failure_policy.go of v0.12.0).
"""

import re
from dataclasses import dataclass, field

FIRST_PAUSE, LONGEST_PAUSE = 10, 600  # seconds, of a Job before it starts a pod again


@dataclass(frozen=True)
class Ended:
    """A pod that has ended.

    Args:
        index: of the pod.
        code: exit code; None where nobody has seen it end, as of a node that is gone.
        is_disrupted: whether the pod has the condition `DisruptionTarget`.
    """

    index: int
    code: int | None
    is_disrupted: bool = False


@dataclass
class Job:
    """An Indexed Job, from its spec to its end.

    Args:
        name: of the job.
        spec: its spec.
    """

    name: str
    spec: dict
    failures: dict[int, int] = field(default_factory=dict)  # that count, of each index
    pauses: dict[int, int] = field(default_factory=dict)  # before an index is started again
    done: set[int] = field(default_factory=set)
    state: str = "Running"
    reason: str = ""
    message: str = ""

    def sees(self, *ended):
        """What the controller makes of the pods that have ended since it has looked last."""
        for pod in ended:
            if pod.code == 0:
                self.done.add(pod.index)
                continue
            action, message = self._matched(pod)
            if action == "FailJob" and self.state == "Running":
                self._fail("PodFailurePolicy", message)
            if action != "Ignore":
                self.failures[pod.index] = self.failures.get(pod.index, 0) + 1
            again = self.pauses.get(pod.index, FIRST_PAUSE / 2) * 2
            self.pauses[pod.index] = min(again, LONGEST_PAUSE)
        if self.state == "Running":
            self._look_at_limits()
        if self.state == "Running":
            self._look_at_success()
        return self

    def _matched(self, pod):
        """The action of the first rule that fits, and what it says; counted where none does."""
        (container,) = self.spec["template"]["spec"]["containers"]
        for at, rule in enumerate(self.spec.get("podFailurePolicy", {}).get("rules", [])):
            rules, where = f"matching {rule['action']} rule at index {at}", f"me/{self.name}-x"
            if (codes := rule.get("onExitCodes")) and pod.code is not None:
                is_meant = codes.get("containerName", container["name"]) == container["name"]
                is_in = (pod.code in codes["values"]) == (codes["operator"] == "In")
                if is_meant and is_in:
                    said = f"for pod {where} failed with exit code {pod.code} {rules}"
                    return rule["action"], f"Container {container['name']} {said}"
            for condition in rule.get("onPodConditions", []):
                asked = condition["type"], condition.get("status", "True")
                if asked == ("DisruptionTarget", "True") and pod.is_disrupted:
                    return rule["action"], f"Pod {where} has condition DisruptionTarget {rules}"
        return "Count", ""

    def _look_at_limits(self):
        if "backoffLimitPerIndex" in self.spec:
            limit = self.spec["backoffLimitPerIndex"]
            failed = [index for index, count in self.failures.items() if count > limit]
            if len(failed) > self.spec.get("maxFailedIndexes", self.spec["completions"]):
                self._fail("MaxFailedIndexesExceeded", "Job has exceeded the specified maximum")
        elif sum(self.failures.values()) > self.spec.get("backoffLimit", 6):
            self._fail("BackoffLimitExceeded", "Job has reached the specified backoff limit")

    def _look_at_success(self):
        for rule in self.spec.get("successPolicy", {}).get("rules", []):
            if {int(index) for index in rule["succeededIndexes"].split(",")} <= self.done:
                self.state = "Complete"
        if len(self.done) == self.spec["completions"]:
            self.state = "Complete"

    def _fail(self, reason, message):
        self.state, self.reason, self.message = "Failed", reason, message


class JobSet:
    """A JobSet of one Job, from its spec to its end.

    Args:
        jobset: its name and spec.
    """

    def __init__(self, jobset):
        self._name, self._spec = jobset["metadata"]["name"], jobset["spec"]
        self.restarts = self.counted = 0
        self.state = "Running"
        self._start()

    def _start(self):
        (replicated,) = self._spec["replicatedJobs"]
        self.job = Job(f"{self._name}-{replicated['name']}-0", replicated["template"]["spec"])

    def sees(self, *ended):
        """What both controllers make of pods that end; a new set of them runs after a restart."""
        self.job.sees(*ended)
        if self.job.state == "Complete":
            self.state = "Completed"
        if self.job.state == "Failed":
            self._apply(self._action())
        return self

    def _action(self):
        for rule in self._spec["failurePolicy"]["rules"]:
            reasons = rule.get("onJobFailureReasons", [])
            patterns = rule.get("onJobFailureMessagePatterns", [])
            is_reason = not reasons or self.job.reason in reasons
            is_message = not patterns or any(
                re.search(pattern, self.job.message) for pattern in patterns
            )
            if is_reason and is_message:
                return rule["action"]
        return "RestartJobSet"

    def _apply(self, action):
        if action == "RestartJobSet":
            if self.counted >= self._spec["failurePolicy"].get("maxRestarts", 0):
                action = "FailJobSet"
            self.counted += 1
        if action == "FailJobSet":
            self.state = "Failed"
            return
        assert action in ("RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts")
        self.restarts += 1
        self._start()
