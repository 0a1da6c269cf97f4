"""What an object of a custom kind may have, as far as ours go; a Job within is checked as such.

From the definitions of JobSet v0.12.0 (config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml),
Kubeflow Trainer v2.3.0 (manifests/base/crds/) and training operator v1.9.0
(manifests/base/crds/kubeflow.org_tfjobs.yaml), and from their webhooks where these say more.
"""

_TEXT, _WHOLE, _TRUTH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_JOB = {"type": "object"}  # of Kubernetes' own kinds
_REASONS = (
    *("BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "MaxFailedIndexesExceeded"),
    "PodFailurePolicy",
)
_ACTIONS = (
    *("FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"),
    *("RestartJob", "RestartJobAndIgnoreMaxRestarts"),
)


def _object(required=(), **properties):
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


def _list(items, **more):
    return {"type": "array", "items": items, **more}


def _kind(version, kind, spec):
    return _object(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": version},
        kind={"const": kind},
        metadata=_object(["name"], name=_TEXT, labels=_JOB),
        spec=spec,
    )


_RULE = _object(
    ["action", "name"],
    name={"type": "string", "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
    action={"enum": list(_ACTIONS)},
    onJobFailureReasons=_list({"enum": list(_REASONS)}, uniqueItems=True),
    onJobFailureMessagePatterns=_list(_TEXT, uniqueItems=True),
    targetReplicatedJobs=_list(_TEXT),
)
_JOBSET = _object(
    failurePolicy=_object(
        maxRestarts=_WHOLE,
        restartStrategy={"enum": ["Recreate", "BlockingRecreate", "InPlaceRestart"]},
        rules=_list(_RULE),
    ),
    network=_object(enableDNSHostnames=_TRUTH, publishNotReadyAddresses=_TRUTH, subdomain=_TEXT),
    replicatedJobs=_list(
        _object(["name", "template"], name=_TEXT, replicas=_WHOLE, groupName=_TEXT, template=_JOB)
    ),
    successPolicy=_object(operator={"enum": ["All", "Any"]}, targetReplicatedJobs=_list(_TEXT)),
    suspend=_TRUTH,
    ttlSecondsAfterFinished=_WHOLE,
)
_POLICY = _object(numNodes=_WHOLE, torch=_object(), jax=_object())
_TRAINER = _object(
    image=_TEXT,
    command=_list(_TEXT, maxItems=128),
    args=_list(_TEXT, maxItems=128),
    env=_list(_JOB, maxItems=128),
    numNodes=_WHOLE,
    numProcPerNode=_WHOLE,
    resourcesPerNode=_JOB,
)
_REPLICA = _object(
    replicas=_WHOLE,
    restartPolicy={"enum": ["Always", "OnFailure", "Never", "ExitCode"]},
    template=_JOB,
)
STRUCTURES = {
    "JobSet": _kind("jobset.x-k8s.io/v1alpha2", "JobSet", _JOBSET),
    "ClusterTrainingRuntime": _kind(
        "trainer.kubeflow.org/v1alpha1",
        "ClusterTrainingRuntime",
        _object(mlPolicy=_POLICY, template=_object(metadata=_JOB, spec=_JOBSET)),
    ),
    "TrainJob": _kind(
        "trainer.kubeflow.org/v1alpha1",
        "TrainJob",
        _object(
            ["runtimeRef"],
            runtimeRef=_object(["name"], name=_TEXT, kind=_TEXT, apiGroup=_TEXT),
            trainer=_TRAINER,
            suspend=_TRUTH,
            activeDeadlineSeconds=_WHOLE,
        ),
    ),
    "TFJob": _kind(
        "kubeflow.org/v1",
        "TFJob",
        _object(
            ["tfReplicaSpecs"],
            enableDynamicWorker=_TRUTH,
            successPolicy={"enum": ["", "AllWorkers"]},
            runPolicy=_object(
                cleanPodPolicy={"enum": ["", "All", "Running", "None"]},
                backoffLimit=_WHOLE,
                ttlSecondsAfterFinished=_WHOLE,
                activeDeadlineSeconds=_WHOLE,
                suspend=_TRUTH,
            ),
            tfReplicaSpecs={
                "type": "object",
                "propertyNames": {"enum": ["PS", "Worker", "Chief", "Master", "Evaluator"]},
                "additionalProperties": _REPLICA,
            },
        ),
    ),
}


def jobs_within(document):
    """The Jobs, or pod templates as Jobs, that an object of a custom kind holds."""
    spec = document["spec"]
    if document["kind"] == "ClusterTrainingRuntime":
        spec = spec["template"]["spec"]
    found = [each["template"] for each in spec.get("replicatedJobs", [])]
    for replica in spec.get("tfReplicaSpecs", {}).values():
        template = replica["template"]
        pod = {"restartPolicy": "Never", **template["spec"]}  # the operator puts its own there
        found.append({"spec": {"template": {**template, "spec": pod}}})
    return [{"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, **job} for job in found]
