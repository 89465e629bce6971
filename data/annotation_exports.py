"""Exports of doccano, spaCy, Label Studio and Prodigy: each record becomes one raw row.

Their spans become `{"start", "end", "label"}`. They are checked against the text later (see
normalization.py); where an export holds a copy of their text, or of the tokens, that is compared.
A record whose annotations contradict each other, or one another record's, is a bad row.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from .bad_rows import shown
from .records import Records, Rows, each

DOCCANO_LABELS = ("label", "labels", "entities")
PRODIGY_KEYS = {"_input_hash", "_task_hash", "_view_id"}
PRODIGY_LABELS = ("label", "accept", "spans", "relations")
PRODIGY_SPANS = ("ner", "ner_manual", "spans", "spans_manual")  # views


def exporter_of(record: Any) -> str | None:
    """The tool that exported a record: doccano, label_studio, prodigy, spacy, or None if
    unclear."""
    if isinstance(record, dict) and PRODIGY_KEYS & record.keys():
        return "prodigy"
    match record:
        case [str(), dict()] | {"text": _, "cats": dict()}:
            return "spacy"
        case {"text": _, "ents": [] | [{"start": _, "end": _, "label": _}, *_]}:  # `Doc.to_json`
            return "spacy"
        case {"data": dict(), "annotations": list()} | {"data": dict(), "predictions": list()}:
            return "label_studio"
        case {"annotation_id": _, "lead_time": _}:
            return "label_studio"
        case dict():
            for key, value in record.items():
                match value:
                    case [{"start": _, "end": _, "labels": list()}, *_]:
                        return "label_studio"
                    case [[int(), int(), str()] | {"start_offset": _, "end_offset": _}, *_] if (
                        key in DOCCANO_LABELS
                    ):
                        return "doccano"
    return None


def json_object(value: Any) -> dict:
    """Return the value if it is a JSON object.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, dict):
        raise ValueError(f"should be a JSON object. Found {shown(value)}.")
    return value


def _spans(value: Any, name: str) -> list[dict]:
    if not isinstance(value, list):
        raise ValueError(f"{name!r} should be a list of spans. Found {shown(value)}.")
    return [_span(span, name) for span in value]


def _span(value: Any, name: str) -> dict:
    match value:
        case (
            [start, end, label]
            | {"start": start, "end": end, "label": label}
            | {"start_offset": start, "end_offset": end, "label": label}
        ):
            copy = {"text": value["text"]} if "text" in value and isinstance(value, dict) else {}
            return {"start": start, "end": end, "label": label, **copy}
    raise ValueError(f"{name!r} should have spans of start, end and label. Found {shown(value)}.")


# doccano


def doccano_row(record: Any) -> dict:
    """A raw row from doccano: labelled text, spans, or spans with relations."""
    row = dict(json_object(record))
    for name in DOCCANO_LABELS:
        labels = row.get(name)
        if isinstance(labels, list) and any(isinstance(label, list | dict) for label in labels):
            row[name] = _spans(labels, name)
    return row


# spaCy


def is_spacy_pair(record: Any) -> bool:
    """Whether a value is a pair `["text", {...}]` rather than an array of records."""
    return isinstance(record, list) and [type(one) for one in record] == [str, dict]


def spacy_row(record: Any) -> dict:
    """A raw row from spaCy, with `entities` and `cats` as tasks expect them.

    The `tokens` of a spaCy document are dropped: they are not words.
    """
    match record:
        case [str() as text, dict() as annotation] | ({"text": str() as text} as annotation):
            row: dict[str, Any] = {**annotation, "text": text}
            row.pop("tokens", None)
        case _:
            raise ValueError(
                'should be ["text", {"entities": ...}] or an object with a text. '
                f"Found {shown(record)}."
            )
    for name in ("entities", "ents", "spans"):
        if name in annotation:
            spans = annotation[name]
            row["entities"] = None if spans is None else _spans(spans, name)
            break
    if "cats" in annotation:
        scores = annotation["cats"]
        if not isinstance(scores, dict) or not all(
            isinstance(score, int | float) for score in scores.values()
        ):
            raise ValueError(f"'cats' should be an object of numbers. Found {shown(scores)}.")
        row["cats"] = [name for name, score in scores.items() if score >= 0.5]
    return row


# Exports with several annotations of a text


def _checked_annotations(
    records: list[tuple[str, Any]], text_of: Callable[[dict], Any], labels_of: Callable[[dict], Any]
) -> Records:
    """The records, with an error in place of those of one text whose labels differ.

    Args:
        text_of, labels_of (`Callable`): what two records of the same text share, and their labels;
            None for a record that can't differ from others.
    """
    labels: dict[str, set[str]] = defaultdict(set)
    for _, record in records:
        if isinstance(record, dict) and (text := text_of(record)) is not None:
            labels[_frozen(text)].add(_frozen(labels_of(record)))
    for place, record in records:
        if isinstance(record, dict):
            different = labels.get(_frozen(text_of(record)), ())
            if len(different) > 1:
                record = ValueError(
                    f"should have one annotation. Found {len(different)} that differ: keep one."
                )
        yield place, record


def _frozen(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


# Label Studio


def label_studio_rows(records: Records) -> Rows:
    """The rows of an export; an annotator who marked nothing leaves no result, but has no spans."""
    span_columns: dict[str, None] = {}  # in order of appearance
    checked = _checked_annotations(list(records), _minimal_id, _minimal_labels)
    rows = list(each(_once(checked), lambda record: label_studio_row(span_columns, record)))
    for place, row in rows:
        if isinstance(row, ValueError):
            yield place, row
        else:
            columns, is_annotated = row
            yield place, ({name: [] for name in span_columns} if is_annotated else {}) | columns


def _once(records: Records) -> Records:
    """The records without those of a text whose annotations, which are the same, came before."""
    seen = set()
    for place, record in records:
        known = _minimal_id(record) if isinstance(record, dict) else None
        if known is None or _frozen(known) not in seen:
            seen.add(_frozen(known))
            yield place, record


def _minimal_id(record: dict) -> Any:
    return record.get("id") if record.get("annotation_id") is not None else None


def _minimal_labels(record: dict) -> dict:
    own = ("annotator", "annotation_id", "lead_time", "created_at", "updated_at")
    return {
        key: sorted(map(_frozen, value)) if isinstance(value, list) else value
        for key, value in record.items()
        if key not in own
    }


def label_studio_row(span_columns: dict[str, None], record: Any) -> tuple[dict, bool]:
    """A raw row and whether it is annotated. Adds the names of span columns to `span_columns`."""
    task = json_object(record)
    is_minimal = not isinstance(task.get("data"), dict)
    data = task if is_minimal else task["data"]
    texts = [value for value in data.values() if isinstance(value, str)]
    try:
        if is_minimal:
            return _label_studio_minimal(task, texts, span_columns)
        return _label_studio_task(task, texts, span_columns)
    except (AttributeError, KeyError, TypeError):
        raise ValueError(
            f"should be a task as Label Studio exports it. Found {shown(record)}."
        ) from None


def _label_studio_task(task: dict, texts: list[str], span_columns: dict) -> tuple[dict, bool]:
    """A row of the JSON export. A task without annotations has only its data. A control whose
    values are no labels of the text is an error as a cell, for a task that reads it."""
    annotations = [item for item in task.get("annotations") or [] if not item.get("was_cancelled")]
    if not annotations:
        return task["data"], False
    results = _agreed(annotations)["result"]
    columns: dict[str, Any] = {}
    unread: dict[str, ValueError] = {}
    for result in results:
        kind, value = result["type"], result.get("value")
        if kind == "relation" or value is None:
            continue
        name = result["from_name"]
        if kind == "labels":
            span_columns[name] = None
            columns.setdefault(name, []).extend(_label_studio_spans([value], texts, name))
        elif kind not in ("choices", "rating", "number"):
            unread[name] = ValueError(
                f"should be of type labels, choices, rating or number. Found {kind!r}."
            )
        elif "start" in value:
            unread[name] = ValueError(f"should be {kind} of the whole text. Found a part of it.")
        else:
            found = value[kind]
            columns.setdefault(name, []).extend(found if isinstance(found, list) else [found])
    cells = {
        name: values if name in span_columns or len(values) > 1 else values[0]
        for name, values in columns.items()
        if values or name in span_columns
    }
    return task["data"] | cells | unread, True


def _agreed(annotations: list[dict]) -> dict:
    """The one annotation, the one that is the ground truth, or one of several that are equal."""
    truths = [one for one in annotations if one.get("ground_truth")]
    chosen = truths if len(truths) == 1 else annotations
    if len({_frozen(_said_by(one)) for one in chosen}) > 1:
        raise ValueError(
            f"should have one annotation. Found {len(chosen)} that differ: keep one, or mark it as "
            "ground truth."
        )
    return chosen[0]


def _said_by(annotation: dict) -> list[str]:
    """What an annotation says of the text; annotators mark it in orders and ways of their own."""
    return sorted(
        _frozen([result.get("from_name"), result["type"], result.get("value")])
        for result in annotation["result"]
        if result["type"] != "relation"
    )


def _label_studio_minimal(row: dict, texts: list[str], span_columns: dict) -> tuple[dict, bool]:
    """A row of the JSON_MIN export."""
    columns = dict(row)
    for name, value in row.items():
        match value:
            case [{"start": _, "end": _, "labels": _}, *_]:
                span_columns[name] = None
                columns[name] = _label_studio_spans(value, texts, name)
            case {"choices": list() as choices} | [{"choices": list() as choices}]:
                columns[name] = choices[0] if len(choices) == 1 else choices
            case [{"rating": number}] | [{"number": number}]:
                columns[name] = number
    return columns, row.get("annotation_id") is not None


def _label_studio_spans(values: list[dict], texts: list[str], name: str) -> list[dict]:
    """One span per label. The export doesn't say which field of the data holds the text."""
    spans = []
    for value in values:
        start, end = value["start"], value["end"]
        place = {"start": start, "end": end}
        if "text" in value:
            # Some versions drop line breaks. Wrong offsets still show in the rest.
            expected = "".join(value["text"].split())
            parts = [text[start:end] for text in texts]
            found = [part for part in parts if "".join(part.split()) == expected]
            if not found:
                raise ValueError(
                    f"{name!r} should have {value['text']!r} from character {start} to {end}. "
                    f"Found {shown(parts[0] if len(parts) == 1 else parts)}."
                )
            place["text"] = found[0]  # for a row that takes another field as its text
        if not value["labels"]:
            raise ValueError(f"{name!r} should have labels of each region. Found {shown(value)}.")
        spans += [{**place, "label": label} for label in value["labels"]]
    return spans


# Prodigy: https://prodi.gy/docs/api-interfaces


def prodigy_rows(records: Records) -> Rows:
    """The rows of an export. A rejected or ignored record says nothing of what is right: its row
    has no labels."""
    known = list(records)
    checked = _checked_annotations(known, _prodigy_question, _prodigy_labels)
    return each(checked, _prodigy_row)


def _prodigy_question(record: dict) -> Any:
    if record.get("answer", "accept") != "accept":
        return None
    # A text is asked for once with each label, where yes or no is the answer.
    return [record.get(key) for key in ("text", "_view_id", "label")]


def _prodigy_labels(record: dict) -> dict:
    """What a record says, whatever the order and who said it first."""
    said = {key: record.get(key) for key in PRODIGY_LABELS}
    spans = said["spans"]
    if isinstance(spans, list) and all(isinstance(span, dict) for span in spans):
        said["spans"] = [[span.get(key) for key in ("start", "end", "label")] for span in spans]
    return {
        key: sorted(map(_frozen, value)) if isinstance(value, list) else value
        for key, value in said.items()
    }


def _prodigy_row(record: Any) -> dict:
    row = dict(json_object(record))
    _check_tokens(row.pop("tokens", None), row.get("text"))
    if row.get("answer", "accept") != "accept":
        return {key: None if key in PRODIGY_LABELS else value for key, value in row.items()}
    if row.get("_view_id") in PRODIGY_SPANS:
        row.setdefault("spans", [])
    if "spans" in row:
        spans = row["spans"] or []
        if not all(isinstance(span, dict) for span in spans):
            raise ValueError(f"'spans' should be a list of spans. Found {shown(spans)}.")
        row["spans"] = [
            {key: span[key] for key in ("start", "end", "label", "text") if key in span}
            for span in spans
        ]
    return row


def _check_tokens(tokens: Any, text: Any) -> None:
    """Raise a ValueError if the tokens are not where they say, as spans then are not either."""
    for token in tokens or ():
        match token:
            case {"text": str() as copy, "start": int() as start, "end": int() as end}:
                if isinstance(text, str) and text[start:end] != copy:
                    raise ValueError(
                        f"should have the token {copy!r} from character {start} to {end}. "
                        f"Found {text[start:end]!r}."
                    )
