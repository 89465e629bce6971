"""What a run ends with: files, and tables that a person can read."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.inspection import inspection_text


def write_json(content: dict, path: Path) -> None:
    """Write the whole file or nothing."""
    write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write the whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def results_rows(
    results: dict[str, float], tasks: dict[str, dict]
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The titles of the splits that have results; and for each metric, those of tasks first, its
    value in each of them, in percent, empty where there is none."""
    splits = [split for split in ("eval", "test") if f"{split}_score" in results]
    titles = {"eval": "validation", "test": "test"}
    keys: list[str] = []
    for name in [*tasks, "exact_match", "score"]:
        for key in results:
            metric = key.partition("_")[2]
            if (metric == name or metric.startswith(f"{name}_")) and metric not in keys:
                keys.append(metric)
    found = {key: [results.get(f"{split}_{key}") for split in splits] for key in keys}
    return [titles[split] for split in splits], [
        (key, ["" if value is None else f"{100 * value:.2f}" for value in values])
        for key, values in found.items()
    ]


def results_table(results: dict[str, float], tasks: dict[str, dict]) -> str:
    """The metrics as a table: one line per metric, one column per split; shares in percent."""
    titles, rows = results_rows(results, tasks)
    return "\n".join(
        f"{key:28}" + "".join(f"{cell:>12}" for cell in cells)
        for key, cells in [("", titles), *rows]
    )


def print_results(results: dict[str, float], tasks: dict[str, dict]) -> None:
    """Show the table of metrics, in percent."""
    if any(key.endswith("_score") for key in results):
        print(f"\nResults (percent)\n{results_table(results, tasks)}")


def print_written(folder: Path, names: list[str], next_command: str = "") -> None:
    """Say what a run has left in its folder, of these names, and what to do next; `model` is the
    model with all that belongs to it."""
    there = [name for name in names if name == "model" or (folder / name).is_file()]
    if there:
        print(f"\nWrote {folder}: {', '.join(there)}.")
    if next_command:
        print(f"Try it: {next_command}")


def print_inspection(report: dict, path: Path) -> None:
    """Show what is in the data, in colour on a terminal, and write the same as JSON."""
    wanted = sys.stdout.isatty() or os.environ.get("FORCE_COLOR")
    print(inspection_text(report, bool(wanted) and not os.environ.get("NO_COLOR")))
    write_json(report, path)
    print(f"\nThe same as JSON: {path}\nTo train on it: the same command without --do_inspect.")
    if any(found["bad_rows"] for found in report["splits"].values()):
        print("Bad rows end that run, unless `on_bad_row: skip` leaves them out.")


def training_results(run: RunArguments) -> dict[str, Any]:
    """What the training of the model that is only measured now, in its own folder, left there."""
    path = Path(run.training.output_dir) / "all_results.json"
    if run.training.do_train or run.model.model is None or not path.is_file():
        return {}
    if Path(run.model.model).resolve() != path.parent.resolve():
        return {}
    results = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in results.items() if key.startswith("train_")}
