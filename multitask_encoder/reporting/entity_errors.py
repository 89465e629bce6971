"""What kind of error each wrong entity is.

An entity is a run of units with a label. Within a row, expected entities don't overlap each other,
nor do predicted ones. They are paired one to one, those that overlap:

1. with the same borders;
2. of the rest, those with the same label before others, then those that share more units, then
   those further left.

The kind of a pair is `right` (same borders and label), `wrong type` (same borders, another label),
`wrong border` (other borders, same label) or `wrong both`. What is left is `missed` (expected, not
paired) or `spurious` (predicted, not paired). So every expected entity counts once, as anything but
spurious; every predicted one counts once, as anything but missed; and what is right is what
precision and recall count as right.
"""

from collections.abc import Iterable
from typing import NamedTuple

from multitask_encoder.modeling.decoding import tags_to_spans

RIGHT, MISSED, SPURIOUS = "right", "missed", "spurious"
WRONG_TYPE, WRONG_BORDER, WRONG_BOTH = "wrong type", "wrong border", "wrong both"
# Each with what it says.
ERRORS = {
    MISSED: "nothing was found there",
    SPURIOUS: "there is nothing to be found",
    WRONG_TYPE: "found with its borders, under another label",
    WRONG_BORDER: "found under its label, with other borders",
    WRONG_BOTH: "another label, and other borders",
}


class Entity(NamedTuple):
    """Units `start` to `end`, the last one not included, under a label."""

    start: int
    end: int
    label: str


class Pair(NamedTuple):
    """An expected entity and the predicted one that it was paired with, either None where there is
    no other; and which kind that is."""

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
        expected, predicted (`list[Entity]`): neither with entities that overlap.
    """
    # By unit, so that a row of thousands of entities costs no product of the two sides.
    found = {unit: other for other in predicted for unit in range(other.start, other.end)}
    overlapping = {
        (one, found[unit])
        for one in expected
        for unit in range(one.start, one.end)
        if unit in found
    }
    pairs = []
    left, unused = set(expected), set(predicted)
    for one, other in sorted(overlapping, key=_how_near):
        if one in left and other in unused:
            left.remove(one)
            unused.remove(other)
            pairs.append(Pair(_kind(one, other), one, other))
    pairs += [Pair(MISSED, one, None) for one in left]
    pairs += [Pair(SPURIOUS, None, other) for other in unused]
    return sorted(pairs, key=lambda pair: (pair.expected or pair.predicted, pair.kind))


def _how_near(pair: tuple[Entity, Entity]) -> tuple:
    one, other = pair
    shared = min(one.end, other.end) - max(one.start, other.start)
    return one[:2] != other[:2], one.label != other.label, -shared, one, other


def _kind(one: Entity, other: Entity) -> str:
    same_borders, same_label = one[:2] == other[:2], one.label == other.label
    if same_borders:
        return RIGHT if same_label else WRONG_TYPE
    return WRONG_BORDER if same_label else WRONG_BOTH


def count_kinds(pairs: Iterable[Pair]) -> dict[str, dict[str, int]]:
    """How many pairs of each kind there are, by label: the expected one, or else the predicted."""
    counts: dict[str, dict[str, int]] = {}
    for kind, expected, predicted in pairs:
        label = (expected or predicted).label
        of_label = counts.setdefault(label, dict.fromkeys((RIGHT, *ERRORS), 0))
        of_label[kind] += 1
    return dict(sorted(counts.items()))
