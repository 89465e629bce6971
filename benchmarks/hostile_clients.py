"""How long others wait for the service while one client attacks it.

    python -m benchmarks.hostile_clients [--data_dir DIR] [--rows 400] [--replicas 1] [--clients 8]

Clients ask for one text each, over and over, `--rows` requests in all: alone, beside an attack from
another address that goes on all the while, and alone again. The quiet service is measured before
and after each attack, so that a machine that slows down by itself is not taken for the attack's
work.
Everything runs on the same cores; the attacker, who would have its own, gives way to the others.
"""

import asyncio
import http.client
import itertools
import json
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import local
from typing import Any

from benchmarks import measuring
from benchmarks.reporting import Table, write
from benchmarks.serving import save, service
from benchmarks.workload import load, options_parser, start
from multitask_encoder.serving.reverse_proxy import free_port

ATTACKER = "127.0.0.2"
HEAD = (
    "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: {}\r\n\r\n"
)
JSON = {"Content-Type": "application/json"}
WARM_UP_SECONDS = 2.0  # until an attack is under way


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(ATTACKER, 0))


async def ask_always(port: int, body: bytes) -> None:
    """Whole requests, one after the other, on one connection for each."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await connect(port)
            try:
                writer.write(HEAD.format(len(body)).encode() + body)
                await writer.drain()
                await reader.readuntil(b"\r\n\r\n")
            finally:
                writer.close()
        await asyncio.sleep(0)


async def send_always(port: int, parts: Callable[[], Any], pause: float) -> None:
    """Parts of a request that never ends, on a new connection whenever one is closed."""
    while True:
        with suppress(OSError):
            _, writer = await connect(port)
            try:
                for part in parts():
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(pause)
            finally:
                writer.close()
        await asyncio.sleep(0)


def texts(*given: str) -> bytes:
    return json.dumps({"texts": given, "embedding": False}).encode()


def endless(first: bytes, following: bytes) -> Callable[[], Any]:
    return lambda: itertools.chain([first], itertools.repeat(following))


Attack = Callable[[int], list[Coroutine]]
ATTACKS: dict[str, Attack] = {
    "heads without an end": lambda port: [
        send_always(port, endless(b"POST /predict HTTP/1.1\r\n", b"X: " + b"a" * 2**16), 0)
        for _ in range(16)
    ],
    "1,000 idle connections": lambda port: [
        send_always(port, endless(b"", b""), 1) for _ in range(1000)
    ],
    "100 half-sent heads": lambda port: [
        send_always(port, endless(b"POST /predict HTTP/1.1\r\nX: ", b"a"), 1) for _ in range(100)
    ],
    "100 slow bodies": lambda port: [
        send_always(port, endless(HEAD.format(10**6).encode(), b"a"), 1) for _ in range(100)
    ],
    "bodies of 1 MB that are no JSON": lambda port: [
        ask_always(port, b"[" * 10**6) for _ in range(16)
    ],
    "100 kB of dots, 16 at once": lambda port: [
        ask_always(port, texts("." * 10**5)) for _ in range(16)
    ],
    "30,000 tokens, 2 at once": lambda port: [
        ask_always(port, texts(". " * 30_000)) for _ in range(2)
    ],
    "30,000 tokens, 100 at once": lambda port: [
        ask_always(port, texts(". " * 30_000)) for _ in range(100)
    ],
    "300 kB of ideographs, 16 at once": lambda port: [
        ask_always(port, texts("字" * 10**5)) for _ in range(16)
    ],
    "1,000 tokens, 100 at once": lambda port: [
        ask_always(port, texts(". " * 1000)) for _ in range(100)
    ],
}


def attack(name: str, port: int) -> None:
    """Go on until this process is ended."""
    os.nice(19)

    async def all_at_once() -> None:
        await asyncio.gather(*ATTACKS[name](port))

    asyncio.run(all_at_once())


@contextmanager
def attacked(name: str, port: int):
    process = multiprocessing.get_context("spawn").Process(target=attack, args=(name, port))
    process.start()
    try:
        time.sleep(WARM_UP_SECONDS)
        yield
    finally:
        process.kill()
        process.join()


def milliseconds(port: int, texts: list[str], number: int) -> tuple[list[float], int]:
    """Of each text's request by so many clients, and how many were not answered."""
    own = local()

    def ask(text: str) -> float | None:
        begin = time.perf_counter()
        try:
            if not hasattr(own, "connection"):
                own.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            own.connection.request("POST", "/predict", json.dumps({"text": text}), JSON)
            reply = own.connection.getresponse()
            reply.read()
            if reply.status != 200:
                return None
        except (OSError, http.client.HTTPException):
            own.connection.close()
            return None
        return 1000 * (time.perf_counter() - begin)

    with ThreadPoolExecutor(number) as clients:
        found = list(clients.map(ask, texts))
    answered = [one for one in found if one is not None]
    return answered, len(found) - len(answered)


def main(argv: list[str] | None = None) -> None:
    parser = options_parser(__file__, __doc__, rows=400, rounds=1)
    parser.add_argument("--replicas", type=int, default=1, help="default: 1")
    parser.add_argument("--clients", type=int, default=8, help="default: 8")
    options = start(parser, argv)
    work = load(options)
    asked = (work.texts * options.rows)[: options.rows]
    rows: list[list[Any]] = []
    with TemporaryDirectory() as folder:
        save(work.answering_model(), work.tokenizer, Path(folder, "model"))
        port = free_port()
        flags = ["--replicas", str(options.replicas), "--threads", "1"]
        with service(Path(folder, "model"), port, flags):
            milliseconds(port, asked, options.clients)  # warm
            before, _ = milliseconds(port, asked, options.clients)
            for name in ATTACKS:
                with attacked(name, port):
                    times, unanswered = milliseconds(port, asked, options.clients)
                wait_until_calm(port, asked[0])
                after, _ = milliseconds(port, asked, options.clients)
                _, calm, _ = measuring.percentiles(before + after).values()
                median, late, _ = measuring.percentiles(times).values()
                alone = [measuring.percentiles(one)[95] for one in (before, after)]
                rows.append([name, *alone, median, late, late / calm, unanswered])
                print(rows[-1], flush=True)
                before = after
    header = (
        "beside",
        "alone before: p95, ms",
        "alone after: p95, ms",
        "p50, ms",
        "p95, ms",
        "p95 to alone",
        "unanswered",
    )
    notes = [
        f"{options.clients} clients with one text each, {options.rows} requests in all; "
        f"{options.replicas} replicas of one thread.",
    ]
    found: dict[str, Any] = {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}
    write(options, found, [Table("Others' wait during an attack", header, rows)], notes)


def wait_until_calm(port: int, text: str) -> None:
    """What an attack left in the queues is gone."""
    for _ in range(60):
        times, _ = milliseconds(port, [text] * 8, number=8)
        if times and max(times) < 500:
            return
        time.sleep(1)


if __name__ == "__main__":
    socket.setdefaulttimeout(120)
    main()
