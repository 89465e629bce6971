"""Loads the model a run starts from: a pretrained encoder with new heads, or a finished model.

Whatever can't be loaded raises an OSError or ValueError with a one-line message.
"""

import logging
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedTokenizerBase

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.arguments.tasks import BALANCED, MODEL_KEYS, TaskArguments
from multitask_encoder.data.labels import collect_labels, names_of, renamed_labels
from multitask_encoder.data.task_kinds import kind_of, tags_of
from multitask_encoder.data.word_marks import word_marks
from multitask_encoder.inference.loading import (
    check_folder,
    load_finished_model,
    load_tokenizer,
)
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel
from multitask_encoder.modeling.configuration_multitask import FITTED, WEIGHTS
from multitask_encoder.modeling.library_errors import first_line
from multitask_encoder.modeling.windows import check_tokenizer, limit_length

from .teacher_config import labels_of_teacher, units_of_teacher

logger = logging.getLogger("multitask_encoder")

# What spreadsheets and data frames write for a cell without a value.
BLANKS = {"nan", "null", "n/a", "#n/a", "<na>", "nat"}
# Keys of a finished model's task that stay unless the run sets them.
KEPT_KEYS = ("labels", "labelling", "pooling", "begin_marks", "inner_marks", "class_weights")


def load_model(
    run: RunArguments, rows: dict[str, dict[str, Dataset]]
) -> tuple[PreTrainedTokenizerBase, MultiTaskModel]:
    """A new model on the run's encoder, or a finished one with the run's heads.

    Args:
        run (`RunArguments`): its `model` and `tasks`.
        rows (`dict[str, dict[str, Dataset]]`): loaded rows by split and data set; labels are
            collected from `train`.

    Raises:
        OSError: there is no such encoder or model, or one of its files can't be read.
        ValueError: one of its files is invalid, or a task has no labels.
    """
    finished = finished_config(run)
    tasks = {name: _task_config(name, task, run) for name, task in run.tasks.items()}
    for name, task in (finished.tasks if finished else {}).items():
        for key in KEPT_KEYS:
            if name in tasks and key in task:
                tasks[name].setdefault(key, task[key])
    for name, task in tasks.items():
        if run.tasks[name].problem_type == "regression":
            task.setdefault("labels", [name])
    if "train" in rows:
        training_rows = _training_rows(run, rows)
        old = finished.tasks if finished and run.training.do_train else {}
        for name in [name for name in old if name in tasks and "labels" in old[name]]:
            _rename_labels(tasks[name], name, run.tasks[name], old[name]["labels"])
            if run.tasks[name].labels is None:
                _add_new_labels(tasks[name], name, training_rows)
        for name, folders in run.teachers.items():
            _add_labels(tasks[name], name, training_rows, folders, run.tasks[name].label_map)
        labels = collect_labels(training_rows, tasks)
        new = [name for name in tasks if finished is None or name not in finished.tasks]
        for name, task in tasks.items():
            task["labels"] = labels[name]
            if run.tasks[name].labels is None:
                _say_blanks(name, labels[name] or [])
            if name in new and kind_of(task).by_token:
                task |= _units(task, name, training_rows, run.teachers.get(name, []))
    if finished:
        _keep_fitted(run, tasks, finished)
        return _load_finished(run, tasks, finished)

    encoder = Path(run.model.encoder)
    if not encoder.exists() and encoder.parts[0] == "backbones":
        raise FileNotFoundError(
            f"No encoder {encoder}. To fetch it: multitask-encoder get-backbone {encoder.name}"
        )
    check_folder(run.model.encoder)
    model = MultiTaskModel.from_backbone(
        run.model.encoder,
        tasks=tasks,
        revision=run.model.revision,
        dtype="float32",  # the weights that training adds small steps to
        attn_implementation=run.model.attn_implementation,
        encoder_dropout=_encoder_dropout(run),
        **_fields(run, ("pooling", "normalize", "head_dropout")),
    )
    return _load_tokenizer(run.model.encoder, run.model.revision, model, run), model


def _keep_fitted(run: RunArguments, tasks: dict[str, dict], finished: MultiTaskConfig) -> None:
    """Keep what was fitted to the heads that stay as they are; training drops it. A run may ask for
    another share of false alarms."""
    for name, task in finished.tasks.items():
        if name not in tasks:
            continue
        if {*(tasks[name].get("labels") or ())} == {*(task.get("labels") or ())}:
            tasks[name] |= {key: task[key] for key in FITTED if key in task}
            share = run.tasks[name].out_of_scope
            if share and "out_of_scope" in task:
                tasks[name]["out_of_scope"] = {**task["out_of_scope"], "false_alarms": share}


def _encoder_dropout(run: RunArguments) -> float | None:
    """As the run sets it, or 0 where a task holds the embedding: noise would count as a change."""
    holds = any(task.loss == "retention" for task in run.tasks.values())
    return 0.0 if run.model.encoder_dropout is None and holds else run.model.encoder_dropout


def _fields(run: RunArguments, keys: Iterable[str]) -> dict[str, Any]:
    """These fields of the model's config, with how the run reads long texts, and its prompt."""
    given: dict[str, Any] = {key: getattr(run.model, key) for key in keys}
    given |= {"stride": run.data.stride, "sentence_windows": run.data.sentence_windows}
    if run.model.prompt:
        given["prompts"] = {"default": run.model.prompt}
    return {key: value for key, value in given.items() if value is not None}


def _training_rows(run: RunArguments, rows: dict[str, dict[str, Dataset]]) -> list[Dataset]:
    """The training rows, and those cut off for other splits: the labels must not depend on the
    cut."""
    cut_off = [
        rows[split][name]
        for name, source in run.datasets.items()
        for split in ("validation", "test")
        if source.arguments.fraction(split) is not None and name in rows.get(split, {})
    ]
    return [*rows["train"].values(), *cut_off]


def _task_config(name: str, task: TaskArguments, run: RunArguments) -> dict:
    """The task in the model's config."""
    given = {key: getattr(task, key) for key in MODEL_KEYS}
    if task.labels_tokens:
        given["labelling"] = run.data.labelling
    if task.class_weights == BALANCED:  # until the rows are tokenized
        given["class_weights"] = None
    weights = {key: given[key] for key in WEIGHTS}  # which may be 0
    return {**{key: value for key, value in given.items() if value}, **weights}


def _rename_labels(task: dict, name: str, arguments: TaskArguments, old: list[str]) -> None:
    """Call the labels of a finished model's task, `old`, as its `label_map` says, and those in its
    class weights.

    Raises:
        ValueError: a new name is one that is renamed, too: the labels may have been renamed before.
    """
    label_map = arguments.label_map
    if not label_map:
        return
    for label, new in label_map.items():
        if new is not None and label_map.get(new, new) != new and label != new:
            raise ValueError(
                f"label_map of task {name!r} should not rename to a label that it renames, as a "
                f"finished model may have either. Found {label!r}, {new!r} and {label_map[new]!r}."
            )
    renamed = renamed_labels(old, {**task, "label_map": label_map})
    if weights := task.get("class_weights"):
        named = dict(zip(old, renamed, strict=True))
        weights = {named.get(label, label): value for label, value in weights.items()}
        task["class_weights"] = {label: value for label, value in weights.items() if label}
    if arguments.labels is None:
        task["labels"] = list(dict.fromkeys(label for label in renamed if label is not None))


def _add_new_labels(task: dict, name: str, rows: list[Dataset]) -> None:
    """Give a task of a finished model the labels that it lacks, after those that it has."""
    kind = kind_of(task)
    if kind.numeric:
        return
    found = names_of(rows, name, task)
    new = sorted(label for label in found if not kind.knows(label, task["labels"]))
    if new:
        task["labels"] = [*task["labels"], *(tags_of(new) if kind.by_token else new)]
        logger.info("New labels of %s beside those it has: %s.", name, ", ".join(new))


def _add_labels(
    task: dict,
    name: str,
    rows: list[Dataset],
    teachers: list[str],
    label_map: dict[str, str | None] | None,
) -> None:
    """Give a task the labels of its rows and those that its teachers know, unless it has some."""
    kind = kind_of(task)
    if task.get("labels") or kind.numeric:
        return
    mapped = {**task, "label_map": label_map}
    known = chain.from_iterable(labels_of_teacher(one, name, mapped) for one in teachers)
    task["labels"] = kind.collected(name, {*kind.names_in(known), *names_of(rows, name, task)})


def _say_blanks(name: str, labels: list[str]) -> None:
    """Log the labels that are rather none."""
    for label in labels:
        if label.lower() in BLANKS:
            logger.warning(
                "The label %r of %s looks like a missing one: label_map: {%r: null} leaves it out.",
                *(label, name, label),
            )


def _units(task: dict, name: str, rows: list[Dataset], teachers: list[str]) -> dict[str, str]:
    """How a new task cuts texts into words: as its rows do, or where none has a label, as the first
    of its teachers that says so."""
    if not any(name in part.column_names and any(part[name]) for part in rows):
        for teacher in teachers:
            if units := units_of_teacher(teacher, name, task):
                return units | ({"labelling": task["labelling"]} if "labelling" in task else {})
    return word_marks(rows, name)


def finished_config(run: RunArguments) -> MultiTaskConfig | None:
    """The config of the finished model that a run starts from; None if it starts from an encoder.
    Raises as `load_model`."""
    name_or_path = run.model.model
    if not name_or_path:
        return None
    check_folder(name_or_path)
    try:
        config = MultiTaskConfig.from_pretrained(name_or_path)
    except (OSError, ValueError) as error:
        raise OSError(f"Can't load model {name_or_path!r}: {first_line(error)}") from error
    if not config.tasks:
        raise ValueError(f"{name_or_path} has no config.json of a finished model.")
    return config


def _load_finished(
    run: RunArguments, tasks: dict[str, dict], known: MultiTaskConfig
) -> tuple[PreTrainedTokenizerBase, MultiTaskModel]:
    # Fields that the run doesn't set stay as they were.
    keys = ("pooling", "normalize", "head_dropout")
    given = {key for key in keys if run.given.get(key) is not None}
    fields = _fields(run, given)
    if "prompts" in fields:
        fields["prompts"] = {**(known.prompts or {}), **fields["prompts"]}
    sources = {}
    for name, task in tasks.items():
        old = known.tasks.get(name, {}).get("labels")
        if not old or task["labels"] == old:
            continue
        label_map = run.tasks[name].label_map if run.training.do_train else None
        renamed = renamed_labels(old, {**task, "label_map": label_map})
        kept = dict.fromkeys(label for label in renamed if label is not None)
        if lacking := [label for label in kept if label not in task["labels"]]:
            hint = "" if kind_of(task).numeric else "; label_map renames and drops them"
            raise ValueError(
                f"tasks.{name}.labels should include those of {run.model.model}{hint}. Lacking: "
                f"{', '.join(lacking)}."
            )
        sources[name] = renamed
    config = MultiTaskConfig.from_pretrained(run.model.model, tasks=tasks, **fields)
    if run.model.encoder_dropout is not None:
        config.set_encoder_dropout(run.model.encoder_dropout)
    changed = {}
    for name in sources:
        task = config.tasks[name]
        changed[name] = task["labels"], task.pop("class_weights", None)
        task["labels"] = known.tasks[name]["labels"]
    model = load_finished_model(
        run.model.model,
        new_tasks=[name for name in tasks if name not in known.tasks],
        config=config,
        attn_implementation=run.model.attn_implementation,
    )
    for name, (labels, weights) in changed.items():
        _change_head(model, name, labels, sources[name])
        if weights:
            model.set_of_labels("class_weights", {name: weights})
        if moments := model.config.tasks[name].get("standardization"):
            model.set_of_labels("standardization", {name: moments})
    return _load_tokenizer(run.model.model, None, model, run), model


def _change_head(
    model: MultiTaskModel, name: str, labels: list[str], renamed: list[str | None]
) -> None:
    """Give a head other labels: those that it has, by their names in `renamed`, keep their weights,
    and those that become one their mean."""
    head = model.heads[name]
    changed = nn.Linear(head.classifier.in_features, len(labels))
    model._init_weights(changed)
    known = model.config.tasks[name]["labels"]
    with torch.no_grad():
        for row, label in enumerate(labels):
            old = [index for index, new in enumerate(renamed) if new == label]
            if label == "O" and head.reads_tokens:  # not the mean with dropped types
                old = [known.index(label)]
            if old:
                changed.weight[row] = head.classifier.weight[old].mean(0)
                changed.bias[row] = head.classifier.bias[old].mean()
    head.classifier = changed
    model.config.tasks[name]["labels"] = labels


def _load_tokenizer(
    name_or_path: str, revision: str | None, model: MultiTaskModel, run: RunArguments
) -> PreTrainedTokenizerBase:
    tokenizer = load_tokenizer(name_or_path, revision)
    check_tokenizer(tokenizer, model.config)
    limit_length(tokenizer, model.config.encoder_config, model.encoder)
    if run.data.max_length is not None:
        if run.data.max_length > tokenizer.model_max_length:
            raise ValueError(
                f"max_length should be at most {tokenizer.model_max_length}, the limit of "
                f"{name_or_path!r}. Found {run.data.max_length}."
            )
        # Saved with the model, so that it reads long texts as it did in training.
        tokenizer.model_max_length = run.data.max_length
    return tokenizer
