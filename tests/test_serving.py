"""serve.py, started for real: two replicas on this machine, and clients that ask all at once."""

import asyncio
import os
import signal
import socket
import urllib.request
from pathlib import Path

import pytest
from conftest import TASKS
from running_service import CLOSED, ask, assert_same, running_service
from transformers import set_seed

from multitask_encoder.cli import serve
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline

pytestmark = pytest.mark.slow  # as Ray is started

# Short and long ones; of the longest, several windows.
TEXTS = [
    "",
    "play jazz in Paris",
    "Ünïcödé \U0001f600 \0 text",
    *(f"text {n} of many, {'with more words ' * (n % 7)}and an end" for n in range(150)),
    "word " * 700,
]
# A machine with other work may take its time; nothing here is about speed.
# And all clients are of one address.
PATIENT = ("--timeout", "600", "--max_connections", "1000")
METHOD = "/ray.serve.ASGIService/HandleRequest"  # of the replicas, for each other


@pytest.fixture(scope="module")
def model(backbone, tokenizer, tmp_path_factory):
    """The folder of a finished model."""
    set_seed(0)
    folder = tmp_path_factory.mktemp("finished") / "model"
    model = MultiTaskModel.from_backbone(str(backbone()), TASKS)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def offline(model, tokenizer) -> dict[str, dict]:
    """What the pipeline answers, by text."""
    pipeline = MultiTaskPipeline(model=MultiTaskModel.from_pretrained(model), tokenizer=tokenizer)
    return dict(zip(TEXTS, pipeline(TEXTS), strict=True))


@pytest.fixture(scope="module")
def service(model, tmp_path_factory):
    """Two replicas, for several tests."""
    log = tmp_path_factory.mktemp("service") / "log"
    with running_service(model, log, "--replicas", "2", *PATIENT) as running:
        yield running


async def client(port: int, number: int, requests: int, offline: dict) -> list[int]:
    """So many requests one after the other; the status of each. Answers are as the pipeline's."""
    statuses = []
    for turn in range(requests):
        first = (number * requests + turn) % len(TEXTS)
        texts = TEXTS[first : first + 1 + number % 3]
        asks = {"texts": texts} if number % 2 else {"text": texts[0]}
        try:
            reply = await ask(port, asks)
        except CLOSED:
            statuses.append(0)
            continue
        statuses.append(reply.status)
        if reply.status == 200:
            expected = [offline[text] for text in (texts if number % 2 else texts[:1])]
            assert_same(reply.json, {"answers": expected})
        else:
            assert reply.json["detail"]
            assert reply.status != 503 or "retry-after" in reply.headers
    return statuses


async def clients(port: int, number: int, requests: int, offline: dict) -> list[int]:
    """What so many clients at once are answered; see `client`."""
    found = await asyncio.gather(*(client(port, one, requests, offline) for one in range(number)))
    return [status for statuses in found for status in statuses]


def metric(service, name: str) -> float:
    """The sum over all replicas."""
    page = urllib.request.urlopen(service.metrics).read().decode()
    lines = [line for line in page.splitlines() if line.startswith(f"{name}{{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_200_clients_at_once_get_the_pipelines_answers_also_while_it_ends(model, offline, tmp_path):
    async def ending(running) -> list[int]:
        asking = [asyncio.create_task(client(running.port, n, 1, offline)) for n in range(100)]
        await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)  # the others run
        running.process.send_signal(signal.SIGTERM)
        return [status for statuses in await asyncio.gather(*asking) for status in statuses]

    with running_service(model, tmp_path / "log", "--replicas", "2", *PATIENT) as running:
        assert len(running.processes("ray::ServeReplica")) == 2
        assert asyncio.run(ask(running.port, path="/healthz")).json == {"status": "ok"}
        found = asyncio.run(clients(running.port, 200, 2, offline))
        assert found == [200] * 400
        hostile = [b"[" * 50_000, b'{"text": "' + b"a" * 2**20 + b'"}', b'{"text": "\\ud83d"}']
        replies = [asyncio.run(ask(running.port, body)) for body in hostile]
        assert [reply.status for reply in replies] == [400, 413, 422]
        assert all(reply.json["detail"] for reply in replies)
        # All requests that have come are answered; those that come later find nobody.
        found = asyncio.run(ending(running))
        assert set(found) <= {200, 0}
        assert 200 in found
        assert running.process.wait(timeout=300) == 0
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert not any(text in log for text in TEXTS if text)


def test_replicas_that_are_killed_are_replaced_and_nobody_gets_a_wrong_answer(service, offline):
    async def killing() -> list[int]:
        asking = asyncio.create_task(clients(service.port, 100, 4, offline))
        for one in service.processes("ray::ServeReplica"):  # at the end none of them is there
            await asyncio.sleep(1)
            os.kill(one, signal.SIGKILL)
        return await asking

    found = asyncio.run(killing())
    assert set(found) <= {200, 503, 0}
    assert 200 in found
    # It comes back by itself, with both replicas.
    for _ in range(600):
        found = asyncio.run(clients(service.port, 8, 1, offline))
        if found == [200] * 8 and len(service.processes("ray::ServeReplica")) == 2:
            break
    assert found == [200] * 8


def test_metrics_can_be_scraped_from_this_machine(service, offline):
    assert asyncio.run(clients(service.port, 8, 2, offline)) == [200] * 16
    for _ in range(300):  # Ray collects them every few seconds
        if metric(service, "ray_multitask_texts_total") >= 16:
            break
        asyncio.run(asyncio.sleep(0.2))
    assert metric(service, "ray_multitask_texts_total") >= 16
    assert metric(service, "ray_multitask_texts_per_batch_count") > 0
    assert metric(service, "ray_serve_num_http_requests_total") >= 16


def listening(service) -> dict[int, set[tuple[bool, int]]]:
    """By process: whether each port that it listens at is this machine's only, and the port."""
    sockets = {}
    for table, loopback in (
        ("/proc/net/tcp", "0100007F"),
        ("/proc/net/tcp6", "0000000000000000FFFF00000100007F"),
    ):
        for line in Path(table).read_text().splitlines()[1:]:
            address, state, inode = (line.split()[column] for column in (1, 3, 9))
            if state == "0A":
                host, port = address.split(":")
                sockets[f"socket:[{inode}]"] = host == loopback, int(port, 16)
    found = {}
    for one in service.processes():
        links = Path(f"/proc/{one}/fd").iterdir()
        files = {os.readlink(link) for link in links if os.path.lexists(link)}
        found[one] = {sockets[file] for file in files if file in sockets}
    return found


def test_other_machines_reach_nothing_without_the_token(service):
    import grpc

    found = listening(service)
    open_ports = {port for ports in found.values() for local, port in ports if not local}
    replicas = {port for one in service.processes("ray::ServeReplica") for _, port in found[one]}
    assert open_ports <= replicas
    assert sum(len(ports) for ports in found.values()) > 5
    for port in open_ports:  # Serve lets nobody choose where its replicas listen to each other
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(METHOD)
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=60)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_more_than_it_can_do_is_refused_or_given_up_and_nothing_is_left_of_a_killed_service(
    model, offline, tmp_path
):
    # In few bytes: the front door would blame clients for bodies that wait to be read (408).
    long = {"texts": ["!" * 4000] * 4}
    flags = ("--timeout", "60", "--max_connections", "1000", "--max_tokens", "1000000")

    async def storm(port: int) -> list:
        return await asyncio.gather(*(ask(port, long) for _ in range(700)), return_exceptions=True)

    # So long that all of them have come in when the first is given up, however busy the machine.
    with running_service(model, tmp_path / "log", *flags) as running:
        replies = asyncio.run(storm(running.port))
        assert not [one for one in replies if isinstance(one, BaseException)]
        statuses = {reply.status for reply in replies}
        assert {503, 504} <= statuses <= {200, 503, 504}
        assert all("retry-after" in reply.headers for reply in replies if reply.status == 503)
        # What nobody waits for any more keeps nobody waiting for long.
        for _ in range(100):
            found = asyncio.run(clients(running.port, 4, 1, offline))
            if found == [200] * 4:
                break
        assert found == [200] * 4
        running.process.kill()
        running.process.wait()  # what is left of it is looked for in `running_service`


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--model", "no/such/folder"], "no/such/folder"),
        (["--model", "{empty}"], "model.safetensors"),
        (["--model", "{model}", "--backend", "onnx"], "model.onnx"),
        (["--model", "{model}", "--backend", "jax"], "backend"),
        (["--model", "{model}", "--backend", "onnx", "--gpus", "1"], "gpus needs"),
        (["--model", "{model}", "--replicas", "0"], "replicas"),
        (["--model", "{model}", "--threads", "-1"], "threads"),
        (["--model", "{model}", "--port", "{taken}"], "Can't listen at 127.0.0.1, port"),
        (["--model", "{model}", "--port", "99999"], "Found 99999"),
        (["--model", "{model}", "--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["--model", "{model}", "--timeout", "0"], "--timeout should be above 0"),
        (["--model", "{model}", "--timeout", "inf"], "--timeout should be above 0, and finite"),
        (["--model", "{model}", "--timeout", "nan"], "--timeout should be above 0, and finite"),
        (["--model", "{model}", "--max_connections", "0"], "--max_connections should be at least"),
        (["--model", "{model}", "--port", "x"], "--port"),
        (["--model", "{model}", "--replica_count", "2"], "--replica_count"),
        ([], "--model"),
    ],
)
def test_what_can_not_be_served_is_one_line(flags, reason, model, tmp_path, monkeypatch, capsys):
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")  # and put back what serve.py sets
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "")
    (tmp_path / "empty").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        places = {"model": model, "empty": tmp_path / "empty", "taken": taken.getsockname()[1]}
        with pytest.raises(SystemExit) as ended:
            serve.main([flag.format(**places) for flag in flags])
    assert ended.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "error: " in last
    assert reason in last
