"""Loaded rows in, token ids and labels out: exact lists."""

import copy
import json
import math
from typing import Any

import pytest
from datasets import Dataset, Features, List, Value
from transformers import BertTokenizer

from multitask_encoder.data.bad_rows import BadRows, good_rows
from multitask_encoder.data.preprocessing import preprocess, row_preprocessor
from multitask_encoder.data.task_kinds import TASK_KINDS
from multitask_encoder.modeling.configuration_multitask import TASK_TYPES
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.windows import tokenize

ENTITIES = {
    "type": "token_classification",
    "labels": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"],
    "labelling": "first",
}
BY_TOKENS = {**ENTITIES, "labelling": "all"}
TOPIC = {
    "type": "sequence_classification",
    "labels": ["sports", "tech"],
    "problem_type": "single_label_classification",
}
TAGS = {**TOPIC, "labels": ["x", "y", "z"], "problem_type": "multi_label_classification"}
STARS = {**TOPIC, "labels": ["stars"], "problem_type": "regression"}
SPAN = {"start": Value("int32"), "end": Value("int32"), "label": Value("string")}
FEATURES = {
    "source": Value("string"),
    "text": Value("string"),
    "tokens": List(Value("string")),
    "spans": List(SPAN),
    "tags": List(Value("string")),
}


def rows_of(*rows: dict, **features) -> Dataset:
    features = {name: FEATURES[name] for name in rows[0] if name in FEATURES} | features
    sourced = [{"source": f"file, row {index + 1}", **row} for index, row in enumerate(rows)]
    return Dataset.from_list(sourced, Features({"source": FEATURES["source"], **features}))


def windows_of(tokenizer, row: dict, tasks: dict, feature=None, **kwargs) -> list[dict]:
    features = {name: feature for name in tasks if name not in FEATURES and feature is not None}
    rows = preprocess(rows_of(row, **features), tokenizer, tasks, tokenize, UNITS, **kwargs)
    return rows.to_list()


def first_row(tokenizer, row: dict, tasks: dict, feature=None, **kwargs) -> dict:
    """The only window of a valid row."""
    (found,) = windows_of(tokenizer, row, tasks, feature, **kwargs)
    assert (found["problem"], found["raw"]) == (None, None)
    return found


def pieces(tokenizer, row: dict) -> list[str]:
    return tokenizer.convert_ids_to_tokens(row["input_ids"])


def span(start: int, end: int, label: str = "LOC") -> dict:
    return {"start": start, "end": end, "label": label}


def test_every_task_type_has_a_preprocessor():
    assert sorted(TASK_KINDS) == sorted(TASK_TYPES)


def test_word_tags_go_to_first_tokens(tokenizer):
    row = {"tokens": ["In", "Ulm", "Paris", "."], "tags": ["O", "B-LOC", "I-LOC", "O"]}
    found = first_row(tokenizer, row, {"tags": ENTITIES})
    assert pieces(tokenizer, found) == [
        "[CLS]", "in", "u", "##l", "##m", "paris", ".", "[SEP]"
    ]  # fmt: skip
    assert found["tags"] == [-100, 0, 1, -100, -100, 2, 0, -100]
    assert found["tags.tags"] == [0, 1, 2, 0]
    assert found["tags.positions"] == [1, 2, 5, 6]
    assert found["length"] == 8
    assert sorted(found) == [
        "cut_entities", "cut_tokens", "dataset", "input_ids", "length", "others",
        "problem", "raw", "row", "source", "tags", "tags.positions", "tags.tags", "tags.unseen",
        "unalignable", "widened", "window",
    ]  # fmt: skip
    assert (found["source"], found["dataset"], found["row"], found["window"]) == (
        "file, row 1",
        0,
        0,
        0,
    )


def test_each_part_of_a_word_that_texts_have_is_labelled(tokenizer):
    """A text is read in words without inner punctuation, so those must have been learned."""
    row = {"tokens": ["in", "u.s.", "ulm"], "tags": ["O", "B-LOC", "B-LOC"]}
    found = first_row(tokenizer, row, {"tags": ENTITIES})
    assert pieces(tokenizer, found) == [
        "[CLS]", "in", "u", ".", "s", ".", "u", "##l", "##m", "[SEP]"
    ]  # fmt: skip
    assert found["tags"] == [-100, 0, 1, 2, 2, 2, 1, -100, -100, -100]
    assert found["tags.tags"] == [0, 1, 1]
    assert found["tags.positions"] == [1, 2, 6]


def test_word_tags_go_to_all_tokens_when_asked(tokenizer):
    row = {"tokens": ["In", "Ulm", "Ulm"], "tags": ["O", "B-LOC", "B-LOC"]}
    found = first_row(tokenizer, row, {"tags": BY_TOKENS})
    assert found["tags"] == [-100, 0, 1, 2, 2, 1, 2, 2, -100]


def test_spans_are_the_same_labels_as_tags(tokenizer, byte_tokenizer, metaspace_tokenizer):
    text, spans = "Ann in New Ulm!", [span(0, 3, "PER"), span(7, 14)]
    tokens, tags = ["Ann", "in", "New", "Ulm", "!"], ["B-PER", "O", "B-LOC", "I-LOC", "O"]
    for one in (tokenizer, byte_tokenizer, metaspace_tokenizer):
        by_span = first_row(one, {"text": text, "spans": spans}, {"spans": ENTITIES})
        assert by_span["spans.tags"] == [3, 0, 1, 2, 0]
        assert [by_span["spans"][position] for position in by_span["spans.positions"]] == [
            3, 0, 1, 2, 0
        ]  # fmt: skip
        by_tag = first_row(one, {"tokens": tokens, "tags": tags}, {"tags": ENTITIES})
        assert by_tag["tags.tags"] == by_span["spans.tags"]
        assert [by_tag["tags"][position] for position in by_tag["tags.positions"]] == [
            3, 0, 1, 2, 0
        ]  # fmt: skip


def test_a_word_without_a_token_keeps_its_tag(tokenizer):
    row = {"tokens": ["in", "\u200b", "x"], "tags": ["O", "B-LOC", "O"]}
    found = first_row(tokenizer, row, {"tags": ENTITIES})
    assert found["tags"] == [-100, 0, 0, -100]
    assert found["tags.tags"] == [0, 1, 0]
    assert found["tags.positions"] == [1, -1, 2]


def test_a_span_without_a_word_counts_as_missed(tokenizer):
    row = {"text": "a \u200b b", "spans": [span(2, 3)]}
    found = first_row(tokenizer, row, {"spans": ENTITIES})
    assert found["spans"] == [-100, 0, 0, -100]
    assert found["spans.tags"] == [0, 0, 1]
    assert found["spans.positions"] == [1, 2, -1]


def test_a_row_without_entities_is_labelled_and_one_without_labels_is_not(tokenizer):
    none = first_row(tokenizer, {"text": "a b", "spans": []}, {"spans": ENTITIES})
    assert (none["spans"], none["spans.tags"]) == ([-100, 0, 0, -100], [0, 0])
    absent = first_row(tokenizer, {"text": "a b", "spans": None}, {"spans": ENTITIES})
    assert (absent["spans"], absent["spans.tags"]) == ([-100] * 4, [-100, -100])
    assert absent["spans.positions"] == [1, 2]


@pytest.mark.parametrize(("label", "expected"), [("tech", 1), ("sports", 0), (None, -100)])
def test_a_class_is_its_id(label, expected, tokenizer):
    found = first_row(tokenizer, {"text": "a", "topic": label}, {"topic": TOPIC}, Value("string"))
    assert found["topic"] == expected


def test_labels_of_a_multi_label_task_are_zeros_and_ones(tokenizer):
    def encoded(kinds):
        row = {"text": "a", "kinds": kinds}
        return first_row(tokenizer, row, {"kinds": TAGS}, List(Value("string")))["kinds"]

    assert encoded(["z", "x"]) == [1, 0, 1]
    assert encoded([]) == [0, 0, 0]
    absent = encoded(None)
    assert len(absent) == 3
    assert all(math.isnan(value) for value in absent)


def test_numbers_stay_numbers(tokenizer):
    feature, task = List(Value("float64")), {"stars": STARS}
    assert first_row(tokenizer, {"text": "a", "stars": [3.5]}, task, feature)["stars"] == [3.5]
    (absent,) = first_row(tokenizer, {"text": "a", "stars": None}, task, feature)["stars"]
    assert math.isnan(absent)


def problem(tokenizer, row: dict, tasks: dict, feature=None, **kwargs) -> str:
    """What is wrong with a row."""
    (found,) = windows_of(tokenizer, row, tasks, feature, **kwargs)
    assert json.loads(found["raw"]) == row
    assert (found["source"], found["row"], found["input_ids"]) == ("file, row 1", 0, None)
    return found["problem"]


def test_as_many_numbers_as_the_task_names_are_needed(tokenizer):
    row, feature = {"text": "a", "stars": [1.0, 2.0]}, List(Value("float64"))
    assert problem(tokenizer, row, {"stars": STARS}, feature) == (
        "task 'stars': should have 1 numbers (stars). Found [1.0, 2.0]."
    )
    row, task = {"text": "a", "stars": [1.0, 2.0]}, {**STARS, "labels": ["fun", "length"]}
    assert first_row(tokenizer, row, {"stars": task}, feature)["stars"] == [1.0, 2.0]


def test_an_embedding_task_needs_no_label(tokenizer):
    found = first_row(tokenizer, {"text": "a"}, {"vector": {"type": "sentence_embedding"}})
    assert math.isnan(found["vector"])
    assert pieces(tokenizer, found) == ["[CLS]", "a", "[SEP]"]


def test_a_text_without_a_token_is_labelled_and_has_no_units(tokenizer):
    found = first_row(tokenizer, {"text": "\u200b", "spans": []}, {"spans": ENTITIES})
    assert (found["spans"], found["spans.tags"], found["spans.positions"]) == ([-100, -100], [], [])
    alone = first_row(tokenizer, {"text": "\u200b", "spans": [span(0, 1)]}, {"spans": ENTITIES})
    assert (alone["spans.tags"], alone["spans.positions"], alone["unalignable"]) == ([1], [-1], 1)
    absent = first_row(tokenizer, {"text": "\u200b", "spans": None}, {"spans": ENTITIES})
    assert (absent["spans.tags"], absent["spans.positions"]) == ([-100], [-1])


def test_spans_inside_words_are_learned_as_words_and_scored_as_given(tokenizer):
    row = {"text": "in Ulmer", "spans": [span(3, 6)]}
    by_word = first_row(tokenizer, row, {"spans": ENTITIES})
    assert by_word["widened"] == 1
    assert by_word["spans"][1:3] == [0, 1]
    # No run of words is the span: an answer of "Ulmer" is wrong, and the span is missed.
    assert (by_word["spans.tags"], by_word["spans.positions"]) == ([0, 0, 1], [1, 2, -1])
    by_token = first_row(tokenizer, row, {"spans": BY_TOKENS})
    assert pieces(tokenizer, by_token) == ["[CLS]", "in", "u", "##l", "##m", "##e", "##r", "[SEP]"]
    assert by_token["spans"] == [-100, 0, 1, 2, 2, 0, 0, -100]
    assert by_token["spans.tags"] == [0, 1, 2, 2, 0, 0]
    assert by_token["widened"] == 0


def test_spans_that_share_a_word_are_widened_or_missed_and_none_is_dropped(tokenizer):
    row = {"text": "Ulm-Bonn Ulm", "spans": [span(0, 2), span(2, 3), span(3, 6, "PER")]}
    found = first_row(tokenizer, row, {"spans": ENTITIES})
    # `ulm`, `-`, `bonn`, `ulm`; the second span has no word of its own.
    assert [label for label in found["spans"] if label != -100] == [1, 3, 4, 0]
    assert found["spans.tags"] == [0, 0, 0, 0, 1, 1, 3]
    assert found["spans.positions"] == [1, 4, 5, 9, -1, -1, -1]
    assert (found["widened"], found["unalignable"]) == (2, 1)


@pytest.mark.parametrize("task", [ENTITIES, BY_TOKENS], ids=["words", "tokens"])
def test_words_without_a_label_are_not_learned(tokenizer, task):
    row = {"tokens": ["Ulm", "in", "Ulm"], "tags": ["B-LOC", None, None]}
    found = first_row(tokenizer, row, {"tags": task})
    assert set(found["tags"][4:]) == {-100}
    assert found["tags"][1] == 1
    assert found["tags.tags"] == [1, -100, -100]
    assert found["tags.positions"] == [1, 4, 5]


# Windows: [CLS] a b c d [SEP] holds four tokens of text

LETTERS = "a b c d e f g"
SPANS = [span(0, 3), span(6, 9, "PER"), span(12, 13)]  # a b, d e, g


def small(tokenizer, row: dict, tasks: dict, feature=None, **kwargs) -> list[dict]:
    return windows_of(tokenizer, row, tasks, feature, max_length=6, stride=2, **kwargs)


def test_each_label_is_in_one_of_the_windows(tokenizer):
    row = {"text": LETTERS, "spans": SPANS}
    first, second, third = small(tokenizer, row, {"spans": ENTITIES})
    assert [pieces(tokenizer, one)[1:-1] for one in (first, second, third)] == [
        ["a", "b", "c", "d"], ["c", "d", "e", "f"], ["d", "e", "f", "g"]
    ]  # fmt: skip
    assert [one["window"] for one in (first, second, third)] == [0, 1, 2]
    assert [one["length"] for one in (first, second, third)] == [6, 6, 6]
    # a b c | d e | f g: each token is labelled where it has most context.
    assert first["spans"] == [-100, 1, 2, 0, -100, -100]
    assert second["spans"] == [-100, -100, 3, 4, -100, -100]
    assert third["spans"] == [-100, -100, -100, 0, 1, -100]
    assert [one["spans.tags"] for one in (first, second, third)] == [[1, 2, 0], [3, 4], [0, 1]]
    assert [one["spans.positions"] for one in (first, second, third)] == [[1, 2, 3], [2, 3], [3, 4]]


def test_a_sentences_label_is_in_the_first_window(tokenizer):
    row = {"text": LETTERS, "spans": [], "kinds": ["y"]}
    tasks = {"spans": ENTITIES, "kinds": TAGS}
    windows = small(tokenizer, row, tasks, List(Value("string")))
    assert windows[0]["kinds"] == [0, 1, 0]
    assert all(math.isnan(value) for one in windows[1:] for value in one["kinds"])
    row = {"text": LETTERS, "spans": [], "topic": "tech"}
    windows = small(tokenizer, row, {"spans": ENTITIES, "topic": TOPIC}, Value("string"))
    assert [one["topic"] for one in windows] == [1, -100, -100]


def test_windows_without_a_label_are_left_out_unless_asked_for(tokenizer):
    row, tasks = {"text": LETTERS, "topic": "tech"}, {"topic": TOPIC}
    assert [one["topic"] for one in small(tokenizer, row, tasks, Value("string"))] == [1]
    every = small(tokenizer, row, tasks, Value("string"), all_windows=True)
    assert [one["topic"] for one in every] == [1, -100, -100]
    assert len(small(tokenizer, {"text": LETTERS, "spans": None}, {"spans": ENTITIES})) == 1
    assert len(small(tokenizer, {"text": LETTERS, "spans": []}, {"spans": ENTITIES})) == 3


def test_a_word_is_labelled_in_the_window_that_its_first_token_is_answered_in(tokenizer):
    row = {"tokens": ["in", "Bonn", "Ulm"], "tags": ["O", "B-LOC", "I-LOC"]}
    first, second, third = small(tokenizer, row, {"tags": ENTITIES})
    # in b ##o | ##n ##n | ##n u ##l ##m: the windows answer for three, two and three tokens.
    assert pieces(tokenizer, first) == ["[CLS]", "in", "b", "##o", "##n", "[SEP]"]
    assert (first["tags"], first["tags.tags"]) == ([-100, 0, 1, -100, -100, -100], [0, 1])
    assert (second["tags.tags"], second["tags.positions"]) == ([], [])
    assert set(second["tags"]) == {-100}
    assert pieces(tokenizer, third)[1:-1] == ["##n", "u", "##l", "##m"]
    assert (third["tags"], third["tags.tags"]) == ([-100, -100, 2, -100, -100, -100], [2])


def test_a_word_without_a_token_goes_with_the_word_before_it(tokenizer):
    tokens = ["\u200b", "a", "b", "c", "\u200b", "d", "e", "\u200b"]
    tags = ["B-LOC", "O", "O", "B-PER", "I-PER", "O", "O", "B-LOC"]
    first, second = small(tokenizer, {"tokens": tokens, "tags": tags}, {"tags": ENTITIES})
    assert (first["tags.tags"], first["tags.positions"]) == ([1, 0, 0, 3, 4], [-1, 1, 2, 3, -1])
    assert (second["tags.tags"], second["tags.positions"]) == ([0, 0, 1], [3, 4, -1])


def test_an_unalignable_span_is_in_one_of_the_windows(tokenizer):
    row = {"text": f"\u200b {LETTERS}", "spans": [span(0, 1)]}
    windows = small(tokenizer, row, {"spans": ENTITIES})
    assert [tag for one in windows for tag in one["spans.tags"]] == [0] * 7 + [1]
    assert windows[-1]["spans.positions"][-1] == -1


def test_findings_are_in_the_first_window(tokenizer):
    row = {"text": "aa b c d e f g", "spans": [span(1, 4)]}
    assert [one["widened"] for one in small(tokenizer, row, {"spans": ENTITIES})][:2] == [1, 0]


def test_rows_and_data_sets_are_numbered(tokenizer):
    rows = rows_of({"text": LETTERS, "spans": []}, {"text": "a", "spans": []})
    found = preprocess(
        rows, tokenizer, {"spans": ENTITIES}, tokenize, UNITS, max_length=6, stride=2, number=3
    )
    assert list(zip(found["row"], found["window"], strict=True)) == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert found["source"][:] == ["file, row 1"] * 3 + ["file, row 2"]
    assert set(found["dataset"]) == {3}


def test_truncation_counts_what_it_cuts_off(tokenizer):
    row = {"text": LETTERS, "spans": SPANS}
    (found,) = small(tokenizer, row, {"spans": ENTITIES}, long_texts="truncate")
    assert pieces(tokenizer, found) == ["[CLS]", "a", "b", "c", "d", "[SEP]"]
    assert found["spans"] == [-100, 1, 2, 0, 3, -100]
    # Every unit stays in the metric: what was cut off can't be found.
    assert found["spans.tags"] == [1, 2, 0, 3, 4, 0, 1]
    assert found["spans.positions"] == [1, 2, 3, 4, -1, -1, -1]
    assert (found["cut_tokens"], found["cut_entities"]) == (3, 2)
    (whole,) = windows_of(tokenizer, row, {"spans": ENTITIES}, long_texts="truncate")
    assert (whole["cut_tokens"], whole["cut_entities"]) == (0, 0)


def test_truncation_keeps_every_tag(tokenizer):
    row = {"tokens": ["in", "Ulm", "Paris"], "tags": ["O", "O", "B-LOC"]}
    (found,) = windows_of(tokenizer, row, {"tags": ENTITIES}, max_length=4, long_texts="truncate")
    assert pieces(tokenizer, found) == ["[CLS]", "in", "u", "[SEP]"]
    assert found["tags"] == [-100, 0, 0, -100]
    assert found["tags.tags"] == [0, 0, 1]
    assert found["tags.positions"] == [1, 2, -1]
    assert (found["cut_tokens"], found["cut_entities"]) == (3, 1)


def test_long_rows_are_refused_where_asked(tokenizer):
    settings = {"max_length": 6, "long_texts": "refuse"}
    assert problem(tokenizer, {"text": LETTERS}, {}, **settings) == (
        "should have at most 6 tokens. Found 9; `long_texts: window` reads it in windows."
    )
    assert first_row(tokenizer, {"text": "a b c d"}, {}, **settings)["length"] == 6


def test_windows_are_as_long_as_the_encoder_takes(tokenizer):
    short = copy.deepcopy(tokenizer)
    short.model_max_length = 6
    windows = windows_of(short, {"text": LETTERS, "spans": []}, {"spans": ENTITIES})
    assert [one["length"] for one in windows] == [6, 6]


def test_bad_rows_do_not_hold_up_the_others(tokenizer):
    rows = [{"text": "a", "topic": one} for one in ("tech", "art", "sports")]
    loaded = rows_of(*rows, topic=Value("string"))
    found = preprocess(loaded, tokenizer, {"topic": TOPIC}, tokenize, UNITS)
    (kept,), (skipped,) = good_rows([("train", found)], "skip")
    assert kept["topic"][:] == [1, 0]
    assert kept["row"][:] == [0, 2]
    assert skipped["source"] == "file, row 2"
    with pytest.raises(BadRows, match=r"^file, row 2: task 'topic': unknown label 'art'"):
        good_rows([("train", found)], "refuse")


def test_streamed_rows_are_the_same(tokenizer):
    rows = rows_of({"text": LETTERS, "spans": SPANS}, {"text": "a", "spans": [span(0, 1, "ORG")]})
    settings: dict[str, Any] = {"max_length": 6, "stride": 2, "number": 1}
    tasks = {"spans": ENTITIES}
    convert = row_preprocessor(tokenizer, tokenize, UNITS, tasks=tasks, **settings)
    expected = preprocess(rows, tokenizer, tasks, tokenize, UNITS, **settings)
    assert convert(rows.to_list()) == expected.to_list()


@pytest.mark.parametrize("max_length", [2, -1])
def test_windows_must_have_room_for_text(max_length, tokenizer):
    message = rf"should be more than the 2 special and prompt tokens\. Found {max_length}\."
    with pytest.raises(ValueError, match=message):
        windows_of(tokenizer, {"text": "a"}, {}, max_length=max_length)
    with pytest.raises(ValueError, match=r"stride should be at least 0 .* Found 4\."):
        windows_of(tokenizer, {"text": "a"}, {}, max_length=6, stride=4)


@pytest.mark.parametrize("prompt", ["query: ", "query:", "  "])
@pytest.mark.parametrize("name", ["tokenizer", "byte_tokenizer", "metaspace_tokenizer"])
def test_a_prompt_shifts_the_offsets(name, prompt, request):
    tokenizer = request.getfixturevalue(name)
    row = {"text": "By Ulm", "spans": [span(3, 6)]}
    plain = first_row(tokenizer, row, {"spans": ENTITIES})
    prompted = first_row(tokenizer, row, {"spans": ENTITIES}, prompt=prompt)
    assert plain["spans.tags"] == prompted["spans.tags"] == [0, 1]
    assert [prompted["spans"][position] for position in prompted["spans.positions"]] == [0, 1]
    end = -1 - len("Ulm")
    assert pieces(tokenizer, plain)[end:] == pieces(tokenizer, prompted)[end:]
    assert prompted["spans"][end:] == [1, -100, -100, -100]
    more = len(prompted["spans"]) - len(plain["spans"])
    assert prompted["spans"][: more + 1] == [-100] * (more + 1)


def test_a_prompt_shifts_the_words(tokenizer):
    row = {"tokens": ["By", "Ulm"], "tags": ["O", "B-LOC"]}
    found = first_row(tokenizer, row, {"tags": ENTITIES}, prompt="in: ")
    assert pieces(tokenizer, found) == ["[CLS]", "in", ":", "b", "##y", "u", "##l", "##m", "[SEP]"]
    assert found["tags"] == [-100, -100, -100, 0, -100, 1, -100, -100, -100]
    assert found["tags.positions"] == [3, 5]


def test_an_unknown_label_names_task_and_choices(tokenizer):
    row: dict[str, Any] = {"text": "a", "topic": "art"}
    assert problem(tokenizer, row, {"topic": TOPIC}, Value("string")) == (
        "task 'topic': unknown label 'art'. Expected one seen in training or given as `labels`: "
        "sports, tech."
    )
    row = {"text": "a", "spans": [span(0, 1, "ORG")]}
    assert problem(tokenizer, row, {"spans": ENTITIES}).startswith(
        "task 'spans': unknown label 'B-ORG'. Expected"
    )


def test_all_tokens_need_the_inside_tag(tokenizer):
    task = {**ENTITIES, "labels": ["O", "B-LOC"]}
    row = {"tokens": ["Ulm"], "tags": ["B-LOC"]}
    assert first_row(tokenizer, row, {"tags": task})["tags"] == [-100, 1, -100, -100, -100]
    found = problem(tokenizer, row, {"tags": {**task, "labelling": "all"}})
    assert found.startswith("task 'tags': unknown label 'I-LOC'")


def test_a_tokenizer_without_offsets_is_refused(monkeypatch, tokenizer):
    monkeypatch.setattr(BertTokenizer, "is_fast", False)
    with pytest.raises(ValueError, match="BertTokenizer gives no offsets; a fast tokenizer is"):
        windows_of(tokenizer, {"text": "a"}, {})
