"""Text in; embedding, labels and entities with character offsets out.

`pipeline("multitask", model=folder_or_id, trust_remote_code=True)` in any process, or
`MultiTaskPipeline(model=model, tokenizer=tokenizer)` where this package is installed.
"""

import difflib
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from transformers import Pipeline
from transformers.dynamic_module_utils import custom_object_save

from .answering import ANSWERS, in_scope, limits
from .batching import length_batches, pad
from .decoding import UNITS, Spans, cutting, entity_type, likeliest_spans
from .windows import TokenizedText, Window, check_tokenizer, limit_length, tokenize

# Texts that are read, sorted by length and answered together: enough for little padding, few enough
# for memory.
POOL_TEXTS, POOL_CHARACTERS = 4096, 2**20
# Tokens that go through the encoder together. More overflow a processor's caches; fewer leave cores
# idle, and far fewer a GPU.
TOKENS_PER_THREAD, TOKENS_PER_GPU = 1024, 32768
OUT_OF_SCOPE = "out_of_scope "  # before a task's name: no task has a space in its own
# What may be asked about texts, in a call or for all calls.
PARAMETERS = ("tasks", "prompt_name", "top_k", "thresholds", "precision", "coverage")


class Units(NamedTuple):
    """The words or tokens that a task labels in a text: the first token of each, which answers for
    it, and its range of characters."""

    first_tokens: list[int]
    ranges: list[tuple[int, int]]


class Document(NamedTuple):
    """A text as the encoder reads it, and its units by how a task cuts it (`decoding.cutting`)."""

    tokens: TokenizedText
    units: dict[tuple[str, str, str], Units]


class Found(NamedTuple):
    """The entities of a task in all documents, one document's after the other's. A document's begin
    at its number in `bounds`. A tuple for each would keep the garbage collector busy."""

    first: list[int]  # unit
    last: list[int]
    labels: list[str]
    scores: list[float]
    bounds: list[int]


class Question(NamedTuple):
    """What is asked about texts: the tasks by name, the prompt to put before a text, how many
    scores to return, and by task what they have to exceed: a number, or one by label. `sets` is
    what those in a `label_set` have to exceed."""

    tasks: dict[str, dict]
    prompt: str
    top_k: int | None
    thresholds: dict[str, float | dict[str, float]]
    sets: dict[str, float]


class Reading(NamedTuple):
    """Texts as the encoder reads them, and what is asked about them."""

    question: Question
    texts: list[str]
    documents: list[Document]

    @property
    def num_tokens(self) -> int:
        """Of all texts, without special tokens and prompts."""
        return sum(len(document.tokens.ids) for document in self.documents)


class MultiTaskPipeline(Pipeline):
    """All answers of a `MultiTaskModel` for a text or any number of texts, of any length.

    A text longer than the tokenizer's `model_max_length` is read in windows that overlap by the
    config's `stride`. Its entities are decoded from all windows' tokens at once; its labels and
    embedding come from the windows that the config's `sentence_windows` names.

    Many texts are read ahead, sorted by length, and encoded in batches with almost no padding;
    while the encoder works on some, the next are tokenized. Answers come in the order of the texts.

    Args (besides those of `transformers.Pipeline`; `num_workers` has no effect):
        tasks (`list[str]` or `str`, *optional*): the tasks to answer; by default all.
        prompt_name (`str`, *optional*): the config's prompt that goes before the text, or "" for
            none; by default the one named `default`, if there is one.
        top_k (`int`, *optional*): the number of `scores` to give, the highest first; by default
            those of all labels, in their own order. Regressions always give all.
        thresholds (`float` or `dict[str, float]`, *optional*): in 0 to 1, for all tasks or by task.
            Entities that score no higher are left out, and a label that does not is None. By
            default the best ones of validation rows for the labels of a multi-label task, 0.5 where
            the model has none; and none for other tasks.
        precision (`float`, *optional*): 0.9, 0.95, 0.98 or 0.99: the thresholds above which that
            share of the answers was right on validation rows, for tasks that `thresholds` doesn't
            name.
        coverage (`float`, *optional*): one of the same. A label gets a `label_set`: the smallest
            set of labels that had the right one in that share of validation rows. Other tasks give
            as many labels and entities as it takes to find that share of the true ones. Not with
            `precision`.
        batch_size (`int`, *optional*): the most texts (or windows of long texts) encoded together.
            By default, enough to keep the device busy.

    All but the last hold for all calls where they are given to the pipeline; None in a call asks
    for the default again.

    Returns, per text:
        `{"embedding": list[float], "labels": {task: {"label", "score", "scores"}},
        "entities": {task: [{"start", "end", "text", "label", "score"}]}}`.
        Scores are probabilities in 0 to 1, or the values of a regression. `label` is the likeliest
        label, for a multi-label task the list of those above the threshold, and for a regression
        the name of its value or the list of all names. A task with a `Scope` gives `out_of_scope`,
        too: the share of in-scope texts that are less strange; above its limit the label is None.
        For entities `text == input[start:end]`, and the score is the mean over the entity's words
        (its tokens, if the task's `labelling` is `all`).
        A text gives one answer, a list or tuple a list of answers, and any other iterable (a
        generator, a column of a data set) an iterator, which holds a few thousand texts at a time.

    Raises:
        ValueError: an input that is not a text, an unknown task or prompt, a `top_k`, threshold or
            `batch_size` out of range, a `precision` or `coverage` without a threshold, a
            `model_max_length` or `stride` that leaves windows no room for text; a tokenizer that
            doesn't fit the model's encoder.
        TypeError: an unknown argument.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        _check_positive("batch_size", self._batch_size)
        if self.tokenizer.init_kwargs.get("fast_tokenizer_files"):  # files outside the folder
            raise ValueError("The tokenizer should be tokenizer.json. Found fast_tokenizer_files.")
        # Offsets and encoders count from the first token, so padding must not come before it.
        self.tokenizer.padding_side = "right"
        check_tokenizer(self.tokenizer, self.model.config)
        encoder = getattr(self.model, "encoder", None)  # a graph has none
        limit_length(self.tokenizer, self.model.config.encoder_config, encoder)

    def __call__(
        self, inputs, *, batch_size: int | None = None, num_workers: int | None = None, **kwargs
    ):
        question = self._question(**kwargs)
        batch_size = self._batch_size if batch_size is None else batch_size
        _check_positive("batch_size", batch_size)
        if is_one(inputs):
            return next(self._answers([inputs], question, batch_size))
        answers = self._answers(inputs, question, batch_size)
        return list(answers) if isinstance(inputs, list | tuple) else answers

    def read(self, texts: list[str], **kwargs) -> Reading:
        """Tokenize texts: what a call does first, for callers that go on with `answer_in_steps`.

        Args:
            texts (`list[str]`): texts; all of them are held at once.
            kwargs: all but `batch_size`, as in a call.

        Raises:
            ValueError: as a call does.
        """
        question = self._question(**kwargs)
        for index, text in enumerate(texts):
            _check(text, index)
        return Reading(question, texts, self.preprocess(texts, question))

    def answer_in_steps(
        self, reading: Reading, max_tokens: int | None = None
    ) -> Generator[None, None, list[dict]]:
        """The answers for what was read, returned at the end. Stops before each further batch that
        goes through the encoder, and before each long text is labelled, so that a caller can turn
        to other texts in between, or give up.

        Args:
            reading (`Reading`): from `read`; several of the same question may be joined.
            max_tokens (`int`, *optional*): of a batch, padding included; a longer window goes
                alone. By default as many as keep the device busy.
        """
        question, texts, documents = reading
        outputs = yield from self._forward(documents, question.tasks, max_tokens=max_tokens)
        return list(self.postprocess(outputs, texts, documents, question))

    def max_tokens(self) -> int:
        """The most tokens that go through the encoder together by default."""
        if self.device.type == "cpu":
            return TOKENS_PER_THREAD * torch.get_num_threads()
        return TOKENS_PER_GPU

    def _sanitize_parameters(self, **kwargs):
        for name in kwargs:
            if name not in PARAMETERS:
                known = [*PARAMETERS, "batch_size"]
                nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
                hint = f" Did you mean {nearest[0]}?" if nearest else ""
                raise TypeError(f"Unknown argument {name}.{hint}")
        return kwargs, {}, {}

    def _question(self, **kwargs) -> Question:
        asked = {**self._preprocess_params, **self._sanitize_parameters(**kwargs)[0]}
        tasks, prompt = self._tasks(asked.get("tasks")), self._prompt(asked.get("prompt_name"))
        purposes = (asked.get(key) for key in ("thresholds", "precision", "coverage"))
        thresholds, sets = limits(tasks, self.model.config.tasks, *purposes)
        _check_positive("top_k", asked.get("top_k"))
        return Question(tasks, prompt, asked.get("top_k"), thresholds, sets)

    def _tasks(self, asked: str | list[str] | None) -> dict[str, dict]:
        """The tasks to answer, by name."""
        known = self.model.config.tasks
        names = [asked] if isinstance(asked, str) else known if asked is None else asked
        for name in names:
            if name not in known:
                raise ValueError(f"Unknown task {name!r}. This model has: {', '.join(known)}.")
        return {name: task for name, task in known.items() if name in names}

    def _prompt(self, name: str | None) -> str:
        """The text that goes before each input."""
        prompts = self.model.config.prompts or {}
        if name not in (None, "", *prompts):
            raise ValueError(f"Unknown prompt {name!r}. This model has: {list(prompts)}.")
        return prompts.get("default" if name is None else name, "")

    def _answers(
        self, texts: Iterable[str], question: Question, batch_size: int | None
    ) -> Iterator[dict]:
        pools = _pools(texts)
        pool = next(pools, None)
        documents = self.preprocess(pool, question) if pool else []
        with ThreadPoolExecutor(max_workers=1) as executor:  # starts a thread only if it gets work
            while pool:
                following = next(pools, None)
                ahead = executor.submit(self.preprocess, following, question) if following else None
                outputs = _run(self._forward(documents, question.tasks, batch_size))
                yield from self.postprocess(outputs, pool, documents, question)
                pool, documents = following, ahead.result() if ahead else []

    def preprocess(self, texts: list[str], question: Question) -> list[Document]:
        """Texts to tokens with offsets, in windows, and their units."""
        stride = self.model.config.stride
        tokenized = tokenize(self.tokenizer, texts, question.prompt, stride=stride)
        cuttings = {cutting(task) for task in question.tasks.values() if "labelling" in task}
        return [
            Document(tokens, {cut: _units(text, tokens.offsets, *cut) for cut in cuttings})
            for text, tokens in zip(texts, tokenized, strict=True)
        ]

    @torch.inference_mode()
    def _forward(
        self,
        documents: list[Document],
        tasks: dict[str, dict],
        batch_size: int | None = None,
        max_tokens: int | None = None,
    ) -> Generator[None, None, dict[str, Any]]:
        """Stops before each further batch, and returns the outputs for all documents: for
        `embedding` and each sentence task a tensor of shape `(num_documents, ...)`, the mean of a
        document's windows if the config says so; for each token task what was `Found`."""
        sentence_tasks, token_tasks = _by_form(tasks)
        config = self.model.config
        first_only = config.sentence_windows == "first"
        places = [
            (number, window)
            for number, (document, _) in enumerate(documents)
            for window in document.windows[: None if token_tasks or not first_only else 1]
        ]
        lengths = [documents[number].tokens.length_of(window) for number, window in places]
        batches = length_batches(lengths, max_tokens or self.max_tokens(), batch_size)
        # All batches are handed to the device before the first one's answers are needed.
        outputs = []
        for number, batch in enumerate(batches):
            if number:
                yield
            windows = [(documents[places[i][0]], places[i][1]) for i in batch]
            outputs.append(self._encode(windows, tasks))
        order = torch.tensor([index for batch in batches for index in batch])
        document_of = torch.tensor([number for number, _ in places])
        answers: dict[str, Any] = {}
        scopes = [key for key in outputs[0] if key.startswith(OUT_OF_SCOPE)]
        for key in ("embedding", *sentence_tasks, *scopes):
            rows = _in_order([output[key] for output in outputs], order)
            normalize = key == "embedding" and config.normalize
            first = first_only or key in scopes  # which was fitted to first windows
            answers[key] = _of_documents(rows, document_of, first, normalize)
        for key, task in token_tasks.items():
            by_batch = zip(batches, [output[key] for output in outputs], strict=True)
            answers[key] = yield from _of_tokens(by_batch, places, documents, task)
        return answers

    def _encode(
        self, windows: list[tuple[Document, Window]], tasks: dict[str, dict]
    ) -> dict[str, Any]:
        """One batch through the encoder and the heads: the embedding and sentence logits, and for
        token tasks the spans, and the logits of the windows that are only parts."""
        sequences = [document.tokens.input_ids(window) for document, window in windows]
        padding = self.tokenizer.pad_token_id or 0  # whatever it is, it's masked
        input_ids, mask = pad(sequences, padding)
        with _evaluating(self.model):
            output = self.model(
                input_ids=input_ids.to(self.device, non_blocking=True),
                attention_mask=mask.to(self.device, non_blocking=True),
                tasks=list(tasks),
                return_dict=True,
            )
        encoded: dict[str, Any] = {"embedding": output.sentence_embedding.float()}
        unit_masks = {
            cut: _unit_mask(windows, cut, input_ids.shape[1]).to(self.device)
            for cut in windows[0][0].units
        }
        parts = [row for row, (document, _) in enumerate(windows) if _is_part(document)]
        _, token_tasks = _by_form(tasks)
        for name, strange in (output.out_of_scope or {}).items():
            encoded[OUT_OF_SCOPE + name] = strange.float().unsqueeze(-1)
        for name, logits in output.logits.items():
            encoded[name] = logits.float()
            if name in token_tasks:
                units, labels = unit_masks[cutting(tasks[name])], tasks[name]["labels"]
                spans = likeliest_spans(encoded[name], units, labels)
                encoded[name] = spans, encoded[name][parts]
        return encoded

    def postprocess(
        self,
        outputs: dict[str, Any],
        texts: list[str],
        documents: list[Document],
        question: Question,
    ) -> Iterator[dict]:
        """The answers for texts from the outputs of `_forward`."""
        tasks, _, top_k, thresholds, sets = question
        sentence_tasks, token_tasks = _by_form(tasks)
        cuttings = {name: cutting(task) for name, task in token_tasks.items()}
        answering = {name: ANSWERS[task["problem_type"]] for name, task in sentence_tasks.items()}
        scores = {name: to.scores(outputs[name]).tolist() for name, to in answering.items()}
        strange = {
            name: outputs[OUT_OF_SCOPE + name][:, 0].tolist()
            for name, task in sentence_tasks.items()
            if "out_of_scope" in task and OUT_OF_SCOPE + name in outputs
        }
        for number, (text, document) in enumerate(zip(texts, documents, strict=True)):
            answer = {"embedding": outputs["embedding"][number].tolist()}
            answer["labels"] = {
                name: answering[name].answer(
                    dict(zip(task["labels"], scores[name][number], strict=True)),
                    top_k,
                    thresholds.get(name),
                    sets.get(name),
                )
                for name, task in sentence_tasks.items()
            }
            for name, shares in strange.items():
                label = answer["labels"][name]
                answer["labels"][name] = in_scope(label, shares[number], tasks[name])
            answer["entities"] = {
                name: _entities(
                    outputs[name], number, text, document.units[cut].ranges, thresholds[name]
                )
                for name, cut in cuttings.items()
            }
            yield answer


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


def _run(steps: Generator[None, None, dict[str, Any]]) -> dict[str, Any]:
    """What a generator returns at its end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _check(text: Any, index: int) -> None:
    where = f" as input {index}" if index else ""
    if not isinstance(text, str):
        hint = "; give one of its columns" if hasattr(text, "iterrows") else ""
        raise ValueError(f"The input should be a text. Found {type(text).__name__}{where}{hint}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a character, which JSON can hold
        raise ValueError(
            f"The text should be Unicode. Found a lone surrogate at {error.start}{where}."
        ) from None


def _by_form(tasks: dict[str, dict]) -> tuple[dict[str, dict], dict[str, dict]]:
    """The tasks that are answered once per text, and those per token. Embedding tasks are neither:
    the embedding is always answered."""
    tokens = {name: task for name, task in tasks.items() if "labelling" in task}
    return {k: task for k, task in tasks.items() if "labels" in task and k not in tokens}, tokens


def _in_order(outputs: list[torch.Tensor], order: torch.Tensor) -> torch.Tensor:
    """One row per window, from the outputs of batches; `order` has each output row's window."""
    by_batch = torch.cat(outputs).cpu()
    rows = torch.empty_like(by_batch)
    rows[order] = by_batch
    return rows


def _of_documents(
    rows: torch.Tensor, document_of: torch.Tensor, first_only: bool, normalize: bool
) -> torch.Tensor:
    """One row per document, its first window's or the mean of all, from one row per window."""
    is_first = torch.ones_like(document_of, dtype=torch.bool)
    is_first[1:] = document_of[1:] != document_of[:-1]
    if first_only or is_first.all():
        return rows[is_first]
    counts = document_of.bincount()
    sums = rows.new_zeros(len(counts), rows.shape[1]).index_add_(0, document_of, rows)
    means = sums / counts.unsqueeze(1)
    return F.normalize(means, dim=-1) if normalize else means


def _of_tokens(
    outputs: Iterable[tuple[list[int], tuple[Spans, torch.Tensor]]],
    places: list[tuple[int, Window]],
    documents: list[Document],
    task: dict,
) -> Generator[None, None, Found]:
    """Returns the entities of all documents, from the outputs of `_encode` for each batch of
    `places`. The windows of a document are joined before they are labelled, which takes a while, so
    it stops before each; a token has the logits of the window that answers for it."""
    found: list[Spans] = []  # rows are documents
    parts: dict[int, torch.Tensor] = {}
    for batch, (spans, logits) in outputs:
        numbers = [places[index][0] for index in batch]
        found.append(spans._replace(rows=np.array(numbers)[spans.rows]))
        of_parts = [index for index in batch if _is_part(documents[places[index][0]])]
        for index, whole in zip(of_parts, logits.cpu(), strict=True):
            number, window = places[index]
            shift = len(documents[number].tokens.prefix) - window.start
            parts[index] = whole[window.first + shift : window.last + shift]
    joined: dict[int, list[torch.Tensor]] = {}
    for index in sorted(parts):
        joined.setdefault(places[index][0], []).append(parts[index])
    for number, pieces in joined.items():
        yield
        units = documents[number].units[cutting(task)]
        whole = torch.cat(pieces).unsqueeze(0)
        mask = torch.zeros(whole.shape[:2], dtype=torch.bool)
        mask[0, units.first_tokens] = True
        spans = likeliest_spans(whole, mask, task["labels"])
        found.append(spans._replace(rows=spans.rows + number))
    rows, *columns = (np.concatenate(column) for column in zip(*found, strict=True))
    order = rows.argsort(kind="stable")
    first, last, labels, scores = (column[order].tolist() for column in columns)
    names = [entity_type(label) for label in task["labels"]]
    ends = np.bincount(rows, minlength=len(documents)).cumsum()
    return Found(first, last, [names[label] for label in labels], scores, [0, *ends.tolist()])


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without the dropout of a model that has just been trained."""
    trains = getattr(model, "training", False)  # a graph never does
    parts = [part for part in model.modules() if part.training] if trains else []
    for part in parts:
        part.training = False
    try:
        yield
    finally:
        for part in parts:
            part.training = True


def is_one(inputs: Any) -> bool:
    """Whether the input of a call is one text, or in its place something that is refused."""
    several = any(hasattr(inputs, name) for name in ("__iter__", "__getitem__"))
    return isinstance(inputs, str | bytes | Mapping) or hasattr(inputs, "iterrows") or not several


def _check_positive(name: str, asked: int | None) -> None:
    if asked is not None and (not isinstance(asked, int) or isinstance(asked, bool) or asked < 1):
        raise ValueError(f"{name} should be a whole number of at least 1. Found {asked!r}.")


def _units(text: str, offsets: list[tuple[int, int]], labelling: str, *marks: str) -> Units:
    first_tokens: list[int] = []
    ranges: list[tuple[int, int]] = []
    previous = None
    for index, unit in enumerate(UNITS[labelling](text, offsets, *marks)):
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


def _unit_mask(
    windows: list[tuple[Document, Window]], cut: tuple[str, str, str], longest: int
) -> torch.Tensor:
    """`torch.BoolTensor` of shape `(num_windows, longest)`: the tokens that answer for a unit; none
    in windows that are only parts of a document."""
    rows, columns = [], []
    for row, (document, _) in enumerate(windows):
        if not _is_part(document):
            shift, tokens = len(document.tokens.prefix), document.units[cut].first_tokens
            rows += [row] * len(tokens)
            columns += [token + shift for token in tokens]
    mask = torch.zeros(len(windows), longest, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


def _entities(
    found: Found, number: int, text: str, ranges: list[tuple[int, int]], threshold: Any
) -> list[dict]:
    """The entities of a document that score above a threshold; `ranges` are its units'."""
    entities = []
    own = slice(found.bounds[number], found.bounds[number + 1])
    columns = (found.first[own], found.last[own], found.labels[own], found.scores[own])
    for first, last, label, score in zip(*columns, strict=True):
        if score > threshold:
            start, end = ranges[first][0], ranges[last][1]
            found_text = text[start:end]
            entities.append(
                {"start": start, "end": end, "text": found_text, "label": label, "score": score}
            )
    return entities


def save_pipeline_code(config, folder: str) -> None:
    """Write this pipeline's code beside a model and name it in the model's config, so that
    `pipeline("multitask", model=folder, trust_remote_code=True)` works anywhere. The config is
    still to be saved there.
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
