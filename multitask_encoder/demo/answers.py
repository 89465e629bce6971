"""A model's answers in the forms that the page shows: components, rows of a table, JSON."""

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from multitask_encoder.inference import Answer, Answers, Entity, Label

TOP = 5  # labels shown with a bar
NONE = "none"
APPLIES = "✓"
PRECISION = "0.95"  # as the models' thresholds name it


def tasks_of(config: Any, task_type: str) -> dict[str, dict]:
    """The tasks of one type in a `MultiTaskConfig`, by name."""
    return {name: config.tasks[name] for name in config.tasks_of_type(task_type)}


def entity_types(task: dict) -> list[str]:
    """The entity labels of a token task, in the order of its tags."""
    tags = (tag for tag in task["labels"] if tag != "O")
    return list(dict.fromkeys(tag.removeprefix("B-").removeprefix("I-") for tag in tags))


def title_of(name: str, task: dict) -> str:
    """A sentence task's name, with a note on what its bars show."""
    if task["problem_type"] == "regression":
        return f"{name} (value)"
    notes = []
    if task["problem_type"] == "multi_label_classification":
        notes.append(f"{APPLIES} applies")
    if len(task["labels"]) > TOP:
        notes.append(f"the likeliest of {len(task['labels'])}")
    return f"{name} ({', '.join(notes)})" if notes else name


def bars(task: dict, label: Label) -> dict[str, float] | str:
    """For `gr.Label`: a probability for each label, with a mark where several may apply and this
    one does; for a regression, its values in words."""
    if task["problem_type"] == "regression":
        return str(label)
    applies = label.label if isinstance(label.label, list) else []
    return {
        f"{APPLIES} {name}" if name in applies else name: score
        for name, score in label.scores.items()
    }


def short_entities(entities: list[Entity]) -> str:
    """The entities of a token task in a few words."""
    return ", ".join(map(str, entities)) or NONE


def unsure(config: Any, answer: Answer) -> str:
    """What a bot should not act on, as a sentence: texts out of a task's scope, and labels and
    entities below the score that `PRECISION` takes; empty if there is nothing."""
    found = []
    for name, label in answer.labels.items():
        if label.out_of_scope is not None and label.label is None:
            found.append(f"the text is out of the scope of {name}")
        elif not isinstance(label.score, list) and label.score <= _limit(config, name):
            found.append(f"{name}: {label}")
    for name, entities in answer.entities.items():
        limit = _limit(config, name)
        found += [f"{entity} ({entity.score:.2f})" for entity in entities if entity.score <= limit]
    share = f"{100 * float(PRECISION):g} %"
    return (
        f"Less sure than answers of which {share} are right: {', '.join(found)}." if found else ""
    )


def _limit(config: Any, name: str) -> float:
    """The score that an answer of a task has to exceed for `PRECISION`; minus infinity if none is
    known."""
    return config.tasks[name].get("thresholds", {}).get("precision", {}).get(PRECISION, -math.inf)


def side_by_side(config: Any, answers: Answers) -> list[list[str]]:
    """A row per task: its name, and its answer for each text."""
    rows = [
        [name, *(str(answer.labels[name]) for answer in answers)]
        for name in tasks_of(config, "sequence_classification")
    ]
    rows += [
        [name, *(short_entities(answer.entities[name]) for answer in answers)]
        for name in tasks_of(config, "token_classification")
    ]
    return rows


def shown_table(config: Any, answers: Answers) -> pd.DataFrame:
    """To read: a row per text, with each task's answer in a few words."""
    table = {"text": [answer.text for answer in answers]}
    table |= {name: cells for name, *cells in side_by_side(config, answers)}
    return pd.DataFrame(table)


def kept_table(answers: Answers) -> pd.DataFrame:
    """To keep: the columns of `Answers.to_pandas` without the embedding; lists and mappings as
    JSON."""
    table = answers.to_pandas().drop(columns="embedding")
    for name in table.columns:
        table[name] = [
            json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
            for value in table[name]
        ]
    return table


def as_json(answer: Answer) -> dict[str, Any]:
    """As the pipeline's answer for a text."""
    fields = asdict(answer)
    return {
        "embedding": answer.embedding.tolist(),
        "labels": fields["labels"],
        "entities": fields["entities"],
    }


def cosines(vector: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of shape `(num_others,)`, in -1 to 1; 0 where a vector is 0.

    Args:
        vector (`np.ndarray` of shape `(hidden_size,)`).
        others (`np.ndarray` of shape `(num_others, hidden_size)`).
    """
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(vector)
    return np.divide(others @ vector, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def colouring(task: dict | None, name: str | None, answers: Answers) -> list[str] | list[float]:
    """What colours the points: the answers of a sentence task; all the same without a task."""
    if task is None:
        return ["texts"] * len(answers)
    labels = [answer.labels[name] for answer in answers]
    if task["problem_type"] == "regression":
        return [label.scores[task["labels"][0]] for label in labels]
    return [
        (", ".join(label.label) if isinstance(label.label, list) else label.label) or NONE
        for label in labels
    ]


def as_cell(value: Any) -> Any:
    """A value as a cell that a spreadsheet shows: it would run a text that begins as a formula."""
    is_formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if is_formula else value
