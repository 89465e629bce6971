"""The guide and the README: their links lead somewhere, and what they quote is what there is."""

import ast
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import asdict
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from browser import browser_page, needs_chromium

from data.loading import load_splits
from training.parsing import resolve

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("**/*.md")]
)
LINK = re.compile(r"\]\(([^()\s]+)\)")
BLOCK = re.compile(r"^( *)```(\w*).*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


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


PREFIX = re.compile(r"(?:error: |get_backbone: )?(?:\S+, line \d+: )?(?:'\w+' )?")


def templates(path: Path) -> set[tuple[str, ...]]:
    """The texts that a file may say, each as its fixed parts, between which values stand."""
    found = set()
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.JoinedStr):
            values = node.values
            text = "".join(one.value if isinstance(one, ast.Constant) else "\0" for one in values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = re.sub(r"%[sd]", "\0", node.value)
        else:
            continue
        found.add(tuple(text.split("\0")))
    return found


@cache
def known_messages() -> list[tuple[int, re.Pattern]]:
    """Of each the number of its fixed characters, and a pattern."""
    code = [ROOT / "run_multitask.py", ROOT / "serve.py", *(ROOT / "scripts").glob("*.py")]
    for package in ("modeling", "data", "training", "export", "inference", "serving"):
        code += (ROOT / package).glob("*.py")
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
    assert not can_be_said("error: train.jsonl, line 3: 'tags' should hold one tag per word. Found 4.")


# Data formats

FILE = re.compile(r'^```\w+ title="(.+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[dict[str, str], str]]:
    """The files of each of the guide's examples, and the keys that read them."""
    section = read(ROOT / "docs" / "data.md").split("\n## An example of each\n")[1]
    parts = re.split(r"^```yaml\n(.*?)^```$", section.split("\n## ")[0], flags=re.M | re.S)
    return [(dict(FILE.findall(part)), keys) for part, keys in zip(parts[::2], parts[1::2])]


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
