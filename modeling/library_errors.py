"""What the errors of libraries say, in one line: they write several."""

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the error's name if it has none."""
    return str(error).strip().split("\n")[0] or type(error).__name__


@contextmanager
def one_line_errors(what: str) -> Iterator[None]:
    """Raise errors that say in one line what can't be loaded."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"The weights of {what} can't be read: {error}.") from error
    except (OSError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else OSError
        raise kind(f"Can't load {what}: {first_line(error)}") from error
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise ValueError(
            f"Can't load {what}: its config describes weights of other shapes than those in its "
            "files. With ignore_mismatched_sizes=True these would begin anew."
        ) from error
