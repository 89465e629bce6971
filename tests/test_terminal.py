"""What others wrote is shown on a terminal, and never obeyed."""

import logging

import pytest
from conftest import ROWS

from multitask_encoder.cli.errors import fail
from multitask_encoder.terminal import LONGEST_LINE, VisibleFormatter, one_line, visible

ESCAPE = "\x1b]0;owned\x07\x9b31m"


def test_only_what_a_terminal_obeys_is_replaced():
    assert visible(f"a{ESCAPE}b\x00\ud800") == "a�]0;owned��31mb��"
    text = "Zürich\u00a0東京 👩\u200d👧\n\tالعربية"
    assert visible(text) == text


def test_a_message_is_one_line_of_bounded_length(capsys):
    with pytest.raises(SystemExit, match="2"):
        fail(f"Found {'x' * 3_200_000} \n in it.{ESCAPE}", "second")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: Found xxx")
    assert first.endswith("x in it.�]0;owned��31m")
    assert len(first) < LONGEST_LINE + 20
    assert second == "second"
    assert one_line("short") == "short"


def test_log_lines_are_visible():
    record = logging.LogRecord("name", logging.INFO, "", 1, "label %s", (ESCAPE,), None)
    assert VisibleFormatter("%(name)s: %(message)s").format(record) == "name: label �]0;owned��31m"


def test_answers_with_labels_of_others_are_visible(run, capsys):
    rows = [{**row, "topic": f"{row['topic']}{ESCAPE}"} for row in ROWS]
    run("--examples", f"Anna{ESCAPE} plays.", train_file=rows, validation_file=rows)
    printed = capsys.readouterr().out
    assert "�]0;owned" in printed
    assert not {"\x1b", "\x07", "\x9b"} & set(printed)
