"""No command connects to another machine, or looks up a name, unless it is asked to."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from running_service import JSON, ask, running_service

from multitask_encoder.serving.reverse_proxy import free_port

ROOT = Path(__file__).parent.parent
# Loaded by every Python process, Ray's too. uvloop would look up names without a word.
WATCH = """
import os, sys

sys.modules["uvloop"] = None
HERE = ("127.0.0.1", "::1", "localhost", "0.0.0.0", None, "")

def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if (host.decode() if isinstance(host, bytes) else host) not in HERE:
        with open(os.environ["WATCHED"], "a") as watched:
            watched.write(f"{event} {host} by {' '.join(sys.argv[:3])}\\n")

sys.addaudithook(watch)
"""
NAME = "no.such.host.invalid"


@pytest.fixture
def watched(tmp_path, monkeypatch) -> Path:
    """The file that every Python process started from now on writes such connections to."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch/sitecustomize.py").write_text(WATCH)
    watched = tmp_path / "watched"
    watched.touch()
    for name, value in {
        "PYTHONPATH": f"{tmp_path / 'watch'}:{ROOT}",
        "WATCHED": str(watched),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "0",
        "HF_HOME": str(tmp_path / "home"),
    }.items():
        monkeypatch.setenv(name, value)
    return watched


def command(*words: object) -> str:
    """What a command says, which ends well."""
    done = subprocess.run(
        [sys.executable, "-m", "multitask_encoder", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_watch_sees_a_name_that_is_looked_up(watched):
    code = f"import socket\ntry: socket.create_connection(('{NAME}', 80))\nexcept OSError: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert f"socket.getaddrinfo {NAME} by" in watched.read_text()


@pytest.mark.slow  # as each process imports everything anew
def test_training_answering_and_exporting_connect_to_nobody(watched, backbone, tmp_path):
    run, texts = tmp_path / "run", tmp_path / "texts.txt"
    texts.write_text("play jazz\nin Paris\n")
    config = tmp_path / "config.yaml"
    config.write_text(
        json.dumps(
            {
                "encoder": str(backbone()),
                "dataset": "synthetic",
                "train_size": 40,
                "validation_size": 20,
                "test_size": 20,
                "num_train_epochs": 1,
                "output_dir": str(run),
                "tasks": {
                    "topic": {"type": "sequence_classification"},
                    "entities": {"type": "token_classification"},
                },
            }
        )
    )
    command("train", config)
    asked = ("--predict_file", texts, "--predict_output")
    command("predict", "--model", run, *asked, tmp_path / "answers")
    command("inspect", config)
    for form in ("onnx", "openvino"):
        command("export", run, "--to", form, "--output", tmp_path / form)
        answers = tmp_path / f"answers_{form}"
        command("predict", "--model", tmp_path / form, "--backend", form, *asked, answers)
    command("export", run, "--to", "sentence-transformers", "--output", tmp_path / "st")
    command("export", run, "--to", "folder", "--output", tmp_path / "published")
    assert watched.read_text() == ""


@pytest.mark.slow
def test_the_service_connects_to_nobody(watched, finished, tmp_path):
    with running_service(finished, tmp_path / "log", "--timeout", "600") as service:
        assert asyncio.run(ask(service.port, {"text": "play jazz"})).status == 200
    assert watched.read_text() == ""


@pytest.mark.slow
def test_the_demo_connects_to_nobody_whatever_address_a_visitor_names(watched, finished, tmp_path):
    port, kept = free_port(), tmp_path / "kept"
    kept.mkdir()
    process = subprocess.Popen(
        [sys.executable, "app.py", "--model", str(finished), "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(kept)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Ready: "):
                break
        assert said[-1].startswith("Ready: "), said
        url = f"http://127.0.0.1:{port}/gradio_api"
        config = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/config"))
        addressed = {
            "path": f"http://{NAME}/texts.csv",
            "url": f"http://{NAME}/texts.csv",
            "meta": {"_type": "gradio.FileData"},
        }
        for function in config["dependencies"]:
            asked = {
                "data": [addressed for _ in function["inputs"]],
                "fn_index": function["id"],
                "session_hash": f"s{function['id']}",
            }
            body = json.dumps(asked).encode()
            request = urllib.request.Request(f"{url}/queue/join", body, JSON)
            urllib.request.urlopen(request).read()
            session = asked["session_hash"]
            answers = urllib.request.urlopen(f"{url}/queue/data?session_hash={session}")
            assert any(b'"success":false' in line for line in answers)
        assert watched.read_text() == ""
        assert list(kept.iterdir())
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stdout.close()
    assert list(kept.iterdir()) == []  # no upload stays
