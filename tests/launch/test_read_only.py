"""A worker as the manifests run it: without root, on a root that nobody may write to.

A container by hand: a root of its own, put together of this machine's folders, of which only /tmp,
/dev/shm and the volume of the runs can be written to.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.jobs.workers import ROOT, start_all
from tests.report.trainer_server import certificate_in, environ_of, serving

pytestmark = [
    pytest.mark.long,
    pytest.mark.promise("kubernetes"),
    pytest.mark.skipif(
        os.getuid() != 0 or not shutil.which("unshare") or not Path("/usr").is_dir(),
        reason="it needs root, and unshare of util-linux",
    ),
]

USER = 10001  # who isn't known on this machine
DEADLINE_SECONDS = 180
# $1: where the root is put together; $2: the volume; $3: folders, with spaces; then the command.
_CONTAINER = """
set -e
root=$1 volume=$2 folders=$3
shift 3
mount -t tmpfs -o mode=755 root "$root"
mkdir -p "$root"/proc "$root"/dev/shm "$root"/tmp "$root"/runs
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
for name in bin lib lib64 sbin; do
    [ ! -L /$name ] || ln -s usr/$name "$root/$name"
done
for folder in $folders; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -o remount,bind,ro "$root$folder"
done
for device in null zero random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t proc proc "$root/proc"
mount --bind "$volume" "$root/runs"
mount -o remount,ro root "$root"
exec chroot --userspec=10001:10001 --groups=10001 "$root" "$@"
"""
FLAGS = (
    *("--dataset=datasets/digits.py", "--model=models/small_cnn.py", "--batch_size=64"),
    *("--epochs=2", "--optimizer=adamw"),
)


def _folders():
    """What a worker needs of this machine, the outer ones first."""
    found = {"/usr", "/etc", sys.base_prefix, os.path.realpath(sys.prefix), sys.prefix, str(ROOT)}
    found |= {f"/{name}" for name in ("bin", "lib", "lib64") if not Path(f"/{name}").is_symlink()}
    return sorted(each for each in found if Path(each).is_dir())


@pytest.fixture
def contained(tmp_path):
    """Gives what runs a command of this repository in such a container; the volume is a folder."""
    volume = tmp_path / "runs"
    volume.mkdir()
    os.chown(volume, 0, USER)
    volume.chmod(0o2770)  # as Kubernetes hands a volume over for an fsGroup

    def run(program, *flags, **environ):
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        named = {"HOME": "/tmp", "PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": "-1", **environ}
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", _CONTAINER]
        words += ["container", str(root), str(volume), " ".join(_folders())]
        words += ["env", "-i", f"--chdir={ROOT}", *(f"{key}={named[key]}" for key in named)]
        words += [sys.executable, f"launch/{program}.py", *flags]
        (ended,) = start_all([words], deadline_seconds=DEADLINE_SECONDS)
        return ended

    run.volume = volume
    return run


def _logs(folder):
    return "".join(path.read_text() for path in (folder / "logs").glob("*.log"))


def test_nothing_but_the_volume_and_tmp_has_to_be_writable(contained):
    flags = ("--workers=2", "--restarts=0", "--", *FLAGS, "--run_dir=/runs/digits")
    ended = contained("local", *flags)
    assert (ended.code, ended.err) == (0, ""), ended
    folder = contained.volume / "digits"
    assert json.loads((folder / "report.json").read_text())["workers"] == 2
    assert (folder / "model.keras").stat().st_uid == USER
    assert [path.name for path in contained.volume.iterdir()] == ["digits"]
    complaints = ("Read-only file system", "Permission denied", "Operation not permitted")
    assert not [words for words in complaints if words in _logs(folder) + ended.out]
    again = contained("worker", *FLAGS, "--run_dir=/elsewhere/digits")
    assert again.code == 2
    assert "Read-only file system" in again.err, "or this container shows nothing"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="it needs openssl")
def test_a_pod_of_a_train_job_tells_how_far_it_is(contained, tmp_path):
    certificate, volume = certificate_in(tmp_path), contained.volume
    shutil.copy(certificate.path, volume / "ca.crt")
    (volume / "token").write_text("a-token")
    alone = {"PET_NNODES": "1", "PET_NODE_RANK": "0", "PET_MASTER_ADDR": "digits-node-0-0.digits"}
    with serving(certificate) as server:
        told = environ_of(server.port, "/runs/ca.crt", "/runs/token")
        ended = contained("worker", *FLAGS, "--run_dir=/runs/digits", **alone, **told)
    assert (ended.code, ended.err) == (0, ""), ended
    status = server.got[-1].body["trainerStatus"]
    assert server.got[-1].headers["Authorization"] == "Bearer a-token"
    assert status["progressPercentage"] == 100
    named = {each["name"] for each in status["metrics"]}
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= named
    assert "a-token" not in (volume / "digits" / "config.json").read_text() + ended.out
