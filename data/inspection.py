"""Data report: counts that reveal mistakes before training, and the first rows as the model sees
them."""

import difflib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain, combinations
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from .label_alignment import word_ranges, words_of_tokens
from .preprocessing import text_and_words
from .splitting import hash_of
from .task_kinds import kind_of

PERCENTILES = (50, 90, 99, 100)
SHOWN_TOKENS = 60  # of a row
SHOWN_LINES = 20  # of bad rows, of labels that occur once, and of labels that training lacks
LINE = 100  # columns of the terminal
COLOURS = (31, 32, 33, 34, 35, 36, 91, 92, 93, 94, 95, 96)  # ANSI foregrounds, without greys


EXAMPLES = 3  # first rows to show
SEARCHED = 50  # labels met once that a similar label is looked for
# Key in the report -> column of preprocessed rows.
SUMS = {
    "widened_spans": "widened",
    "lost_spans": "unalignable",
    "cut_tokens": "cut_tokens",
    "cut_entities": "cut_entities",
}


def inspect_split(
    rows: Dataset,
    windows: Dataset,
    bad: list[dict],
    tasks: dict[str, dict],
    tokenizer: PreTrainedTokenizerBase,
    read: Callable[[list[str]], list],
    find_words: Callable,
) -> dict[str, Any]:
    """Report on one split of a data set.

    Args:
        rows (`Dataset`): the good loaded rows.
        windows (`Dataset`): all windows of those rows, without rows that turned out bad.
        bad (`list[dict]`): the bad rows, see `bad_rows.as_skipped`.
        tasks (`dict[str, dict]`): the tasks that the data set labels, as in the model's config.
        tokenizer (`PreTrainedTokenizerBase`): provides the names of tokens.
        read (`Callable`): texts to `TokenizedText`s, see modeling/windows.py.
        find_words (`Callable`): words of a text, see modeling/decoding.py.

    Returns:
        `dict[str, Any]`: `rows`, `tokens`, `length_percentiles`, `windows`, `tasks` (per task
        `labelled_share` in 0..1 and `labels`, the counts), `unseen_labels`, `repaired_labels`,
        the keys of `SUMS`, `bad_rows`, `repeated_rows` and `first_rows`.
    """
    places = zip(windows["row"][:], windows["window"][:], strict=True)
    first_windows = {row: index for index, (row, window) in enumerate(places) if window == 0}
    labelled = {name: task for name, task in tasks.items() if name in rows.column_names}
    unseen = unseen_labels(rows, windows, labelled)
    # Rows that only preprocessing found bad have no windows.
    rows = rows.select(sorted(first_windows))
    shown = [windows[first_windows[row]] for row in sorted(first_windows)[:EXAMPLES]]
    lengths = np.asarray([_length(document) for document in _documents(rows, read)])
    return {
        "rows": len(rows),
        "tokens": int(lengths.sum()),
        "length_percentiles": _percentiles(lengths),
        "windows": len(windows),
        "tasks": {name: _labels_of(rows, name, task) for name, task in labelled.items()},
        "unseen_labels": unseen,
        "repaired_labels": sum(rows["repairs"][:]),
        **{name: sum(windows[column][:]) for name, column in SUMS.items()},
        "bad_rows": [f"{row['source']}: {row['problem']}" for row in bad],
        "repeated_rows": len(rows) - len(set(_hashes(rows))),
        "first_rows": [
            _example(rows[index], window, tasks, tokenizer, read, find_words)
            for index, window in enumerate(shown)
        ],
    }


def _percentiles(lengths: np.ndarray) -> dict[str, int]:
    return {
        str(share): int(np.percentile(lengths, share, method="higher")) for share in PERCENTILES
    }


def _labels_of(rows: Dataset, name: str, task: dict) -> dict[str, Any]:
    present = [label is not None for label in rows[name]]
    return {"labelled_share": float(np.mean(present)), "labels": label_counts(rows, name, task)}


def label_counts(rows: Dataset, name: str, task: dict) -> dict[str, float]:
    """How often each label occurs.

    Token tasks count entities by type; regressions and scores of pairs give the minimum, mean and
    maximum instead.
    """
    labels = [label for label in rows[name] if label is not None]
    if kind_of(task).numeric:
        values = np.asarray(labels).flatten()
        return {key: float(getattr(values, key)()) for key in ("min", "mean", "max") if len(values)}
    counts: Counter[str] = Counter()
    for label in labels:
        counts.update(kind_of(task).names(label))
    return dict(counts.most_common())


def unseen_labels(rows: Dataset, windows: Dataset, tasks: dict[str, dict]) -> dict[str, dict]:
    """The labels that training lacks, by task: `rows`, how many have one, and `labels`, how often
    each occurs. Tasks without are left out; entities count by type.

    Args:
        rows, windows (`Dataset`): loaded rows, and their preprocessed windows.
        tasks (`dict[str, dict]`): as in the model's config.
    """
    unseen = {}
    for name, task in tasks.items():
        kind, column = kind_of(task), f"{name}.unseen"
        if kind.numeric or name not in rows.column_names:
            continue
        table = windows.select_columns(["row", "window", column]).with_format("arrow")[:]
        has_unseen = pc.greater(pc.list_value_length(table[column]), 0)
        places = table.filter(pc.and_(pc.equal(table["window"], 0), has_unseen))["row"].to_pylist()
        found = chain.from_iterable(map(kind.names, rows.select(places)[name]))
        counts = Counter(label for label in found if not kind.knows(label, task["labels"]))
        if places:
            unseen[name] = {"rows": len(places), "labels": dict(counts.most_common())}
    return unseen


def unseen_lines(unseen: dict[str, dict]) -> list[str]:
    """A line for each task in the result of `unseen_labels`."""
    lines = []
    for task, found in unseen.items():
        counts = [f"{_visible(label)} {n:,}" for label, n in found["labels"].items()]
        rest = len(counts) - SHOWN_LINES
        more = f", and {rest:,} more" if rest > 0 else ""
        lines.append(
            f"{task}: {found['rows']:,} rows have labels that training lacks, which count as "
            f"wrong: {', '.join(counts[:SHOWN_LINES])}{more}"
        )
    return lines


def labels_met_once(parts: list[Dataset], tasks: dict[str, dict]) -> list[str]:
    """A line for each label that occurs once while others of its task occur more often: it may be
    a typo.

    Args:
        parts (`list[Dataset]`): the training rows of each data set.
        tasks (`dict[str, dict]`): as in the model's config.
    """
    lines = []
    for name, task in tasks.items():
        if kind_of(task).numeric:
            continue
        counts: Counter[str] = Counter()
        sources: dict[str, str] = {}
        for rows in parts:
            if name in rows.column_names:
                for label, source in zip(rows[name], rows["source"], strict=True):
                    for value in kind_of(task).names(label) if label is not None else ():
                        counts[value] += 1
                        sources[value] = source
        often = [label for label, count in counts.items() if count > 1]
        once = [label for label, count in counts.items() if count == 1 and often]
        for place, label in enumerate(once):
            # Each search takes as long as there are labels; many labels met once are no typos.
            near = difflib.get_close_matches(label, often, n=1) if place < SEARCHED else []
            hint = f" Is it {near[0]!r}?" if near else ""
            lines.append(f"{name}: {label!r} occurs only once, in {sources[label]}.{hint}")
    return lines


def find_leaks(splits: dict[str, dict[str, Dataset]]) -> dict[str, int]:
    """Count the texts shared between splits, of all data sets: `train, test` to the number of test
    rows whose text is in train too.

    Args:
        splits (`dict[str, dict[str, Dataset]]`): loaded rows by split and data set.
    """
    hashes = {
        split: [h for rows in parts.values() for h in _hashes(rows)]
        for split, parts in splits.items()
    }
    leaks = {}
    for left, right in combinations(hashes, 2):
        known = set(hashes[left])
        leaks[f"{left}, {right}"] = sum(text_hash in known for text_hash in hashes[right])
    return leaks


def leak_lines(leaks: dict[str, int]) -> list[str]:
    """A line for each pair of splits that share texts."""
    pairs = ((pair.split(", "), count) for pair, count in leaks.items() if count)
    return [
        f"{count:,} {right} rows have a text that is also in {left}"
        for (left, right), count in pairs
    ]


def _documents(rows: Dataset, read: Callable[[list[str]], list]) -> Iterable:
    for batch in rows.iter(1000):
        yield from read(_texts(batch))


def _texts(batch: dict[str, list]) -> list[str]:
    if "text" in batch:
        return batch["text"]
    return [" ".join(parts) for parts in batch["tokens" if "tokens" in batch else "texts"]]


def _hashes(rows: Dataset) -> Iterable[int]:
    return (hash_of(text) for batch in rows.iter(1000) for text in _texts(batch))


def _length(document) -> int:
    return len(document.prefix) + len(document.ids) + len(document.suffix)


def _example(row: dict, window: dict, tasks, tokenizer, read, find_words) -> dict[str, Any]:
    """A row's sentence labels, and the word and labels of each of its tokens."""
    text, words = text_and_words(row)
    (document,) = read([text])
    if words is None:
        words = word_ranges(find_words(text, document.offsets), document.offsets)
    word_ids = words_of_tokens(document.offsets, words)
    shift = len(document.prefix)
    tokens, previous = [], None
    shown = min(SHOWN_TOKENS, window["length"] - shift - len(document.suffix))
    for index, piece in enumerate(tokenizer.convert_ids_to_tokens(document.ids[:shown])):
        word = word_ids[index]
        token: dict[str, Any] = {"token": piece, "word": "", "labels": {}}
        if word is not None and word != previous:
            token["word"] = text[slice(*words[word])]
        previous = word
        for name, task in tasks.items():
            if kind_of(task).by_token:
                label = window[name][index + shift]
                token["labels"][name] = "" if label < 0 else task["labels"][label]
        tokens.append(token)
    labels = {
        name: row.get(name)
        for name, task in tasks.items()
        if "text" in kind_of(task).forms and not kind_of(task).by_token
    }
    return {"source": row["source"], "labels": labels, "tokens": tokens}


# As text


def inspection_text(report: dict[str, Any], colour: bool) -> str:
    """Format the data report for a terminal.

    Args:
        report (`dict[str, Any]`): `splits` (name to the report of `inspect_split`), `leaks` and
            `labels_met_once`.
        colour (`bool`): whether to colour entities with ANSI codes.
    """
    lines = []
    for name, split in report["splits"].items():
        shares = " ".join(f"{p}%: {n}" for p, n in split["length_percentiles"].items())
        lines += [
            f"\n{name}: {split['rows']:,} rows, {split['tokens']:,} tokens, "
            f"{split['windows']:,} windows",
            f"  tokens of a row   {shares}",
        ]
        for task, labels in split["tasks"].items():
            counts = ", ".join(
                f"{_visible(label)} {_number(n)}" for label, n in labels["labels"].items()
            )
            lines.append(f"  {task}: {100 * labels['labelled_share']:.1f}% of rows labelled")
            lines += _wrapped(counts or "no labels", "    ")
        lines += [f"  {line}" for line in unseen_lines(split["unseen_labels"])]
        for key in ("repaired_labels", "widened_spans", "lost_spans", "cut_tokens", "cut_entities"):
            if split[key]:
                lines.append(f"  {key.replace('_', ' ')}: {split[key]:,}")
        lines.append(f"  rows that repeat a text: {split['repeated_rows']:,}")
        lines.append(f"  bad rows: {len(split['bad_rows']):,}")
        lines += [_visible(f"    {problem}") for problem in split["bad_rows"][:SHOWN_LINES]]
        if len(split["bad_rows"]) > SHOWN_LINES:
            lines.append(f"    and {len(split['bad_rows']) - SHOWN_LINES:,} more")
        for example in split["first_rows"]:
            lines += _example_lines(example, colour)
    lines.append("")
    once = report["labels_met_once"]
    lines += [_visible(line) for line in once[:SHOWN_LINES]]
    if len(once) > SHOWN_LINES:
        lines.append(f"and {len(once) - SHOWN_LINES:,} more labels that occur only once")
    lines += leak_lines(report["leaks"])
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _wrapped(text: str, indent: str) -> list[str]:
    lines, line = [], indent
    for part in text.split(", "):
        if len(line) > len(indent) and len(line) + len(part) + 2 > LINE:
            lines.append(line)
            line = indent
        line += part if line == indent else f", {part}"
    return [*lines, line]


def _example_lines(example: dict, colour: bool) -> list[str]:
    """Words, tokens and labels in aligned rows, wrapped to the width of the terminal."""
    lines = ["", _visible(f"  {example['source']}")]
    lines += [_visible(f"    {task}: {label}") for task, label in example["labels"].items()]
    columns = [
        [_visible(cell) for cell in (token["word"], token["token"], *token["labels"].values())]
        for token in example["tokens"]
    ]
    titles = ["word", "token", *(example["tokens"][0]["labels"] if columns else ())]
    margin = 4 + max(map(len, titles)) + 2
    widths = [max(map(_width, column)) + 1 for column in columns]
    start = 0
    while start < len(columns):
        end, used = start, margin
        while end < len(columns) and (end == start or used + widths[end] <= LINE):
            used += widths[end]
            end += 1
        for number, title in enumerate(titles):
            line = f"    {title}".ljust(margin)
            for column, width in zip(columns[start:end], widths[start:end], strict=True):
                cell = column[number]
                padded = cell + " " * (width - _width(cell))
                entity = number > 1 and cell not in ("", "O")
                line += _coloured(padded, cell[2:]) if colour and entity else padded
            lines.append(line.rstrip())
        start = end
        if start < len(columns):
            lines.append("")
    return lines


def _visible(text: str) -> str:
    """The text without control characters."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _width(text: str) -> int:
    """The number of terminal columns that the text takes."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.category(char) in ("Mn", "Me") for char in text)


def _coloured(text: str, entity_type: str) -> str:
    """The text in the colour of its entity type."""
    code = COLOURS[sum(entity_type.encode()) % len(COLOURS)]
    return f"\033[{code}m{text}\033[0m"
