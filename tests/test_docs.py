"""The guide and the README: their links lead somewhere, and what they quote is what there is."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from browser import browser_page, needs_chromium

from multitask_encoder.arguments.parsing import GROUPS, resolve
from multitask_encoder.cli.main import COMMANDS
from multitask_encoder.data.loading import load_splits
from multitask_encoder.inference import Predictor
from multitask_encoder.modeling import MultiTaskConfig
from multitask_encoder.training.metrics import METRICS

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")])
LINK = re.compile(r"\]\(([^()\s]+)\)")
BLOCK = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    return [content for _, found, content in BLOCK.findall(read(path)) if found == language]


@cache
def anchors(path: Path) -> set[str]:
    """The names that GitHub and MkDocs both give to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", read(path)), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page):
    for link in LINK.findall(BLOCK.sub("", read(page))):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT), link
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


# Error messages


PREFIX = re.compile(r"(?:error: )?(?:\S+, line \d+: )?(?:'\w+' )?")


def templates(path: Path) -> set[tuple[str, ...]]:
    """The texts that a file may say, each as its fixed parts, between which values stand."""
    found = set()
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                str(one.value) if isinstance(one, ast.Constant) else "\0" for one in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = re.sub(r"%[sd]", "\0", node.value)
        else:
            continue
        found.add(tuple(text.split("\0")))
    return found


@cache
def known_messages() -> list[tuple[int, re.Pattern]]:
    """Of each the number of its fixed characters, and a pattern."""
    code = [*(ROOT / "scripts").glob("*.py"), *(ROOT / "multitask_encoder").glob("*/*.py")]
    every = set().union(*map(templates, code))
    return [
        (len("".join(parts)), re.compile(".*".join(map(re.escape, parts))))
        for parts in every
        if len("".join(parts)) >= 8 and "\n" not in "".join(parts)
    ]


def can_be_said(line: str) -> bool:
    """Whether the code says this, or what stands behind a colon in it. A quarter of it should be
    words of the code's and no values."""
    message = line[PREFIX.match(line).end() :]
    colons = [match.end() for match in re.finditer(": ", message)]
    return any(
        fixed >= 0.25 * len(re.sub(r"'.*?'", "", said)) and pattern.fullmatch(said)
        for said in (line, message, *(message[end:] for end in colons))
        for fixed, pattern in known_messages()
    )


def test_every_message_of_the_guide_is_one_that_the_code_says():
    quoted = "".join(blocks(ROOT / "docs" / "troubleshooting.md", "text")).splitlines()
    assert len(quoted) > 40
    assert [line for line in quoted if not can_be_said(line)] == []


def test_a_message_that_nothing_says_is_noticed():
    assert can_be_said("Unknown key a. Did you mean b?")
    assert not can_be_said("Unknown word a. Did you mean b?")
    assert not can_be_said(
        "error: train.jsonl, line 3: 'tags' should hold one tag per word. Found 4."
    )


# Data formats

FILE = re.compile(r'^```\w+ title="([^"\n]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[dict[str, str], str]]:
    """The files of each of the guide's examples, and the keys that read them."""
    section = read(ROOT / "docs" / "data.md").split("\n## An example of each\n")[1]
    parts = re.split(r"^```yaml\n(.*?)^```$", section.split("\n## ")[0], flags=re.M | re.S)
    pairs = zip(parts[:-1:2], parts[1::2], strict=True)
    return [(dict(FILE.findall(part)), keys) for part, keys in pairs]


@pytest.mark.parametrize(("files", "keys"), examples(), ids=lambda one: " ".join(one)[:20])
def test_the_example_of_a_format_is_loaded(files, keys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(content)
        if name.endswith(".py"):
            exec(compile(content, name, "exec"), {})
    run = resolve(yaml.safe_load(keys))
    tasks = {name: asdict(task) for name, task in run.tasks.items()}
    (source,) = run.datasets.values()
    splits, _ = load_splits(tasks, source.arguments)
    for rows in splits.values():
        assert len(rows) == 2
        assert rows["problem"][:] == [None, None]
        for name in tasks:
            assert any(label is not None for label in rows[name][:]), name


# A new task type


def test_the_new_task_type_of_the_guide_trains_and_answers(backbone, tmp_path):
    clone = tmp_path / "clone"
    for folder in ("multitask_encoder", "modeling", "data", "configs"):
        shutil.copytree(ROOT / folder, clone / folder, symlinks=True)
    shutil.copy(ROOT / "run_multitask.py", clone)
    added = FILE.findall(read(ROOT / "docs" / "task-types.md"))
    assert len(added) == 4
    for name, code in added:
        with (clone / name).open("a") as file:
            file.write(f"\n\n{code}")
    (keys,) = blocks(ROOT / "docs" / "task-types.md", "yaml")
    rows = [{"text": f"{word} day", "mood": word} for word in ("good", "bad", "fine") * 4]
    (clone / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    config = {
        **yaml.safe_load(keys),
        "encoder": str(backbone("bert")),
        "train_file": "rows.jsonl",
        "validation_file": "rows.jsonl",
        "predict_file": "rows.jsonl",
        "do_predict": True,
        "output_dir": "run",
        "num_train_epochs": 1,
        "use_cpu": True,
        "report_to": "none",
        "report": False,
    }
    (clone / "my.yaml").write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [sys.executable, "run_multitask.py", "my.yaml"],
        cwd=clone,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(read(clone / "run" / "all_results.json"))
    assert -1 <= results["eval_mood_matthews"] <= 1
    first = read(clone / "run" / "predictions" / "part-00000.jsonl").splitlines()[0]
    assert json.loads(first)["mood"] in {"good", "bad", "fine"}


# The README and the guide's commands


# A command that takes the keys of a run.
RUN = re.compile(
    r"run_multitask\.py(?= )|multitask-encoder (train|evaluate|predict|inspect|compare)\b"
)
MAIN_PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", MAIN_PAGES, ids=lambda page: page.name)
def test_code_on_pages_is_code(page):
    for code in blocks(page, "python"):
        compile(code, page.name, "exec")
    for line in "".join(blocks(page, "json")).splitlines() if page.name == "README.md" else ():
        json.loads(line)


def test_the_script_on_the_page_of_runs_trains_and_saves(backbone, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [
        {
            "text": "Ada won",
            "topic": "sports",
            "entities": [{"start": 0, "end": 3, "label": "PER"}],
        },
        {"text": "They vote", "topic": "politics", "entities": []},
    ]
    for split in ("train", "validation"):
        Path(f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows * 8))
    made, trained = blocks(ROOT / "docs" / "runs.md", "python")
    code = f"{made}\n{trained}".replace("bert-base-uncased", str(backbone("bert")))
    code = code.replace('"runs/mine",', '"runs/mine", report_to="none", disable_tqdm=True,')
    exec(compile(code, "runs.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out.splitlines()[-1]) <= 1
    assert Predictor("runs/mine")("Ada won").labels["topic"].label in ("sports", "politics")


@pytest.mark.parametrize("page", MAIN_PAGES, ids=lambda page: page.name)
def test_configs_on_pages_are_configs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for keys in map(yaml.safe_load, blocks(page, "yaml")):
        if page.name == "task-types.md":  # the type is not there yet
            continue
        run = resolve({"output_dir": "run", **keys})
        config_keys = ("type", "problem_type", "pooling", "loss")
        for name, task in run.tasks.items():
            kept = {key: value for key in config_keys if (value := getattr(task, key))}
            labels = {} if task.type == "sentence_embedding" else {"labels": ["O", "B-a"]}
            MultiTaskConfig(encoder_config={"model_type": "bert"}, tasks={name: kept | labels})


@pytest.mark.parametrize("page", MAIN_PAGES, ids=lambda page: page.name)
def test_files_and_targets_that_commands_name_are_there(page):
    text = read(page)
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^ *|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets
    commands = re.findall(r"(?:python|launch|-r|--config_file) +([\w./-]+\.(?:py|txt|yaml))", text)
    named = re.findall(
        r"`((?:benchmarks|configs|scripts|tests|data|training|modeling)/[\w./]+)`", text
    )
    for name in {*commands, *named} - {"my.yaml"}:
        assert name.startswith("runs/") or (ROOT / name).exists(), name


@pytest.mark.parametrize("page", MAIN_PAGES, ids=lambda page: page.name)
def test_keys_that_commands_give_are_known(page):
    known = {one.name for group in GROUPS for one in fields(group)}
    for line in read(page).replace("\\\n", " ").splitlines():
        if match := RUN.search(line):
            given = re.findall(r" --(\w+)", line[match.end() :])
            assert set(given) <= known | {"help", "tasks", "search"}, line


@pytest.mark.parametrize("page", MAIN_PAGES, ids=lambda page: page.name)
def test_commands_are_there(page):
    text = re.sub(r"multitask-encoder COMMAND", "", read(page))
    assert set(re.findall(r"multitask-encoder ([a-z][a-z-]+)(?= |`|$)", text)) <= set(COMMANDS)


def test_every_metric_is_defined_once():
    page = read(ROOT / "docs" / "metrics.md")
    defined = re.findall(
        r"`(\w+)`", "".join(re.findall(r"^\|[^|]*\|([^|]*)\|", page, re.MULTILINE))
    )
    metrics = {metric for kinds in METRICS.values() for metric in kinds.values()}
    assert set(defined) >= {name for metric in metrics for name in metric.names}
    for metric in metrics:
        assert f"**`{metric.main}`**" in page


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The whole guide, as `make docs` builds it: any warning ends it."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    """Where the site is served."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_site_holds_what_its_pages_link_to(site):
    assert (site / "files/configs/snips_embedding.yaml").read_bytes() == (
        ROOT / "configs/snips_embedding.yaml"
    ).read_bytes()
    assert 'href="files/benchmarks/NOTES.md.txt"' in read(site / "scaling.html")
    assert "from_backbone" in read(site / "api/modeling.html")


@needs_chromium
def test_the_site_is_read_and_searched_on_this_machine_alone(address):
    with browser_page() as page:
        page.set_default_timeout(120_000)  # the index is built in the page, on busy machines slowly
        page.goto(f"{address}/index.html")
        page.get_by_role("link", name="Error messages").first.click()
        page.wait_for_url("**/troubleshooting.html")
        # Key by key: the page looks at what was typed when a key is released.
        page.get_by_placeholder("Search").first.press_sequentially("retention")
        page.locator('.md-search-result__link[href*="recipes.html"]').first.wait_for()


@needs_chromium
def test_a_phone_shows_the_whole_width_of_every_page(address):
    with browser_page(width=360, height=740, touch=True) as page:
        for name in ("index", "data", "troubleshooting", "recipes", "api/modeling"):
            page.goto(f"{address}/{name}.html")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, name


@needs_chromium
def test_pages_open_from_the_disk(site):
    # The search needs a server: browsers let pages from the disk read no index.
    with browser_page(ignored=("search_index.js", "ERR_FILE_NOT_FOUND")) as page:
        page.goto((site / "index.html").as_uri())
        page.get_by_role("link", name="Your own data").first.click()
        page.get_by_role("heading", name="CoNLL ¶", exact=True).wait_for()
