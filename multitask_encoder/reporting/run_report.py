"""What the report of a run tells: gathered while the run goes on, and counted at its end."""

import json
import logging
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import TrainerCallback

from multitask_encoder.data.label_alignment import word_ranges
from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.modeling import MultiTaskConfig
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.windows import tokenize
from multitask_encoder.training.metrics import METRICS, Answers, RowAnswers
from multitask_encoder.training.trainer import MultiTaskTrainer

from .embedding_map import embed_mapped, make_map, mapped_windows
from .entity_errors import (
    ERRORS,
    RIGHT,
    SPURIOUS,
    Entity,
    Pair,
    count_kinds,
    entities_of,
    pair_entities,
)
from .figures import Series, printable
from .report_page import (
    PAGE,
    Curves,
    clipped,
    confusion_plot,
    curve_plots,
    map_plots,
    marked,
    most_confused,
    render,
    said_of_maps,
    write_pictures,
)
from .results import results_rows, write_text

logger = logging.getLogger("multitask_encoder.report")

SHOWN = 20  # sentences of each kind of mistake
MOST_CONFUSIONS = 10  # pairs of labels with sentences
WHOLE = "all tasks"
# Split -> the prefix of its metrics. The first one evaluated is shown.
PREFIXES = {"validation": "eval", "test": "test"}


def _never_fatal(method: Callable) -> Callable:
    """Pictures are not worth a run: where they fail, a warning says so with the traceback, and the
    run goes on without them."""

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


class RunReport(TrainerCallback):
    """Gathers what report.html shows while a Trainer trains and evaluates, and writes it.

    Mistakes and maps show the validation split, or else the test split. Embeddings before training
    are those of the model that the report is made with: a resumed run has other weights by the time
    its training begins.

    Args:
        trainer (`MultiTaskTrainer`): its model, tokenizer and data sets.
        rows (`dict[str, dict[str, Dataset]]`): loaded rows by split and data set.
        windows (`dict[str, Dataset]`): preprocessed rows of the splits that are evaluated.
        model_folder (`str`, *optional*): the finished model's, whose history is shown where the run
            doesn't train.
        wanted (`bool`): False gathers and writes nothing.
    """

    def __init__(
        self,
        trainer: MultiTaskTrainer,
        rows: dict[str, dict[str, Dataset]],
        windows: dict[str, Dataset],
        model_folder: str | None = None,
        wanted: bool = True,
    ):
        self.split = next((name for name in PREFIXES if name in windows), None)
        parts = rows[self.split] if self.split else {}
        self.rows = {list(trainer.datasets).index(name): part for name, part in parts.items()}
        self.windows = windows[self.split] if self.split else None
        self.trainer, self.tokenizer = trainer, trainer.processing_class
        self.wanted = wanted
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
        """The model's embeddings as they are now, `when` being `before` or `after` training."""
        if self.windows is None:
            return
        vectors = embed_mapped(self.windows, self.trainer.model, self.tokenizer)
        if all(np.isfinite(vector).all() for vector in vectors.values()):
            self.vectors[when] = vectors
        else:  # training diverged: the embeddings before it are no map of this model
            self.vectors = {}

    @_never_fatal
    def _read_history(self, folder: str | None) -> None:
        """What was logged when a finished model was trained, where its folder tells."""
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
        curves = self._curves(tasks)
        found = self.answers.by_task if self.answers else {}
        by_task = {name: answers for name, answers in found.items() if len(answers.rows)}
        matrices = {
            name: confusion_of(by_task[name], task["labels"])
            for name, task in tasks.items()
            if name in by_task and _is_single_label(task)
        }
        content = {
            "title": folder.resolve().name,
            "subtitle": _subtitle(tasks, results),
            "results": _results(results, tasks),
            "split": self.split,
            "curves": curve_plots(curves),
            "sentences": self._sentences(tasks, by_task, matrices),
            "entities": self._entities(config, by_task),
            **self._maps(tasks),
        }
        write_text(render(content), folder / PAGE)
        write_pictures(curves, matrices, tasks, folder)

    # Curves

    def _curves(self, tasks: dict[str, dict]) -> Curves:
        drawn = {}
        for name, task in {None: {}, **tasks}.items():
            suffix = f"_{name}" if name else ""
            metrics = {"score": "score", "exact_match": "exact_match"}
            if name:
                metric, _ = METRICS[task["type"]][task.get("problem_type")]
                metrics = {one: f"{name}_{one}" for one in metric.names}
            losses = {"training": f"loss{suffix}", "validation": f"eval_loss{suffix}"}
            parts = {
                "loss": {title: series(self.history, key) for title, key in losses.items()},
                "percent": {
                    title: [(step, 100 * one) for step, one in series(self.history, f"eval_{key}")]
                    for title, key in metrics.items()
                },
            }
            found = [
                (label, {title: points for title, points in curves.items() if points})
                for label, curves in parts.items()
            ]
            drawn[name or WHOLE] = [(label, curves) for label, curves in found if curves]
        return {title: parts for title, parts in drawn.items() if parts}

    # Labels of sentences

    def _sentences(self, tasks: dict, by_task: dict[str, Answers], matrices: dict) -> list[dict]:
        found = []
        for name, task in tasks.items():
            if name in matrices:
                found.append(self._confusions(name, task["labels"], matrices[name], by_task[name]))
            elif task.get("problem_type") == "multi_label_classification" and name in by_task:
                found.append(_label_counts(name, task["labels"], by_task[name]))
        return found

    def _confusions(
        self, name: str, labels: list[str], counts: np.ndarray, answers: Answers
    ) -> dict[str, Any]:
        wrong = int(counts.sum() - np.trace(counts))
        says = f"{wrong:,} of {counts.sum():,} sentences have a wrong label."
        chosen = len(most_confused(counts))
        if chosen < len(labels):
            says += f" The {chosen} of {len(labels)} labels with the most mistakes are shown."
        confused: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row, predicted, expected in zip(*answers, strict=True):
            if expected != predicted:
                confused[expected, predicted].append(row)
        most_frequent = sorted(confused.items(), key=lambda one: -len(one[1]))[:MOST_CONFUSIONS]
        groups = [
            {
                "title": f"{labels[expected]} taken for {labels[predicted]}",
                "count": len(rows),
                "examples": [self._example(row, [], "") for row in rows[:SHOWN]],
            }
            for (expected, predicted), rows in most_frequent
        ]
        if len(confused) > len(groups):
            says += f" Below are the {len(groups)} most frequent of {len(confused)} confusions."
        return {
            "title": name,
            "says": says,
            "header": [],
            "rows": [],
            "plot": confusion_plot(
                name,
                counts,
                labels,
                " ".join([says, *(f"{one['title']}: {one['count']}." for one in groups)]),
            ),
            "mistakes": groups,
        }

    # Entities

    def _entities(self, config: MultiTaskConfig, by_task: dict[str, Answers]) -> list[dict]:
        return [
            self._entity_errors(config, name, task, by_task[name])
            for name, task in config.tasks.items()
            if task["type"] == "token_classification" and name in by_task
        ]

    def _entity_errors(
        self, config: MultiTaskConfig, name: str, task: dict, answers: Answers
    ) -> dict[str, Any]:
        kinds = (RIGHT, *ERRORS)
        first: dict[str, list[tuple[int, Pair]]] = {kind: [] for kind in kinds}

        def pairs() -> Iterator[Pair]:  # of all rows they would fill the memory
            for row, predicted, expected in zip(*answers, strict=True):
                for pair in pair_entities(entities_of(expected), entities_of(predicted)):
                    if len(first[pair.kind]) < SHOWN:
                        first[pair.kind].append((row, pair))
                    yield pair

        counts = count_kinds(pairs())
        total = {kind: sum(one[kind] for one in counts.values()) for kind in kinds}
        groups = []
        for kind, says in ERRORS.items():
            examples = []
            for row, pair in first[kind]:
                ranges = self._unit_ranges(row, task["labelling"], config)
                examples.append(self._entity_example(row, pair, ranges))
            if examples:
                title = f"{kind} ({says})"
                groups.append({"title": title, "count": total[kind], "examples": examples})
        expected = sum(total.values()) - total[SPURIOUS]
        return {
            "title": name,
            "says": f"{total[RIGHT]:,} of {expected:,} entities are right.",
            "header": ["label", *kinds],
            "rows": [
                [label, *(f"{one[kind]:,}" for kind in kinds)]
                for label, one in [*counts.items(), ("together", total)]
            ],
            "mistakes": groups,
        }

    def _entity_example(self, row: int, pair: Pair, ranges: list[tuple[int, int]]) -> dict:
        text = self._text(row)

        def place_of(entity: Entity | None) -> tuple[int, int] | None:
            if entity is None or entity.end > len(ranges):  # of no word of its own
                return None
            return ranges[entity.start][0], ranges[entity.end - 1][1]

        def said(entity: Entity | None) -> str:
            if entity is None:
                return "nothing"
            place = place_of(entity)
            there = f"“{text[slice(*place)]}”" if place else "(no word of its own)"
            return f"{there} {entity.label}"

        marks = [
            (*place_of(one), mark)
            for one, mark in ((pair.expected, "expected"), (pair.predicted, "predicted"))
            if place_of(one)
        ]
        says = f"expected: {said(pair.expected)}; found: {said(pair.predicted)}"
        return self._example(row, marks, says)

    def _unit_ranges(
        self, row: int, labelling: str, config: MultiTaskConfig
    ) -> list[tuple[int, int]]:
        """Where the units of a row are in its text, as data/preprocessing.py has found them."""
        text, words = text_and_words(self._row(row))
        if words is not None:
            return words
        prompt = (config.prompts or {}).get("default", "")
        (tokenized,) = tokenize(self.tokenizer, [text], prompt, stride=config.stride)
        return word_ranges(UNITS[labelling](text, tokenized.offsets), tokenized.offsets)

    # Rows

    def _row(self, place: int) -> dict:
        return self.rows[self.answers.datasets[place]][int(self.answers.rows[place])]

    def _text(self, place: int) -> str:
        return text_and_words(self._row(place))[0]

    def _example(self, place: int, marks: list[tuple[int, int, str]], says: str) -> dict[str, Any]:
        parts = marked(self._text(place), marks)
        # The file's name and the line: a page may be passed on, the folders are this machine's.
        source = re.split(r"[/\\]", self._row(place)["source"])[-1]
        return {"parts": parts, "says": printable(says), "source": source}

    # Maps

    def _maps(self, tasks: dict[str, dict]) -> dict[str, Any]:
        chosen = mapped_windows(self.windows, tasks) if self.vectors else {}
        if not chosen:
            return {"maps": None, "texts": []}
        order = sorted({int(place) for places in chosen.values() for place in places})
        number = {place: index for index, place in enumerate(order)}
        rows = self.windows.select(order).select_columns(["dataset", "row"])
        texts = [clipped(text_and_words(self.rows[one["dataset"]][one["row"]])[0]) for one in rows]
        found = []
        for name, places in chosen.items():
            labels = np.asarray(self.windows[name][:])[places]
            maps = {
                when: make_map(np.stack([vectors[int(place)] for place in places]), labels)
                for when, vectors in self.vectors.items()
            }
            found.append(
                {
                    "title": name,
                    "says": said_of_maps(maps, len(places)),
                    "plots": map_plots(
                        maps,
                        name,
                        [tasks[name]["labels"][label] for label in labels],
                        [number[int(place)] for place in places],
                    ),
                }
            )
        says = (
            f"Texts of the {self.split} split, coloured by the label they should get. A map has "
            "the two directions in which its own vectors differ most (principal components): the "
            "directions of two maps have nothing to do with each other, their scale is the same. "
            "What is apart on a map is apart; what is near on it may be apart in the other "
            "dimensions. So the nearest neighbours are counted in all of them."
        )
        return {"maps": {"says": says, "tasks": found}, "texts": texts}


def _is_single_label(task: dict) -> bool:
    of_sentences = task["type"] == "sequence_classification"
    return of_sentences and task["problem_type"] == "single_label_classification"


def _subtitle(tasks: dict[str, dict], results: dict[str, Any]) -> str:
    said = [f"Tasks: {', '.join(tasks)}."]
    for prefix, title in {"train": "training", "eval": "validation", "test": "test"}.items():
        if f"{prefix}_samples" in results:
            said.append(f"{results[f'{prefix}_samples']:,.0f} {title} rows.")
    if "train_runtime" in results:
        part = " (its last part)" if results.get("train_resumed") else ""
        said.append(f"Training{part} took {_time(results['train_runtime'])}.")
    return " ".join(said)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _results(results: dict[str, Any], tasks: dict[str, dict]) -> dict[str, Any] | None:
    titles, rows = results_rows(results, tasks)
    if not titles:
        return None
    return {"header": ["metric", *titles], "rows": [[key, *cells] for key, cells in rows]}


def series(history: list[dict], key: str) -> Series:
    """The steps and values at which a Trainer logged something, but for NaN and infinity."""
    points = [(one["step"], one[key]) for one in history if key in one and "step" in one]
    return [(step, value) for step, value in points if math.isfinite(value)]


def confusion_of(answers: Answers, labels: list[str]) -> np.ndarray:
    """How often each label was predicted where each was expected: `np.ndarray` of int of shape
    `(num_labels, num_labels)`, expected ones down."""
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(counts, (np.asarray(answers.expected), np.asarray(answers.predicted)), 1)
    return counts


def _label_counts(name: str, labels: list[str], answers: Answers) -> dict[str, Any]:
    """Of a multi-label task, what became of each label."""
    expected, predicted = (np.asarray(side, dtype=bool) for side in answers[:0:-1])
    right, missed, spurious = (
        (one & other).sum(0)
        for one, other in (
            (expected, predicted),
            (expected, ~predicted),
            (~expected, predicted),
        )
    )
    wrong = int((expected != predicted).any(1).sum())
    return {
        "title": name,
        "says": f"{wrong:,} of {len(expected):,} sentences have a label too many or too few.",
        "plot": None,
        "header": ["label", "right", "missed", "spurious"],
        "rows": [list(row) for row in zip(labels, right, missed, spurious, strict=True)],
        "mistakes": [],
    }
