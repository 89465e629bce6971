"""Texts of others on a terminal: without what it would obey, and of bounded length."""

import logging
import re

# All but line ends and tabs; and halves of characters, which can't be written.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
LONGEST_LINE = 2000  # characters of a message


def visible(text: str) -> str:
    """The text with a mark in place of each control character, such as those that begin a
    terminal's commands."""
    return CONTROL.sub("�", text)


def one_line(message: object) -> str:
    """A message on one line, visible, and cut in the middle if it is very long."""
    line = visible(" ".join(str(message).split()))
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"


class VisibleFormatter(logging.Formatter):
    """A formatter of log lines that a terminal only shows."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))
