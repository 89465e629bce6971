"""Turns loaded rows into model inputs: token ids and, per task, labels the collator can pad.

A loaded row has `source`, `text` or `tokens`, and one column per task (see normalization.py). A
preprocessed row is one window of it, or the whole row if it fits the encoder:

| column | content |
|---|---|
| `dataset`, `row`, `window` | the indices of the data set, the loaded row, and the window |
| `input_ids`, `others` | token ids; `others` has those of the further texts of a row |
| `length` | the number of token ids, of the longest text |
| `<task>` | a class id, floats, or one label per token; -100 or NaN where absent, -101 for a token
  whose label is unseen |
| `<task>.tags`, `<task>.positions` | of token tasks: each unit's tag, and its first token here |
| `<task>.unseen` | the classes or entity types of the row that the task's `labels` lack |
| `<task>.soft...` | of tasks that a teacher knows: see soft_labels.py |
| `widened`, `unalignable`, `cut_tokens`, `cut_entities` | of the row (0 in all its windows but the
  first): spans whose borders are inside a unit, and spans with no unit of their own; tokens and
  entities behind a cut |

Each label is in one window only, so that losses and metrics count it once: a token's label in the
window that predicts it, a sentence's label in the first. A unit is a word or a token, see
`labelling`; a unit without a token is at position -1. Evaluation scores every unit.

Unseen labels, which training lacks, count as wrong: losses ignore them, and metrics find them in
`<task>.unseen`. Tags past the end of a task's labels are the `tags_of` that column.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Any

from datasets import Dataset, Features, List, Value
from transformers import PreTrainedTokenizerBase

from .caching import fingerprint, unweighted
from .label_alignment import join_words
from .normalization import FORMS
from .soft_labels import SoftUnits, soft_features
from .task_kinds import LabelUnits, kind_of

ROWS_AT_ONCE = 200  # as many documents of thousands of tokens fit in memory
LONG_TEXTS = ("window", "truncate", "refuse")
FINDINGS = ("widened", "unalignable", "cut_tokens", "cut_entities")


def preprocess(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    tasks: dict[str, dict],
    tokenize: Callable,
    units: dict[str, Callable],
    name: str = "data",
    num_proc: int | None = None,
    taught: Collection[str] = (),
    **reading: Any,
) -> Dataset:
    """Tokenize and align every row.

    Args:
        dataset (`Dataset`): loaded rows.
        tokenizer (`PreTrainedTokenizerBase`): a fast tokenizer: alignment needs offsets.
        tasks (`dict[str, dict]`): as in the model's config, with `type`, `labels` and `labelling`.
        tokenize, units: how the model reads texts (modeling/windows.py) and finds units in them
            (modeling/decoding.py), so that training and prediction agree.
        name (`str`): the data's name in the progress bar.
        num_proc (`int`, *optional*): processes to use.
        taught (`Collection[str]`): tasks of which the rows have soft labels.
        **reading: `max_length` to `open_tasks` of `preprocess_examples`.

    Returns:
        `Dataset`: preprocessed rows, with `source`, `problem` and `raw` as in loaded rows. The
        result is cached.

    Raises:
        ValueError: a tokenizer without offsets, settings that `tokenize` refuses.
    """
    settings = {**reading, "tasks": tasks, "taught": taught}
    _check(tokenizer, tokenize, settings)
    state = tokenizer.backend_tokenizer.to_str(), tokenizer.model_max_length
    return dataset.map(
        preprocess_columns,
        batched=True,
        batch_size=ROWS_AT_ONCE,
        with_indices=True,
        remove_columns=dataset.column_names,
        features=preprocessed_features(tasks, taught),
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
    """A function that preprocesses a list of loaded rows, for streamed data.

    Takes the same settings and raises the same errors as `preprocess`.
    """
    _check(tokenizer, tokenize, settings)

    def convert(rows: list[dict]) -> list[dict]:
        return preprocess_examples(rows, range(len(rows)), tokenizer, tokenize, units, **settings)

    return convert


def _check(tokenizer: PreTrainedTokenizerBase, tokenize: Callable, settings: dict) -> None:
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} gives no offsets; a fast tokenizer is needed."
        )
    # Refuses settings that leave no room for text.
    window = {key: settings[key] for key in ("prompt", "max_length", "stride") if key in settings}
    tokenize(tokenizer, [""], **window)


def preprocessed_features(tasks: dict[str, dict], taught: Collection[str] = ()) -> Features:
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
        features |= kind_of(task).features(name)
        if not kind_of(task).numeric:
            features[f"{name}.unseen"] = List(Value("string"))
        if name in taught:
            kind = kind_of(task)
            features |= soft_features(name, kind.by_token, loaded=False, numeric=kind.numeric)
    return Features(features)


def preprocess_columns(batch: dict[str, list], indices: list[int], **settings) -> dict[str, list]:
    """`preprocess_examples` for a batch of columns."""
    rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
    windows = preprocess_examples(rows, indices, **settings)
    names = preprocessed_features(settings["tasks"], settings.get("taught", ()))
    return {name: [window[name] for window in windows] for name in names}


def preprocess_examples(
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
    open_tasks: Collection[str] = (),
    taught: Collection[str] = (),
) -> list[dict]:
    """The windows of loaded rows; column `row` holds the row's entry in `indices`.

    Args:
        max_length, stride (`int`, *optional*): of windows, see `tokenize`.
        long_texts (`str`): `window` reads longer texts in windows; `truncate` reads only the first
            window and counts the tokens lost; `refuse` makes the row a bad row.
        all_windows (`bool`): whether to keep windows without labels.
        prompt (`str`): put before every window.
        number (`int`): the value of the column `dataset`.
        open_tasks (`Collection[str]`): tasks whose unseen labels count as wrong; others' are bad.
        taught (`Collection[str]`): tasks of which the rows have soft labels.
    """
    joined = [text_and_words(row) for row in rows]
    texts = tokenize(tokenizer, [text for text, _ in joined], prompt, max_length, stride)
    further = [text for row in rows for text in row.get("texts", ())[1:]]
    others = iter(tokenize(tokenizer, further, prompt, max_length, stride) if further else ())
    empty = dict.fromkeys(preprocessed_features(tasks, taught))
    result = []
    for index, row, (text, words), tokenized in zip(indices, rows, joined, texts, strict=True):
        same = {**empty, "source": row["source"], "dataset": number, "row": index, "others": []}
        if "texts" in row:  # compared texts are cut to their first window
            tokenized = tokenized._replace(windows=tokenized.windows[:1])
            own = islice(others, len(row["texts"]) - 1)
            same["others"] = [other.input_ids(other.windows[0]) for other in own]
        try:
            labels, unseen = _labels(row, text, words, tokenized, units, tasks, open_tasks)
            same |= unseen
            soft = {name: SoftUnits(name, row) for name in taught}
            windows = _windows(tokenized, labels, soft, tasks, long_texts, all_windows)
        except ValueError as error:
            raw = {key: row[key] for key in (*FORMS, *tasks) if key in row}
            windows = [{"problem": str(error), "raw": json.dumps(raw, ensure_ascii=False)}]
        result += [same | window for window in windows]
    for window in result:
        if window["others"] and window["length"] is not None:
            window["length"] = max(window["length"], *map(len, window["others"]))
    return result


def text_and_words(row: dict) -> tuple[str, list[tuple[int, int]] | None]:
    """The text whose tokens are labelled, and the ranges of its words if the row has words."""
    if "tokens" in row:
        return join_words(row["tokens"])
    return row["text"] if "text" in row else row["texts"][0], None


def texts_of(parts: Iterable[Dataset]) -> list[str]:
    """The texts of loaded rows, words joined by spaces; without pairs, which have no labels."""
    texts: list[str] = []
    for rows in parts:
        if "tokens" in rows.column_names:
            texts += [" ".join(tokens) for tokens in rows["tokens"]]
        elif "text" in rows.column_names:
            texts += rows["text"]
    return texts


def _labels(row, text, words, tokenized, units, tasks, open_tasks) -> tuple[dict, dict]:
    """The labels of a whole row, by task, and its columns of unseen labels."""
    labels, columns = {}, {}
    for name, task in tasks.items():
        kind, label, unseen = kind_of(task), row.get(name), []
        if not kind.numeric:
            unseen = kind.unseen(label, task["labels"]) if name in open_tasks else []
            columns[f"{name}.unseen"] = unseen
        try:
            labels[name] = kind.encode(label, task, text, words, tokenized, units, unseen)
        except ValueError as error:
            raise ValueError(f"task {name!r}: {error}") from None
    return labels, columns


def _windows(tokenized, labels, soft, tasks, long_texts, all_windows) -> list[dict]:
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
    by_unit = {name: label for name, label in labels.items() if isinstance(label, LabelUnits)}
    last = windows[-1]
    findings = {
        "widened": sum(label.widened for label in by_unit.values()),
        "unalignable": sum(label.unalignable for label in by_unit.values()),
        "cut_tokens": cut_tokens,
        "cut_entities": sum(label.entities_behind(last.last) for label in by_unit.values()),
    }
    columns = []
    for number, window in enumerate(windows):
        says = [label.known for label in by_unit.values()]
        says += [bool(soft[name].values) for name in by_unit if name in soft]
        if number and not all_windows and not any(says):
            break
        ids = tokenized.input_ids(window)
        features = {"window": number, "input_ids": ids, "length": len(ids)}
        features |= dict.fromkeys(findings, 0) if number else findings
        for name, label in labels.items():
            if name in by_unit:
                features |= label.of_window(name, window, tokenized, window is last)
            else:
                features[name] = kind_of(tasks[name]).absent(tasks[name]) if number else label
            if name in soft:
                features |= soft[name].of_window(label, window, tokenized, number == 0)
        columns.append(features)
    return columns
