"""The report of a run: gathered while the run goes on, written at its end."""

import json
import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from multitask_encoder.files import write_text
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel
from multitask_encoder.training.metrics import RowAnswers

from .confusions import confusion_matrices, sentence_section
from .curves import curves_of
from .embedding_map import embed_mapped
from .entity_examples import entity_section
from .examples import Examples
from .maps import map_section
from .report_page import PAGE, curve_plots, render, write_pictures
from .results import results_rows

logger = logging.getLogger("run_multitask.report")


def _never_fatal(method: Callable) -> Callable:
    """A report must not cost a run: if it fails, a warning with the traceback says so, and the run
    goes on without it."""

    @wraps(method)
    def guarded(self, *args, **kwargs):
        if not self.wanted:
            return
        try:
            method(self, *args, **kwargs)
        except Exception:
            self.wanted = False
            logger.warning("No %s: it could not be made. The run goes on.", PAGE, exc_info=True)

    return guarded


class RunReport:
    """Gathers the content of the page while a run goes on, and writes it; in one process.

    Mistakes and maps come from the validation split, or else from the test split.

    Args:
        rows (`dict[str, dict[str, Dataset]]`): loaded rows by split and data set.
        datasets (`list[str]`): all data sets, in the order of the column `dataset`.
        windows (`dict[str, Dataset]`): preprocessed rows by split.
        splits (`list[str]`): the splits that the run is measured on.
        wanted (`bool`): whether to write a page; if not, all methods do nothing.
    """

    def __init__(
        self,
        rows: dict[str, dict[str, Dataset]],
        datasets: list[str],
        windows: dict[str, Dataset],
        tokenizer: PreTrainedTokenizerBase,
        splits: list[str],
        wanted: bool = True,
    ):
        self.split = next((name for name in ("validation", "test") if name in splits), None)
        parts = rows[self.split] if self.split else {}
        self.rows = {datasets.index(name): part for name, part in parts.items()}
        self.windows = windows[self.split] if self.split else None
        self.tokenizer = tokenizer
        self.wanted = wanted
        self.vectors: dict[str, dict[int, np.ndarray]] = {}
        self.history: list[dict] = []
        self.answers: RowAnswers | None = None

    @_never_fatal
    def see_embeddings(self, model: MultiTaskModel, when: str) -> None:
        """Keep the model's present embeddings; `when` is `before` or `after` (training)."""
        if self.windows is None:
            return
        vectors = embed_mapped(self.windows, model, self.tokenizer)
        if all(np.isfinite(vector).all() for vector in vectors.values()):
            self.vectors[when] = vectors
        else:  # training diverged: the vectors from before are no map of this model
            self.vectors = {}

    @_never_fatal
    def see_history(self, history: list[dict]) -> None:
        """Keep the log of the training."""
        self.history = list(history)

    @_never_fatal
    def read_history(self, folder: str | None) -> None:
        """Read the log of the training that made the model in a folder, if it is there."""
        path = Path(folder or "", "trainer_state.json")
        if folder and path.is_file():
            self.history = json.loads(path.read_text(encoding="utf-8")).get("log_history", [])

    @_never_fatal
    def see_answers(self, answers: RowAnswers, split: str) -> None:
        """Keep the answers of an evaluation, if it is of the split that the page shows."""
        if split == self.split:
            self.answers = answers

    @_never_fatal
    def write(self, config: MultiTaskConfig, results: dict[str, Any], folder: Path) -> None:
        """Write the page and its pictures to the run folder."""
        tasks = config.tasks
        curves = curves_of(self.history, tasks)
        matrices: dict[str, np.ndarray] = {}
        sections: dict[str, Any] = {}
        if self.answers is not None:
            answered = self.answers.by_task.items()
            by_task = {name: answers for name, answers in answered if len(answers.rows)}
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
            "split": self.split,
            "curves": curve_plots(curves),
            **sections,
        }
        write_text(render(content), folder / PAGE)
        write_pictures(curves, matrices, tasks, folder)


def _subtitle(tasks: dict[str, dict], results: dict[str, Any]) -> str:
    sentences = [f"Tasks: {', '.join(tasks)}."]
    for prefix, title in {"train": "training", "eval": "validation", "test": "test"}.items():
        if f"{prefix}_samples" in results:
            sentences.append(f"{results[f'{prefix}_samples']:,.0f} {title} rows.")
    if "train_runtime" in results:
        part = " (its last part)" if results.get("train_resumed") else ""
        sentences.append(f"Training{part} took {_time(results['train_runtime'])}.")
    return " ".join(sentences)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _results(results: dict[str, Any], tasks: dict[str, dict]) -> dict[str, Any] | None:
    titles, rows = results_rows(results, tasks)
    if not titles:
        return None
    return {"header": ["metric", *titles], "rows": [[key, *cells] for key, cells in rows]}
