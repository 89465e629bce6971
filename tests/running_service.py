"""Starts serve.py for real, and asks a service as clients do, well-behaved ones and others."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from multitask_encoder.serving.reverse_proxy import free_port

ROOT = Path(__file__).parent.parent
JSON = {"Content-Type": "application/json"}
# What a client sees of a connection that is closed before the whole answer came.
CLOSED = (ConnectionError, asyncio.IncompleteReadError)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


async def ask(
    port: int,
    body: Any = None,
    path: str = "/predict",
    headers: dict[str, str] | None = None,
    chunked: bool = False,
) -> Reply:
    """One request on a connection of its own: GET without a body, else POST.

    Args:
        body: bytes as they are, anything else as JSON; with `chunked`, an iterable of bytes, sent
            one by one without saying how many there are.

    Raises:
        CLOSED: the connection was closed before the whole answer came.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        if body is not None and not chunked and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", "Host: localhost"]
        given = {"Connection": "close", **(JSON if headers is None else headers)}
        if chunked:
            given["Transfer-Encoding"] = "chunked"
        elif body is not None:
            given.setdefault("Content-Length", str(len(body)))
        lines += [f"{name}: {value}" for name, value in given.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        sending = asyncio.create_task(_send(writer, body, chunked))
        try:
            return await _reply(reader)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    finally:
        writer.close()


async def _send(writer: asyncio.StreamWriter, body: Any, chunked: bool) -> None:
    if chunked:
        for part in body:
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()
            await asyncio.sleep(0)  # an answer may have come
        writer.write(b"0\r\n\r\n")
    elif body:
        writer.write(body)
    await writer.drain()


async def _reply(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    content = await reader.readexactly(int(headers["content-length"]))
    return Reply(int(first.split()[1]), headers, content)


def assert_same(found: Any, expected: Any) -> None:
    """Equal, floats up to what the other texts of a batch change."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        if expected and isinstance(expected[0], float):
            assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
        else:
            for one, other in zip(found, expected, strict=True):
                assert_same(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    else:
        assert found == expected


class Server:
    """An ASGI application at a port of this machine, in a thread."""

    def __init__(self, app):
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_config=None))
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> int:
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
        return self.server.servers[0].sockets[0].getsockname()[1]

    def __exit__(self, *exception):
        self.server.should_exit = True
        self.thread.join()


@dataclass
class RunningService:
    process: subprocess.Popen
    port: int
    metrics: str  # the address of Ray's metrics
    log: Path
    ray_folder: str

    def processes(self, name: str = "") -> list[int]:
        """All of this service, Ray's among them, whose title begins so."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                title = (folder / "cmdline").read_bytes()
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:  # it has just ended, or is another user's
                continue
            ours = f"RAY_TMPDIR={self.ray_folder}".encode() in environment
            if ours and title.startswith(name.encode()):
                found.append(int(folder.name))
        return found

    def end(self) -> int:
        """Ask it to end, and wait; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=300)


@contextmanager
def running_service(model: Path, log: Path, *flags: str) -> Iterator[RunningService]:
    """`serve.py` on a free port, from when it is ready; afterwards nothing of it is left."""
    service = started(model, log, *flags)
    for _ in range(2):  # Ray gives itself half a minute, which a busy machine may not
        if ready(service) or "timed out" not in log.read_text():
            break
        clean_up(service)
        service = started(model, log, *flags)
    try:
        assert ready(service), log.read_text()
        yield service
        if service.process.poll() is None:
            assert service.end() == 0, log.read_text()
    finally:
        assert clean_up(service) == []


def started(model: Path, log: Path, *flags: str) -> RunningService:
    ray_folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets have short names only
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "serve.py", "--model", str(model), "--port", str(port)),
                *("--bf16", "false", *flags),  # as its answers are compared with float32's
            ],
            cwd=ROOT,
            env={**os.environ, "RAY_TMPDIR": ray_folder},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return RunningService(process, port, "", log, ray_folder)


def ready(service: RunningService) -> bool:
    """Waits until it says so, or has ended."""
    while True:
        ended = service.process.poll() is not None
        said = re.search(r"^Ready: .* (http://\S+)$", service.log.read_text(), re.MULTILINE)
        if said:
            service.metrics = said[1]
        if said or ended:
            return bool(said) and not ended
        time.sleep(0.2)


def clean_up(service: RunningService) -> list[int]:
    """Kill it, and return what does not end with it; that is killed, too."""
    service.process.kill()
    service.process.wait()
    for _ in range(1800):  # Ray's agents wait a minute for the lost head node to come back
        if not service.processes():
            break
        time.sleep(0.1)
    left = service.processes()
    for one in left:
        os.kill(one, signal.SIGKILL)
    shutil.rmtree(service.ray_folder, ignore_errors=True)
    return left
