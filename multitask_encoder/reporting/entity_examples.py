"""Mistakes in entities: the number of each kind, and the sentences they occur in."""

from collections.abc import Iterator
from typing import Any

from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.modeling import MultiTaskConfig
from multitask_encoder.training.row_answers import Answers

from .entity_errors import (
    ERRORS,
    RIGHT,
    SPURIOUS,
    Entity,
    Pair,
    count_kinds,
    entities_of,
    pair_entities,
)
from .examples import SHOWN, Examples

KINDS = (RIGHT, *ERRORS)


def entity_section(
    config: MultiTaskConfig, by_task: dict[str, Answers], examples: Examples
) -> list[dict]:
    """The page's section on entities, an entry per task."""
    return [
        _entity_errors(config, name, by_task[name], examples)
        for name, task in config.tasks.items()
        if kind_of(task).by_token and name in by_task
    ]


def _entity_errors(
    config: MultiTaskConfig, name: str, answers: Answers, examples: Examples
) -> dict[str, Any]:
    first: dict[str, list[tuple[int, Pair]]] = {kind: [] for kind in KINDS}

    def pairs() -> Iterator[Pair]:  # one at a time: all rows' pairs would fill the memory
        for row, predicted, expected in zip(*answers[:3], strict=True):
            for pair in pair_entities(entities_of(expected), entities_of(predicted)):
                if len(first[pair.kind]) < SHOWN:
                    first[pair.kind].append((row, pair))
                yield pair

    counts = count_kinds(pairs())
    total = {kind: sum(count[kind] for count in counts.values()) for kind in KINDS}
    task = config.tasks[name]
    groups = [
        {
            "title": f"{kind} ({says})",
            "count": total[kind],
            "examples": [
                _example(row, pair, examples, examples.unit_ranges(row, task, config))
                for row, pair in first[kind]
            ],
        }
        for kind, says in ERRORS.items()
        if first[kind]
    ]
    expected = sum(total.values()) - total[SPURIOUS]
    return {
        "title": name,
        "says": f"{total[RIGHT]:,} of {expected:,} entities are right.",
        "header": ["label", *KINDS],
        "rows": [
            [label, *(f"{count[kind]:,}" for kind in KINDS)]
            for label, count in [*counts.items(), ("total", total)]
        ],
        "mistakes": groups,
    }


def _example(
    row: int, pair: Pair, examples: Examples, ranges: list[tuple[int, int]]
) -> dict[str, Any]:
    text = examples.text(row)

    def place_of(entity: Entity | None) -> tuple[int, int] | None:
        if entity is None or entity.end > len(ranges):  # its units have no characters
            return None
        return ranges[entity.start][0], ranges[entity.end - 1][1]

    def in_words(entity: Entity | None) -> str:
        if entity is None:
            return "nothing"
        place = place_of(entity)
        quoted = f"“{text[slice(*place)]}”" if place else "(not whole words)"
        return f"{quoted} {entity.label}"

    marks = [
        (*place, mark)
        for entity, mark in ((pair.expected, "expected"), (pair.predicted, "predicted"))
        if (place := place_of(entity))
    ]
    says = f"expected: {in_words(pair.expected)}; predicted: {in_words(pair.predicted)}"
    return examples.example(row, marks, says)
