"""Finished models that teach: what they say of the training rows, before training begins.

A teacher is a finished model of this package, or a folder or Hub id that
`AutoModelForSequenceClassification` or `AutoModelForTokenClassification` loads. It reads texts with
its own tokenizer and in its own windows. What it says of words is carried over by their first
characters; a word that begins where the teacher has none is left out.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features
from datasets.fingerprint import Hasher
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.caching import fingerprint
from multitask_encoder.data.label_alignment import first_tokens
from multitask_encoder.data.labels import names_of
from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.data.soft_labels import Taught, likeliest, soft_features
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.inference.loading import (
    check_folder,
    load_finished,
    load_tokenizer,
    most_tokens,
)
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel
from multitask_encoder.modeling.batching import length_batches, pad
from multitask_encoder.modeling.decoding import UNITS, cutting
from multitask_encoder.modeling.modeling_multitask import MultiTaskOutput
from multitask_encoder.modeling.windows import tokenize

from .passes import MAX_TOKENS, hash_of_weights

logger = logging.getLogger("multitask_encoder.training")

ROWS_AT_ONCE = 200  # as many documents of thousands of tokens fit in memory
PLAIN = {
    "sequence_classification": AutoModelForSequenceClassification,
    "token_classification": AutoModelForTokenClassification,
}


class _Plain(nn.Module):
    """A stock model of one task, which answers as a `MultiTaskModel` does."""

    def __init__(self, model: nn.Module, task: str):
        super().__init__()
        self.model, self.task = model, task

    def forward(self, input_ids, attention_mask, tasks) -> MultiTaskOutput:
        output = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return MultiTaskOutput(logits={self.task: output.logits})


@dataclass
class Teacher:
    """One model, and its task that teaches.

    Args:
        name (`str`): as the run names it.
        model (`nn.Module`): answers `logits` by task.
        tokenizer (`PreTrainedTokenizerBase`): the model's.
        task (`str`): the task's name in the model.
        settings (`dict`): of the task, as in a model's config.
        prompt (`str`), stride (`int`, *optional*), all_windows (`bool`): how the model reads texts.
    """

    name: str
    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    task: str
    settings: dict
    prompt: str = ""
    stride: int | None = None
    all_windows: bool = False

    @property
    def state(self) -> str:
        """A hash of all that its answers depend on."""
        hasher = Hasher()
        hasher.update(hash_of_weights(self.model))
        hasher.update(self.tokenizer.backend_tokenizer.to_str())
        hasher.update([self.tokenizer.model_max_length, self.task, self.settings])
        hasher.update([self.prompt, self.stride, self.all_windows])
        return hasher.hexdigest()

    @torch.inference_mode()
    def answers(self, texts: list[str]) -> Iterator[tuple[list[int], np.ndarray]]:
        """For each text the first characters of its units (of a sentence task, one unit at 0), and
        their probabilities, of shape `(num_units, num_labels)`; of a regression the values."""
        documents = tokenize(self.tokenizer, texts, self.prompt, stride=self.stride)
        by_token = "labelling" in self.settings
        places = [
            (number, window)
            for number, document in enumerate(documents)
            for window in document.windows[: None if by_token or self.all_windows else 1]
        ]
        lengths = [documents[number].length_of(window) for number, window in places]
        logits: list[Any] = [None] * len(places)
        device = next(self.model.parameters()).device
        for batch in length_batches(lengths, MAX_TOKENS):
            sequences = [documents[places[i][0]].input_ids(places[i][1]) for i in batch]
            ids, mask = pad(sequences, self.tokenizer.pad_token_id or 0)
            output = self.model(
                input_ids=ids.to(device), attention_mask=mask.to(device), tasks=[self.task]
            )
            for index, answer in zip(batch, output.logits[self.task].float().cpu(), strict=True):
                number, window = places[index]
                shift = len(documents[number].prefix) - window.start
                answered = slice(window.first + shift, window.last + shift)
                logits[index] = answer[answered] if by_token else answer[None]
        of_texts: list[list[torch.Tensor]] = [[] for _ in texts]
        for (number, _), answer in zip(places, logits, strict=True):
            of_texts[number].append(answer)
        for text, document, answers in zip(texts, documents, of_texts, strict=True):
            if not by_token:
                yield [0], self._probabilities(torch.cat(answers).mean(0, keepdim=True))
                continue
            labelling, *marks = cutting(self.settings)
            units = UNITS[labelling](text, document.offsets, *marks)
            count = max((unit for unit in units if unit is not None), default=-1) + 1
            first = first_tokens(units, count)
            starts = [document.offsets[token][0] for token in first]
            yield starts, self._probabilities(torch.cat(answers)[first])

    def _probabilities(self, logits: torch.Tensor) -> np.ndarray:
        kind = self.settings.get("problem_type")
        if kind == "regression":
            return logits.numpy()
        if kind == "multi_label_classification":
            return logits.sigmoid().numpy()
        return logits.softmax(-1).numpy()


def load_teacher(name: str, task_name: str, task: dict) -> Teacher:
    """The teacher of a task.

    Args:
        name (`str`): a folder or Hub id.
        task_name (`str`), task (`dict`): the run's task, as in its model's config.

    Raises:
        OSError: there is no such model, or one of its files can't be read.
        ValueError: it has no task of this type, or labels that the run's task lacks.
    """
    where = f"The teacher {name!r} of task {task_name!r}"
    config = config_of(name, where)
    if config.model_type == MultiTaskConfig.model_type:
        teacher = _of_ours(name, task_name, task, where)
    else:
        teacher = _of_plain(name, config, task, where)
    labels = teacher.settings["labels"]
    if task["problem_type"] == "regression":
        if len(labels) != len(task["labels"]):
            raise ValueError(
                f"{where} should give {len(task['labels'])} numbers. Found {len(labels)}."
            )
    elif missing := [label for label in labels if label not in task["labels"]]:
        shown = ", ".join(task["labels"][:20]) + (", ..." if len(task["labels"]) > 20 else "")
        raise ValueError(f"{where} should have labels of the task: {shown}. Found {missing[0]!r}.")
    teacher.model.eval()
    return teacher


def labels_of_teacher(name: str, task_name: str, task: dict) -> list[str]:
    """The labels that a teacher knows of a task, by its config alone. Raises as `load_teacher`."""
    where = f"The teacher {name!r} of task {task_name!r}"
    config = config_of(name, where)
    if config.model_type == MultiTaskConfig.model_type:
        return config.tasks[_task_in(config, task_name, task, where)]["labels"]
    return _labels_in(config)


def config_of(name: str, where: str) -> Any:
    """The config of a teacher, which messages call `where`. Raises an OSError if there is none."""
    check_folder(name)
    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # damaged files raise all kinds of errors
        raise OSError(f"{where} can't be loaded: {str(error).strip().splitlines()[0]}") from error


def _labels_in(config: PreTrainedConfig) -> list[str]:
    return [config.id2label[index] for index in range(config.num_labels)]


def _task_in(config: MultiTaskConfig, name: str, task: dict, where: str) -> str:
    """The name of the task that teaches: the same, or that of the only one of its kind."""

    def kind(task: dict) -> tuple[str, str]:
        return task["type"], task.get("problem_type") or "single_label_classification"

    same = [one for one, known in config.tasks.items() if kind(known) == kind(task)]
    if name not in same and len(same) != 1:
        found = ", ".join(f"{one} ({known['type']})" for one, known in config.tasks.items())
        raise ValueError(
            f"{where} should have a task of that name, or a single one of its type and "
            f"problem_type. Found {found}."
        )
    return name if name in same else same[0]


def _of_ours(name: str, task_name: str, task: dict, where: str) -> Teacher:
    model, tokenizer = load_finished(name)
    return _as_teacher(name, model, tokenizer, _task_in(model.config, task_name, task, where))


def _of_plain(name: str, config: Any, task: dict, where: str) -> Teacher:
    kind = getattr(config, "problem_type", None) or "single_label_classification"
    wanted = task.get("problem_type") or "single_label_classification"
    if task["type"] == "sequence_classification" and kind != wanted:
        raise ValueError(f"{where} should have the problem_type {wanted}. Found {kind}.")
    try:
        model, report = PLAIN[task["type"]].from_pretrained(
            name,
            trust_remote_code=False,
            use_safetensors=True,
            dtype="float32",
            output_loading_info=True,
        )
    except Exception as error:  # damaged files raise all kinds of errors
        raise OSError(f"{where} can't be loaded: {str(error).strip().splitlines()[0]}") from error
    if report["missing_keys"]:
        raise ValueError(
            f"{where} should be a finished model of type {task['type']}. Its weights lack "
            f"{sorted(report['missing_keys'])[0]}."
        )
    settings = {
        "type": task["type"],
        "problem_type": wanted,
        "labels": _labels_in(config),
    }
    if task["type"] == "token_classification":
        settings["labelling"] = "all"
    tokenizer = load_tokenizer(name)
    tokenizer.model_max_length = min(
        tokenizer.model_max_length, most_tokens(model.base_model, config) or math.inf
    )
    return Teacher(name, _Plain(model, "task"), tokenizer, "task", settings)


def teach_rows(
    run: RunArguments,
    rows: dict[str, Dataset],
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    old_tasks: dict[str, dict],
) -> tuple[dict[str, Dataset], dict[str, Taught]]:
    """The training rows with soft labels, and the tasks that have some: those with `teachers`, and
    those of the finished model that the run starts from. It teaches the rows that have no label of
    a task, and all rows of a task that has got new labels, of which it says nothing.

    Args:
        run (`RunArguments`): its `teachers`.
        rows (`dict[str, Dataset]`): loaded training rows by data set.
        model (`MultiTaskModel`), tokenizer (`PreTrainedTokenizerBase`): before training.
        old_tasks (`dict[str, dict]`): tasks that the model was trained for, as they were.

    Raises:
        OSError, ValueError: as `load_teacher`.
    """
    own = [name for name in old_tasks if name in model.heads and name not in run.teachers]
    sizes = {name: len(model.config.tasks[name]["labels"]) for name in own}
    grown = [name for name in own if sizes[name] > len(old_tasks[name]["labels"])]
    unlabelled = [name for name in own if any(map(partial(_lacks_labels, name), rows.values()))]
    own = [name for name in own if name in grown or name in unlabelled]
    taught = {}
    home, device = model.device, run.training.device
    for name in [*(name for name in run.teachers if name in model.heads), *own]:
        task = model.config.tasks[name]
        folders = run.teachers.get(name) or [run.model.model]
        if name in own and name not in grown:
            teachers = [_as_teacher(folders[0], model, tokenizer, name)]
        else:
            teachers = [load_teacher(folder, name, task) for folder in folders]
        for teacher in teachers:
            teacher.model.eval().to(device)
        rows = {
            title: teach(part, name, task, teachers, name in own and name not in grown, title)
            for title, part in rows.items()
        }
        taught[name] = taught_by(teachers, task)
        if name in grown and _has_new_labels_only(name, task, rows, old_tasks[name]["labels"]):
            taught[name] = replace(taught[name], new_only=True)
        asked = sum(sum(map(bool, part[f"{name}.soft"])) for part in rows.values())
        logger.info("%s is taught by %s in %s rows.", name, " and ".join(folders), f"{asked:,}")
    model.to(home)
    return rows, taught


def _has_new_labels_only(
    name: str, task: dict, rows: dict[str, Dataset], old_labels: list[str]
) -> bool:
    """Whether the rows have no label that the teacher knows: then they say nothing of these."""
    kind = kind_of(task)
    return not any(kind.knows(label, old_labels) for label in names_of(rows.values(), name, task))


def _lacks_labels(name: str, rows: Dataset) -> bool:
    return name not in rows.column_names or any(label is None for label in rows[name])


def _as_teacher(
    name: str, model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase, task: str
) -> Teacher:
    config = model.config
    return Teacher(
        name,
        model,
        tokenizer,
        task,
        config.tasks[task],
        (config.prompts or {}).get("default", ""),
        config.stride,
        config.sentence_windows == "mean",
    )


def taught_by(teachers: list[Teacher], task: dict) -> Taught:
    """A task as these teachers know it: the labels of all of them."""
    labels = {label for teacher in teachers for label in teacher.settings["labels"]}
    numeric = task["problem_type"] == "regression"
    return Taught(
        known=[i for i, label in enumerate(task["labels"]) if numeric or label in labels],
        size=len(task["labels"]),
        by_token=kind_of(task).by_token,
        of_classes=task["problem_type"] == "single_label_classification" or kind_of(task).by_token,
        none=task["labels"].index("O") if kind_of(task).by_token else None,
    )


def teach(
    rows: Dataset, name: str, task: dict, teachers: list[Teacher], unlabelled_only: bool, title: str
) -> Dataset:
    """Loaded rows with the soft labels of one task (see data/soft_labels.py): the mean over its
    teachers. The result is cached.

    Args:
        rows (`Dataset`): loaded rows of one data set.
        name (`str`), task (`dict`): the task, as in the model's config.
        teachers (`list[Teacher]`): at least one.
        unlabelled_only (`bool`): leave out the rows with a label.
        title (`str`): of the rows, for the progress bar.
    """
    taught = taught_by(teachers, task)
    keys = list(soft_features(name, taught.by_token, loaded=True))

    def soften(batch: dict[str, list]) -> dict[str, list]:
        columns: dict[str, list] = {key: [] for key in keys}
        count = len(next(iter(batch.values())))
        examples = [{key: batch[key][i] for key in batch} for i in range(count)]
        asked = [
            index
            for index, row in enumerate(examples)
            if "texts" not in row and not (unlabelled_only and row.get(name) is not None)
        ]
        texts = [text_and_words(examples[index])[0] for index in asked]
        answers = dict(zip(asked, _mean_answers(teachers, task, taught, texts), strict=True))
        for index in range(count):
            starts, values = answers.get(index, ([], np.zeros((0, len(taught.known)))))
            if taught.of_classes:
                values, ids = likeliest(values, taught.known)
            else:
                ids = np.tile(taught.known, (len(values), 1))
            columns[keys[0]].append(values.astype(np.float16).ravel())
            columns[keys[1]].append(ids.ravel())
            for key in keys[2:]:  # of token tasks
                columns[key].append(starts)
        return columns

    return rows.map(
        soften,
        batched=True,
        batch_size=ROWS_AT_ONCE,
        features=Features({**rows.features, **soft_features(name, taught.by_token, loaded=True)}),
        desc=f"Asking the teachers of {name}: {title}",
        new_fingerprint=fingerprint(
            rows._fingerprint,
            *(name, task["labels"], unlabelled_only),
            [teacher.state for teacher in teachers],
            functions=(teach, tokenize, UNITS["first"]),
        ),
    )


def _mean_answers(
    teachers: list[Teacher], task: dict, taught: Taught, texts: list[str]
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Per text the starts of its units and what its teachers say of each, one column per known
    label: the mean over the teachers that have the unit and know the label."""
    column_of = {index: column for column, index in enumerate(taught.known)}
    numeric = task["problem_type"] == "regression"
    columns = [
        list(range(len(taught.known)))
        if numeric
        else [column_of[task["labels"].index(label)] for label in teacher.settings["labels"]]
        for teacher in teachers
    ]
    for of_teachers in zip(*(teacher.answers(texts) for teacher in teachers), strict=True):
        sums: dict[int, np.ndarray] = {}
        counts: dict[int, np.ndarray] = {}
        for (starts, values), places in zip(of_teachers, columns, strict=True):
            for start, value in zip(starts, values, strict=True):
                sums.setdefault(start, np.zeros(len(taught.known)))[places] += value
                counts.setdefault(start, np.zeros(len(taught.known)))[places] += 1
        starts = sorted(sums)
        means = np.array([sums[start] / counts[start].clip(min=1) for start in starts])
        means = means.reshape(-1, len(taught.known))
        if taught.of_classes:
            means = means / means.sum(1, keepdims=True).clip(min=1e-9)
        yield starts, means
