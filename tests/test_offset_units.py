"""Offsets in other units than characters are refused where the words show it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitask_encoder.data.cells import spans_of_cell
from multitask_encoder.data.offset_units import check_offsets

WOMEN = "👩‍❤️‍👩"


def spans(*pairs: tuple[int, int]) -> list[dict]:
    return [{"start": start, "end": end, "label": "PER"} for start, end in pairs]


@pytest.mark.parametrize(
    ("text", "pairs", "unit"),
    [
        ("Dear all,\r\nMaya sings\r\nin Oslo.", [(10, 14), (24, 28)], r"line breaks \\r\\n as one"),
        (f"{WOMEN} Maya sings in Oslo tonight", [(2, 6), (16, 20)], "graphemes"),
        ("🎉 Maya sings", [(3, 7)], "UTF-16 units"),
        ("Zoë Čapek met Maya here", [(0, 4), (5, 11), (16, 20)], "UTF-8 bytes"),
        ("cafe\u0301 Maya", [(5, 9)], "graphemes"),
    ],
)
def test_drifted_offsets_are_refused_with_their_unit(text, pairs, unit):
    with pytest.raises(ValueError, match=f"should have spans in characters.*counted in {unit}"):
        spans_of_cell(spans(*pairs), text)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("Dear all,\r\nMaya sings", [(11, 15)]),  # in characters
        ("Dear all,\r\nMaya sings", [(11, 16)]),  # with a blank: trimmed
        (f"{WOMEN} Maya sings", [(11, 14)]),  # cuts a word in every unit
        ("Dear all, Maya", [(11, 14)]),  # plain text: all units are the same
        ("在北京的🎉玛雅", [(1, 3), (5, 7)]),  # no blanks, no borders to see
        ("re🎉 unfriendly", [(6, 14)]),  # part of a word, and nothing fits better
    ],
)
def test_other_spans_are_taken_as_given(text, pairs):
    found, _ = spans_of_cell(spans(*pairs), text)
    assert len(found) == len(pairs)


@given(st.lists(st.sampled_from(["Maya", "Oslo", "🎉", WOMEN, "\r\n", "é", "e\u0301"]), min_size=1))
def test_words_at_their_characters_are_never_refused(words):
    text, places = "", []
    for word in words:
        places.append((len(text), len(text) + len(word)))
        text += word + " "
    check_offsets([one for one in spans(*places) if text[one["start"] :].strip()], text)
