"""A Slurm of two nodes that are both this machine, for as long as a body lasts."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time

from tfscale.cluster.ports import free_addresses

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol")
_START_SECONDS = 60
_CONFIGURATION = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=30
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=n0 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000
PartitionName=main Nodes=n0,n1 Default=YES PriorityTier=1 GraceTime=30 State=UP
PartitionName=hard Nodes=n0,n1 PriorityTier=1 GraceTime=0 State=UP
PartitionName=first Nodes=n0,n1 PriorityTier=9 PreemptMode=OFF State=UP
"""


def why_not():
    """Why there can be no Slurm here; "" if there can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"it needs slurm-wlm and munge ({', '.join(missing)} is missing)"
    return "" if os.getuid() == 0 else "it needs root"


@contextlib.contextmanager
def slurm(folder):
    """Gives the environment in which Slurm's commands find it.

    A job of the partition `first` preempts those of `main`, which get 30 seconds between the signal
    and the kill, and those of `hard`, which get none.

    Args:
        folder: for all that it writes; of a short path, because sockets lie in it.
    """
    for name in ("state", "n0", "n1", "munge"):
        (folder / name).mkdir(parents=True)
    _begin_munge(folder / "munge")
    ports = [one.rpartition(":")[2] for one in free_addresses(3)]
    host = socket.gethostname().partition(".")[0]
    text = _CONFIGURATION.format(folder=folder, host=host, ports=ports)
    (folder / "slurm.conf").write_text(text)
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    daemons = []
    try:
        for command in (
            ["slurmctld", "-D"],
            ["slurmd", "-D", "-N", "n0"],
            ["slurmd", "-D", "-N", "n1"],
        ):
            daemons.append(
                subprocess.Popen(
                    command,
                    env=environ,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
        _await_nodes(environ)
        yield environ
    finally:
        subprocess.run(["scancel", "--user=root"], env=environ, timeout=20, check=False)
        time.sleep(1)
        for daemon in reversed(daemons):
            daemon.kill()
            daemon.wait()
        pid = (folder / "munge" / "pid").read_text().strip()
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), 9)


def _begin_munge(folder):
    owner = pwd.getpwnam("munge")
    (folder / "key").write_bytes(os.urandom(1024))
    for path in (folder, folder / "key"):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    (folder / "key").chmod(0o400)
    for above in [folder, *folder.parents]:  # whose key it is has to get there
        if above.stat().st_mode & 0o011 == 0:
            above.chmod(above.stat().st_mode | 0o011)
    command = ["munged", "--force", f"--key-file={folder}/key", f"--log-file={folder}/log"]
    command += [f"--pid-file={folder}/pid", f"--seed-file={folder}/seed"]
    command += [f"--socket={folder}/socket"]
    subprocess.run(
        command,
        user=owner.pw_uid,
        group=owner.pw_gid,
        extra_groups=[],
        env={"PATH": "/usr/sbin:/usr/bin:/bin"},
        check=True,
        timeout=30,
    )


def _await_nodes(environ):
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["sinfo", "--noheader", "--partition=main", "--format=%D %t"],
            env=environ,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        if done.stdout.split() == ["2", "idle"]:
            return
        time.sleep(0.5)
    raise TimeoutError(f"Slurm didn't start: {done.stdout} {done.stderr}")
