"""Finished models that teach: loaded, and asked about texts.

A teacher is a finished model of this package, or a folder or Hub id that
`AutoModelForSequenceClassification` or `AutoModelForTokenClassification` loads. It reads texts with
its own tokenizer and in its own windows, and answers by ranges of characters.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from datasets.fingerprint import Hasher
from torch import nn
from transformers import PreTrainedTokenizerBase

from multitask_encoder.data.label_alignment import first_tokens, word_ranges
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.inference.loading import load_finished, load_tokenizer
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel
from multitask_encoder.modeling.batching import length_batches, pad
from multitask_encoder.modeling.decoding import UNITS, cutting
from multitask_encoder.modeling.library_errors import first_line
from multitask_encoder.modeling.modeling_multitask import MultiTaskOutput
from multitask_encoder.modeling.windows import TokenizedText, limit_length, tokenize

from .passes import MAX_TOKENS, hash_of_weights
from .teacher_config import (
    PLAIN,
    UNIT_KEYS,
    check_problem_type,
    config_of,
    labels_in,
    new_names,
    task_in,
)

logger = logging.getLogger("multitask_encoder.training")

ROWS_AT_ONCE = 200  # as many documents of thousands of tokens fit in memory
# The ranges of a text's units, as start and end (a sentence task has one unit, the text), and their
# probabilities, of shape `(num_units, num_labels)`; of a regression the values.
Answer = tuple[list[tuple[int, int]], np.ndarray]


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
        labels (`list[str]`): what the run's task calls each of the model's labels; None for those
            that its `label_map` drops.
        prompt (`str`), stride (`int`, *optional*), all_windows (`bool`): how the model reads texts.
    """

    name: str
    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    task: str
    settings: dict
    labels: list[str | None]
    prompt: str = ""
    stride: int | None = None
    all_windows: bool = False

    @cached_property
    def state(self) -> str:
        """A hash of all that its answers depend on, as they are when it is first asked for."""
        hasher = Hasher()
        hasher.update(hash_of_weights(self.model))
        hasher.update(self.tokenizer.backend_tokenizer.to_str())
        hasher.update([self.tokenizer.model_max_length, self.task, self.settings, self.labels])
        hasher.update([self.prompt, self.stride, self.all_windows])
        return hasher.hexdigest()

    def answers(self, texts: list[str]) -> list[Answer]:
        """What it says of each text."""
        return ask([self], texts)[0]

    @property
    def by_token(self) -> bool:
        """Whether it answers for each unit rather than for the whole text."""
        return "labelling" in self.settings

    def answer(self, text: str, document: TokenizedText, of_windows: list[torch.Tensor]) -> Answer:
        """What it says of a text, by its logits in each window."""
        if not self.by_token:
            read = of_windows if self.all_windows else of_windows[:1]
            of_text = torch.cat(read).mean(0, keepdim=True)
            return [(0, len(text))], self._probabilities(of_text)
        labelling, *marks = cutting(self.settings)
        units = UNITS[labelling](text, document.offsets, *marks)
        ranges = word_ranges(units, document.offsets)
        first = first_tokens(units, len(ranges))
        return ranges, self._probabilities(torch.cat(of_windows)[first])

    def _probabilities(self, logits: torch.Tensor) -> np.ndarray:
        kind = self.settings.get("problem_type")
        if kind == "regression":
            return logits.numpy()
        if kind == "multi_label_classification":
            return logits.sigmoid().numpy()
        return logits.softmax(-1).numpy()


@torch.inference_mode()
def ask(teachers: Sequence[Teacher], texts: list[str]) -> list[list[Answer]]:
    """What several tasks of one model say of each text, in one pass."""
    first = teachers[0]
    documents = tokenize(first.tokenizer, texts, first.prompt, stride=first.stride)
    whole = first.all_windows or any(teacher.by_token for teacher in teachers)
    places = [
        (number, window)
        for number, document in enumerate(documents)
        for window in document.windows[: None if whole else 1]
    ]
    lengths = [documents[number].length_of(window) for number, window in places]
    names = list(dict.fromkeys(teacher.task for teacher in teachers))
    logits: list[list[Any]] = [[None] * len(places) for _ in teachers]
    device = next(first.model.parameters()).device
    for batch in length_batches(lengths, MAX_TOKENS):
        sequences = [documents[places[i][0]].input_ids(places[i][1]) for i in batch]
        ids, mask = pad(sequences, first.tokenizer.pad_token_id or 0)
        output = first.model(input_ids=ids.to(device), attention_mask=mask.to(device), tasks=names)
        for teacher, found in zip(teachers, logits, strict=True):
            for index, answer in zip(batch, output.logits[teacher.task].float().cpu(), strict=True):
                number, window = places[index]
                shift = len(documents[number].prefix) - window.start
                answered = slice(window.first + shift, window.last + shift)
                found[index] = answer[answered] if teacher.by_token else answer[None]
    answers: list[list[Answer]] = []
    for teacher, found in zip(teachers, logits, strict=True):
        of_texts: list[list[torch.Tensor]] = [[] for _ in texts]
        for (number, _), answer in zip(places, found, strict=True):
            of_texts[number].append(answer)
        answers.append(list(map(teacher.answer, texts, documents, of_texts)))
    return answers


def load_teacher(
    name: str, task_name: str, task: dict, beside: Iterable[Teacher] = (), partly: bool = False
) -> Teacher:
    """The teacher of a task.

    Args:
        name (`str`): a folder or Hub id.
        task_name (`str`), task (`dict`): the run's task, as in its model's config; its `label_map`
            says what the teacher's labels are called.
        beside (`Iterable[Teacher]`): other teachers, one of which may have the model loaded.
        partly (`bool`): whether it may give some of the numbers of a regression.

    Raises:
        OSError: there is no such model, or one of its files can't be read.
        ValueError: it has no task of this type, or labels that the run's task lacks.
    """
    where = f"The teacher {name!r} of task {task_name!r}"
    config = config_of(name, where)
    if config.model_type == MultiTaskConfig.model_type:
        teacher = _of_ours(name, task_name, task, where, beside)
    else:
        teacher = _of_plain(name, config, task, where)
    labels = teacher.settings["labels"]
    teacher.labels = new_names(labels, task, where)
    known = {*task["labels"], None}
    if task["problem_type"] == "regression":
        same_names = set(labels) <= set(task["labels"])
        if len(labels) != len(task["labels"]) and not (partly and same_names):
            raise ValueError(
                f"{where} should give {len(task['labels'])} numbers. Found {len(labels)}."
            )
        if not same_names:  # then they have the same order
            teacher.labels = list(task["labels"])
    elif missing := [label for label in teacher.labels if label not in known]:
        shown = ", ".join(task["labels"][:20]) + (", ..." if len(task["labels"]) > 20 else "")
        raise ValueError(f"{where} should have labels of the task: {shown}. Found {missing[0]!r}.")
    teacher.model.eval()
    return teacher


def _of_ours(
    name: str, task_name: str, task: dict, where: str, beside: Iterable[Teacher]
) -> Teacher:
    there = [(one.model, one.tokenizer) for one in beside if one.name == name]
    model, tokenizer = there[0] if there else load_finished(name)
    return as_teacher(name, model, tokenizer, task_in(model.config, task_name, task, where))


def _of_plain(name: str, config: Any, task: dict, where: str) -> Teacher:
    wanted = check_problem_type(config, task, where)
    try:
        model, report = PLAIN[task["type"]].from_pretrained(
            name,
            trust_remote_code=False,
            use_safetensors=True,
            dtype="float32",
            output_loading_info=True,
        )
    except Exception as error:  # damaged files raise all kinds of errors
        raise OSError(f"{where} can't be loaded: {first_line(error)}") from error
    if report["missing_keys"]:
        raise ValueError(
            f"{where} should be a finished model of type {task['type']}. Its weights lack "
            f"{sorted(report['missing_keys'])[0]}."
        )
    settings = {
        "type": task["type"],
        "problem_type": wanted,
        "labels": labels_in(config, where),
    }
    if kind_of(task).by_token:  # it has no units of its own
        settings |= {key: task[key] for key in UNIT_KEYS if key in task}
    tokenizer = load_tokenizer(name)
    limit_length(tokenizer, config, model.base_model)
    return Teacher(name, _Plain(model, "task"), tokenizer, "task", settings, settings["labels"])


def as_teacher(
    name: str, model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase, task: str
) -> Teacher:
    """A model of this package, with the task of it that teaches."""
    config = model.config
    return Teacher(
        name,
        model,
        tokenizer,
        task,
        config.tasks[task],
        list(config.tasks[task]["labels"]),
        config.default_prompt,
        config.stride,
        config.sentence_windows == "mean",
    )
