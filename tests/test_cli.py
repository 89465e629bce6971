"""`multitask-encoder COMMAND`: a name for each thing, with the keys and errors of the scripts."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from multitask_encoder import __version__
from multitask_encoder.cli import main as cli
from multitask_encoder.cli.errors import EXTRAS, fail, fail_without

ROOT = Path(__file__).parent.parent


@pytest.fixture
def called(monkeypatch):
    """What each command's module is called with."""
    calls = []
    for module, _, _ in cli.COMMANDS.values():
        name = f"multitask_encoder.cli.{module}"
        monkeypatch.setattr(f"{name}.main", lambda argv, name=module: calls.append((name, argv)))
    return calls


@pytest.mark.parametrize(
    "words, module, argv",
    [
        ("train", "run", ""),
        ("train my.yaml --seed 1", "run", "my.yaml --seed 1"),
        ("evaluate my.yaml --model m", "run", "my.yaml --do_train=false --model m"),
        ("predict --model m", "run", "--do_train=false --do_predict --model m"),
        ("inspect my.yaml", "run", "my.yaml --do_inspect"),
        ("compare my.yaml", "run", "my.yaml --compare_single_task"),
        ("export runs/mine --to onnx", "export", "runs/mine --to onnx"),
        ("serve --model m", "serve", "--model m"),
        ("demo", "demo", ""),
        ("get-backbone minilm", "get_backbone", "minilm"),
    ],
)
def test_commands(words, module, argv, called):
    cli.main(words.split())
    assert called == [(module, argv.split())]


def test_every_command_has_a_module_that_can_be_run():
    for module, _, _ in cli.COMMANDS.values():
        assert callable(import_module(f"multitask_encoder.cli.{module}").main)


def test_usage_names_every_command_within_100_columns():
    lines = cli.usage().splitlines()
    assert all(any(line.strip().startswith(name) for line in lines) for name in cli.COMMANDS)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("argv, code", [([], 2), (["--help"], 0), (["-h"], 0)])
def test_help(argv, code, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == code
    assert "usage: multitask-encoder COMMAND" in capsys.readouterr().out


def test_an_unknown_command_is_one_line_and_the_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["trian"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: Unknown command 'trian'.\n\nusage: ")


def test_the_version(capsys):
    cli.main(["--version"])
    assert capsys.readouterr().out == f"{__version__}\n"


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "multitask_encoder", "--version"]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == f"{__version__}\n"


def test_an_error_is_one_line_with_exit_code_2(capsys):
    with pytest.raises(SystemExit) as ended:
        fail(ValueError("several\n  lines"), "and more")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: several lines\nand more\n"


def test_a_missing_package_names_its_extra(capsys):
    for package, extra in EXTRAS.items():
        with pytest.raises(SystemExit):
            fail_without(ModuleNotFoundError(name=package))
        line = capsys.readouterr().err
        assert line == (
            f"error: {package} is not installed: pip install 'multitask-encoder[{extra}]'\n"
        )


def test_any_other_missing_module_is_a_defect():
    with pytest.raises(ModuleNotFoundError):
        fail_without(ModuleNotFoundError(name="torch"))
