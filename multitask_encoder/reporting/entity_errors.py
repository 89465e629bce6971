"""Classifies wrong entities by kind of error.

An entity is a run of units with a label. Within a row, expected entities don't overlap each other,
nor do predicted entities. Overlapping entities are paired one to one:

1. pairs with the same borders first;
2. then pairs with the same label before others, pairs that share more units before others, and
   from left to right.

The kind of a pair is `right` (same borders and label), `wrong type` (same borders, another label),
`wrong border` (other borders, same label) or `wrong both`. The rest are `missed` (expected, not
paired) or `spurious` (predicted, not paired). So every expected entity counts once, as anything but
spurious; every predicted entity counts once, as anything but missed; and `right` is the same as in
precision and recall.
"""

from collections.abc import Iterable
from typing import NamedTuple

from multitask_encoder.modeling.decoding import tags_to_spans

RIGHT, MISSED, SPURIOUS = "right", "missed", "spurious"
WRONG_TYPE, WRONG_BORDER, WRONG_BOTH = "wrong type", "wrong border", "wrong both"
# Kind -> its meaning.
ERRORS = {
    MISSED: "nothing was found here",
    SPURIOUS: "no entity was expected here",
    WRONG_TYPE: "right borders, wrong label",
    WRONG_BORDER: "right label, wrong borders",
    WRONG_BOTH: "wrong label and wrong borders",
}


class Entity(NamedTuple):
    """Units `start` to `end` (exclusive), with a label."""

    start: int
    end: int
    label: str


class Pair(NamedTuple):
    """An expected entity and the predicted entity it was paired with, or one of them and None; and
    the kind of the pair."""

    kind: str
    expected: Entity | None
    predicted: Entity | None


def entities_of(tags: list[str]) -> list[Entity]:
    """The entities of one row's tags, as seqeval's default mode reads them."""
    units = [(index, index + 1) for index in range(len(tags))]
    return [Entity(start, end, label) for start, end, label, _ in tags_to_spans(tags, units)]


def pair_entities(expected: list[Entity], predicted: list[Entity]) -> list[Pair]:
    """Every entity of a row in one pair, in the order of the text.

    Args:
        expected, predicted (`list[Entity]`): without overlaps within either list.
    """
    # By unit: comparing each entity with each would be slow for a row of thousands.
    at_unit = {unit: guess for guess in predicted for unit in range(guess.start, guess.end)}
    overlapping = {
        (gold, at_unit[unit])
        for gold in expected
        for unit in range(gold.start, gold.end)
        if unit in at_unit
    }
    pairs = []
    missed, spurious = set(expected), set(predicted)
    for gold, guess in sorted(overlapping, key=_distance):
        if gold in missed and guess in spurious:
            missed.remove(gold)
            spurious.remove(guess)
            pairs.append(Pair(_kind(gold, guess), gold, guess))
    pairs += [Pair(MISSED, gold, None) for gold in missed]
    pairs += [Pair(SPURIOUS, None, guess) for guess in spurious]
    return sorted(pairs, key=lambda pair: (pair.expected or pair.predicted, pair.kind))


def _distance(pair: tuple[Entity, Entity]) -> tuple:
    gold, guess = pair
    shared = min(gold.end, guess.end) - max(gold.start, guess.start)
    return gold[:2] != guess[:2], gold.label != guess.label, -shared, gold, guess


def _kind(gold: Entity, guess: Entity) -> str:
    same_borders, same_label = gold[:2] == guess[:2], gold.label == guess.label
    if same_borders:
        return RIGHT if same_label else WRONG_TYPE
    return WRONG_BORDER if same_label else WRONG_BOTH


def count_kinds(pairs: Iterable[Pair]) -> dict[str, dict[str, int]]:
    """The number of pairs of each kind, by expected label or, if spurious, predicted label."""
    counts: dict[str, dict[str, int]] = {}
    for kind, expected, predicted in pairs:
        label = (expected or predicted).label
        of_label = counts.setdefault(label, dict.fromkeys((RIGHT, *ERRORS), 0))
        of_label[kind] += 1
    return dict(sorted(counts.items()))
