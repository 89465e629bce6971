"""Where a user's mistake ends a command: in one line, and exit code 2."""

from collections.abc import Iterator
from contextlib import contextmanager

from multitask_encoder.data.bad_rows import BadRows

from .errors import fail, fail_without

Mistakes = type[Exception] | tuple[type[Exception], ...]


@contextmanager
def refusing(mistakes: Mistakes = (ValueError, OSError, ModuleNotFoundError)) -> Iterator[None]:
    """Turn mistakes raised inside into one line, or one per bad row, and exit code 2. A missing
    package that no extra installs is a defect, and is raised."""
    try:
        yield
    except mistakes as error:
        if isinstance(error, ModuleNotFoundError):
            fail_without(error)
        fail(*(str(error).split("\n") if isinstance(error, BadRows) else [error]))
