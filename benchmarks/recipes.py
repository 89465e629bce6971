"""What is learned, what is forgotten and what it costs, by what is frozen.

    python -m benchmarks.recipes --config configs/snips.yaml --data_dir DIR [--sts_dir DIR]
        [--rows 2000] [--epochs 4] [--recipes NAME ...]

Each recipe is a run of `run_multitask.py` on the first rows, one seed, without choosing an epoch;
then the model is evaluated on the test split and, with `--sts_dir`, by configs/sts.yaml as a
sentence encoder. Processor seconds are those of the process less those of the run that trains
nothing, which loads and evaluates the same. docs/recipes.md says what was found.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from transformers import AutoConfig

from benchmarks.measuring import ROOT, as_argv
from benchmarks.reporting import Table, write
from multitask_encoder.arguments.parsing import parse_arguments
from multitask_encoder.arguments.run_arguments import RunArguments

NOTHING_TRAINED = "everything"


class Outcome(NamedTuple):
    """What one run gave: its test metrics, the encoder's Spearman where it was asked for, trained
    parameters, and seconds of the processor, all threads together."""

    metrics: dict[str, float]
    spearman: float | None
    trained: int
    cpu: float


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", default="configs/snips.yaml", help="of the run")
    parser.add_argument("--encoder", help="Hub id or folder; default: the config's")
    parser.add_argument("--data_dir", help="the folder of the config's files")
    parser.add_argument("--sts_dir", help="scored pairs as in configs/sts.yaml")
    parser.add_argument("--rows", type=int, help="to train on; default: all")
    parser.add_argument("--epochs", type=int, default=4, help="default: 4")
    parser.add_argument("--recipes", nargs="+", help="some of them; default: all")
    parser.add_argument("--output", help="folder; default: runs/benchmarks/recipes/CONFIG")
    options = parser.parse_args(argv, argparse.Namespace(argv=argv, title="recipes"))
    options.output = options.output or f"runs/benchmarks/recipes/{Path(options.config).stem}"
    folder = Path(options.output)
    run = parse_arguments(_common(options, folder / "run"))
    recipes = recipes_for(run)
    chosen = options.recipes or list(recipes)
    unknown = set(chosen) - set(recipes)
    if unknown:
        parser.error(f"--recipes should be some of {list(recipes)}. Found {sorted(unknown)}.")
    before = _spearman(options, folder, ["--encoder", run.model.encoder])
    outcomes = {}
    for name in dict.fromkeys([NOTHING_TRAINED, *chosen]):
        outcomes[name] = outcome(options, recipes[name], folder / "run")
        print(name, json.dumps(outcomes[name]), flush=True)
    note = f"One seed; {options.epochs} epochs of {options.rows or 'all'} rows; test, percent."
    results = {"spearman_before": before, "outcomes": outcomes}
    write(options, results, [table(outcomes, before, options.epochs)], [note])


def recipes_for(run: RunArguments) -> dict[str, dict[str, Any]]:
    """Name of each recipe -> the keys that it sets."""
    embedding = next(name for name, task in run.tasks.items() if task.type == "sentence_embedding")
    head = next(name for name, task in run.tasks.items() if task.type != "sentence_embedding")
    layers = AutoConfig.from_pretrained(run.model.encoder).num_hidden_layers
    third, half, more = layers // 3, layers // 2, layers - layers // 3
    free = {f"tasks.{embedding}.loss": "none"}
    return {
        NOTHING_TRAINED: {**free, "freeze": "everything"},
        "nothing": free,
        "nothing, embedding retained": {},
        "the encoder": {**free, "freeze": "encoder"},
        f"embeddings, lowest {third} of {layers} layers": {**free, "freeze_layers": third},
        f"embeddings, lowest {more} of {layers} layers": {**free, "freeze_layers": more},
        f"the head {head}": {**free, "freeze": f"heads.{head}"},
        f"gradually less, {third} layers an epoch": {**free, "unfreeze_layers_per_epoch": third},
        "nothing, layers at 0.8 of the rate above": {**free, "layer_learning_rate_decay": 0.8},
        f"embeddings, lowest {half} of {layers} layers, embedding retained": {
            "freeze_layers": half
        },
        "the same, from a cache": {"freeze_layers": half, "cache_frozen_layers": "true"},
    }


def _common(options: argparse.Namespace, folder: Path) -> list[str]:
    # Only the last weights are evaluated, for choosing the best would cost evaluations.
    keys: dict[str, Any] = {
        "do_eval": "false",
        "save_strategy": "no",
        "overwrite_output_dir": "true",
        "report_to": "none",
        "disable_tqdm": "true",
        "output_dir": folder,
        "num_train_epochs": options.epochs,
        "encoder": options.encoder,
        "data_dir": options.data_dir,
        "train_size": options.rows,
    }
    return [options.config, *as_argv(keys)]


def outcome(options: argparse.Namespace, recipe: dict[str, Any], folder: Path) -> Outcome:
    """Run one recipe."""
    log, cpu = _run([*_common(options, folder), *as_argv(recipe)])
    results = json.loads((folder / "all_results.json").read_text(encoding="utf-8"))
    found = re.search(r"([\d,]+) of [\d,]+ parameters are trained", log)
    return Outcome(
        {key: value for key, value in results.items() if key.startswith("test_")},
        _spearman(options, folder.parent, ["--model", str(folder)]),
        int(found[1].replace(",", "")) if found else 0,
        cpu,
    )


def _spearman(options: argparse.Namespace, folder: Path, model: list[str]) -> float | None:
    if options.sts_dir is None:
        return None
    keys = {"data_dir": options.sts_dir, "output_dir": folder / "sts", "disable_tqdm": "true"}
    keys |= {"validation_file": "null", "do_eval": "false"}
    _run([str(ROOT / "configs/sts.yaml"), *as_argv(keys), *model])
    results = json.loads((folder / "sts" / "all_results.json").read_text(encoding="utf-8"))
    return results["test_embedding_spearman"]


def _run(argv: list[str]) -> tuple[str, float]:
    """What a run of its own printed, and the seconds of the processor that it took."""
    command = [sys.executable, str(ROOT / "run_multitask.py"), *argv]
    before = sum(os.times()[2:4])  # user and system time of children that have ended
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=True,
    )
    return done.stdout, sum(os.times()[2:4]) - before


def table(outcomes: dict[str, Outcome], before: float | None, epochs: int) -> Table:
    """Of each recipe the main metrics, Spearman, trained parameters and seconds per epoch."""
    shown = ("accuracy", "_f1", "exact_match")
    metrics = [
        key
        for key in outcomes[NOTHING_TRAINED].metrics
        if key.endswith(shown) and not key.endswith(("macro_f1", "strict_f1"))
    ]
    spearman = [] if before is None else [f"STS (before: {100 * before:.2f})"]
    metrics.sort(key=lambda key: key.endswith("exact_match"))  # behind those of tasks
    titles = [key.removeprefix("test_").replace("_", " ") for key in metrics]
    rest = outcomes[NOTHING_TRAINED].cpu
    rows = []
    for name, one in outcomes.items():
        shares = [*(one.metrics[key] for key in metrics), one.spearman]
        cells = [f"{100 * share:.2f}" for share in shares if share is not None]
        seconds = None if name == NOTHING_TRAINED else round((one.cpu - rest) / epochs, 1)
        rows.append([name, *cells, one.trained, seconds])
    header = ["frozen", *titles, *spearman, "trained parameters", "processor s per epoch"]
    return Table("", header, rows)


if __name__ == "__main__":
    main()
