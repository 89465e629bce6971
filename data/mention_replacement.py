"""More rows with entities: copies of rows in which these are others of their type.

After Dai and Adel 2020, "An Analysis of Simple Data Augmentation for Named Entity Recognition",
arXiv 2010.11683 (mention replacement).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset, concatenate_datasets

from .caching import fingerprint

SHARE = 0.5  # of a row's mentions, beside the one that gives way in any case


class Mention(NamedTuple):
    """An entity of a row: its type, and its words or characters, from `start` to `end`."""

    type: str
    start: int
    end: int


def with_replaced_mentions(
    rows: Dataset, task: str, copies: int, seed: int, unlabelled: Sequence[str] = ()
) -> Dataset:
    """The rows, and after them copies of each that has a mention of a type with several: one of
    these, and of the others half, give way to other mentions of their type in these rows. All
    labels are copied but those in `unlabelled`. The copies are cached.

    Args:
        rows (`Dataset`): loaded rows of one data set, with words or a text.
        task (`str`): the token task whose entities these are.
        copies (`int`): of a row.
        seed (`int`): decides what is replaced, and by what.
        unlabelled (`Sequence[str]`): further columns that label tokens.
    """
    form = next((one for one in ("tokens", "text") if one in rows.column_names), None)
    if form is None or task not in rows.column_names:
        return rows
    said: dict[str, dict[Any, None]] = {}  # by type what its mentions say, each once
    types: list[set[str]] = []  # of each row
    for row in rows.select_columns([form, task]):
        mentions = mentions_of(row[task])
        types.append({mention.type for mention in mentions})
        for mention in mentions:
            said.setdefault(mention.type, {})[_content(row[form], mention)] = None
    choices = {name: [*contents] for name, contents in said.items() if len(contents) > 1}
    changing = [index for index, of_row in enumerate(types) if not of_row.isdisjoint(choices)]
    if not changing:
        return rows

    def replaced(row: dict, index: int, copy: int) -> dict:
        random = np.random.default_rng((seed, copy, index))
        content, labels = _replaced(row[form], row[task], choices, random)
        return {**dict.fromkeys(unlabelled), "repairs": 0, form: content, task: labels}

    copied = [
        rows.select(changing).map(
            replaced,
            with_indices=True,
            fn_kwargs={"copy": copy},
            features=rows.features,
            new_fingerprint=fingerprint(
                rows._fingerprint, task, unlabelled, seed, copy, "mention replacement"
            ),
        )
        for copy in range(copies)
    ]
    return concatenate_datasets([rows, *copied])


def mentions_of(labels: Sequence | None) -> list[Mention]:
    """The entities of a loaded label, tags or spans, in order."""
    if labels and isinstance(labels[0], dict):
        spans = sorted(labels, key=lambda span: span["start"])
        return [Mention(span["label"], span["start"], span["end"]) for span in spans]
    mentions: list[Mention] = []
    for place, tag in enumerate(labels or ()):
        if tag is not None and tag[0] == "B":
            mentions.append(Mention(tag[2:], place, place + 1))
        elif tag is not None and tag[0] == "I" and mentions and mentions[-1].end == place:
            mentions[-1] = mentions[-1]._replace(end=place + 1)
    return mentions


def _content(text: Any, mention: Mention) -> Any:
    """A mention's characters, or a tuple of its words."""
    content = text[mention.start : mention.end]
    return content if isinstance(content, str) else tuple(content)


def _replaced(
    text: Any, labels: list, choices: Mapping[str, list], random: np.random.Generator
) -> tuple[Any, list]:
    """A text, or its words, with other mentions; and its labels."""
    mentions = mentions_of(labels)
    open_places = [place for place, mention in enumerate(mentions) if mention.type in choices]
    chosen = {place for place in open_places if random.random() < SHARE}
    chosen.add(int(random.choice(open_places)))
    made, done = text[:0], 0
    made_labels: list[Any] = []
    for place, mention in enumerate(mentions):
        content = _content(text, mention)
        if place in chosen:
            others = [one for one in choices[mention.type] if one != content]
            content = others[random.integers(len(others))]
        made += text[done : mention.start]
        start, end = len(made), len(made) + len(content)
        if isinstance(text, str):
            made += content
            made_labels.append({"start": start, "end": end, "label": mention.type})
        else:
            made += content
            made_labels += labels[done : mention.start]
            made_labels += [f"B-{mention.type}", *[f"I-{mention.type}"] * (len(content) - 1)]
        done = mention.end
    if not isinstance(text, str):
        made_labels += labels[done:]
    return made + text[done:], made_labels
