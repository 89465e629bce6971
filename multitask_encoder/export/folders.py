"""An export is written whole, or not at all."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import PreTrainedTokenizerBase

# Traces of the machine that saved a tokenizer.
LOCAL_KEYS = ("is_local", "local_files_only", "name_or_path")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `target` at the end; after an error nothing is left.

    Raises:
        ValueError: `target` exists.
    """
    if target.exists():
        raise ValueError(f"{target} is already there. Remove it, or name another folder.")
    # Near the target, so that the last step is a rename on one disk.
    near = next(folder for folder in target.absolute().parents if folder.exists())
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=near) as scratch:
        folder = Path(scratch, target.name)
        folder.mkdir()
        yield folder
        # safetensors writes for the owner alone; the other files follow the umask, as folders do.
        readable = folder.stat().st_mode & 0o666
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(readable)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save a tokenizer without traces of this machine."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings = {key: value for key, value in settings.items() if key not in LOCAL_KEYS}
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def size_in_bytes(folder: Path) -> int:
    """The size of all files together."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
