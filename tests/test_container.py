"""The container, as far as it can be checked without an engine."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from browser import browser_page, needs_chromium

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "entrypoint.sh"
COPY = re.compile(r"^COPY +(.*)$", re.MULTILINE)
STUB = """#!/bin/sh
echo "$(basename "$0")" "$@"
pwd
"""


def dockerfile() -> str:
    """Without comments, each instruction in one line."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    return re.sub(r"\\\n\s*", " ", text)


def stages() -> dict[str, str]:
    """Each stage's instructions, by its name, in order."""
    parts = re.split(r"^FROM +(.+) AS (\w+)$", dockerfile(), flags=re.MULTILINE)[1:]
    return {
        name: f"FROM {base}\n{text}" for base, name, text in zip(*[iter(parts)] * 3, strict=True)
    }


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path of the repository out of the image."""
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    places = [path, *map(str, Path(path).parents)]
    return any(
        fnmatch(place, pattern) or fnmatch(place, pattern.removeprefix("**/"))
        for pattern in patterns
        if pattern and not pattern.startswith("#")
        for place in places
    )


@pytest.fixture
def enter(tmp_path):
    """Runs the script as the container would, with programs that only say how they were called."""
    for name in ("jupyter", "ls", "python"):
        (tmp_path / name).write_text(STUB)
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TMPDIR": str(tmp_path)}

    def run(*words: str, **kwargs) -> subprocess.CompletedProcess:
        return subprocess.run(
            [SCRIPT, *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            timeout=60,
            **{"env": environment, **kwargs},
        )

    return run


@pytest.mark.parametrize(
    "words, command",
    [
        ("", "python run_multitask.py"),
        ("train", "python run_multitask.py"),
        ("train my.yaml --seed 1", "python run_multitask.py my.yaml --seed 1"),
        ("demo", "python app.py --model model --host 0.0.0.0 --port 7860"),
        ("serve", "python serve.py --model model --host 0.0.0.0 --port 8888"),
        ("python run_multitask.py --help", "python run_multitask.py --help"),
        ("ls -l", "ls -l"),
    ],
)
def test_words_run_their_commands_in_the_repository(enter, words, command):
    assert enter(*words.split()).stdout.splitlines() == [command, str(ROOT)]


def test_notebook_opens_in_jupyter_for_other_machines_with_its_token(enter):
    command = enter("notebook", "--debug").stdout.splitlines()[0]
    assert command.startswith("jupyter lab --ip=0.0.0.0 --port=8888")
    assert command.endswith(" --debug")
    assert "token" not in command and "password" not in command
    page = re.search(r"default_url=/lab/tree/(\S+)", command)[1]
    assert (ROOT / page).is_file()


@pytest.mark.parametrize(
    "word, url",
    [
        ("notebook", "http://127.0.0.1:8888/api"),
        ("demo", "http://127.0.0.1:7860/"),
        ("serve", "http://127.0.0.1:8888/healthz"),
    ],
)
def test_health_is_asked_where_the_server_answers(enter, tmp_path, word, url):
    enter(word)
    assert (tmp_path / "healthy_url").read_text().strip() == url


def test_health_is_good_while_nothing_can_be_asked(enter):
    assert enter("healthy").returncode == 0


@contextmanager
def server_of(status: int):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("status, healthy", [(200, True), (503, False)])
def test_health_is_what_the_server_says(enter, tmp_path, status, healthy):
    (tmp_path / "python").unlink()
    (tmp_path / "python").symlink_to(sys.executable)
    with server_of(status) as url:
        (tmp_path / "healthy_url").write_text(url)
        assert (enter("healthy").returncode == 0) is healthy
    assert enter("healthy").returncode != 0  # nobody answers any more


def test_what_is_copied_into_the_image_exists_and_is_not_ignored():
    names = stages()
    for line in COPY.findall(dockerfile()):
        *words, _ = shlex.split(line)
        flags = dict(word.split("=", 1) for word in words if word.startswith("--"))
        sources = [word for word in words if not word.startswith("--")]
        if "--from" in flags:
            assert flags["--from"] in names
            continue
        for source in set(sources) - {"."}:
            found = [str(path.relative_to(ROOT)) for path in ROOT.glob(source)]
            assert found, f"COPY {source}: there is none"
            assert not any(map(ignored, found)), f"COPY {source}: .dockerignore leaves it out"


def test_extras_that_the_image_installs_exist():
    (extras,) = re.findall(r"-e '\.\[(.*)\]'", dockerfile())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize(
    "path",
    [
        "runs/quickstart/model.safetensors",
        ".venv/bin/python",
        "backbones/minilm/model.safetensors",
        ".git/config",
        "data/__pycache__/loading.cpython-311.pyc",
        "notebooks/.ipynb_checkpoints/multitask_walkthrough-checkpoint.ipynb",
    ],
)
def test_what_is_made_here_stays_out_of_the_image(path):
    assert ignored(path)
    assert not ignored("modeling/heads.py")


def test_the_quickstart_is_trained_from_what_is_copied_for_it():
    """Else the build would fail at its longest step."""
    copied = {line.split()[0] for line in COPY.findall(stages()["quickstart"])}
    links = [path for path in (ROOT / "multitask_encoder").iterdir() if path.is_symlink()]
    linked = {path.resolve().relative_to(ROOT).as_posix() for path in links}
    assert copied == {"multitask_encoder", *linked}


def test_the_image_trains_by_default_and_runs_as_an_ordinary_user():
    *_, last = stages().values()
    assert 'CMD ["train"]' in last
    assert 'CMD ["notebook"]' in stages()["notebook"]
    assert stages()["app"].rindex("USER user") > stages()["app"].rindex("COPY")
    base = re.search(r"^ARG BASE=(\S+)", dockerfile(), re.MULTILINE)[1]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)


@pytest.mark.slow
@needs_chromium
def test_notebook_opens_in_a_browser_that_has_its_token(tmp_path, free_tcp_port):
    for part in ("scripts", "notebooks"):  # what is open in Jupyter may be saved
        shutil.copytree(ROOT / part, tmp_path / part)
    script = tmp_path / "scripts" / SCRIPT.name
    script.write_text(script.read_text().replace("8888", str(free_tcp_port)))
    log = tmp_path / "log.txt"
    environment = {
        **os.environ,
        **dict.fromkeys(["HOME", "TMPDIR", "IPYTHONDIR", "JUPYTER_CONFIG_DIR"], str(tmp_path)),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    here = f"http://127.0.0.1:{free_tcp_port}/"
    with log.open("w") as output:
        server = subprocess.Popen(
            [script, "notebook", *["--allow-root"] * (os.geteuid() == 0)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        give_up = time.monotonic() + 120
        while not (found := re.search(rf"{here}\S*token=\w+", log.read_text())):
            assert server.poll() is None and time.monotonic() < give_up, log.read_text()
            time.sleep(0.2)
        with browser_page() as page:
            page.goto(found[0])
            page.get_by_role("heading", name="Task 1").first.wait_for(timeout=120_000)
            assert page.url.endswith("/notebooks/multitask_walkthrough.ipynb")
        with browser_page() as page:
            page.goto(f"{here}lab")
            page.get_by_text("Token authentication is enabled").wait_for(timeout=60_000)
            assert "login" in page.url
    finally:
        server.terminate()
        server.wait(60)
