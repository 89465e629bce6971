"""Rows with what their teachers say: soft labels to learn from, and labels to measure by.

What a teacher says of words is carried over by their first characters; a word that begins where the
teacher has none is left out.
"""

import logging
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features, concatenate_datasets
from transformers import PreTrainedTokenizerBase

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.caching import fingerprint
from multitask_encoder.data.labels import has_labels, names_of
from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.data.soft_labels import Taught, likeliest, soft_features
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.decoding import UNITS, likeliest_labels, tags_to_spans
from multitask_encoder.modeling.windows import tokenize

from .teachers import Answer, Teacher, as_teacher, ask, load_teacher

logger = logging.getLogger("multitask_encoder.training")

LEAST_KNOWN = 0.5  # of a class's probabilities, without those that label_map drops
ROWS_AT_ONCE = 200  # as many documents of thousands of tokens fit in memory


@dataclass(frozen=True)
class Lesson:
    """A task, and who teaches it.

    Args:
        name (`str`), task (`dict`): the task, as in the model's config, with its `label_map`.
        teachers (`list[Teacher]`): at least one.
        unlabelled_only (`bool`): whether they leave out the rows with a label.
        taught (`Taught`): what they know of it.
    """

    name: str
    task: dict
    teachers: list[Teacher]
    unlabelled_only: bool
    taught: Taught


def plan_lessons(
    run: RunArguments,
    rows: dict[str, Dataset],
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    held: dict[str, dict],
) -> list[Lesson]:
    """What is taught in the training rows: the tasks with `teachers`, and those that the finished
    model which the run starts from is held to. It teaches the rows that have no label of a task,
    and all rows of a task whose labels have changed.

    Args:
        run (`RunArguments`): its `teachers`.
        rows (`dict[str, Dataset]`): loaded training rows by data set.
        model (`MultiTaskModel`), tokenizer (`PreTrainedTokenizerBase`): before training.
        held (`dict[str, dict]`): from `held_tasks`.

    Raises:
        OSError, ValueError: as `load_teacher`.
    """
    lessons: list[Lesson] = []
    for name in [*(name for name in run.teachers if name in model.heads), *held]:
        task = with_label_map(run, name, model)
        grown = name in held and _has_grown(name, model, held)
        itself = name in held and not grown
        if itself:
            teachers = [as_teacher(str(run.model.model), model, tokenizer, name)]
        else:
            folders = run.teachers.get(name) or [str(run.model.model)]
            # The model itself has changed by now: its new labels are untrained.
            others = [
                one for lesson in lessons for one in lesson.teachers if one.model is not model
            ]
            teachers = [load_teacher(folder, name, task, others) for folder in folders]
        taught = taught_by(teachers, task)
        if grown and _has_new_labels_only(name, task, rows, teachers[0].labels):
            taught = replace(taught, new_only=True)
        lessons.append(Lesson(name, task, teachers, itself, taught))
    return lessons


def held_tasks(
    run: RunArguments,
    rows: dict[str, Dataset],
    model: MultiTaskModel,
    old_tasks: dict[str, dict],
) -> dict[str, dict]:
    """The tasks that a finished model is held to while it learns: those without other teachers
    that not all rows label, or whose labels have changed.

    Args:
        run (`RunArguments`): its `teachers`.
        rows (`dict[str, Dataset]`): loaded training rows by data set.
        model (`MultiTaskModel`): before training.
        old_tasks (`dict[str, dict]`): tasks that the model was trained for, as they were.
    """
    return {
        name: task
        for name, task in old_tasks.items()
        if name in model.heads and name not in run.teachers
        if _has_grown(name, model, old_tasks)
        or any(map(partial(_lacks_labels, name), rows.values()))
    }


def _has_grown(name: str, model: MultiTaskModel, old_tasks: dict[str, dict]) -> bool:
    return set(model.config.tasks[name]["labels"]) != set(old_tasks[name]["labels"])


def ask_own_share(run: RunArguments, rows: dict[str, Dataset], lessons: Sequence[Lesson]) -> None:
    """Let this process ask the teachers about its share of the rows, for `teach_rows` to find the
    answers in the cache; of one process, nothing."""
    rank, processes = run.training.process_index, run.training.world_size
    if processes == 1 or not lessons:
        return
    for title, part in rows.items():
        for share in _shares(part, processes)[rank : rank + 1]:
            _teach_share(run, share, lessons, title)
    run.training.distributed_state.wait_for_everyone()


def teach_rows(
    run: RunArguments, rows: dict[str, Dataset], lessons: Sequence[Lesson]
) -> dict[str, Dataset]:
    """The training rows, by data set, with the soft labels of all lessons."""
    rows = {
        title: concatenate_datasets(
            [
                _teach_share(run, share, lessons, title)
                for share in _shares(part, run.training.world_size)
            ]
        )
        for title, part in rows.items()
    }
    for lesson in lessons:
        asked = sum(sum(map(bool, part[f"{lesson.name}.soft"])) for part in rows.values())
        names = " and ".join(teacher.name for teacher in lesson.teachers)
        logger.info("%s is taught by %s in %s rows.", lesson.name, names, f"{asked:,}")
    return rows


def _shares(rows: Dataset, processes: int) -> list[Dataset]:
    """The rows in order, cut for as many processes as they are worth."""
    number = max(1, min(processes, len(rows) // ROWS_AT_ONCE))
    return [rows.shard(number, index, contiguous=True) for index in range(number)]


def _teach_share(
    run: RunArguments, rows: Dataset, lessons: Sequence[Lesson], title: str
) -> Dataset:
    for together in _by_models(lessons):
        models = [teacher.model for teacher in together[0].teachers]
        homes = [next(model.parameters()).device for model in models]
        for model in models:
            model.eval().to(run.training.device)
        rows = teach(rows, together, title)
        for model, home in zip(models, homes, strict=True):
            model.to(home)
    return rows


def _by_models(lessons: Sequence[Lesson]) -> list[list[Lesson]]:
    """The lessons that the same models give, together."""
    found: dict[tuple[int, ...], list[Lesson]] = {}
    for lesson in lessons:
        models = tuple(id(teacher.model) for teacher in lesson.teachers)
        found.setdefault(models, []).append(lesson)
    return list(found.values())


def _has_new_labels_only(
    name: str, task: dict, rows: dict[str, Dataset], old_labels: list[str | None]
) -> bool:
    """Whether the rows have no label that the teacher knows: then they say nothing of these."""
    kind = kind_of(task)
    if kind.numeric:  # every row has all numbers
        return False
    return not any(kind.knows(label, old_labels) for label in names_of(rows.values(), name, task))


def _lacks_labels(name: str, rows: Dataset) -> bool:
    return name not in rows.column_names or any(label is None for label in rows[name])


def taught_by(teachers: list[Teacher], task: dict) -> Taught:
    """A task as these teachers know it: the labels of all of them."""
    labels = {label for teacher in teachers for label in teacher.labels}
    return Taught(
        known=[i for i, label in enumerate(task["labels"]) if label in labels],
        size=len(task["labels"]),
        by_token=kind_of(task).by_token,
        of_classes=task["problem_type"] == "single_label_classification" or kind_of(task).by_token,
        none=task["labels"].index("O") if kind_of(task).by_token else None,
    )


def teach(rows: Dataset, lessons: Sequence[Lesson], title: str) -> Dataset:
    """Loaded rows with the soft labels of all lessons (see data/soft_labels.py): of each the mean
    over its teachers. The result is cached.

    Args:
        rows (`Dataset`): loaded rows of one data set.
        lessons (`Sequence[Lesson]`): given by the same models, which read each text once.
        title (`str`): of the rows, for the progress bar.
    """
    columns, types = {}, {}
    for lesson in lessons:
        kind = kind_of(lesson.task)
        types[lesson.name] = np.float32 if kind.numeric else np.float16
        columns[lesson.name] = soft_features(
            lesson.name, kind.by_token, loaded=True, numeric=kind.numeric
        )

    def soften(batch: dict[str, list]) -> dict[str, list]:
        count = len(next(iter(batch.values())))
        examples = [{key: batch[key][i] for key in batch} for i in range(count)]
        found: dict[str, list] = {}
        for lesson, answers in zip(lessons, _ask_all(lessons, examples), strict=True):
            taught, keys = lesson.taught, list(columns[lesson.name])
            found |= {key: [] for key in keys}
            for index in range(count):
                ranges, values = answers.get(index, ([], np.zeros((0, len(taught.known)))))
                if taught.of_classes:
                    values, ids = likeliest(values, taught.known)
                else:
                    ids = np.tile(taught.known, (len(values), 1))
                found[keys[0]].append(values.astype(types[lesson.name]).ravel())
                found[keys[1]].append(ids.ravel())
                for key in keys[2:]:  # of token tasks
                    found[key].append([start for start, _ in ranges])
        return found

    names = ", ".join(lesson.name for lesson in lessons)
    new = {key: feature for of_task in columns.values() for key, feature in of_task.items()}
    states = [
        (
            lesson.name,
            lesson.task["labels"],
            lesson.unlabelled_only,
            *(one.state for one in lesson.teachers),
        )
        for lesson in lessons
    ]
    return rows.map(
        soften,
        batched=True,
        batch_size=ROWS_AT_ONCE,
        features=Features({**rows.features, **new}),
        desc=f"Asking the teachers of {names}: {title}",
        new_fingerprint=fingerprint(
            rows._fingerprint, states, functions=(teach, ask, tokenize, UNITS["first"])
        ),
    )


def _ask_all(lessons: Sequence[Lesson], examples: list[dict]) -> list[dict[int, Answer]]:
    """Of each lesson the answers by the places of the rows that it teaches."""
    asked = [
        [
            place
            for place, row in enumerate(examples)
            if "texts" not in row
            and not (lesson.unlabelled_only and row.get(lesson.name) is not None)
        ]
        for lesson in lessons
    ]
    union = sorted(set().union(*asked))
    texts = [text_and_words(examples[place])[0] for place in union]
    by_model = zip(*(lesson.teachers for lesson in lessons), strict=True)
    by_lesson = zip(*(ask(teachers, texts) for teachers in by_model), strict=True)
    found = []
    for lesson, places, of_models in zip(lessons, asked, by_lesson, strict=True):
        said = [dict(zip(union, of_model, strict=True)) for of_model in of_models]
        of_each = [[of_model[place] for place in places] for of_model in said]
        means = _mean_answers(lesson.teachers, lesson.task, lesson.taught, of_each)
        found.append(dict(zip(places, means, strict=True)))
    return found


def _mean_answers(
    teachers: list[Teacher], task: dict, taught: Taught, answers: list[list[Answer]]
) -> Iterator[Answer]:
    """Per text the ranges of its units and what its teachers say of each, one column per known
    label: the mean over the teachers that have the unit and know the label. Where they
    cut a text differently, units end where the next begins."""
    carried = [_carrying(teacher, task, taught) for teacher in teachers]
    for of_teachers in zip(*answers, strict=True):
        ends: dict[int, int] = {}
        sums: dict[int, np.ndarray] = {}
        counts: dict[int, np.ndarray] = {}
        for (ranges, values), (carry, known) in zip(of_teachers, carried, strict=True):
            for (start, end), value in zip(ranges, carry(values), strict=True):
                if np.isnan(value[known]).any():
                    continue
                ends.setdefault(start, end)
                sums.setdefault(start, np.zeros(len(taught.known)))[known] += value[known]
                counts.setdefault(start, np.zeros(len(taught.known)))[known] += 1
        starts = sorted(sums)
        means = np.array([sums[start] / counts[start].clip(min=1) for start in starts])
        means = means.reshape(-1, len(taught.known))
        if taught.of_classes:
            means = means / means.sum(1, keepdims=True).clip(min=1e-9)
        nexts = [*starts[1:], math.inf]
        ranges = [(one, int(min(ends[one], nexts[i]))) for i, one in enumerate(starts)]
        yield ranges, means


def _carrying(
    teacher: Teacher, task: dict, taught: Taught
) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """A function from a teacher's answers, of shape `(num_units, its_labels)`, to the task's, of
    shape `(num_units, known)`, and which of these the teacher knows. Labels of one new name are
    added up (of several labels, the largest counts); where the dropped classes together are
    likelier than the rest, the teacher says nothing: NaN."""
    size = len(taught.known)
    column_of = {task["labels"][index]: column for column, index in enumerate(taught.known)}
    places = np.array([column_of.get(label, -1) for label in teacher.labels])
    kept = np.flatnonzero(places >= 0)
    known = np.bincount(places[kept], minlength=size) > 0

    def carry(values: np.ndarray) -> np.ndarray:
        found = np.zeros((len(values), size))
        if task["problem_type"] == "regression":
            found[:, places] = values
            return found
        if taught.of_classes:
            np.add.at(found.T, places[kept], values[:, kept].T)
            rest = found.sum(1, keepdims=True)
            return np.where(rest < LEAST_KNOWN, np.nan, found / rest.clip(min=LEAST_KNOWN))
        np.maximum.at(found.T, places[kept], values[:, kept].T)
        return found

    return carry, known


def with_label_map(run: RunArguments, name: str, model: MultiTaskModel) -> dict:
    """A task as in the model's config, with the run's `label_map`."""
    return {**model.config.tasks[name], "label_map": run.tasks[name].label_map}


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
        answers = _mean_answers(teachers, task, taught, of_each)
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
            functions=(label, ask, tokenize, likeliest_labels, UNITS["first"]),
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
