"""A model beside its teachers: what each answers on the same rows, its size and its speed."""

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.label_alignment import spans_to_tags
from multitask_encoder.data.labels import has_labels
from multitask_encoder.data.preprocessing import texts_of
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.training.embedding_teacher import load_embedding_teacher
from multitask_encoder.training.lessons import with_label_map
from multitask_encoder.training.metrics import metric_of
from multitask_encoder.training.passes import first_windows, number_of_parameters
from multitask_encoder.training.retention import embed
from multitask_encoder.training.teacher_labels import label
from multitask_encoder.training.teachers import as_teacher, load_teacher

STUDENT = "this model"
TIMED = 128  # texts


def beside_teachers(
    run: RunArguments,
    rows: dict[str, Dataset],
    windows: Dataset,
    taught: list[str],
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
) -> list[dict[str, Any]]:
    """By task its teachers and the model that learned from them: `task`, `model`, `metric` (None
    without labels), `agreement` (None of the model itself), `parameters` and
    `sentences_per_second`.

    Args:
        run (`RunArguments`): its `teachers`.
        rows (`dict[str, Dataset]`): loaded rows of one split, by data set.
        windows (`Dataset`): the same rows preprocessed, of all data sets together.
        taught (`list[str]`): the tasks of which the rows' labels are their teachers'.
        model (`MultiTaskModel`), tokenizer (`PreTrainedTokenizerBase`): after training.
    """
    parts = [part for part in rows.values() if "texts" not in part.column_names]
    texts = texts_of(parts)[:TIMED]
    model.eval()
    found: list[dict[str, Any]] = []

    def add(task: str, name: str, metric: float | None, agreement: float | None, size: int, answer):
        found.append(
            {
                "task": task,
                "model": name,
                "metric": metric,
                "agreement": agreement,
                "parameters": size,
                "sentences_per_second": _speed(answer, texts),
            }
        )

    for name in [name for name in run.teachers if name in model.heads]:
        task, labelled = with_label_map(run, name, model), name not in taught
        student = as_teacher(STUDENT, model, tokenizer, name)
        asked = [part for part in parts if has_labels(name, part)] or parts
        own = [label(part, name, task, [student], STUDENT) for part in asked]
        for folder in run.teachers[name]:
            teacher = load_teacher(folder, name, task)
            teacher.model.to(model.device)
            says = [label(part, name, task, [teacher], folder) for part in asked]
            metric = _score(name, task, says, asked) if labelled else None
            agreement = _score(name, task, own, says)
            add(
                name,
                folder,
                metric,
                agreement,
                number_of_parameters(teacher.model),
                teacher.answers,
            )
        metric = _score(name, task, own, asked) if labelled else None
        add(name, STUDENT, metric, None, number_of_parameters(model), student.answers)
    first = first_windows(windows)
    for name in [name for name in run.teachers if name not in model.heads]:
        (folder,) = run.teachers[name]
        of_embedding = load_embedding_teacher(folder, name, model.device)
        vectors = embed(first["input_ids"][:], model, tokenizer.pad_token_id).numpy()
        cosines = (vectors * np.asarray(first[f"{name}.target"][:])).sum(1)
        agreement = float(np.nanmean(cosines))
        add(name, folder, None, agreement, of_embedding.parameters, of_embedding.vectors)
    return found


def _speed(answer: Callable, texts: list[str]) -> float | None:
    if not texts:  # the split has pairs alone
        return None
    list(answer(texts[:32]))  # warm
    begin = time.perf_counter()
    list(answer(texts))
    return len(texts) / (time.perf_counter() - begin)


def _score(name: str, task: dict, answered: list[Dataset], expected: list[Dataset]) -> float | None:
    """The main metric of answers, where there is something to expect."""
    sides: list[tuple[Any, Any]] = [
        (given, wanted)
        for some, others in zip(answered, expected, strict=True)
        if name in others.column_names
        for given, wanted in zip(some[name], others[name], strict=True)
        if wanted is not None
    ]
    if not sides:
        return None
    kind, metric = kind_of(task), metric_of(task)
    if kind.by_token:
        sides = [_tags(*side) for side in sides]
    elif not kind.numeric:
        met = {name for side in sides for label in side if label for name in kind.names(label)}
        names = [*task["labels"], *sorted(met.difference(task["labels"]))]
        several = task["problem_type"] == "multi_label_classification"
        encode = partial(_marks if several else _id, names)
        sides = [(encode(given), encode(wanted)) for given, wanted in sides]
    predictions, references = ([side[i] for side in sides] for i in (0, 1))
    values = metric().compute(predictions=predictions, references=references)
    return float(values[metric.main])


def _id(names: list[str], given: str | None) -> int:
    return -1 if given is None else names.index(given)  # who says nothing is wrong


def _marks(names: list[str], given: list[str]) -> list[int]:
    return [int(name in given) for name in names]


def _tags(given: list, wanted: list) -> tuple[list[str], list[str]]:
    """Both sides as tags of the same words: of a text, of the pieces that all their spans leave
    whole."""
    if any(isinstance(one, dict) for one in (*given, *wanted)):
        spans = [*given, *wanted]
        ends = sorted({one[key] for one in spans for key in ("start", "end")})
        pieces = list(pairwise(ends))
        return spans_to_tags(given, pieces)[0], spans_to_tags(wanted, pieces)[0]
    known = [(one or "O", other) for one, other in zip(given, wanted, strict=True) if other]
    return [one for one, _ in known], [other for _, other in known]
