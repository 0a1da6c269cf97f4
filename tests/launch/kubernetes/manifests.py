"""The manifests of launch/kubernetes, and what controllers make of them.

Facts about controllers are those of their sources: JobSet 0.12, Kubeflow Trainer 2.3, training
operator 1.9, and the Job controller of Kubernetes.
"""

import copy
import json
from dataclasses import dataclass

import yaml

from tests.jobs.workers import ROOT

FOLDER = ROOT / "launch" / "kubernetes"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))
TRAINING_FILES = ["indexed-job.yaml", "jobset.yaml", "tfjob.yaml", "trainjob.yaml"]
NAMESPACE = "me"


def documents(name):
    """The objects of a file, in its order."""
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def only(name, kind):
    """The one object of a kind."""
    (found,) = [each for each in documents(name) if each["kind"] == kind]
    return copy.deepcopy(found)


@dataclass(frozen=True)
class Pod:
    """A pod as its controller makes it.

    Args:
        hostname: of its only container.
        names: under which others find it, by the services that there are.
        labels: of the pod.
        environ: of the container that trains.
        spec: of the pod.
    """

    hostname: str
    names: frozenset[str]
    labels: dict[str, str]
    environ: dict[str, str]
    spec: dict[str, object]

    @property
    def container(self):
        """The only one."""
        (found,) = self.spec["containers"]
        return found


def jobset_of(name):
    """The JobSet of a file; of a TrainJob's that which Trainer makes of it with its runtime."""
    if name == "jobset.yaml":
        return only(name, "JobSet")
    runtime, job = only(name, "ClusterTrainingRuntime"), only(name, "TrainJob")
    spec = runtime["spec"]["template"]["spec"]
    (replicated,) = spec["replicatedJobs"]
    template, trainer = replicated["template"]["spec"], job["spec"].get("trainer")
    nodes = runtime["spec"]["mlPolicy"]["numNodes"]
    replicated["replicas"] = 1
    (container,) = template["template"]["spec"]["containers"]
    if trainer is not None:  # without it Trainer tells nobody anything
        nodes = trainer.get("numNodes", nodes)
        container |= {key: trainer[key] for key in ("image", "command", "args") if key in trainer}
        leader = f"{job['metadata']['name']}-node-0-0.{job['metadata']['name']}"
        told = {"PET_NNODES": str(nodes), "PET_NPROC_PER_NODE": "auto", "PET_NODE_RANK": None}
        told |= {"PET_MASTER_ADDR": leader, "PET_MASTER_PORT": "29500"}
        container["env"] += [{"name": key, "value": value} for key, value in told.items()]
    template |= {"completions": nodes, "parallelism": nodes}
    return {"metadata": {"name": job["metadata"]["name"]}, "spec": spec}


def pods_of(name):
    """All pods of a training, in the order of their indexes."""
    if name == "indexed-job.yaml":
        job, service = only(name, "Job"), only(name, "Service")
        job_name = job["metadata"]["name"]
        return _job_pods(job_name, job["spec"], {}, service)
    if name == "tfjob.yaml":
        return _tfjob_pods(only(name, "TFJob"))
    jobset = jobset_of(name)
    set_name, network = jobset["metadata"]["name"], jobset["spec"].get("network", {})
    (replicated,) = jobset["spec"]["replicatedJobs"]
    subdomain = network.get("subdomain", set_name)
    labels = {"jobset.sigs.k8s.io/jobset-name": set_name}
    spec = replicated["template"]["spec"]
    spec["template"]["spec"]["subdomain"] = subdomain
    service = {
        "metadata": {"name": subdomain},
        "spec": {
            "clusterIP": "None",
            "selector": labels,
            "publishNotReadyAddresses": network.get("publishNotReadyAddresses", True),
        },
    }
    return _job_pods(f"{set_name}-{replicated['name']}-0", spec, labels, service)


def _job_pods(job_name, spec, labels, service):
    labels = {"batch.kubernetes.io/job-name": job_name, **labels}
    template, pods = spec["template"]["spec"], []
    for index in range(spec["completions"]):
        hostname, names = f"{job_name}-{index}", set()
        is_found = service["spec"]["selector"].items() <= labels.items()
        if is_found and service["metadata"]["name"] == template.get("subdomain"):
            assert service["spec"]["clusterIP"] == "None"
            names = {f"{hostname}.{template['subdomain']}"}
        (container,) = template["containers"]
        environ = {each["name"]: each["value"] for each in container["env"]}
        environ |= {"JOB_COMPLETION_INDEX": str(index), "HOSTNAME": hostname}
        environ |= {key: str(index) for key, value in environ.items() if value is None}
        own = labels | {"batch.kubernetes.io/job-completion-index": str(index)}
        pods.append(Pod(hostname, frozenset(names), own, environ, template))
    return pods


def _tfjob_pods(job):
    name, (kind, replica) = (
        job["metadata"]["name"],
        next(iter(job["spec"]["tfReplicaSpecs"].items())),
    )
    spec = replica["template"]["spec"]
    (container,) = spec["containers"]
    assert container["name"] == "tensorflow", "the operator looks for it by its name"
    port = next(each for each in container["ports"] if each["name"] == "tfjob-port")
    role, pods = kind.lower(), []
    hosts = [f"{name}-{role}-{index}" for index in range(replica["replicas"])]
    addresses = [f"{host}.{NAMESPACE}.svc:{port['containerPort']}" for host in hosts]
    for index, host in enumerate(hosts):
        listed = {role: addresses}
        if job["spec"].get("enableDynamicWorker"):
            listed = {"ps": [], role: {str(index): addresses[index]}}
        task = {"cluster": listed, "task": {"type": role, "index": index}, "environment": "cloud"}
        environ = {each["name"]: each["value"] for each in container["env"]}
        environ |= {"TF_CONFIG": json.dumps(task), "HOSTNAME": host}
        labels = {"training.kubeflow.org/job-name": name}
        pods.append(Pod(host, frozenset({f"{host}.{NAMESPACE}.svc"}), labels, environ, spec))
    return pods
