"""Tags of every scheme become the same entities, and of spans that overlap the right ones stay."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOBES, Entities

from multitask_encoder.data.label_schemes import (
    OVERLAPS,
    SCHEMES,
    detect_scheme,
    resolve_overlaps,
    to_iob2,
)

bounded = settings(max_examples=100, deadline=None, derandomize=True, database=None)

# Letters for begin, inside, last and unit; None where the scheme has the bare type.
LETTERS = {
    "iob2": "BIIB",
    "iob1": "IIII",
    "io": None,
    "bilou": "BILU",
    "iobes": "BIES",
    "bmes": "BMES",
}


def encoded(chunks: list[tuple[str | None, int]], letters: str | None) -> list[str]:
    """Tags of a sequence given as (type, number of words), type None for words outside."""
    tags: list[str] = []
    left = None
    for kind, length in chunks:
        if kind is None:
            tags += ["O"] * length
        elif letters is None:
            tags += [kind] * length
        else:
            begin, inside, last, unit = list(letters)
            roles = unit if length == 1 else begin + inside * (length - 2) + last
            if letters == LETTERS["iob1"] and left == kind:
                roles = "B" + roles[1:]
            tags += [f"{role}-{kind}" for role in roles]
        left = kind
    return tags


def scheme_of(name: str) -> str:
    return name if name in SCHEMES else "bilou"


def merged(chunks):
    """Neighbours of one type as one, which is all that IO can say."""
    whole: list[tuple[str | None, int]] = []
    for kind, length in chunks:
        if whole and whole[-1][0] == kind:
            length += whole.pop()[1]
        whole.append((kind, length))
    return whole


def chunks_of(tags: list[str]) -> list[tuple[str | None, int]]:
    """The sequence as seqeval's default mode reads it."""
    chunks: list[tuple[str | None, int]] = []
    position = 0
    for kind, first, last in get_entities(tags):
        chunks += [(None, 1)] * (first - position) + [(kind, last - first + 1)]
        position = last + 1
    return chunks + [(None, 1)] * (len(tags) - position)


TYPES = ["PER", "LOC", "creative-work"]
sequences = st.lists(st.tuples(st.sampled_from([None, *TYPES]), st.integers(1, 4)), max_size=8)


def tag_lists(letters: str):
    tag = st.builds(lambda letter, kind: f"{letter}-{kind}", st.sampled_from(letters), st.just("X"))
    other = st.sampled_from(["O", *(f"{letter}-Y" for letter in letters)])
    return st.lists(st.one_of(tag, tag, other), max_size=10)


@pytest.mark.parametrize(
    ("scheme", "tags", "iob2"),
    [
        ("iob2", "B-X I-X I-X B-X O B-Y", "B-X I-X I-X B-X O B-Y"),
        ("iob1", "I-X I-X I-X B-X O I-Y", "B-X I-X I-X B-X O B-Y"),
        ("iob1", "I-X I-Y B-Y I-Y I-X", "B-X B-Y B-Y I-Y B-X"),
        ("io", "X X X Y O Y", "B-X I-X I-X B-Y O B-Y"),
        ("io", "B-cell B-cell creative-work", "B-B-cell I-B-cell B-creative-work"),
        ("bilou", "B-X I-X L-X U-X O U-Y", "B-X I-X I-X B-X O B-Y"),
        ("bilou", "B-X I-X E-X S-X O S-Y", "B-X I-X I-X B-X O B-Y"),
        ("bilou", "B-X M-X E-X S-X O S-Y", "B-X I-X I-X B-X O B-Y"),
        ("bilou", "B-e-mail L-e-mail", "B-e-mail I-e-mail"),
    ],
)
def test_tags_become_iob2(scheme, tags, iob2):
    assert to_iob2(tags.split(), scheme) == (iob2.split(), 0)


@pytest.mark.parametrize(
    ("scheme", "tags", "iob2", "repaired"),
    [
        ("iob2", "I-X I-X O I-Y", "B-X I-X O B-Y", 2),
        ("iob2", "B-X I-Y I-Y", "B-X B-Y I-Y", 1),
        ("iob1", "B-X I-X O I-X B-X", "B-X I-X O B-X B-X", 1),
        ("iob1", "I-X B-Y I-Y", "B-X B-Y I-Y", 1),
        ("bilou", "O I-X L-X O L-X", "O B-X I-X O B-X", 2),  # begin without B-
        ("bilou", "B-X O B-X U-X B-X", "B-X O B-X B-X B-X", 3),  # nothing continues these
        ("bilou", "B-X I-X O", "B-X I-X O", 1),  # ends without L-
        ("bilou", "B-X L-X I-X I-X", "B-X I-X B-X I-X", 2),  # goes on after L-
        ("bilou", "U-X L-X B-X L-Y", "B-X B-X B-X B-Y", 3),
        ("bilou", "I-X", "B-X", 1),  # wrong on both sides, and one tag
    ],
)
def test_tags_that_contradict_the_scheme_are_repaired_and_counted(scheme, tags, iob2, repaired):
    assert to_iob2(tags.split(), scheme) == (iob2.split(), repaired)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_entities_in_any_scheme(scheme):
    assert to_iob2([], scheme) == ([], 0)
    assert to_iob2(["O", "O"], scheme) == (["O", "O"], 0)


@pytest.mark.parametrize(
    ("scheme", "expected", "wrong"),
    [
        (
            "iob2",
            "tags `O`, `B-...` and `I-...` (IOB2)",
            ["LOC", "L-X", "b-X", "o", "B-", "B", "", "B_X", 3],
        ),
        ("iob1", "tags `O`, `B-...` and `I-...` (IOB1)", ["LOC", "E-X", "i-X", "o", "I-", 3]),
        (
            "io",
            "tags `O` and types without a prefix (IO)",
            ["I-PER", "o", "B", "I", "B-", "I-", "", 3],
        ),
        (
            "bilou",
            "tags `O`, `B-...`, `I-...`, `L-...` and `U-...` "
            "(BILOU; or `E-` for `L-`, `S-` for `U-`, `M-` for `I-`)",
            ["LOC", "T-cell", "u-X", "o", "U-", "S", 3],
        ),
    ],
)
def test_a_tag_of_no_such_scheme_is_refused(scheme, expected, wrong):
    for tag in wrong:
        with pytest.raises(ValueError) as error:
            to_iob2(["O", tag, "O"], scheme)
        assert str(error.value) == f"should have {expected}. Found {tag!r}."


@pytest.mark.parametrize(
    ("scheme", "tags", "found"),
    [
        ("iob2", ["B-X", None, "I-X", None], ["B-X", None, "I-X", None]),
        ("iob1", ["I-X", None, "I-X"], ["B-X", None, "B-X"]),  # I- may begin an entity
        ("io", ["X", None, "X"], ["B-X", None, "B-X"]),
        ("bilou", ["B-X", None, "L-X", "U-X"], ["B-X", None, "I-X", "B-X"]),
    ],
)
def test_a_word_without_a_label_keeps_none_and_may_be_inside_an_entity(scheme, tags, found):
    assert to_iob2(tags, scheme) == (found, 0)


def test_an_unknown_scheme_or_policy_is_refused():
    with pytest.raises(ValueError, match=r"one of iob2, iob1, io, bilou\. Found 'iobes'\."):
        to_iob2([], "iobes")
    with pytest.raises(ValueError, match=r"one of refuse, longest, first\. Found 'last'\."):
        resolve_overlaps([], "last")


@pytest.mark.parametrize(
    ("rows", "scheme"),
    [
        ([], "iob2"),
        (["", "O O"], "iob2"),
        (["O B-X", "B-Y B-Y"], "iob2"),
        (["B-X I-X", "B-X B-X"], "iob2"),
        (["I-X O I-Y"], "iob1"),
        (["I-X O"] * 50 + ["I-X B-X I-X"], "iob1"),  # B- is rare
        (["B-X I-X", "I-Y"], "iob2"),  # broken
        (["I-X B-X", "O B-X"], "iob2"),  # broken: IOB1 has no B- after O
        (["I-X B-Y"], "iob2"),  # nor after another type
        (["B-X", "I-X"], "iob2"),  # a row doesn't follow the one before it
        (["X X O Y"], "io"),
        (["creative-work T-cell"], "io"),
        (["e-mail O"], "io"),
        (["U-X"], "bilou"),
        (["S-X O"], "bilou"),
        (["B-X L-X"], "bilou"),
        (["B-X I-X", "B-X M-X"], "bilou"),
    ],
)
def test_the_scheme_is_detected(rows, scheme):
    assert detect_scheme(row.split() for row in rows) == scheme


@pytest.mark.parametrize("rows", [["B-cell T-cell"], ["T-cell", "O B-cell"]])
def test_prefixes_on_some_tags_only_are_refused(rows):
    message = "all have none. Found 'B-cell' and 'T-cell'. Set its tag_scheme"
    with pytest.raises(ValueError, match=re.escape(message)):
        detect_scheme(row.split() for row in rows)


@pytest.mark.parametrize("wrong", ["", 0])
def test_what_is_no_tag_at_all_is_an_error_and_no_crash(wrong):
    for tags in (["B-X", wrong], [wrong, "I-X"]):
        with pytest.raises(ValueError, match=f"Found '.-X' and {wrong!r}"):
            detect_scheme([tags])
    with pytest.raises(ValueError, match=f"Found {wrong!r}"):
        to_iob2([wrong], detect_scheme([[wrong]]))


@pytest.mark.parametrize("name", LETTERS)
@bounded
@given(st.lists(sequences, max_size=3))
def test_entities_of_every_scheme_come_back(name, rows):
    if name == "io":
        rows = [merged(row) for row in rows]
    given_tags = [encoded(row, LETTERS[name]) for row in rows]
    has_entities = any(kind for row in rows for kind, _ in row)
    scheme = detect_scheme(iter(given_tags))
    assert scheme == (scheme_of(name) if has_entities else "iob2")
    for tags, row in zip(given_tags, rows, strict=True):
        expected = (encoded(row, LETTERS["iob2"]), 0)
        assert to_iob2(tags, scheme_of(name)) == expected
        assert to_iob2(tags, scheme) == expected


@bounded
@given(sequences)
def test_iobes_is_read_as_by_seqevals_strict_mode(row):
    tags = encoded(row, LETTERS["iobes"])
    strict = [(one.tag, one.start, one.end - 1) for one in Entities([tags], IOBES).entities[0]]
    assert get_entities(to_iob2(tags, "bilou")[0]) == strict


@pytest.mark.parametrize(
    ("name", "letters"),
    [("iob2", "BI"), ("iob1", "BI"), ("bilou", "BILU"), ("iobes", "BIES"), ("bmes", "BMES")],
)
@bounded
@given(st.data())
def test_any_tags_are_read_as_by_seqevals_default_mode(name, letters, data):
    tags = data.draw(tag_lists(letters))
    known = str.maketrans("LUM", "ESI")  # seqeval's default mode knows IOBES only
    chunks = chunks_of([tag[0].translate(known) + tag[1:] for tag in tags])
    expected = encoded(chunks, LETTERS[name])
    iob2, repaired = to_iob2(tags, scheme_of(name))
    assert iob2 == encoded(chunks, LETTERS["iob2"])
    assert repaired == sum(tag != right for tag, right in zip(tags, expected, strict=True))
    assert to_iob2(iob2, "iob2") == (iob2, 0)


def span(start: int, end: int, label: str = "X") -> dict:
    return {"start": start, "end": end, "label": label}


@pytest.mark.parametrize(
    ("spans", "longest", "first"),
    [
        ([], [], []),
        ([(4, 6), (0, 2), (2, 4)], [(0, 2), (2, 4), (4, 6)], [(0, 2), (2, 4), (4, 6)]),
        ([(0, 9), (2, 4), (5, 9)], [(0, 9)], [(0, 9)]),  # nested
        ([(2, 4), (2, 9)], [(2, 9)], [(2, 9)]),  # nested, the same start
        ([(0, 3), (2, 7), (6, 9)], [(2, 7)], [(0, 3), (6, 9)]),  # a chain
        ([(0, 3), (2, 5), (4, 7)], [(0, 3), (4, 7)], [(0, 3), (4, 7)]),  # equally long
        ([(0, 2), (1, 4), (3, 8)], [(0, 2), (3, 8)], [(0, 2), (3, 8)]),  # a dropped one drops none
        ([(2, 5), (0, 3)], [(0, 3)], [(0, 3)]),  # in any order
        ([(1, 3), (1, 3), (1, 3)], [(1, 3)], [(1, 3)]),  # repeats
    ],
)
def test_spans_that_overlap_are_dropped_and_counted(spans, longest, first):
    given_spans = [span(*one) for one in spans]
    for policy, kept in (("longest", longest), ("first", first)):
        expected = ([span(*one) for one in kept], len(spans) - len(kept))
        assert resolve_overlaps(given_spans, policy) == expected


@pytest.mark.parametrize("policy", ["longest", "first"])
def test_of_two_labels_in_one_place_the_one_given_first_stays(policy):
    both = [span(1, 3, "Y"), span(1, 3, "X")]
    assert resolve_overlaps(both, policy) == (both[:1], 1)
    assert resolve_overlaps(both[::-1], policy) == (both[1:], 1)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (span(0, 3), span(2, 4)),
        (span(0, 9), span(2, 4)),
        (span(2, 4), span(2, 9)),
        (span(1, 3, "X"), span(1, 3, "Y")),
        (span(1, 3), span(1, 3)),
    ],
)
def test_overlaps_are_refused_by_name(left, right):
    with pytest.raises(ValueError) as error:
        resolve_overlaps([span(10, 12), left, right], "refuse")
    expected = f"should have spans that do not overlap. Found {left} and {right}."
    assert str(error.value) == expected


span_lists = st.lists(
    st.builds(
        lambda start, length, label: span(start, start + length, label),
        st.integers(0, 20),
        st.integers(1, 6),
        st.sampled_from("XY"),
    ),
    max_size=9,
)


def overlap(left: dict, right: dict) -> bool:
    return bool(set(range(left["start"], left["end"])) & set(range(right["start"], right["end"])))


def overlapping_pairs(spans: list[dict]) -> int:
    return sum(overlap(one, other) for i, one in enumerate(spans) for other in spans[:i])


@bounded
@given(span_lists)
def test_policies_keep_what_they_promise(spans):
    in_order = sorted(spans, key=lambda one: (one["start"], one["end"]))
    for policy in OVERLAPS:
        if overlapping_pairs(spans) == 0:
            assert resolve_overlaps(spans, policy) == (in_order, 0)
            continue
        if policy == "refuse":
            with pytest.raises(ValueError, match="should have spans that do not overlap"):
                resolve_overlaps(spans, policy)
            continue
        kept, dropped = resolve_overlaps(spans, policy)
        assert overlapping_pairs(kept) == 0
        assert all(left["start"] < right["start"] for left, right in pairwise(kept))
        assert dropped == len(spans) - len(kept)
        left_over = [one for one in spans if not any(one is other for other in kept)]
        assert len(left_over) == dropped
        # What was dropped overlaps one that is kept and has the better claim.
        for one in left_over:
            rivals = [other for other in kept if overlap(one, other)]
            if policy == "longest":
                assert max(r["end"] - r["start"] for r in rivals) >= one["end"] - one["start"]
            else:
                assert min(r["start"] for r in rivals) <= one["start"]
