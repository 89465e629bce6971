"""From loaded rows to model inputs: token ids and, per task, labels the collator can pad.

A loaded row has `source`, `text` or `tokens`, and one column per task (see normalization.py). A
preprocessed row is one window of it, the whole row where the encoder takes that many tokens:

| column | what |
|---|---|
| `dataset`, `row`, `window` | of which data set, which loaded row, and which window of it |
| `input_ids`, `others` | token ids; of a row of several texts those of the further ones |
| `length` | how many token ids, of the longest text |
| `<task>` | a class id, floats, or one label per token; -100 or NaN where absent |
| `<task>.tags`, `<task>.positions` | of token tasks: each unit's tag, and its first token here |
| `widened`, `lost`, `cut_tokens`, `cut_entities` | of the row (0 in all its windows but the first):
  spans whose borders are inside a unit, and spans with no unit of their own; tokens and
  entities behind a cut |

Each label stands in one window only, so that losses and metrics count it once: a token's in the
one that answers for it, a sentence's in the first. A unit is a word or a token, see `labelling`;
one that has no token is at position -1. Evaluation scores units, and loses none.
"""

import json
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from datasets import Dataset, Features, List, Value
from transformers import PreTrainedTokenizerBase

from .caching import fingerprint, unweighted
from .label_alignment import (
    IGNORE_INDEX,
    first_tokens,
    join_words,
    label_id,
    spans_to_tags,
    token_labels,
    word_ranges,
    words_of_tokens,
)
from .normalization import FORMS

ROWS_AT_ONCE = 200  # that many documents of thousands of tokens still fit in memory
LONG_TEXTS = ("window", "truncate", "refuse")
FINDINGS = ("widened", "lost", "cut_tokens", "cut_entities")


def preprocess(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    tasks: dict[str, dict],
    tokenize: Callable,
    units: dict[str, Callable],
    max_length: int | None = None,
    stride: int | None = None,
    long_texts: str = "window",
    all_windows: bool = False,
    prompt: str = "",
    name: str = "data",
    number: int = 0,
    num_proc: int | None = None,
) -> Dataset:
    """Tokenize and align every row.

    Args:
        dataset (`Dataset`): loaded rows.
        tokenizer (`PreTrainedTokenizerBase`): a fast one: alignment needs its offsets.
        tasks (`dict[str, dict]`): as in the model's config, with `type`, `labels` and `labelling`.
        tokenize, units: how the model reads texts (modeling/windows.py) and finds units in them
            (modeling/decoding.py), so that training and prediction agree.
        max_length, stride (`int`, *optional*): of windows, see `tokenize`.
        long_texts (`str`): `window` reads texts that are longer in windows; `truncate` reads the
            first window, and counts what is lost; `refuse` makes such a row a bad one.
        all_windows (`bool`): whether windows that hold no label are kept.
        prompt (`str`): put before every window.
        name (`str`): what to call the data in the progress bar.
        number (`int`): what the column `dataset` says.
        num_proc (`int`, *optional*): processes to use.

    Returns:
        `Dataset`: preprocessed rows, with `source`, `problem` and `raw` as in loaded rows. The
        result is cached.

    Raises:
        ValueError: a tokenizer without offsets, settings that `tokenize` refuses.
    """
    settings = {
        "tasks": tasks,
        "max_length": max_length,
        "stride": stride,
        "long_texts": long_texts,
        "all_windows": all_windows,
        "prompt": prompt,
        "number": number,
    }
    _check(tokenizer, tokenize, settings)
    state = tokenizer.backend_tokenizer.to_str(), tokenizer.model_max_length
    return dataset.map(
        preprocess_columns,
        batched=True,
        batch_size=ROWS_AT_ONCE,
        with_indices=True,
        remove_columns=dataset.column_names,
        features=preprocessed_features(tasks),
        num_proc=num_proc,
        desc=f"Tokenizing {name}",
        fn_kwargs={"tokenizer": tokenizer, "tokenize": tokenize, "units": units, **settings},
        new_fingerprint=fingerprint(
            dataset._fingerprint,
            {**settings, "tasks": unweighted(tasks)},
            state,
            functions=(tokenize, *units.values()),
        ),
    )


def row_preprocessor(
    tokenizer: PreTrainedTokenizerBase, tokenize: Callable, units: dict[str, Callable], **settings
) -> Callable[[list[dict]], list[dict]]:
    """What turns some loaded rows into preprocessed ones, for data that is streamed.

    Takes and raises what `preprocess` does.
    """
    _check(tokenizer, tokenize, settings)

    def convert(rows: list[dict]) -> list[dict]:
        return preprocess_rows(rows, range(len(rows)), tokenizer, tokenize, units, **settings)

    return convert


def _check(tokenizer: PreTrainedTokenizerBase, tokenize: Callable, settings: dict) -> None:
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} gives no offsets; a fast tokenizer is needed."
        )
    # Refuses settings that leave no room for text.
    window = {key: settings[key] for key in ("prompt", "max_length", "stride") if key in settings}
    tokenize(tokenizer, [""], **window)


def preprocessed_features(tasks: dict[str, dict]) -> Features:
    """The columns of preprocessed rows."""
    features: dict[str, Any] = {
        "source": Value("string"),
        "dataset": Value("int32"),
        "row": Value("int32"),
        "window": Value("int32"),
        "input_ids": List(Value("int32")),
        "others": List(List(Value("int32"))),
        "length": Value("int32"),
        **dict.fromkeys(FINDINGS, Value("int32")),
        "problem": Value("string"),
        "raw": Value("string"),
    }
    for name, task in tasks.items():
        if task["type"] == "token_classification":
            for column in (name, f"{name}.tags", f"{name}.positions"):
                features[column] = List(Value("int32"))
        elif task["type"] == "sentence_embedding":
            features[name] = Value("float32")
        else:
            single = task["problem_type"] == "single_label_classification"
            features[name] = Value("int32") if single else List(Value("float32"))
    return Features(features)


def preprocess_columns(batch: dict[str, list], indices: list[int], **settings) -> dict[str, list]:
    """As `preprocess_rows`, from columns to columns."""
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    windows = preprocess_rows(rows, indices, **settings)
    names = preprocessed_features(settings["tasks"])
    return {name: [window[name] for window in windows] for name in names}


def preprocess_rows(
    rows: list[dict],
    indices: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
    tokenize: Callable,
    units: dict[str, Callable],
    tasks: dict[str, dict],
    max_length: int | None = None,
    stride: int | None = None,
    long_texts: str = "window",
    all_windows: bool = False,
    prompt: str = "",
    number: int = 0,
) -> list[dict]:
    """The windows of some loaded rows, whose column `row` says which of `indices` they are of."""
    joined = [text_and_words(row) for row in rows]
    texts = tokenize(tokenizer, [text for text, _ in joined], prompt, max_length, stride)
    further = [text for row in rows for text in row.get("texts", ())[1:]]
    others = iter(tokenize(tokenizer, further, prompt, max_length, stride) if further else ())
    empty = dict.fromkeys(preprocessed_features(tasks))
    result = []
    for index, row, (text, words), tokenized in zip(indices, rows, joined, texts, strict=True):
        same = {**empty, "source": row["source"], "dataset": number, "row": index, "others": []}
        if "texts" in row:  # of long texts that are compared the beginnings are
            tokenized = tokenized._replace(windows=tokenized.windows[:1])
            own = islice(others, len(row["texts"]) - 1)
            same["others"] = [other.input_ids(other.windows[0]) for other in own]
        try:
            labels = _labels(row, text, words, tokenized, units, tasks)
            windows = _windows(tokenized, labels, tasks, long_texts, all_windows)
        except ValueError as error:
            raw = {key: row[key] for key in (*FORMS, *tasks) if key in row}
            windows = [{"problem": str(error), "raw": json.dumps(raw, ensure_ascii=False)}]
        result += [same | window for window in windows]
    for window in result:
        if window["others"] and window["length"] is not None:
            window["length"] = max(window["length"], *map(len, window["others"]))
    return result


def text_and_words(row: dict) -> tuple[str, list[tuple[int, int]] | None]:
    """The text whose tokens are labelled, and where it has words the range of each."""
    if "tokens" in row:
        return join_words(row["tokens"])
    return row["text"] if "text" in row else row["texts"][0], None


def _labels(row, text, words, tokenized, units, tasks) -> dict[str, Any]:
    """The labels of a whole row, by task."""
    labels = {}
    for name, task in tasks.items():
        encode = PREPROCESSORS[task["type"]]
        try:
            labels[name] = encode(row.get(name), task, text, words, tokenized, units)
        except ValueError as error:
            raise ValueError(f"task {name!r}: {error}") from None
    return labels


def _windows(tokenized, labels, tasks, long_texts, all_windows) -> list[dict]:
    """The columns of each window of a row."""
    windows, cut_tokens = tokenized.windows, 0
    if len(windows) > 1 and long_texts == "refuse":
        found = len(tokenized.prefix) + len(tokenized.ids) + len(tokenized.suffix)
        raise ValueError(
            f"should have at most {len(tokenized.input_ids(windows[0]))} tokens. Found {found}; "
            "`long_texts: window` reads it in windows."
        )
    if len(windows) > 1 and long_texts == "truncate":
        cut_tokens = len(tokenized.ids) - windows[0].end
        windows = [windows[0]._replace(last=windows[0].end)]
    by_unit = {name: label for name, label in labels.items() if isinstance(label, UnitLabels)}
    last = windows[-1]
    findings = {
        "widened": sum(label.widened for label in by_unit.values()),
        "lost": sum(label.lost for label in by_unit.values()),
        "cut_tokens": cut_tokens,
        "cut_entities": sum(label.entities_behind(last.last) for label in by_unit.values()),
    }
    columns = []
    for number, window in enumerate(windows):
        if number and not all_windows and not any(label.known for label in by_unit.values()):
            break
        ids = tokenized.input_ids(window)
        features = {"window": number, "input_ids": ids, "length": len(ids)}
        features |= dict.fromkeys(findings, 0) if number else findings
        for name, label in labels.items():
            if name in by_unit:
                features |= label.of_window(name, window, tokenized, window is last)
            else:
                features[name] = _absent(tasks[name]) if number else label
        columns.append(features)
    return columns


def encode_sentence_label(label, task, text, words, tokenized, units) -> Any:
    """A class id, or floats for multi-label and regression tasks; -100 or NaN where absent."""
    labels = task["labels"]
    if label is None:
        return _absent(task)
    if task["problem_type"] == "single_label_classification":
        return label_id(label, labels)
    if task["problem_type"] == "regression":
        if len(label) != len(labels):
            raise ValueError(
                f"should have {len(labels)} numbers ({', '.join(labels)}). Found {label}."
            )
        return [float(value) for value in label]
    chosen = {label_id(one, labels) for one in label}
    return [float(index in chosen) for index in range(len(labels))]


def _absent(task: dict) -> Any:
    if task["type"] == "sentence_embedding":
        return float("nan")
    if task["problem_type"] == "single_label_classification":
        return IGNORE_INDEX
    return [float("nan")] * len(task["labels"])


def encode_score(label, task, text, words, tokenized, units) -> float:
    """The score of a pair of texts; NaN where absent."""
    return _absent(task) if label is None else label


class UnitLabels:
    """The labels of a token task for one text: by unit for metrics, by token for the loss.

    Args:
        tags (`list[int]`): per unit an index into the task's labels, -100 where the task has no
            labels for this text.
        positions (`list[int]`): per unit its first token, -1 where it has none.
        tokens (`list[int]`): per token a label, -100 where the loss is to ignore it.
        ends (`list[bool]`): per unit whether an entity ends there.
        widened (`int`): how many spans the units give back wider than they were given.
        lost (`int`): how many spans have no unit of their own.
    """

    def __init__(self, tags, positions, tokens, ends, widened=0, lost=0):
        self.tags, self.positions, self.tokens = tags, positions, tokens
        self.ends, self.widened, self.lost = ends, widened, lost
        self.known = IGNORE_INDEX not in tags

    def of_window(self, name: str, window, tokenized, is_last: bool) -> dict:
        """The columns of one window: the labels of the tokens that it answers for, and the units
        that begin there. Units without a token go with the one before them."""
        shift = len(tokenized.prefix)
        tokens = [IGNORE_INDEX] * len(tokenized.input_ids(window))
        start, end = (shift + index - window.start for index in (window.first, window.last))
        tokens[start:end] = self.tokens[window.first : window.last]
        tags, positions, inside = [], [], window.first == 0
        for tag, position in zip(self.tags, self.positions, strict=True):
            if position >= 0:
                inside = window.first <= position and (position < window.last or is_last)
            if inside:
                here = 0 <= position < window.last
                tags.append(tag)
                positions.append(shift + position - window.start if here else -1)
        return {name: tokens, f"{name}.tags": tags, f"{name}.positions": positions}

    def entities_behind(self, cut: int) -> int:
        """How many entities end at a token that is not before `cut`."""
        return sum(
            ends and position >= cut
            for ends, position in zip(self.ends, self.positions, strict=True)
        )


def encode_token_labels(label, task, text, words, tokenized, units) -> UnitLabels:
    """Labels per unit and per token, from word tags or character spans."""
    labels, labelling = task["labels"], task["labelling"]
    units_of_text = units[labelling](text, tokenized.offsets)
    if words is None:
        words = word_ranges(units_of_text, tokenized.offsets)
        spans, tags = label, None
    else:
        spans, tags = None, label
    unit_ids = words_of_tokens(tokenized.offsets, words)
    positions = first_tokens(unit_ids, len(words))
    if label is None:
        absent = [IGNORE_INDEX] * (len(words) or 1)
        tokens = [IGNORE_INDEX] * len(unit_ids)
        return UnitLabels(absent, positions or [-1], tokens, [False] * len(absent))
    widened: list[dict] = []
    lost: list[dict] = []
    if spans is not None:
        tags, widened, lost = spans_to_tags(spans, words)
        # An entity with no token of its own can't be found, and must count as missed.
        tags += [f"B-{span['label']}" for span in lost]
        positions += [-1] * len(lost)
    ids = [label_id(tag, labels) for tag in tags]
    return UnitLabels(
        ids,
        positions,
        token_labels(ids, unit_ids, labels, labelling, units_of_text),
        [
            tag != "O" and not following.startswith("I")
            for tag, following in zip(tags, [*tags, "O"][1:], strict=True)
        ],
        len(widened),
        len(lost),
    )


PREPROCESSORS = {
    "sequence_classification": encode_sentence_label,
    "token_classification": encode_token_labels,
    "sentence_embedding": encode_score,
}
