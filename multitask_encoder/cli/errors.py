"""A command's options, and how it ends when a user's input is wrong: one clear line and exit code
2."""

import argparse
import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from multitask_encoder.terminal import one_line

Mistakes = type[Exception] | tuple[type[Exception], ...]

# Package -> the extra that installs it.
EXTRAS = {
    "fastapi": "serve",
    "gradio": "demo",
    "nncf": "export",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "openvino": "export",
    "optuna": "search",
    "peft": "lora",
    "plotly": "demo",
    "ray": "serve",
    "sentence_transformers": "export",
}


# What keeps a file from being written, and is no defect.
DISK_PROBLEMS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),  # no room
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
)


def command_parser(command: str, doc: str, **keys: Any) -> argparse.ArgumentParser:
    """The parser of a command's options, whose help shows `doc` as it stands."""
    layout = argparse.RawDescriptionHelpFormatter
    program = f"multitask-encoder {command}"
    return argparse.ArgumentParser(program, description=doc, formatter_class=layout, **keys)


def fail(*lines: object) -> NoReturn:
    """Print each message on one line of its own, and exit with code 2."""
    message = "\n".join(map(one_line, lines))
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def fail_without(error: ModuleNotFoundError) -> NoReturn:
    """Name the extra that installs a missing package; any other missing module is a defect."""
    if error.name not in EXTRAS:
        raise error
    fail(f"{error.name} is not installed: pip install 'multitask-encoder[{EXTRAS[error.name]}]'")


def fail_without_disk(error: Exception) -> NoReturn:
    """Name the file that can't be written, where the disk or its rights are the reason; anything
    else is a defect, and is raised."""
    text = str(error)
    of_rust = re.search(r"\(os error (\d+)\)", text)  # of safetensors
    number = error.errno if isinstance(error, OSError) else None
    number = int(of_rust[1]) if number is None and of_rust else number
    if number in DISK_PROBLEMS:
        fail(f"{getattr(error, 'filename', None) or 'A file'}: {os.strerror(number)}.")
    # All that torch.save says.
    if "PytorchStreamWriter failed writing" in text or "] . unexpected pos" in text:
        fail("A checkpoint could not be written: is the disk full?")
    raise error


@contextmanager
def refusing(mistakes: Mistakes = (ValueError, OSError, ModuleNotFoundError)) -> Iterator[None]:
    """Turn mistakes raised inside into one line, or one per bad row, and exit code 2. A missing
    package that no extra installs is a defect, and is raised."""
    try:
        yield
    except mistakes as error:
        from multitask_encoder.data.bad_rows import BadRows

        if isinstance(error, ModuleNotFoundError):
            fail_without(error)
        fail(*(str(error).split("\n") if isinstance(error, BadRows) else [error]))
