"""Copies of rows in which entities give way to others of their type."""

import json
import logging

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask_encoder.data.mention_replacement import mentions_of, with_replaced_mentions

CITIES = {
    "tokens": [
        ["fly", "to", "Rome", "and", "New", "York"],
        ["no", "place"],
        ["Oslo", "by", "train"],
    ],
    "slots": [["O", "O", "B-city", "O", "B-city", "I-city"], ["O", "O"], ["B-city", "O", "B-way"]],
    "other": [["O"] * 5 + ["B-x"], ["O", "O"], ["B-x", "O", "O"]],
    "topic": ["a", "b", "c"],
    "source": ["row 1", "row 2", "row 3"],
    "repairs": [1, 0, 0],
}


def test_words_give_way_with_their_tags():
    rows = Dataset.from_dict(CITIES)
    found = with_replaced_mentions(rows, "slots", copies=20, seed=0, unlabelled=["other"])
    assert found.features == rows.features
    assert found[:3] == rows[:]
    copies = found.select(range(3, len(found)))
    assert len(copies) == 40  # the second row has no mention
    assert copies["topic"][:] == ["a", "c"] * 20
    assert copies["source"][:] == ["row 1", "row 3"] * 20
    assert set(copies["repairs"]) == {0}
    assert copies["other"][:] == [None] * 40
    cities = {("Rome",), ("New", "York"), ("Oslo",)}
    seen = set()
    for copy in copies.select(range(0, 40, 2)):
        said = [tuple(copy["tokens"][start:end]) for _, start, end in mentions_of(copy["slots"])]
        assert len(said) == 2
        assert set(said) <= cities
        assert said != [("Rome",), ("New", "York")]  # one of them in any case
        words = zip(copy["tokens"], copy["slots"], strict=True)
        assert [word for word, tag in words if tag == "O"] == ["fly", "to", "and"]
        seen.add(tuple(said))
    assert len(seen) > 3
    for copy in copies.select(range(1, 40, 2)):
        assert copy["tokens"][-2:] == ["by", "train"]  # there is no other way
        assert copy["slots"][-2:] == ["O", "B-way"]
        assert copy["tokens"][:-2] in (["Rome"], ["New", "York"])


def test_spans_of_a_text_move_with_what_is_before_them():
    text = "from Rome to Oslo!"
    spans = [
        {"start": 13, "end": 17, "label": "city"},
        {"start": 5, "end": 9, "label": "city"},
    ]
    assert mentions_of(spans) == [("city", 5, 9), ("city", 13, 17)]
    far = [{"start": 0, "end": 9, "label": "city"}]
    rows = Dataset.from_dict(
        {"text": [text, "Reykjavik is far"], "places": [spans, far], "repairs": [0, 0]}
    )
    copies = with_replaced_mentions(rows, "places", 30, seed=1)[2:]
    lengths = set()
    for text, spans in zip(copies["text"], copies["places"], strict=True):
        assert {text[span["start"] : span["end"]] for span in spans} <= {
            "Rome",
            "Oslo",
            "Reykjavik",
        }
        assert text.startswith("from ") == (len(spans) == 2)
        assert text.endswith(("!", " is far"))
        lengths.add(len(text))
    assert len(lengths) > 2


# A row in parts: each a mention with its type, or other words.
WORDS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=3)
PARTS = st.lists(st.tuples(st.sampled_from(["x", "y", None]), WORDS), min_size=1)


def tags_of(parts) -> list[str]:
    """The tags of a row's words."""
    return [
        tag
        for kind, words in parts
        for tag in (
            [f"B-{kind}", *[f"I-{kind}"] * (len(words) - 1)] if kind else ["O"] * len(words)
        )
    ]


@settings(deadline=None, max_examples=50)
@given(st.lists(PARTS, min_size=1), st.integers(0, 5))
def test_a_copy_has_the_same_parts_with_other_mentions(rows, seed):
    tokens = [[word for _, words in parts for word in words] for parts in rows]
    tags = [tags_of(parts) for parts in rows]
    said = {(kind, tuple(words)) for parts in rows for kind, words in parts if kind}
    numbers = [*range(len(rows))]
    given_rows = Dataset.from_dict(
        {"tokens": tokens, "slots": tags, "repairs": numbers, "source": numbers}
    )
    found = with_replaced_mentions(given_rows, "slots", 2, seed)
    changing = [
        number
        for number, parts in enumerate(rows)
        if any(sum(kind == one for one, _ in said) > 1 for kind, _ in parts if kind)
    ]
    assert found["source"][:] == [*numbers, *changing, *changing]
    for copy in found.to_list()[len(rows) :]:
        number = copy["source"]
        assert copy["tokens"] != tokens[number]
        mentions = mentions_of(copy["slots"])
        assert [one.type for one in mentions] == [kind for kind, _ in rows[number] if kind]
        assert {(one.type, tuple(copy["tokens"][one.start : one.end])) for one in mentions} <= said
        words = zip(copy["tokens"], copy["slots"], strict=True)
        outside = [word for kind, words in rows[number] if not kind for word in words]
        assert [word for word, tag in words if tag == "O"] == outside


def test_words_without_a_label_are_of_no_mention():
    rows = Dataset.from_dict({
        "tokens": [["a", "b", "c", "d"], ["e"]], "repairs": [0, 0],
        "slots": [[None, "I-x", "B-x", None], ["B-x"]],
    })  # fmt: skip
    copy = with_replaced_mentions(rows, "slots", 1, 0)[2]
    assert copy["tokens"] == ["a", "b", "e", "d"]
    assert copy["slots"] == [None, "I-x", "B-x", None]


@pytest.mark.parametrize(
    "columns",
    [
        {"texts": [["a", "b"]]},
        {"text": ["a"], "topic": ["x"]},
        {"tokens": [["a"], ["a"]], "slots": [["B-x"], ["B-x"]]},
        {"tokens": [["a", "b"]], "slots": [None]},
    ],
)
def test_rows_without_other_mentions_get_no_copies(columns):
    rows = Dataset.from_dict(columns)
    assert with_replaced_mentions(rows, "slots", 3, 0) is rows


def test_a_run_learns_from_the_copies(run, caplog):
    caplog.set_level(logging.INFO)
    rows = [
        {"text": "in Paris", "slots": [{"start": 3, "end": 8, "label": "city"}]},
        {"text": "in Rome", "slots": [{"start": 3, "end": 7, "label": "city"}]},
        {"text": "nowhere", "slots": []},
    ]
    tasks = {"slots": {"type": "token_classification", "mention_replacement": 3}}
    folder = run(
        train_file=rows,
        validation_file=rows,
        tasks=tasks,
        num_train_epochs=1,
        per_device_train_batch_size=1,
    )
    assert "Added 6 rows with other mentions of slots." in caplog.text
    state = json.loads((folder / "trainer_state.json").read_text())
    assert state["global_step"] == 9
    assert json.loads((folder / "all_results.json").read_text())["train_samples"] == 3
