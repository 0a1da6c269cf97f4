"""Workers meet at their own addresses before TensorFlow waits for them in silence."""

import contextlib
import faulthandler
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from tfscale.cluster.cluster import Cluster
from tfscale.errors import START_TIMEOUT_CODE, ConfigError
from tfscale.process.exit import leave

_PROGRESS_SECONDS = 5.0
_POLL_SECONDS = 0.1
_SERVER_POLL_SECONDS = 0.01
_BACKLOG = 1024


def meet(cluster: Cluster, timeout_seconds: float, complain: Callable[[str], None]) -> None:
    """Returns when every worker has been seen at its address, and says who is waited for.

    TensorFlow's constructor waits for the others in C++ without a limit and holds Python's lock
    meanwhile, so that no thread of this process could name them or give up. Hence this before it:
    until it has seen all others, a worker listens at its own address; after that, TensorFlow does.
    """
    others = [rank for rank in range(cluster.num_workers) if rank != cluster.index]
    started = said = time.monotonic()
    with _listening(cluster):
        while missing := unreachable(cluster, others):
            others = list(missing)
            now = time.monotonic()
            if now - started >= timeout_seconds:
                complain(
                    f"Worker {cluster.index} gave up after {now - started:.0f} s of waiting for: "
                    f"{_named(cluster, missing)}. Check that each worker runs the same command "
                    "with its own --index and that no firewall is between them; --start_timeout "
                    "sets the limit."
                )
                leave(START_TIMEOUT_CODE)
            if now - said >= _PROGRESS_SECONDS:
                said = now
                waited = f"Worker {cluster.index} has waited {now - started:.0f} s"
                complain(f"{waited} for: {_named(cluster, missing)}")
            time.sleep(_POLL_SECONDS)
        if not cluster.is_chief:
            # Still listening: the chief may not have seen this worker yet.
            _await_server(cluster.addresses[0], started + timeout_seconds)


def _listening(cluster: Cluster) -> socket.socket:
    """Listens at this worker's port, as TensorFlow's server will: on every interface.

    Raises:
        ConfigError: the port can't be had.
    """
    port = int(cluster.addresses[cluster.index].rpartition(":")[2])
    try:
        if not socket.has_dualstack_ipv6():
            return socket.create_server(("", port), backlog=_BACKLOG)
        family = socket.AF_INET6  # for both families at once
        return socket.create_server(
            ("", port), family=family, dualstack_ipv6=True, backlog=_BACKLOG
        )
    except OSError as error:
        raise ConfigError(
            f"Worker {cluster.index} can't listen on port {port} ({error.strerror}); expected a "
            "free port in --hosts. End the process that has it, or use another port."
        ) from error


def _named(cluster: Cluster, missing: Mapping[int, str]) -> str:
    workers = [f"worker {rank} at {cluster.addresses[rank]}" for rank in missing]
    return ", ".join(f"{who} ({why})" for who, why in zip(workers, missing.values(), strict=True))


def _await_server(address: str, deadline: float) -> None:
    """Returns when TensorFlow's server is at the chief's address, or when the time is over.

    Who asks it a moment too early is refused, and asks again only a second later: every second
    start took that second longer. A gRPC server sends its settings to whoever connects, before
    it is asked anything; the socket that listens while the workers meet sends nothing.
    """
    host, _, port = address.rpartition(":")
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            where = (host.strip("[]"), int(port))
            with socket.create_connection(where, timeout=1.0) as connection:
                if connection.recv(1):
                    return
        time.sleep(_SERVER_POLL_SECONDS)


@contextlib.contextmanager
def ended_at(timeout_seconds: float) -> Iterator[None]:
    """Ends the process if the body takes longer: a worker may have ended since it was seen.

    This timer is a thread of C and needs no Python lock; it can only exit with 1 and a traceback.
    """
    faulthandler.dump_traceback_later(timeout_seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def unreachable(cluster: Cluster, asked: Iterable[int]) -> dict[int, str]:
    """The workers, of those that are asked, at whose address nobody listens, with the reason."""
    missing = {}
    for rank in asked:
        host, _, port = cluster.addresses[rank].rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
        except OSError as error:
            missing[rank] = error.strerror or str(error)
    return missing
