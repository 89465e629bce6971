"""docs/architecture.md lists the rooms of the tree, and the arrows that its imports follow."""

import re
from pathlib import Path

from test_imports import ALLOWED

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def rooms(folder: Path) -> set[str]:
    """The folders of a folder that hold tracked work: no caches, no output, nothing hidden."""
    made = {"backbones", "runs", "site", "build", "dist"}
    names = {path.name for path in folder.iterdir() if path.is_dir()}
    return {
        name
        for name in names - made
        if not name.startswith((".", "_")) and not name.endswith(".egg-info")
    }


def test_every_room_is_listed_and_no_other():
    listed = re.findall(r"^\| `([\w/]+)` \|", PAGE, re.MULTILINE)
    assert len(listed) == len(set(listed))
    package = {f"multitask_encoder/{name}" for name in rooms(ROOT / "multitask_encoder")}
    top = rooms(ROOT) - {"modeling", "data", "multitask_encoder"}
    assert set(listed) == {*package, *top, "multitask_encoder/"}


def test_modeling_and_data_are_links_to_the_folders_at_the_top():
    for name in ("modeling", "data", "configs"):
        link = ROOT / "multitask_encoder" / name
        assert link.is_symlink() and link.resolve() == ROOT / name


def test_the_arrows_are_those_of_the_imports():
    (line,) = re.findall(r"^cli -> .*$", PAGE, re.MULTILINE)
    levels = [level.split(", ") for level in line.split(" -> ")]
    place = {room: number for number, level in enumerate(levels) for room in level}
    assert set(place) == {*ALLOWED, "cli"}
    for room, allowed in ALLOWED.items():
        for other in allowed & set(place):
            assert place[other] >= place[room], f"{room} may import {other}"


def test_files_that_the_page_names_are_there():
    named = set(re.findall(r"`(?:multitask_encoder/)?(\w+/\w+\.py)`", PAGE))
    assert len(named) > 10
    assert not [name for name in named if not (ROOT / "multitask_encoder" / name).is_file()]
