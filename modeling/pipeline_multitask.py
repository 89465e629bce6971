"""Text in; embedding, labels and entities with character offsets out.

`pipeline("multitask", model=folder_or_id, trust_remote_code=True)` in any process, or
`MultiTaskPipeline(model=model, tokenizer=tokenizer)` where this package is at hand.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from transformers import Pipeline
from transformers.dynamic_module_utils import custom_object_save

from .batching import length_batches, pad
from .decoding import UNITS, likeliest_labels, tags_to_spans
from .windows import TokenizedText, Window, tokenize

# Texts that are read, sorted by length and answered together: enough for little padding, and not
# more than memory has room for.
POOL_TEXTS, POOL_CHARACTERS = 4096, 2**20
# Tokens that go through the encoder together. More make a processor's caches too small, fewer leave
# cores (and far fewer a GPU) without work.
TOKENS_PER_THREAD, TOKENS_PER_GPU = 1024, 32768


class Units(NamedTuple):
    """What a task's labels are about, words or tokens of a text: of each the first token, which
    answers for it, and the range of characters."""

    first_tokens: list[int]
    ranges: list[tuple[int, int]]


class Document(NamedTuple):
    """A text as the encoder reads it, and its units by `labelling`."""

    tokens: TokenizedText
    units: dict[str, Units]


class Limits(NamedTuple):
    """What of the scores is answered: how many of a task, and which are high enough."""

    top_k: int | None
    thresholds: dict[str, float]


class MultiTaskPipeline(Pipeline):
    """All answers of a `MultiTaskModel` for a text or any number of texts, of any length.

    A text longer than the tokenizer's `model_max_length` is read in windows that overlap by the
    config's `stride`. Its entities are decoded from all windows' tokens at once; its labels and
    embedding come from those that the config's `sentence_windows` says.

    Many texts are read ahead, sorted by length, and encoded in batches of nearly no padding; while
    the encoder works on some, the next are tokenized. Answers come in the order of the texts.

    Args (besides those of `transformers.Pipeline`; of these, `num_workers` is of no use here):
        tasks (`list[str]` or `str`, *optional*): the tasks to answer; by default all.
        prompt_name (`str`, *optional*): which of the config's prompts goes before the text; by
            default the one named `default`, where there is one.
        top_k (`int`, *optional*): how many `scores` to give, the highest first; by default those of
            all labels, in their own order. Not of regressions.
        thresholds (`float` or `dict[str, float]`, *optional*): in 0 to 1, of all tasks or by task.
            What scores no more is no answer: an entity is left out, a label is None. By default 0.5
            for the labels of a multi-label task, and none for others.
        batch_size (`int`, *optional*): the most texts (of long ones, windows) encoded together. By
            default as many as keep the device busy.

    Returns, per text:
        `{"embedding": list[float], "labels": {task: {"label", "score", "scores"}},
        "entities": {task: [{"start", "end", "text", "label", "score"}]}}`.
        Scores are probabilities in 0 to 1 (of a regression: the values). `label` is the likeliest
        one, of a multi-label task the list of those above 0.5, and of a regression its value's name
        or the list of all. For entities `text == input[start:end]`, and the score is the mean over
        the entity's words (its tokens, where the task's `labelling` is `all`).
        A text gives one answer, a list or tuple a list of answers, and any other iterable (a
        generator, a column of a data set) an iterator, which holds some thousand texts at a time.

    Raises:
        ValueError: an input that is not a text, an unknown task or prompt, a `top_k` or threshold
            out of range, a `model_max_length` or `stride` that leaves windows no room for text.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.tokenizer.init_kwargs.get("fast_tokenizer_files"):  # which may lie anywhere
            raise ValueError("The tokenizer should be tokenizer.json. Found fast_tokenizer_files.")
        # Offsets and encoders count from the first token, which padding must not push aside.
        self.tokenizer.padding_side = "right"

    def __call__(
        self, inputs, *, batch_size: int | None = None, num_workers: int | None = None, **kwargs
    ):
        asked = {**self._preprocess_params, **self._sanitize_parameters(**kwargs)[0]}
        tasks, prompt = self._tasks(asked.get("tasks")), self._prompt(asked.get("prompt_name"))
        limits = Limits(_top_k(asked.get("top_k")), _thresholds(asked.get("thresholds"), tasks))
        batch_size = batch_size or self._batch_size
        several = any(hasattr(inputs, name) for name in ("__iter__", "__getitem__"))
        if isinstance(inputs, str | bytes | dict) or not several:
            return next(self._answers([inputs], tasks, prompt, limits, batch_size))
        answers = self._answers(inputs, tasks, prompt, limits, batch_size)
        return list(answers) if isinstance(inputs, list | tuple) else answers

    def _sanitize_parameters(
        self, tasks=None, prompt_name=None, top_k=None, thresholds=None, **kwargs
    ):
        asked = {
            "tasks": tasks,
            "prompt_name": prompt_name,
            "top_k": top_k,
            "thresholds": thresholds,
        }
        return {name: value for name, value in asked.items() if value is not None}, {}, {}

    def _tasks(self, asked: str | list[str] | None) -> dict[str, dict]:
        """The tasks to answer, by name."""
        known = self.model.config.tasks
        names = [asked] if isinstance(asked, str) else known if asked is None else asked
        for name in names:
            if name not in known:
                raise ValueError(f"Unknown task {name!r}. This model has: {', '.join(known)}.")
        return {name: task for name, task in known.items() if name in names}

    def _prompt(self, name: str | None) -> str:
        """What goes before each text."""
        prompts = self.model.config.prompts or {}
        if name is not None and name not in prompts:
            raise ValueError(f"Unknown prompt {name!r}. This model has: {list(prompts)}.")
        return prompts.get(name or "default", "")

    def _answers(
        self,
        texts: Iterable[str],
        tasks: dict[str, dict],
        prompt: str,
        limits: Limits,
        batch_size: int | None,
    ) -> Iterator[dict]:
        pools = _pools(texts)
        pool = next(pools, None)
        labellings = {task["labelling"] for task in tasks.values() if "labelling" in task}
        documents = self.preprocess(pool, prompt, labellings) if pool else []
        with ThreadPoolExecutor(max_workers=1) as executor:  # starts a thread only if it gets work
            while pool:
                following = next(pools, None)
                ahead = None
                if following:
                    ahead = executor.submit(self.preprocess, following, prompt, labellings)
                outputs = self._forward(documents, tasks=tasks, batch_size=batch_size)
                yield from self.postprocess(outputs, pool, documents, tasks, limits)
                pool, documents = following, ahead.result() if ahead else []

    def preprocess(self, texts: list[str], prompt: str, labellings: set[str]) -> list[Document]:
        """Texts to tokens with offsets, in windows, and their units."""
        documents = tokenize(self.tokenizer, texts, prompt, stride=self.model.config.stride)
        return [
            Document(one, {name: _units(text, one.offsets, name) for name in labellings})
            for text, one in zip(texts, documents, strict=True)
        ]

    @torch.inference_mode()
    def _forward(
        self, documents: list[Document], tasks: dict[str, dict], batch_size: int | None
    ) -> dict[str, Any]:
        """The answers of all windows: under `embedding` and each sentence task a tensor of shape
        `(num_documents, ...)`, the windows of a document being averaged where the config says so;
        under each token task a list of `(scores, label ids)`, one per token of each document."""
        first_only = self.model.config.sentence_windows == "first"
        of_tokens = {name for name, task in tasks.items() if task["type"] == "token_classification"}
        places = [
            (number, window)
            for number, (document, _) in enumerate(documents)
            for window in document.windows[: None if of_tokens or not first_only else 1]
        ]
        lengths = [documents[number].tokens.length_of(window) for number, window in places]
        batches = length_batches(lengths, self._max_tokens(), batch_size)
        # All batches are handed to the device before the answers of the first are asked for.
        outputs = [
            self._encode([(documents[places[i][0]], places[i][1]) for i in batch], tasks)
            for batch in batches
        ]
        order = torch.tensor([index for batch in batches for index in batch])
        documents_of = torch.tensor([number for number, _ in places])
        is_first = torch.ones_like(documents_of, dtype=torch.bool)
        is_first[1:] = documents_of[1:] != documents_of[:-1]

        def of_documents(key: str) -> torch.Tensor:
            """One row per document, from one row per window in the order of the batches."""
            by_batch = torch.cat([output[key] for output in outputs]).cpu()
            rows = torch.empty_like(by_batch)
            rows[order] = by_batch
            if first_only or len(rows) == len(documents):
                return rows[is_first]
            sums = rows.new_zeros(len(documents), rows.shape[1]).index_add_(0, documents_of, rows)
            means = sums / documents_of.bincount().unsqueeze(1)
            if key == "embedding" and self.model.config.normalize:
                return F.normalize(means, dim=-1)
            return means

        def of_all_tokens(key: str) -> list[tuple[list[float], list[int]]]:
            """Per document, each token's answer; that of several windows is labelled as one, each
            token by the logits of the window that answers for it."""
            answers: list = [None] * len(documents)
            parts: dict[int, torch.Tensor] = {}
            for batch, output in zip(batches, outputs, strict=True):
                scores, best, logits = output[key]
                of_parts = iter(logits.cpu())
                for index, *labelled in zip(batch, scores.tolist(), best.tolist(), strict=True):
                    number, window = places[index]
                    shift = len(documents[number].tokens.prefix) - window.start
                    answered = slice(window.first + shift, window.last + shift)
                    if _is_part(documents[number]):
                        parts[index] = next(of_parts)[answered]
                    else:
                        answers[number] = tuple(values[answered] for values in labelled)
            joined: dict[int, list[torch.Tensor]] = {}
            for index in sorted(parts):
                joined.setdefault(places[index][0], []).append(parts[index])
            for number, logits in joined.items():
                units = documents[number].units[tasks[key]["labelling"]]
                whole = torch.cat(logits).unsqueeze(0)
                mask = torch.zeros(whole.shape[:2], dtype=torch.bool)
                mask[0, units.first_tokens] = True
                scores, best = _labelled(whole, mask, tasks[key]["labels"])
                answers[number] = scores[0].tolist(), best[0].tolist()
            return answers

        return {
            key: of_all_tokens(key) if key in of_tokens else of_documents(key) for key in outputs[0]
        }

    def _encode(
        self, windows: list[tuple[Document, Window]], tasks: dict[str, dict]
    ) -> dict[str, Any]:
        """One batch through the encoder and the heads. Of tokens only the best label is kept."""
        sequences = [document.tokens.input_ids(window) for document, window in windows]
        padding = self.tokenizer.pad_token_id or 0  # whatever it is, it's masked
        input_ids, mask = pad(sequences, padding)
        output = self.model(
            input_ids=input_ids.to(self.device, non_blocking=True),
            attention_mask=mask.to(self.device, non_blocking=True),
            tasks=list(tasks),
        )
        found: dict[str, Any] = {"embedding": output.sentence_embedding.float()}
        units = {
            name: _unit_mask(windows, name, input_ids.shape[1]).to(self.device)
            for name in windows[0][0].units
        }
        parts = [row for row, (document, _) in enumerate(windows) if _is_part(document)]
        for name, logits in output.logits.items():
            found[name], task = logits.float(), tasks[name]
            if task["type"] == "token_classification":
                mask = units[task["labelling"]]
                labelled = _labelled(found[name], mask, task["labels"])
                found[name] = *labelled, found[name][parts]
        return found

    def _max_tokens(self) -> int:
        if self.device.type == "cpu":
            return TOKENS_PER_THREAD * torch.get_num_threads()
        return TOKENS_PER_GPU

    def postprocess(
        self,
        outputs: dict[str, Any],
        texts: list[str],
        documents: list[Document],
        tasks: dict[str, dict],
        limits: Limits,
    ) -> Iterator[dict]:
        """The answers for texts from what `_forward` found for them."""
        sentence_scores = {
            name: _scores(outputs[name], task).tolist()
            for name, task in tasks.items()
            if task["type"] not in ("token_classification", "sentence_embedding")
        }
        token_tasks = {
            name: task for name, task in tasks.items() if task["type"] == "token_classification"
        }
        for number, (text, document) in enumerate(zip(texts, documents, strict=True)):
            answer = {"embedding": outputs["embedding"][number].tolist()}
            answer["labels"] = {
                name: _sentence_label(scores[number], name, tasks[name], limits)
                for name, scores in sentence_scores.items()
            }
            answer["entities"] = {
                name: [
                    entity
                    for entity in _entities(outputs[name][number], task, text, document.units)
                    if entity["score"] > limits.thresholds.get(name, -1)
                ]
                for name, task in token_tasks.items()
            }
            yield answer

    def save_pretrained(self, save_directory, **kwargs):
        """As in `Pipeline`, with this pipeline's code beside the model."""
        save_pipeline_code(self.model.config, save_directory)
        super().save_pretrained(save_directory, **kwargs)


def _pools(texts: Iterable[str]) -> Iterator[list[str]]:
    pool: list[str] = []
    characters = 0
    for index, text in enumerate(texts):
        _check(text, index)
        pool.append(text)
        characters += len(text)
        if len(pool) == POOL_TEXTS or characters >= POOL_CHARACTERS:
            yield pool
            pool, characters = [], 0
    if pool:
        yield pool


def _check(text: Any, index: int) -> None:
    where = f" as input {index}" if index else ""
    if not isinstance(text, str):
        raise ValueError(f"The input should be a text. Found {type(text).__name__}{where}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # as JSON can hold: half of a character
        raise ValueError(
            f"The text should be Unicode. Found a lone surrogate at {error.start}{where}."
        ) from None


def _scores(logits: torch.Tensor, task: dict) -> torch.Tensor:
    """From logits of shape `(num_texts, num_labels)`."""
    if task["problem_type"] == "regression":
        return logits
    if task["problem_type"] == "multi_label_classification":
        return logits.sigmoid()
    return logits.softmax(-1)


def _sentence_label(values: list[float], name: str, task: dict, limits: Limits) -> dict:
    labels = task["labels"]
    scores = dict(zip(labels, values, strict=True))
    if task["problem_type"] == "regression":
        if len(labels) == 1:
            return {"label": labels[0], "score": values[0], "scores": scores}
        return {"label": list(labels), "score": values, "scores": scores}
    shown = scores
    if limits.top_k is not None:
        highest = sorted(labels, key=scores.__getitem__, reverse=True)[: limits.top_k]
        shown = {label: scores[label] for label in highest}
    if task["problem_type"] == "multi_label_classification":
        threshold = limits.thresholds.get(name, 0.5)
        chosen = [label for label in labels if scores[label] > threshold]
        return {"label": chosen, "score": [scores[label] for label in chosen], "scores": shown}
    best = max(labels, key=scores.__getitem__)
    score = scores[best]
    label = best if score > limits.thresholds.get(name, -1) else None
    return {"label": label, "score": score, "scores": shown}


def _top_k(asked: int | None) -> int | None:
    if asked is not None and (not isinstance(asked, int) or isinstance(asked, bool) or asked < 1):
        raise ValueError(f"top_k should be a whole number of at least 1. Found {asked!r}.")
    return asked


def _thresholds(asked: float | dict[str, float] | None, tasks: dict[str, dict]) -> dict[str, float]:
    """By task, of those that have probabilities."""
    known = [
        name
        for name, task in tasks.items()
        if task["type"] != "sentence_embedding" and task.get("problem_type") != "regression"
    ]
    by_task = asked if isinstance(asked, dict) else dict.fromkeys(known, asked)
    for name, value in by_task.items():
        if name not in known:
            raise ValueError(f"thresholds should name tasks of {', '.join(known)}. Found {name!r}.")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value <= 1):
            raise ValueError(f"A threshold should be in 0 to 1. Found {value!r} for {name!r}.")
    return {name: value for name, value in by_task.items() if value is not None}


def _units(text: str, offsets: list[tuple[int, int]], labelling: str) -> Units:
    first_tokens: list[int] = []
    ranges: list[tuple[int, int]] = []
    previous = None
    for index, unit in enumerate(UNITS[labelling](text, offsets)):
        if unit is None:
            continue
        if unit != previous:
            first_tokens.append(index)
            ranges.append(offsets[index])
        else:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], offsets[index][1]))
        previous = unit
    return Units(first_tokens, ranges)


def _is_part(document: Document) -> bool:
    """Whether the document's windows are only parts of it."""
    return len(document.tokens.windows) > 1


def _labelled(
    logits: torch.Tensor, units: torch.Tensor, labels: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The probability of each token's label, and its id, from what `likeliest_labels` takes."""
    best = likeliest_labels(logits, units, labels)
    return logits.softmax(-1).gather(-1, best.unsqueeze(-1)).squeeze(-1), best


def _unit_mask(
    windows: list[tuple[Document, Window]], labelling: str, longest: int
) -> torch.Tensor:
    """`torch.BoolTensor` of shape `(num_windows, longest)`: the tokens that answer for a unit; none
    in windows that are labelled together with others."""
    rows, columns = [], []
    for row, (document, _) in enumerate(windows):
        if not _is_part(document):
            shift, tokens = len(document.tokens.prefix), document.units[labelling].first_tokens
            rows += [row] * len(tokens)
            columns += [token + shift for token in tokens]
    mask = torch.zeros(len(windows), longest, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


def _entities(
    answers: tuple[list[float], list[int]],
    task: dict,
    text: str,
    units_of_text: dict[str, Units],
) -> list[dict]:
    """From the score and the id of each token's label, and the text's units."""
    labels = task["labels"]
    scores, best = answers
    first_tokens, ranges = units_of_text[task["labelling"]]
    if all(labels[index] == "O" for index in set(best)):  # most texts of most tasks
        return []
    tags = [labels[best[token]] for token in first_tokens]
    return [
        {
            "start": start,
            "end": end,
            "text": text[start:end],
            "label": label,
            "score": sum(scores[first_tokens[unit]] for unit in units) / len(units),
        }
        for start, end, label, units in tags_to_spans(tags, ranges)
    ]


def save_pipeline_code(config, folder: str) -> None:
    """Write this pipeline's code beside a model and name it in the model's config, so that
    `pipeline("multitask", model=folder, trust_remote_code=True)` works anywhere.

    To be called before the model is saved to `folder`.
    """
    config.custom_pipelines = {
        "multitask": {
            "impl": f"pipeline_multitask.{MultiTaskPipeline.__name__}",
            "pt": ["AutoModel"],
            "type": "text",
        }
    }
    os.makedirs(folder, exist_ok=True)
    custom_object_save(MultiTaskPipeline, folder)
