"""Tags as other tools spell them are read as `O`, `B-...` and `I-...`, or refused."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask_encoder.data.tag_styles import TagStyle, detect_style

bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)
# A style -> how it spells a role and a type, and the word outside entities.
SPELLINGS = {
    "common": ("{role}-{type}", "O"),
    "underscore": ("{role}_{type}", "O"),
    "slash": ("{role}/{type}", "O"),
    "colon": ("{role}:{type}", "O"),
    "dash": ("{role}–{type}", "O"),
    "small": ("{small}-{type}", "o"),
    "last": ("{type}-{role}", "O"),
    "word": ("{word}-{type}", "OUTSIDE"),
    "zero": ("{role}-{type}", "0"),
    "blank": ("{role}-{type} ", "O"),
}
WORDS = {"B": "BEGIN", "I": "INSIDE", "L": "LAST", "U": "UNIT"}


@pytest.mark.parametrize("name", SPELLINGS)
@bounded
@given(
    st.lists(
        st.tuples(
            st.sampled_from("BILU"), st.sampled_from(["PER", "creative-work", "T_cell", "日"])
        ),
        max_size=6,
    )
)
def test_tags_of_every_style_are_read_alike(name, entities):
    entities = [("B", "PER"), *entities]
    spelled, outside = SPELLINGS[name]
    tags = [
        spelled.format(role=role, type=kind, small=role.lower(), word=WORDS[role])
        for role, kind in entities
    ]
    style = detect_style({outside, *tags})
    assert [style.common(tag, "task") for tag in [outside, *tags]] == [
        "O", *(f"{role}-{kind}" for role, kind in entities)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "common"),
    [
        ("O B I", "O B-gene I-gene"),
        ("o b i", "O B-gene I-gene"),
        ("O Begin-PER Inside-PER", "O B-PER I-PER"),
        ("O I_PER", "O I-PER"),
        ("O U-PER L-PER B-PER", "O U-PER L-PER B-PER"),
        ("O PER LOC", "O PER LOC"),
        ("0 PER", "O PER"),
        ("O E-MAIL S-NUM", "O E-MAIL S-NUM"),  # of the common style: the scheme decides
        ("O E_MAIL S_NUM", "O E_MAIL S_NUM"),  # no `B` or `I`: types
        ("creative-work T-cell", "creative-work T-cell"),
        ("B-PER b-per", "B-PER b-per"),  # the scheme refuses the second
        ("O", "O"),
        ("", ""),
    ],
)
def test_the_style_is_detected(tags, common):
    style = detect_style(tags.split())
    assert [style.common(tag, "gene") for tag in tags.split()] == common.split()


def test_a_word_without_a_label_keeps_none():
    assert TagStyle().common(None, "gene") is None


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ("B_PER I/PER O", "should have tags of one style, such as `B-PER` and `I-PER`. "
         "Found 'B_PER' and 'I/PER';"),
        ("B_PER PER-I O", "Found 'B_PER' and 'PER-I';"),
        ("O 0 PER", "should have one tag for the words outside entities. Found '0' and 'O';"),
        ("O o B-PER", "Found 'O' and 'o';"),
        ("0 1 2", "should have tags such as `B-PER`, or the ids of the task's `labels`, which are "
         "not set. Found '1'."),
        ("_ PER O", "should have types of entities, and `O` outside. Found '_';"),
        ("NONE PER", "Found 'NONE';"),
    ],
)  # fmt: skip
def test_what_only_looks_like_types_is_refused(tags, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        detect_style(tags.split())
