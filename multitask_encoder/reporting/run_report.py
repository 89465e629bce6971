"""The report of a run: gathered during the run, written at its end."""

import json
import logging
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import TrainerCallback

from multitask_encoder.files import write_text
from multitask_encoder.modeling import MultiTaskConfig
from multitask_encoder.training.row_answers import RowAnswers
from multitask_encoder.training.trainer import MultiTaskTrainer

from .confusions import confusion_matrices, sentence_section
from .curves import curves_of
from .entity_examples import entity_section
from .examples import Examples
from .maps import embed_mapped, map_section
from .report_page import (
    PAGE,
    answered_plots,
    curve_plots,
    reliability_plots,
    render,
    write_pictures,
)
from .results import INTERVALS, PREFIXES, TABLES, duration, results_rows

logger = logging.getLogger("multitask_encoder.report")


def _never_fatal(method: Callable) -> Callable:
    """A failing report must not stop a run: it is logged as a warning with its traceback, and the
    run goes on without it."""

    @wraps(method)
    def guarded(self, *args, **kwargs):
        if not self.wanted:
            return
        try:
            method(self, *args, **kwargs)
        except Exception:
            self.wanted = False
            logger.warning("Could not make %s; the run goes on.", PAGE, exc_info=True)

    return guarded


class RunReport(TrainerCallback):
    """Gathers what report.html shows while a Trainer trains and evaluates, and writes it.

    Mistakes and maps show the larger of the evaluated splits, of equal ones validation. Embeddings
    before training are those of the model that the report is made with: a resumed run has other
    weights by the time its training begins.

    Args:
        trainer (`MultiTaskTrainer`): its model, tokenizer and data sets.
        rows (`dict[str, dict[str, Dataset]]`): loaded rows by split and data set.
        windows (`dict[str, Dataset]`): preprocessed rows of the splits that are evaluated.
        model_folder (`str`, *optional*): the finished model's, whose history is shown where the run
            doesn't train.
        notes (`list[str]`): lines that the page shows with the results.
        wanted (`bool`): False gathers and writes nothing.
    """

    def __init__(
        self,
        trainer: MultiTaskTrainer,
        rows: dict[str, dict[str, Dataset]],
        windows: dict[str, Dataset],
        model_folder: str | None = None,
        notes: Sequence[str] = (),
        wanted: bool = True,
    ):
        evaluated = [name for name in PREFIXES if name in windows]
        self.split = max(evaluated, key=lambda name: _number_of(rows[name]), default=None)
        parts = rows[self.split] if self.split else {}
        self.rows = {list(trainer.datasets).index(name): part for name, part in parts.items()}
        self.windows = windows[self.split] if self.split else None
        self.trainer, self.tokenizer = trainer, trainer.processing_class
        self.notes, self.wanted = notes, wanted
        self.vectors: dict[str, dict[int, np.ndarray]] = {}
        self.history: list[dict] = []
        self.answers: RowAnswers | None = None
        if trainer.args.do_train:
            self._see_embeddings("before")
        else:
            self._read_history(model_folder)

    @_never_fatal
    def on_evaluate(self, args, state, control, metrics=None, **kwargs) -> None:
        """Keeps the answers of the reported split; the last evaluation counts."""
        if self.split and f"{PREFIXES[self.split]}_loss" in metrics:
            self.answers = self.trainer.answers

    @_never_fatal
    def on_train_end(self, args, state, control, **kwargs) -> None:
        """Keeps what the Trainer logged."""
        self.history = list(state.log_history)

    @_never_fatal
    def _see_embeddings(self, when: str) -> None:
        """Keeps the model's current embeddings; `when` is `before` or `after` training."""
        if self.windows is None:
            return
        vectors = embed_mapped(self.windows, self.trainer.model, self.tokenizer)
        if all(np.isfinite(vector).all() for vector in vectors.values()):
            self.vectors[when] = vectors
        else:  # training diverged: the embeddings before it are no map of this model
            self.vectors = {}

    @_never_fatal
    def _read_history(self, folder: str | None) -> None:
        """Reads the training log of a finished model, if its folder has one."""
        path = Path(folder or "", "trainer_state.json")
        if folder and path.is_file():
            self.history = json.loads(path.read_text(encoding="utf-8")).get("log_history", [])

    @_never_fatal
    def write(self, results: dict[str, Any], folder: Path) -> None:
        """Write the page and its pictures to the run folder."""
        self._see_embeddings("after")
        if self.wanted:
            self._write(self.trainer.model.config, results, folder)

    def _write(self, config: MultiTaskConfig, results: dict[str, Any], folder: Path) -> None:
        tasks = config.tasks
        curves = curves_of(self.history, tasks)
        matrices: dict[str, np.ndarray] = {}
        sections: dict[str, Any] = {}
        if self.answers is not None:
            answered = self.answers.by_task.items()
            by_task = {name: answers for name, answers in answered if len(answers.rows)}
            tasks = tasks | {  # with the labels that only this split has
                name: {**tasks[name], "labels": answers.labels}
                for name, answers in by_task.items()
                if answers.labels
            }
            matrices = confusion_matrices(tasks, by_task)
            examples = Examples(self.rows, self.answers, self.tokenizer)
            sections["sentences"] = sentence_section(tasks, by_task, matrices, examples)
            sections["entities"] = entity_section(config, by_task, examples)
        if self.split is not None:
            sections |= map_section(tasks, self.split, self.windows, self.rows, self.vectors)
        content = {
            "title": folder.resolve().name,
            "subtitle": _subtitle(tasks, results),
            "results": _results(results, tasks),
            "notes": self.notes,
            **_tables(results),
            "split": self.split,
            "curves": curve_plots(curves),
            **sections,
        }
        write_text(render(content), folder / PAGE)
        write_pictures(curves, matrices, tasks, results.get("calibration", {}), folder)


def _number_of(rows: dict[str, Dataset]) -> int:
    return sum(map(len, rows.values()))


def _subtitle(tasks: dict[str, dict], results: dict[str, Any]) -> str:
    sentences = [f"Tasks: {', '.join(tasks)}."]
    for prefix, title in {"train": "training", "eval": "validation", "test": "test"}.items():
        if f"{prefix}_samples" in results:
            sentences.append(f"{results[f'{prefix}_samples']:,.0f} {title} rows.")
    if "train_runtime" in results:
        part = " (its last part)" if results.get("train_resumed") else ""
        sentences.append(f"Training{part} took {duration(results['train_runtime'])}.")
    return " ".join(sentences)


def _results(results: dict[str, Any], tasks: dict[str, dict]) -> dict[str, Any] | None:
    titles, rows = results_rows(results, tasks)
    if not titles:
        return None
    return {
        "note": f"In percent. {INTERVALS}",
        "header": ["metric", *titles],
        "rows": [[key, *cells] for key, cells in rows],
    }


# By section: plots of the table's result.
PLOTS: dict[str, Callable[[Any], list[str]]] = {
    "calibration": reliability_plots,
    "thresholds": answered_plots,
}


def _tables(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By section the table of a result, if there is one, and its plots."""
    return {
        section: {
            "note": table.note,
            "header": table.header,
            "rows": rows,
            "plots": PLOTS[section](results[table.key]) if section in PLOTS else [],
        }
        for section, table in TABLES.items()
        if (rows := table.cells(results))
    }
