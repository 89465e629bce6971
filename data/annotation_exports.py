"""Exports of doccano, spaCy and Label Studio: each record becomes one raw row.

Their spans become `{"start", "end", "label"}`. They are checked against the text later (see
normalization.py), except for Label Studio, whose spans hold a copy of their text to compare.
"""

from typing import Any

from .bad_rows import shown

DOCCANO_LABELS = ("label", "labels", "entities")


def exporter_of(record: Any) -> str | None:
    """The tool that exported a record: doccano, label_studio, spacy, or None if unclear."""
    match record:
        case [str(), dict()] | {"text": _, "cats": dict()} | {"text": _, "ents": list()}:
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
            return {"start": start, "end": end, "label": label}
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
            row["entities"] = _spans(annotation[name], name)
            break
    if "cats" in annotation:
        scores = annotation["cats"]
        if not isinstance(scores, dict) or not all(
            isinstance(score, int | float) for score in scores.values()
        ):
            raise ValueError(f"'cats' should be an object of numbers. Found {shown(scores)}.")
        row["cats"] = [name for name, score in scores.items() if score >= 0.5]
    return row


# Label Studio


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
    """A row of the JSON export. A task without annotations has only its data."""
    annotations = [item for item in task.get("annotations") or [] if not item.get("was_cancelled")]
    if not annotations:
        return task["data"], False
    if len(annotations) > 1:
        raise ValueError(f"should have one annotation. Found {len(annotations)}: keep one of them.")
    columns: dict[str, list] = {}
    for result in annotations[0]["result"]:
        kind, value = result["type"], result.get("value")
        if kind == "relation" or value is None:
            continue
        name = result["from_name"]
        column = columns.setdefault(name, [])
        if kind == "labels":
            span_columns[name] = None
            column += _label_studio_spans([value], texts, name)
        elif kind not in ("choices", "rating", "number"):
            raise ValueError(
                f"{name!r} should be of type labels, choices, rating or number. Found {kind!r}."
            )
        elif "start" in value:
            raise ValueError(f"{name!r} should be {kind} of the whole text. Found a part of it.")
        else:
            column += value[kind] if isinstance(value[kind], list) else [value[kind]]
    return task["data"] | {
        name: values if name in span_columns or len(values) > 1 else values[0]
        for name, values in columns.items()
        if values or name in span_columns
    }, True


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
        if "text" in value:
            # Some versions drop line breaks. Wrong offsets still show in the rest.
            expected = "".join(value["text"].split())
            parts = [text[start:end] for text in texts]
            if not any("".join(part.split()) == expected for part in parts):
                raise ValueError(
                    f"{name!r} should have {value['text']!r} from character {start} to {end}. "
                    f"Found {shown(parts[0] if len(parts) == 1 else parts)}."
                )
        spans += [{"start": start, "end": end, "label": label} for label in value["labels"]]
    return spans
