"""Text in; embedding, labels and entities with character offsets out.

`pipeline("multitask", model=folder_or_id, trust_remote_code=True)` in any process, or
`MultiTaskPipeline(model=model, tokenizer=tokenizer)` where this package is at hand.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import Pipeline
from transformers.dynamic_module_utils import custom_object_save

from .batching import length_batches
from .decoding import UNITS, tags_to_spans
from .windows import TokenizedText, tokenize

# Texts that are read, sorted by length and answered together: enough for little padding, and not
# more than memory has room for.
POOL_TEXTS, POOL_CHARACTERS = 4096, 2**20
# Tokens that go through the encoder together. More make a processor's caches too small, fewer leave
# cores (and far fewer a GPU) without work.
TOKENS_PER_THREAD, TOKENS_PER_GPU = 1024, 32768


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
        batch_size (`int`, *optional*): the most texts (of long ones, windows) encoded together. By
            default as many as keep the device busy.

    Returns, per text:
        `{"embedding": list[float], "labels": {task: {"label", "score", "scores"}},
        "entities": {task: [{"start", "end", "text", "label", "score"}]}}`.
        Scores are probabilities in 0 to 1 (of a regression: the values). `label` is the likeliest
        one, and of a multi-label task the list of those above 0.5. For entities
        `text == input[start:end]`, and the score is the mean over the entity's words (its tokens,
        where the task's `labelling` is `all`).
        A text gives one answer, a list or tuple a list of answers, and any other iterable (a
        generator, a column of a data set) an iterator, which holds some thousand texts at a time.

    Raises:
        ValueError: an input that is not a text, an unknown task or prompt, a `model_max_length`
            or `stride` that leaves windows no room for text.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Offsets and encoders count from the first token, which padding must not push aside.
        self.tokenizer.padding_side = "right"

    def __call__(
        self, inputs, *, batch_size: int | None = None, num_workers: int | None = None, **kwargs
    ):
        asked = {**self._preprocess_params, **self._sanitize_parameters(**kwargs)[0]}
        tasks, prompt = self._tasks(asked.get("tasks")), self._prompt(asked.get("prompt_name"))
        batch_size = batch_size or self._batch_size
        several = any(hasattr(inputs, name) for name in ("__iter__", "__getitem__"))
        if isinstance(inputs, str | bytes | dict) or not several:
            return next(self._answers([inputs], tasks, prompt, batch_size))
        answers = self._answers(inputs, tasks, prompt, batch_size)
        return list(answers) if isinstance(inputs, list | tuple) else answers

    def _sanitize_parameters(self, tasks=None, prompt_name=None, **kwargs):
        asked = {"tasks": tasks, "prompt_name": prompt_name}
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
        self, texts: Iterable[str], tasks: dict[str, dict], prompt: str, batch_size: int | None
    ) -> Iterator[dict]:
        pools = _pools(texts)
        pool = next(pools, None)
        documents = self.preprocess(pool, prompt) if pool else []
        with ThreadPoolExecutor(max_workers=1) as executor:  # starts a thread only if it gets work
            while pool:
                following = next(pools, None)
                ahead = executor.submit(self.preprocess, following, prompt) if following else None
                outputs = self._forward(documents, tasks=tasks, batch_size=batch_size)
                yield from self.postprocess(outputs, texts=pool, documents=documents, tasks=tasks)
                pool, documents = following, ahead.result() if ahead else []

    def preprocess(self, texts: list[str], prompt: str) -> list[TokenizedText]:
        """Texts to tokens with offsets, in windows."""
        return tokenize(self.tokenizer, texts, prompt, stride=self.model.config.stride)

    @torch.inference_mode()
    def _forward(
        self, documents: list[TokenizedText], tasks: dict[str, dict], batch_size: int | None
    ) -> dict[str, Any]:
        """The answers of all windows: under `embedding` and each sentence task a tensor of shape
        `(num_documents, ...)`, the windows of a document being averaged where the config says so;
        under each token task a list of `(scores, label ids)`, one per token of each document."""
        first_only = self.model.config.sentence_windows == "first"
        of_tokens = {name for name, task in tasks.items() if task["type"] == "token_classification"}
        places, sequences = [], []
        for number, document in enumerate(documents):
            windows = document.windows
            for window in windows if of_tokens or not first_only else windows[:1]:
                places.append((number, window))
                sequences.append(document.input_ids(window))

        batches = length_batches([len(ids) for ids in sequences], self._max_tokens(), batch_size)
        # All batches are handed to the device before the answers of the first are asked for.
        outputs = [self._encode([sequences[index] for index in one], tasks) for one in batches]
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
            """Per document, each token's answer by the window that answers for it."""
            windows: list = [None] * len(places)
            for batch, output in zip(batches, outputs, strict=True):
                found = (values.tolist() for values in output[key])
                for index, scores, best in zip(batch, *found, strict=True):
                    windows[index] = scores, best
            answers: list[tuple[list[float], list[int]]] = [([], []) for _ in documents]
            for (number, window), found in zip(places, windows, strict=True):
                shift = len(documents[number].prefix) - window.start
                for answer, values in zip(answers[number], found, strict=True):
                    answer += values[window.first + shift : window.last + shift]
            return answers

        return {
            key: of_all_tokens(key) if key in of_tokens else of_documents(key) for key in outputs[0]
        }

    def _encode(self, sequences: list[list[int]], tasks: dict[str, dict]) -> dict[str, Any]:
        """One batch through the encoder and the heads. Of tokens only the best label is kept."""
        padding = self.tokenizer.pad_token_id or 0  # whatever it is, it's masked
        lengths = torch.tensor([len(ids) for ids in sequences])
        input_ids = pad_sequence(
            [torch.tensor(ids) for ids in sequences], batch_first=True, padding_value=padding
        )
        mask = (torch.arange(input_ids.shape[1]) < lengths.unsqueeze(1)).long()
        output = self.model(
            input_ids=input_ids.to(self.device, non_blocking=True),
            attention_mask=mask.to(self.device, non_blocking=True),
            tasks=list(tasks),
        )
        found: dict[str, Any] = {"embedding": output.sentence_embedding.float()}
        for name, logits in output.logits.items():
            if tasks[name]["type"] == "token_classification":
                found[name] = tuple(logits.float().softmax(-1).max(-1))
            else:
                found[name] = logits.float()
        return found

    def _max_tokens(self) -> int:
        if self.device.type == "cpu":
            return TOKENS_PER_THREAD * torch.get_num_threads()
        return TOKENS_PER_GPU

    def postprocess(
        self,
        outputs: dict[str, Any],
        texts: list[str],
        documents: list[TokenizedText],
        tasks: dict[str, dict],
    ) -> Iterator[dict]:
        """The answers for texts from what `_forward` found for them."""
        sentence_scores = {
            name: _scores(outputs[name], task).tolist()
            for name, task in tasks.items()
            if task["type"] == "sequence_classification"
        }
        token_tasks = {
            name: task for name, task in tasks.items() if task["type"] == "token_classification"
        }
        labellings = {task["labelling"] for task in token_tasks.values()}
        for number, (text, document) in enumerate(zip(texts, documents, strict=True)):
            answer = {"embedding": outputs["embedding"][number].tolist()}
            answer["labels"] = {
                name: _sentence_label(scores[number], tasks[name])
                for name, scores in sentence_scores.items()
            }
            units = {one: _units(text, document.offsets, one) for one in labellings}
            answer["entities"] = {
                name: _entities(outputs[name][number], task, text, *units[task["labelling"]])
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


def _sentence_label(values: list[float], task: dict) -> dict:
    labels = task["labels"]
    scores = dict(zip(labels, values, strict=True))
    if task["problem_type"] == "multi_label_classification":
        chosen = [label for label in labels if scores[label] > 0.5]
        return {"label": chosen, "score": [scores[label] for label in chosen], "scores": scores}
    best = labels[0] if task["problem_type"] == "regression" else max(scores, key=scores.get)
    return {"label": best, "score": scores[best], "scores": scores}


def _units(
    text: str, offsets: list[tuple[int, int]], labelling: str
) -> tuple[list[int], list[tuple[int, int]]]:
    """What a task's labels are about: of each unit the first token, which answers for it, and the
    range of characters."""
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
    return first_tokens, ranges


def _entities(
    answers: tuple[list[float], list[int]],
    task: dict,
    text: str,
    first_tokens: list[int],
    ranges: list[tuple[int, int]],
) -> list[dict]:
    """From the score and the id of each token's likeliest label, and the text's units."""
    labels = task["labels"]
    scores, best = answers
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
