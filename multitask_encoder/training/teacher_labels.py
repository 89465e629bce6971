"""Labels that teachers give rows without any, to measure a model by."""

from collections.abc import Collection
from statistics import fmean
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.caching import fingerprint
from multitask_encoder.data.labels import has_labels
from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.data.soft_labels import Taught
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.decoding import UNITS, likeliest_labels, tags_to_spans
from multitask_encoder.modeling.windows import tokenize

from .lessons import taught_by, with_label_map
from .teacher_means import mean_answers
from .teachers import ROWS_AT_ONCE, Teacher, ask, load_teacher


def label_unlabelled(
    run: RunArguments, rows: dict[str, dict[str, Dataset]], model: MultiTaskModel
) -> tuple[dict[str, dict[str, Dataset]], dict[str, list[str]]]:
    """The rows by split and data set, where a task of `teachers` that no row of a measured split
    labels has the labels that its teachers give; and, by split, these tasks.

    Raises:
        OSError, ValueError: as `load_teacher`.
    """
    asked = {"validation": run.training.do_eval, "test": run.training.do_test}
    measured = [split for split, wanted in asked.items() if wanted and split in rows]
    if run.training.do_inspect:
        measured = []
    rows = {split: dict(parts) for split, parts in rows.items()}
    filled: dict[str, list[str]] = {}
    for name in [name for name in run.teachers if name in model.heads]:
        unlabelled = [split for split in measured if _is_for_teachers(name, rows[split].values())]
        if not unlabelled:
            continue
        task, folders = with_label_map(run, name, model), run.teachers[name]
        teachers = [load_teacher(folder, name, task) for folder in folders]
        for teacher in teachers:
            teacher.model.to(run.training.device)
        for split in unlabelled:
            for title, part in rows[split].items():
                if "texts" not in part.column_names:
                    rows[split][title] = label(part, name, task, teachers, f"{title} {split}")
            filled.setdefault(split, []).append(name)
    return rows, filled


def _is_for_teachers(name: str, parts: Collection[Dataset]) -> bool:
    """Whether no row of a split has a label of a task, and some could."""
    could = any("texts" not in part.column_names for part in parts)
    return could and not any(has_labels(name, part) for part in parts)


def label(rows: Dataset, name: str, task: dict, teachers: list[Teacher], title: str) -> Dataset:
    """Loaded rows with the labels that the teachers of a task give them, in place of any that they
    have. The result is cached.

    Args:
        rows (`Dataset`): loaded rows of one data set, of text or words.
        name (`str`), task (`dict`): the task, as in the model's config.
        teachers (`list[Teacher]`): at least one.
        title (`str`): of the rows, for the progress bar.
    """
    taught, form = taught_by(teachers, task), "tokens" if "tokens" in rows.column_names else "text"
    limits = _limits(teachers, [task["labels"][index] for index in taught.known])

    def labelled(batch: dict[str, list]) -> dict[str, list]:
        joined = [text_and_words({form: one}) for one in batch[form]]
        texts = [text for text, _ in joined]
        of_each = [teacher.answers(texts) for teacher in teachers]
        answers = mean_answers(teachers, task, taught, of_each)
        return {
            name: [
                _label(task, taught, ranges, values, words, limits)
                for (_, words), (ranges, values) in zip(joined, answers, strict=True)
            ]
        }

    feature = kind_of(task).loaded_feature(form)
    return rows.map(
        labelled,
        batched=True,
        batch_size=ROWS_AT_ONCE,
        features=Features({**rows.features, name: feature}),
        desc=f"Asking the teachers of {name}: {title}",
        new_fingerprint=fingerprint(
            rows._fingerprint,
            *(name, task["labels"]),
            [teacher.state for teacher in teachers],
            functions=(label, ask, mean_answers, tokenize, likeliest_labels, UNITS["first"]),
        ),
    )


def _limits(teachers: list[Teacher], labels: list[str]) -> list[float]:
    """Above which mean probability each of several labels is one, as the teachers themselves
    answer: the mean of their thresholds."""
    of_labels = []
    for label in labels:
        of_teachers = [
            teacher.settings.get("thresholds", {}).get("f1", {}).get(own, 0.5)
            for teacher in teachers
            for own, name in zip(teacher.settings["labels"], teacher.labels, strict=True)
            if name == label
        ]
        of_labels.append(fmean(of_teachers))
    return of_labels


def _label(
    task: dict,
    taught: Taught,
    ranges: list[tuple[int, int]],
    values: np.ndarray,
    words: list[tuple[int, int]] | None,
    limits: list[float],
) -> Any:
    """The loaded label of one text; `limits` are those of several labels, see `_limits`."""
    labels = [task["labels"][index] for index in taught.known]
    if not taught.by_token and not len(values):  # they say nothing
        return None
    if task["problem_type"] == "regression":
        return values[0].tolist()
    if task["problem_type"] == "multi_label_classification":
        trio = zip(labels, values[0], limits, strict=True)
        return [name for name, value, limit in trio if value > limit]
    if not taught.by_token:
        return labels[values[0].argmax()]
    logits = torch.from_numpy(values).clamp(min=1e-9).log()[None]
    there = torch.ones(logits.shape[:2], dtype=torch.bool)
    chosen = likeliest_labels(logits, there, labels)[0].tolist() if ranges else []
    tags = [labels[index] for index in chosen]
    if words is None:
        return [
            {"start": start, "end": end, "label": entity}
            for start, end, entity, _ in tags_to_spans(tags, ranges)
        ]
    by_start = {start: tag for (start, _), tag in zip(ranges, tags, strict=True)}
    return [by_start.get(start) for start, _ in words]
