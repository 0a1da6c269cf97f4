"""The manifests are what Kubernetes and its controllers take, and what security asks of a job."""

import re

import jsonschema
import kubernetes_validate
import pytest

from launch import worker_flags
from tests.jobs.workers import ROOT
from tests.launch.kubernetes.manifests import (
    FILES,
    FOLDER,
    TRAINING_FILES,
    documents,
    jobset_of,
    only,
    pods_of,
)
from tests.launch.kubernetes.structures import STRUCTURES, jobs_within
from tfscale.cluster import discovery
from tfscale.cluster.machines import split_address
from tfscale.errors import ConfigError
from tfscale.settings import Config

pytestmark = pytest.mark.promise("kubernetes")

SAVE_SECONDS = 30  # within which all workers have saved, or are killed (tfscale/supervise)
# What Kubernetes had when each field that we use was stable, and the newest.
VERSIONS = ("1.33", kubernetes_validate.latest_version())


def _pod_specs(name):
    """Of every pod that a file brings: whatever trains, and TensorBoard."""
    found = [pod.spec for pod in pods_of(name)[:1]] if name in TRAINING_FILES else []
    deployments = [each for each in documents(name) if each["kind"] == "Deployment"]
    return found + [each["spec"]["template"]["spec"] for each in deployments]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", FILES)
def test_a_manifest_is_what_kubernetes_takes(name, version):
    for document in documents(name):
        inner = [document]
        if document["kind"] in STRUCTURES:
            jsonschema.validate(document, STRUCTURES[document["kind"]])
            inner = jobs_within(document)
        for each in inner:
            kubernetes_validate.validate(each, version, strict=True)


def test_a_manifest_with_a_slip_is_refused():
    job = only("indexed-job.yaml", "Job")
    job["spec"]["podFailurePolicy"]["rules"][0]["onExitCode"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSIONS[-1], strict=True)
    jobset = only("jobset.yaml", "JobSet")
    jobset["spec"]["failurePolicy"]["rules"][0]["action"] = "Fail"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(jobset, STRUCTURES["JobSet"])


@pytest.mark.parametrize("name", FILES)
def test_a_pod_may_no_more_than_it_needs(name):
    for spec in _pod_specs(name):
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert min(pod["runAsUser"], pod["runAsGroup"], pod["fsGroup"]) > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostPort"} & set().union(*container["ports"])
        assert not any("hostPath" in volume for volume in spec["volumes"])


@pytest.mark.parametrize("name", FILES)
def test_a_pod_has_all_that_it_writes_to_and_limits_for_it(name):
    for spec in _pod_specs(name):
        (container,) = spec["containers"]
        mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        volumes = {each["name"]: each for each in spec["volumes"]}
        environ = {each["name"]: each["value"] for each in container["env"]}
        assert set(mounts.values()) == set(volumes)
        assert environ["HOME"] == "/tmp"
        assert volumes[mounts["/tmp"]]["emptyDir"]["sizeLimit"]
        assert volumes[mounts["/runs"]]["persistentVolumeClaim"]["claimName"] == "runs"
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert {"cpu", "memory"} <= set(requests) & set(limits)
        assert requests["memory"] == limits["memory"], "or it is evicted before it is killed"


@pytest.mark.parametrize("name", TRAINING_FILES)
def test_a_worker_has_time_to_save_memory_to_share_and_its_reason_in_its_status(name):
    for pod in pods_of(name):
        assert pod.spec["terminationGracePeriodSeconds"] >= 1.5 * SAVE_SECONDS
        mounts = {each["mountPath"]: each["name"] for each in pod.container["volumeMounts"]}
        volumes = {each["name"]: each for each in pod.spec["volumes"]}
        shared = volumes[mounts["/dev/shm"]]["emptyDir"]
        assert (shared["medium"], bool(shared["sizeLimit"])) == ("Memory", True)
        assert pod.container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert not {"livenessProbe", "readinessProbe", "startupProbe"} & set(pod.container)


def _without_names(pod):
    """A pod without what its controller wants another way."""
    container = {**pod.container}
    container |= {"name": "", "ports": [each["containerPort"] for each in container["ports"]]}
    container["env"] = [each for each in container["env"] if each["name"] == "HOME"]
    container["args"] = [each for each in container["args"] if not each.startswith("--restarts=")]
    spec = {key: value for key, value in pod.spec.items() if key != "subdomain"}
    return {"restartPolicy": "Never", **spec, "containers": [container]}


def test_all_manifests_have_the_same_pod():
    first, *others = (pods_of(name)[0] for name in TRAINING_FILES)
    for other in others:
        assert _without_names(other) == _without_names(first)


def test_a_job_set_and_a_train_job_have_the_same_policies():
    own, trainer = (jobset_of(name)["spec"] for name in ("jobset.yaml", "trainjob.yaml"))
    assert own["failurePolicy"] == trainer["failurePolicy"]
    text = str(own["replicatedJobs"][0]["template"]["spec"]["podFailurePolicy"])
    other = str(trainer["replicatedJobs"][0]["template"]["spec"]["podFailurePolicy"])
    assert text.replace("'worker'", "'node'") == other


@pytest.mark.parametrize("name", TRAINING_FILES)
def test_the_flags_of_a_manifest_are_those_of_the_worker(name):
    pod, settings = pods_of(name)[0], {}
    for word in pod.container["args"]:
        flag, value = re.fullmatch(r"--(\w+)=(\S+)", word).groups()
        assert flag in worker_flags.FLAGS
        settings[flag] = value
    assert "overwrite" not in settings, "a restart would repeat it"
    assert all((ROOT / settings.pop(file)).is_file() for file in ("dataset", "model"))
    assert settings.pop("restarts", "3") == "3"
    values = {flag: worker_flags.FLAGS[flag].parser.parse(text) for flag, text in settings.items()}
    assert Config(**values).run_dir.startswith("/runs/"), "which is on the volume"


# Who finds whom.


@pytest.mark.parametrize("name", TRAINING_FILES)
def test_workers_find_each_other_under_names_that_their_service_gives(name):
    pods = pods_of(name)
    asked = discovery.Asked(waits=False)
    clusters = [discovery.resolve(None, None, pod.environ, asked) for pod in pods]
    assert [cluster.index for cluster in clusters] == list(range(len(pods))) == [0, 1]
    assert len({cluster.addresses for cluster in clusters}) == 1
    for pod, address in zip(pods, clusters[0].addresses, strict=True):
        host, port = split_address(address)
        assert host in pod.names
        assert len(pod.hostname) <= 63
        assert [each["containerPort"] for each in pod.container["ports"]] == [port]


@pytest.mark.parametrize("name", TRAINING_FILES)
def test_only_the_pods_of_a_job_reach_its_port(name):
    pods, policy = pods_of(name), only(name, "NetworkPolicy")["spec"]
    chosen = policy["podSelector"]["matchLabels"]
    assert policy["policyTypes"] == ["Ingress"]
    assert all(chosen.items() <= pod.labels.items() for pod in pods)
    assert "digits" in chosen.values(), "another job's pods have another label"
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": chosen}}]
    cluster = discovery.resolve(None, None, pods[0].environ, discovery.Asked(waits=False))
    (port,) = {split_address(address)[1] for address in cluster.addresses}
    first, nccl = rule["ports"]
    assert first == {"protocol": "TCP", "port": port}
    assert (nccl["port"], nccl["endPort"]) == (32768, 60999)  # the kernel's own


@pytest.mark.parametrize("name", ["indexed-job.yaml", "jobset.yaml", "trainjob.yaml"])
def test_a_pod_has_its_name_before_it_is_ready(name):  # T17
    if name == "indexed-job.yaml":
        service = only(name, "Service")["spec"]
        (port,) = service["ports"]
        assert port["port"] == pods_of(name)[0].container["ports"][0]["containerPort"]
        assert service["publishNotReadyAddresses"] is True
    else:
        assert jobset_of(name)["spec"]["network"] == {"publishNotReadyAddresses": True}


def test_a_train_job_without_a_trainer_would_tell_nobody_its_rank():
    assert only("trainjob.yaml", "TrainJob")["spec"]["trainer"]["numNodes"] == 2
    runtime = only("trainjob.yaml", "ClusterTrainingRuntime")
    (replicated,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    labels = replicated["template"]["metadata"]["labels"]
    assert labels == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    assert replicated["name"] == "node"
    (container,) = replicated["template"]["spec"]["template"]["spec"]["containers"]
    assert container["name"] == "node"
    assert not [each for each in container["env"] if each["name"].startswith("PET_")]


def test_a_tf_job_with_dynamic_workers_would_know_itself_alone():
    assert "enableDynamicWorker" not in only("tfjob.yaml", "TFJob")["spec"]
    sparse = (
        '{"cluster": {"ps": [], "worker": {"1": "b:2222"}}, "task": {"type": "worker", "index": 1}}'
    )
    with pytest.raises(ConfigError, match="TF_CONFIG has"):
        discovery.resolve(None, None, {"TF_CONFIG": sparse})


def test_tensorboard_reads_only_and_is_reached_through_the_cluster_alone():
    service, policy = only("common.yaml", "Service"), only("common.yaml", "NetworkPolicy")
    (spec,) = _pod_specs("common.yaml")
    (container,) = spec["containers"]
    assert service["spec"]["type"] == "ClusterIP"
    chosen = {"app": "tensorboard"}
    assert service["spec"]["selector"] == policy["spec"]["podSelector"]["matchLabels"] == chosen
    assert policy["spec"] == {"podSelector": {"matchLabels": chosen}, "policyTypes": ["Ingress"]}
    (port,) = container["ports"]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert container["readinessProbe"]["httpGet"]["port"] == port["name"]
    assert f"--port={port['containerPort']}" in container["command"]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    assert mounts["/runs"]["readOnly"] is True
    claims = [each["metadata"]["name"] for each in documents("common.yaml")][:1]
    assert claims == ["runs"]


def test_what_is_to_be_edited_is_marked():
    for name in FILES:
        lines = (FOLDER / name).read_text().splitlines()
        asked = [line for line in lines if re.search(r"image: |completions: |numNodes: 2 #", line)]
        assert asked
        assert all("EDIT" in line for line in asked)
