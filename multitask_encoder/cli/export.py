"""Publish a finished model, or write it in another form and compare the two before saying so.

    multitask-encoder export runs/mine --to onnx [--int8]               # everything
    multitask-encoder export runs/mine --to openvino [--int8]           # everything
    multitask-encoder export runs/mine --to sentence-transformers       # the embedding
    multitask-encoder export runs/mine --to plain-heads --task intent   # one head
    multitask-encoder export runs/mine --to hub --repo_id me/my-model   # publish it
    multitask-encoder export runs/mine --to folder                      # ... look at it first

The folder, or the commit on the Hub, is written whole or not at all. Exit code 2: something can't
be read, exported or pushed, or answers differ by more than the form's tolerance; one line says
what.
"""

import argparse
import logging
from importlib import import_module
from pathlib import Path
from shlex import quote

from transformers.utils import logging as transformers_logging

from multitask_encoder.cli.errors import command_parser, refusing
from multitask_encoder.export.folders import size_in_bytes, whole_folder
from multitask_encoder.inference.loading import load_finished
from multitask_encoder.processor import has_int8_products

FORMS = ("onnx", "openvino", "sentence-transformers", "plain-heads", "hub", "folder")
# How to use each form.
USES = {
    "onnx": "multitask-encoder serve --model {quoted} --backend onnx",
    "openvino": "multitask-encoder serve --model {quoted} --backend openvino",
    "sentence-transformers": 'SentenceTransformer("{target}") of sentence-transformers',
    "plain-heads": 'pipeline(model="{target}") of transformers',
}


def main(argv: list[str] | None = None) -> None:
    parser = command_parser("export", __doc__)
    parser.add_argument("folder", help="a finished run, or a Hub id")
    parser.add_argument("--to", required=True, choices=FORMS)
    parser.add_argument("--task", help="the head, for plain-heads")
    parser.add_argument("--int8", action="store_true", help="in int8, for onnx and openvino")
    parser.add_argument(
        "--texts",
        nargs="+",
        help="files of texts like those that the model will read, for openvino in int8; default: "
        "the rows that the run learned from",
    )
    parser.add_argument("--repo_id", help="owner/name on the Hub, for hub and folder")
    parser.add_argument("--output", type=Path, help="default: beside the folder, named after it")
    options = parser.parse_args(argv)
    with refusing():
        check_options(options)
        transformers_logging.disable_progress_bar()
        if options.to == "hub":
            publish_model(options)
        elif options.to == "folder":
            stage_model(options)
        else:
            export_model(options)


def check_options(options: argparse.Namespace) -> None:
    """Raise a ValueError for options that do not go together."""
    if options.int8 and options.to not in ("onnx", "openvino"):
        raise ValueError(f"--int8 is for --to onnx and openvino. Found --to {options.to}.")
    if options.texts and not (options.int8 and options.to == "openvino"):
        raise ValueError("--texts is for --to openvino --int8.")
    if (options.task is not None) != (options.to == "plain-heads"):
        given = "none" if options.task is None else f"--task {options.task} with --to {options.to}"
        raise ValueError(f"--to plain-heads, and no other, needs a --task. Found {given}.")
    if options.to == "hub" and options.repo_id is None:
        raise ValueError("--to hub needs a --repo_id. Found none.")
    if options.to == "hub" and options.output is not None:
        raise ValueError(f"--to hub writes no folder. Found --output {options.output}.")
    if options.repo_id is not None and options.to not in ("hub", "folder"):
        raise ValueError(f"--repo_id is for --to hub and folder. Found --to {options.to}.")


def publish_model(options: argparse.Namespace) -> None:
    """Push the model, as the logged-in user or with the token in HF_TOKEN."""
    from multitask_encoder.export.finished_run import read_run
    from multitask_encoder.export.publish import publish

    print(f"Loading {options.folder} and publishing it as {options.repo_id}", flush=True)
    run = read_run(Path(options.folder))
    url = publish(*load_finished(options.folder), options.repo_id, run)
    print(f"Published: {url}")
    print(
        f'Use it: pipeline("multitask", model="{options.repo_id}", trust_remote_code=True) of '
        "transformers"
    )


def stage_model(options: argparse.Namespace) -> None:
    """Write the files that would be pushed."""
    from multitask_encoder.export.finished_run import read_run
    from multitask_encoder.export.publish import stage

    target = options.output or default_output(options)
    with whole_folder(target) as folder:
        run = read_run(Path(options.folder))
        stage(*load_finished(options.folder), options.repo_id or target.name, run, folder)
    print(f"{target} is ready: {size_in_bytes(target) / 1e6:.1f} MB")
    print("Look at its README.md; the same command with --to hub publishes it.")


def export_model(options: argparse.Namespace) -> None:
    """Load the model, write it, compare the two, and show the differences."""
    for name in (None, "torch.onnx"):  # exporters give advice that no user can follow
        logging.getLogger(name).setLevel(logging.ERROR)
    target = options.output or default_output(options)
    scaled = options.int8 and options.to == "openvino"  # by texts
    with whole_folder(target) as folder:
        print(f"Loading {options.folder}", flush=True)
        model, tokenizer = load_finished(options.folder)
        print(f"Writing it as {options.to}, and comparing the two", flush=True)
        form = import_module(f"multitask_encoder.export.{options.to.replace('-', '_')}")
        own = {"onnx": {"int8": options.int8}, "plain-heads": {"task_name": options.task}}
        keys = own.get(options.to, {})
        if scaled:
            from multitask_encoder.export.typical_texts import typical_texts

            keys = {"texts": typical_texts(options.folder, options.texts)}
        largest = form.export(model=model, tokenizer=tokenizer, folder=folder, **keys)
    print(f"{target} is ready: {size_in_bytes(target) / 1e6:.1f} MB")
    if scaled and not has_int8_products():
        print(
            "It is made for processors with VNNI or AMX. This one has neither, and answers faster "
            "with --to onnx --int8."
        )
    which = "Typical differences, as shares of typical values"
    if not options.int8:
        which = "Largest differences, as shares of the largest value"
    print(f"{which}:")
    for name, difference in largest.items():
        print(f"  {name}: {difference:.2g}")
    print(f"Use it: {USES[options.to].format(target=target, quoted=quote(str(target)))}")


def default_output(options: argparse.Namespace) -> Path:
    """`runs/mine-onnx-int8`, beside `runs/mine`."""
    suffix = options.task or options.to + ("-int8" if options.int8 else "")
    folder = Path(options.folder)
    if folder.name in ("", ".."):  # the folder that one is in, or above it
        folder = folder.resolve()
    return Path(f"{folder}-{suffix}")
