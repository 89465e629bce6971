"""Runs of a config, each in a process of its own, for each seed once."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measuring import ROOT

SEEDS = "seeds.jsonl"


def run(folder: Path, keys: dict[str, Any]) -> dict[str, Any]:
    """The results of a run."""
    path = folder / "keys.yaml"
    path.write_text(yaml.safe_dump({"report": False, "report_to": "none", **keys}))
    start_run(path)
    return json.loads(Path(keys["output_dir"], "all_results.json").read_text(encoding="utf-8"))


def start_run(path: Path) -> None:
    """Run a config in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_multitask.py"), str(path)],
        env={**os.environ, "HF_DATASETS_CACHE": str(path.parent / "cache")},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"A run failed: {done.stderr[-2000:]}")


def seeds_parser(title: str, doc: str | None, epochs: int) -> argparse.ArgumentParser:
    """The options of a benchmark of seeds: `doc` is its module's, `epochs` are those of a run."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="folder of the data sets' folders")
    parser.add_argument("--encoder", default="backbones/minilm", help="Hub id or folder")
    parser.add_argument("--epochs", type=int, default=epochs, help=f"of a run; default: {epochs}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", default=f"runs/{title}", help=f"default: runs/{title}")
    parser.set_defaults(title=title, threads=None)
    return parser


def measured_seeds(
    options: argparse.Namespace, keys: Sequence[str], measure: Callable
) -> dict[int, Any]:
    """By seed what `measure(options, seed)` finds, or found before with the same values of `keys`:
    seeds.jsonl of the output folder keeps it."""
    path = Path(options.output, SEEDS)
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {key: getattr(options, key) for key in keys}
    done: dict[int, Any] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        record = json.loads(line)
        if settings.items() <= record.items() and record["seed"] in options.seeds:
            done[record["seed"]] = record["percent"]
    for seed in options.seeds:
        if seed not in done:
            done[seed] = measure(options, seed)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**settings, "seed": seed, "percent": done[seed]}) + "\n")
    return done
