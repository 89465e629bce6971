"""HAProxy before the service, as serve.py starts it."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from running_service import CLOSED, JSON, Reply, Server, ask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from multitask_encoder.serving import reverse_proxy
from multitask_encoder.serving.reverse_proxy import free_port

HAPROXY = reverse_proxy.find() or ""
pytestmark = pytest.mark.skipif(not HAPROXY, reason="HAProxy is not installed")
MAX_CONNECTIONS = 20
BODY = b'{"text": "play jazz"}'


async def echo(request: Request) -> JSONResponse:
    """What has arrived, and after how long as the body says."""
    body = await request.json()
    await asyncio.sleep(body.get("seconds", 0))
    return JSONResponse(body)


@contextlib.contextmanager
def behind(app, **limits) -> Iterator[int]:
    """The port of HAProxy before an application."""
    given = {"answer_seconds": 60, "max_connections": MAX_CONNECTIONS, **limits}
    port = free_port()
    with (
        Server(app) as behind_it,
        reverse_proxy.running(
            HAPROXY, ("127.0.0.1", port), behind_it, reverse_proxy.Limits(**given)
        ),
    ):
        yield port


@pytest.fixture(scope="module")
def port():
    with behind(Starlette(routes=[Route("/predict", echo, methods=["POST"])])) as port:
        yield port


def raw(port: int, sent: bytes, half_closed: bool = False, timeout: float = 30) -> bytes:
    """All that a server says to some bytes before it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(sent)
        if half_closed:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(2**16), b""))


def head(version: str = "1.1", more: str = "") -> bytes:
    lines = [
        f"POST /predict HTTP/{version}",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(BODY)}",
        *([more] if more else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    ("sent", "half_closed"),
    [
        (head("1.0") + BODY, False),
        (head("1.0") + BODY, True),
        (head("1.1", "Connection: close") + BODY, False),
        (head("1.1", "Connection: close") + BODY, True),
        (head("1.1", "Connection: close\r\nExpect: 100-continue") + BODY, False),
    ],
    ids=["1.0", "1.0 half closed", "1.1", "1.1 half closed", "1.1 asks whether to go on"],
)
def test_every_request_is_answered(port, sent, half_closed):
    reply = raw(port, sent, half_closed)
    assert b" 200 OK\r\n" in reply
    assert reply.endswith(BODY.replace(b": ", b":"))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\0\x01\0\r\n\r\n", 400),  # TLS
        (b"play jazz\r\n\r\n", 400),
        (head("1.1", "X: " + "a" * 20_000) + BODY, 400),
        (head("1.1", "\r\n".join(f"X{n}: a" for n in range(200))) + BODY, 400),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 400),
        (head().replace(b"Content-Length: ", b"Content-Length: 1, "), 400),
        (head("1.1", "Transfer-Encoding: chunked, identity") + BODY, 400),
        (b"CONNECT example.org:80 HTTP/1.0\r\nHost: example.org\r\n\r\n", 405),
        (b"TRACE /predict HTTP/1.0\r\nHost: localhost\r\n\r\n", 405),
    ],
)
def test_what_is_no_request_is_refused_without_the_service(port, sent, status):
    assert raw(port, sent).startswith(b"HTTP/1.1 %d " % status)


def test_a_head_without_an_end_is_refused_before_it_is_kept(port):
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 200 * 2**20:
                sent += connection.send(b"X: " + b"a" * 2**16)
    assert sent < 50 * 2**20
    assert asyncio.run(ask(port, BODY)).status == 200


def test_one_address_has_so_many_connections_and_leaves_room_for_others(port):
    with contextlib.ExitStack() as held:
        for _ in range(2 * MAX_CONNECTIONS):
            with contextlib.suppress(ConnectionError):
                held.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        with pytest.raises(CLOSED):
            asyncio.run(ask(port, BODY))
        other = socket.create_connection(("127.0.0.1", port), 30, source_address=("127.0.0.2", 0))
        with other:
            other.sendall(head("1.0") + BODY)
            assert b" 200 OK\r\n" in other.recv(2**16)
    assert asyncio.run(ask_until_it_is_taken(port)).status == 200  # those that left count no more


async def ask_until_it_is_taken(port: int) -> Reply:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(*CLOSED):
                return await ask(port, BODY)
            await asyncio.sleep(0.05)


@pytest.mark.slow
def test_a_head_that_does_not_arrive_is_given_up(port):
    assert raw(port, b"POST /predict HTTP/1.1\r\nHost:").startswith(b"HTTP/1.1 408 ")


def test_a_service_that_is_not_there_is_said_in_json():
    port, limits = free_port(), reverse_proxy.Limits(60, MAX_CONNECTIONS)
    with reverse_proxy.running(HAPROXY, ("127.0.0.1", port), free_port(), limits):
        reply = asyncio.run(ask(port, BODY, headers=JSON))
    assert reply.status == 503
    assert reply.headers["retry-after"] == "1"
    assert "starting or ending" in reply.json["detail"]


def test_answers_on_their_way_arrive_when_it_ends():
    async def ask_and_leave(running: contextlib.ExitStack, port: int):
        asking = asyncio.create_task(ask(port, {"seconds": 2}))
        await asyncio.sleep(1)
        await asyncio.to_thread(running.close)
        return await asking

    with Server(Starlette(routes=[Route("/predict", echo, methods=["POST"])])) as behind_it:
        port, limits = free_port(), reverse_proxy.Limits(60, MAX_CONNECTIONS)
        running = contextlib.ExitStack()
        running.enter_context(
            reverse_proxy.running(HAPROXY, ("127.0.0.1", port), behind_it, limits)
        )
        assert asyncio.run(ask_and_leave(running, port)).status == 200
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_a_port_that_is_taken_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address, limits = taken.getsockname(), reverse_proxy.Limits(60, MAX_CONNECTIONS)
        with (
            pytest.raises(OSError, match=r"HAProxy can't listen at 127\.0\.0\.1, port"),
            reverse_proxy.running(HAPROXY, address, free_port(), limits),
        ):
            pass


def test_nothing_is_left_of_it_when_its_parent_is_killed():
    port = free_port()
    code = (
        "import time\n"
        "from multitask_encoder.serving import reverse_proxy as it\n"
        f"with it.running(it.find(), ('127.0.0.1', {port}), {free_port()}, it.Limits(60, 9)):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    socket.create_connection(("127.0.0.1", port)).close()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    async def gone() -> None:
        while True:
            with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
                socket.create_connection(("127.0.0.1", port)).close()
                await asyncio.sleep(0.1)
                continue
            return

    asyncio.run(asyncio.wait_for(gone(), 30))
