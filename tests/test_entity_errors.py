"""Kinds of wrong entities: literal rows, and what holds for every pair of tag sequences."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from multitask_encoder.reporting.entity_errors import (
    ERRORS,
    MISSED,
    RIGHT,
    SPURIOUS,
    WRONG_BORDER,
    WRONG_BOTH,
    WRONG_TYPE,
    Entity,
    Pair,
    count_kinds,
    entities_of,
    pair_entities,
)

TAGS = st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"]), min_size=1, max_size=12)
BOTH = TAGS.flatmap(
    lambda tags: st.tuples(
        st.just(tags),
        st.lists(
            st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"]),
            min_size=len(tags),
            max_size=len(tags),
        ),
    )
)


def kinds(expected: str, predicted: str) -> list[str]:
    sides = (entities_of(side.split()) for side in (expected, predicted))
    return [pair.kind for pair in pair_entities(*sides)]


@pytest.mark.parametrize(
    ("expected", "predicted", "found"),
    [
        ("B-X I-X O", "B-X I-X O", [RIGHT]),
        ("B-X I-X O", "O O O", [MISSED]),
        ("O O O", "O B-Y O", [SPURIOUS]),
        ("B-X I-X O", "B-Y I-Y O", [WRONG_TYPE]),
        ("B-X I-X O", "B-X O O", [WRONG_BORDER]),
        ("B-X I-X O", "O B-Y I-Y", [WRONG_BOTH]),
        ("B-X O O", "O O B-X", [MISSED, SPURIOUS]),
        # One that was found in two parts, and two that were found as one.
        ("B-X I-X", "B-X B-X", [WRONG_BORDER, SPURIOUS]),
        ("B-X B-X", "B-X I-X", [WRONG_BORDER, MISSED]),
        # Same borders go first, then the same label, then what shares more.
        ("B-X I-X B-Y", "B-Y I-Y B-Y", [WRONG_TYPE, RIGHT]),
        ("B-X I-X I-X", "B-Y I-Y B-X", [WRONG_BORDER, SPURIOUS]),
        ("B-X I-X I-X", "B-X B-X I-X", [WRONG_BORDER, SPURIOUS]),
    ],
)
def test_kinds_of_literal_rows(expected, predicted, found):
    assert sorted(kinds(expected, predicted)) == sorted(found)


def test_the_one_that_shares_more_is_the_other_half():
    expected, predicted = entities_of(["B-X", "I-X", "I-X"]), entities_of(["B-X", "B-X", "I-X"])
    assert pair_entities(expected, predicted) == [
        Pair(SPURIOUS, None, Entity(0, 1, "X")),
        Pair(WRONG_BORDER, Entity(0, 3, "X"), Entity(1, 3, "X")),
    ]


@settings(deadline=None)
@given(TAGS)
def test_entities_are_those_of_seqeval(tags):
    found = [(label, start, end - 1) for start, end, label in entities_of(tags)]
    assert found == get_entities(tags)


@settings(deadline=None)
@given(BOTH)
def test_every_entity_counts_exactly_once(both):
    expected, predicted = map(entities_of, both)
    pairs = pair_entities(expected, predicted)
    assert Counter(pair.expected for pair in pairs if pair.expected) == Counter(expected)
    assert Counter(pair.predicted for pair in pairs if pair.predicted) == Counter(predicted)
    for kind, one, other in pairs:
        assert (one is None) == (kind == SPURIOUS)
        assert (other is None) == (kind == MISSED)
        if one is None or other is None:
            continue
        assert one.start < other.end and other.start < one.end
        assert (one == other) == (kind == RIGHT)
        assert (one.label == other.label) == (kind in (RIGHT, WRONG_BORDER))
        assert (one[:2] == other[:2]) == (kind in (RIGHT, WRONG_TYPE))


@settings(deadline=None)
@given(BOTH)
def test_what_is_right_is_what_precision_and_recall_count(both):
    expected, predicted = map(entities_of, both)
    pairs = pair_entities(expected, predicted)
    counts = count_kinds(pairs)
    right = sum(one[RIGHT] for one in counts.values())
    assert right == len(set(expected) & set(predicted))
    total = {kind: sum(one[kind] for one in counts.values()) for kind in (RIGHT, *ERRORS)}
    assert sum(total.values()) - total[SPURIOUS] == len(expected)
    assert sum(total.values()) - total[MISSED] == len(predicted)


def plainly_paired(expected: list[Entity], predicted: list[Entity]) -> set[tuple]:
    """By the definition: the nearest of all that overlap are a pair, then those of the rest."""
    left, unused, pairs = [*expected], [*predicted], set()

    def distance(pair: tuple[Entity, Entity]) -> tuple:
        shared = set.intersection(*(set(range(one.start, one.end)) for one in pair))
        return pair[0][:2] != pair[1][:2], pair[0].label != pair[1].label, -len(shared), *pair

    while overlapping := [
        (one, other)
        for one in left
        for other in unused
        if one.start < other.end and other.start < one.end
    ]:
        one, other = min(overlapping, key=distance)
        left.remove(one)
        unused.remove(other)
        pairs.add((one, other))
    return pairs | {(one, None) for one in left} | {(None, other) for other in unused}


@settings(deadline=None)
@given(BOTH)
def test_pairs_are_those_of_the_plain_definition(both):
    expected, predicted = map(entities_of, both)
    pairs = pair_entities(expected, predicted)
    assert {pair[1:] for pair in pairs} == plainly_paired(expected, predicted)


def test_thousands_of_entities_in_a_row_cost_no_product_of_them():
    expected = entities_of(["B-X"] * 20_000)
    predicted = entities_of(["B-X", "B-Y"] * 10_000)
    assert [pair.kind for pair in pair_entities(expected, predicted)] == [
        RIGHT,
        WRONG_TYPE,
    ] * 10_000


@settings(deadline=None)
@given(BOTH)
def test_what_is_left_over_overlaps_nothing_that_is_left_over(both):
    expected, predicted = map(entities_of, both)
    pairs = pair_entities(expected, predicted)
    missed = [pair.expected for pair in pairs if pair.kind == MISSED]
    spurious = [pair.predicted for pair in pairs if pair.kind == SPURIOUS]
    assert not [
        (one, other)
        for one in missed
        for other in spurious
        if one.start < other.end and other.start < one.end
    ]
