"""Terminal output at the end of a run: metrics table, written files, next command."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.inspection import inspection_text
from multitask_encoder.files import write_json
from multitask_encoder.training.intervals import SUFFIX
from multitask_encoder.training.metrics import is_error, task_of_metric

INTERVALS = "In parentheses: 95 % bootstrap intervals over rows."
# Split that a run is evaluated on -> the prefix of its metrics, in the order of reports.
PREFIXES = {"validation": "eval", "test": "test"}


def percent(results: dict[str, Any], key: str) -> str:
    """A value in percent (of errors: as it is), followed by its interval if there is one; empty if
    it is missing, a dash if it is undefined."""
    if key not in results:
        return ""
    value, spread = results[key], results.get(f"{key}{SUFFIX}")
    if value is None or value != value:
        return "–"
    text = f"{value:.4g}" if is_error(key) else f"{100 * value:.2f}"
    return f"{text} ({100 * spread[0]:.2f} to {100 * spread[1]:.2f})" if spread else text


def results_rows(
    results: dict[str, Any], tasks: dict[str, dict]
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Titles of the splits with results, and one row per metric, tasks first: its name and its
    value in each split, see `percent`."""
    splits = [split for split, prefix in PREFIXES.items() if f"{prefix}_score" in results]
    given = dict.fromkeys(key.partition("_")[2] for key in results)
    keys = [key for name in tasks for key in given if task_of_metric(key, tasks) == name]
    keys += [key for key in ("exact_match", "score") if key in given]
    return splits, [
        (key, [percent(results, f"{PREFIXES[split]}_{key}") for split in splits]) for key in keys
    ]


def results_table(results: dict[str, Any], tasks: dict[str, dict]) -> str:
    """The metrics as a table: one line per metric, one column per split."""
    titles, rows = results_rows(results, tasks)
    width = max([23, *(len(cell) for _, cells in rows for cell in cells)]) + 2
    return "\n".join(
        f"{key:28}" + "".join(f"{cell:>{width}}" for cell in cells)
        for key, cells in [("", titles), *rows]
    )


def _teacher_rows(found: list[dict[str, Any]]) -> list[list[str]]:
    """The cells of that table, from the result `teachers`."""

    def shown(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.2f}"

    return [
        [
            row["task"],
            row["model"],
            shown(row["metric"]),
            shown(row["agreement"]),
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['sentences_per_second']:.0f}" if row["sentences_per_second"] else "",
        ]
        for row in found
    ]


def _calibration_rows(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The cells of that table, from the result `calibration`."""

    def shown(of: dict[str, Any], split: str, key: str, factor: int, digits: int) -> str:
        if split not in of:
            return ""
        both = (factor * of[split][when][key] for when in ("before", "after"))
        return " → ".join(f"{value:.{digits}f}" for value in both)

    def temperature(given: float | dict[str, float]) -> str:
        values = [*given.values()] if isinstance(given, dict) else [given]
        return " to ".join(dict.fromkeys(f"{of(values):.2f}" for of in (min, max)))

    return [
        [
            name,
            temperature(of["temperature"]),
            *(shown(of, split, "calibration_error", 100, 2) for split in PREFIXES),
            *(shown(of, split, "brier", 1, 4) for split in PREFIXES),
        ]
        for name, of in found.items()
    ]


def _threshold_rows(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The cells of that table, from the result `thresholds`."""
    return [
        [*cells, _share(of.get("answered", of.get("recall"))), _share(of["precision"])]
        for *cells, of in _effects(found, "precision")
    ]


def _coverage_rows(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The cells of that table, from the result `thresholds`."""
    return [
        [*cells, _share(of["coverage"]), f"{of['labels']:.2f}" if "labels" in of else ""]
        for *cells, of in _effects(found, "coverage")
    ]


def _scope_rows(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The cells of that table, from the result `out_of_scope`."""
    keys = ("refused", "found", "auroc", "accuracy")
    return [
        [name, split, *(_share(of.get(key)) for key in keys)]
        for name, splits in found.items()
        for split, of in splits.items()
    ]


def _effects(found: dict[str, dict[str, Any]], purpose: str) -> Iterator[list[Any]]:
    """Task, share asked for, threshold, and what it does to the rows of the last split."""
    for name, of in found.items():
        split = of.get("test", of.get("validation"))
        for share, threshold in of["thresholds"].get(purpose, {}).items():
            yield [name, f"{100 * float(share):g}", f"{threshold:.3f}", split[purpose][share]]


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


class ResultTable(NamedTuple):
    """A result that is shown as a table: its key in all_results.json, a title and a note, the
    header, and the function that makes rows of cells from it."""

    key: str
    title: str
    note: str
    header: tuple[str, ...]
    rows: Callable[[Any], list[list[str]]]

    def cells(self, results: dict[str, Any]) -> list[list[str]]:
        """The rows from the results of a run; none where it has no such result."""
        return self.rows(results[self.key]) if self.key in results else []


# By section of the report.
TABLES = {
    "calibration": ResultTable(
        "calibration",
        "Calibration",
        "The mean difference between a score and how often it is right, in percent, and the mean "
        "squared difference between scores and truth (Brier), before and after the logits were "
        "divided by the temperature.",
        (
            *("task", "temperature", "error, validation", "error, test"),
            *("Brier, validation", "Brier, test"),
        ),
        _calibration_rows,
    ),
    "thresholds": ResultTable(
        "thresholds",
        "Thresholds",
        "The score above which that share of answers is right, by the validation rows; and on the "
        "test rows, or else those, the share of texts that is answered (of entities and of several "
        "labels: found), and of answers that are right. In percent.",
        ("task", "precision", "threshold", "answered", "right"),
        _threshold_rows,
    ),
    "coverage": ResultTable(
        "thresholds",
        "Sets that hold the true label",
        "The score above which that share of true labels is found, by the validation rows; and on "
        "the test rows, or else those, the share found, and the mean number of labels in a set. In "
        "percent.",
        ("task", "coverage", "threshold", "covered", "labels"),
        _coverage_rows,
    ),
    "out_of_scope": ResultTable(
        "out_of_scope",
        "Out of scope",
        "The share of in-scope texts that get no label, and of those out of scope: those with a "
        "label that training lacks; how well the two are told apart (50: by chance); and the "
        "accuracy over both, where no label is right for the others. In percent.",
        ("task", "split", "refused", "found", "AUROC", "accuracy"),
        _scope_rows,
    ),
    "teachers": ResultTable(
        "teachers",
        "Beside its teachers",
        "Metrics and agreement in percent. Agreement is the same metric, with the teacher's "
        "answers in place of labels; of embeddings, the mean cosine. A model of several tasks "
        "answers all of them in one pass.",
        ("task", "model", "metric", "agreement", "parameters", "sentences/s"),
        _teacher_rows,
    ),
}
PRINTED = ("calibration", "thresholds", "out_of_scope", "teachers")


def print_results(results: dict[str, Any], tasks: dict[str, dict]) -> None:
    """Print the table of metrics, in percent."""
    if any(key.endswith("_score") for key in results):
        print(f"\nResults (percent). {INTERVALS}\n{results_table(results, tasks)}")
    for name in PRINTED:
        if cells := TABLES[name].cells(results):
            title, note = TABLES[name].title, TABLES[name].note
            print(f"\n{title}. {note}\n{_in_columns([list(TABLES[name].header), *cells])}")


def _in_columns(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def print_written(folder: Path, names: list[str], next_command: str = "") -> None:
    """Print the named files that exist in the run's folder, and the next command. `model` stands
    for all files of the model and is always listed."""
    there = [name for name in names if name == "model" or (folder / name).is_file()]
    if there:
        print(f"\nWrote {folder}: {', '.join(there)}.")
    if next_command:
        print(f"Try it: {next_command}")


def duration(seconds: float) -> str:
    """In seconds, from two minutes on in minutes."""
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def time_line(seconds: float, in_steps: float) -> str:
    """How a run says how long it took, and how much of that were its training steps."""
    return f"\nTook {duration(seconds)}, of which training steps {100 * in_steps / seconds:.0f} %."


def print_inspection(report: dict, path: Path) -> None:
    """Print an inspection of the data, in colour on a terminal, and write it as JSON."""
    wanted = sys.stdout.isatty() or os.environ.get("FORCE_COLOR")
    print(inspection_text(report, bool(wanted) and not os.environ.get("NO_COLOR")))
    write_json(report, path)
    print(f"\nAs JSON: {path}\nTo train on it: the command `train`, without do_inspect.")
    if any(split["bad_rows"] for split in report["splits"].values()):
        print("Bad rows end that run, unless `on_bad_row: skip` leaves them out.")


def training_results(run: RunArguments) -> dict[str, Any]:
    """The `train_` results to keep when a model is evaluated in its own folder; otherwise empty."""
    path = Path(run.training.output_dir) / "all_results.json"
    if run.training.do_train or run.model.model is None or not path.is_file():
        return {}
    if Path(run.model.model).resolve() != path.parent.resolve():
        return {}
    results = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in results.items() if key.startswith("train_")}
