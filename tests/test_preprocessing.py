"""Loaded rows in, token ids and labels out: exact lists."""

import copy
import math

import pytest
from datasets import Dataset, Features, List, Value
from transformers import BertTokenizer

from data.preprocessing import PREPROCESSORS, preprocess
from modeling.configuration_multitask import TASK_TYPES
from modeling.decoding import strip_offsets, word_ids

ENTITIES = {"type": "token_classification", "labels": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]}
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
    rows = [{"source": f"file, row {index + 1}", **row} for index, row in enumerate(rows)]
    return Dataset.from_list(rows, Features({"source": FEATURES["source"], **features}))


def first_row(tokenizer, row: dict, tasks: dict, feature=None, **kwargs) -> dict:
    features = {name: feature for name in tasks if name not in FEATURES and feature is not None}
    return preprocess(
        rows_of(row, **features), tokenizer, tasks, strip_offsets, word_ids, **kwargs
    )[0]


def pieces(tokenizer, row: dict) -> list[str]:
    return tokenizer.convert_ids_to_tokens(row["input_ids"])


def span(start: int, end: int, label: str = "LOC") -> dict:
    return {"start": start, "end": end, "label": label}


def test_every_task_type_has_a_preprocessor():
    assert sorted(PREPROCESSORS) == sorted(TASK_TYPES)


def test_word_tags_go_to_first_tokens(tokenizer):
    row = {"tokens": ["In", "Ulm", "Paris", "."], "tags": ["O", "B-LOC", "I-LOC", "O"]}
    found = first_row(tokenizer, row, {"tags": ENTITIES})
    assert pieces(tokenizer, found) == [
        "[CLS]", "in", "u", "##l", "##m", "paris", ".", "[SEP]"
    ]  # fmt: skip
    assert found["tags"] == [-100, 0, 1, -100, -100, 2, 0, -100]
    assert found["tags_tags"] == [0, 1, 2, 0]
    assert found["tags_positions"] == [1, 2, 5, 6]
    assert found["length"] == 8
    assert sorted(found) == ["input_ids", "length", "tags", "tags_positions", "tags_tags"]


def test_word_tags_go_to_all_tokens_when_asked(tokenizer):
    row = {"tokens": ["In", "Ulm", "Ulm"], "tags": ["O", "B-LOC", "B-LOC"]}
    found = first_row(tokenizer, row, {"tags": ENTITIES}, labelling="all")
    assert found["tags"] == [-100, 0, 1, 2, 2, 1, 2, 2, -100]


def test_spans_are_the_same_labels_as_tags(tokenizer, byte_tokenizer, metaspace_tokenizer):
    text, spans = "Ann in New Ulm!", [span(0, 3, "PER"), span(7, 14)]
    tokens, tags = ["Ann", "in", "New", "Ulm", "!"], ["B-PER", "O", "B-LOC", "I-LOC", "O"]
    for one in (tokenizer, byte_tokenizer, metaspace_tokenizer):
        by_span = first_row(one, {"text": text, "spans": spans}, {"spans": ENTITIES})
        assert by_span["spans_tags"] == [3, 0, 1, 2, 0]
        assert [by_span["spans"][position] for position in by_span["spans_positions"]] == [
            3, 0, 1, 2, 0
        ]  # fmt: skip
        by_tag = first_row(one, {"tokens": tokens, "tags": tags}, {"tags": ENTITIES})
        assert by_tag["tags_tags"] == by_span["spans_tags"]
        assert [by_tag["tags"][position] for position in by_tag["tags_positions"]] == [
            3, 0, 1, 2, 0
        ]  # fmt: skip


def test_a_word_without_a_token_keeps_its_tag(tokenizer):
    row = {"tokens": ["in", "\u200b", "x"], "tags": ["O", "B-LOC", "O"]}
    found = first_row(tokenizer, row, {"tags": ENTITIES})
    assert found["tags"] == [-100, 0, 0, -100]
    assert found["tags_tags"] == [0, 1, 0]
    assert found["tags_positions"] == [1, -1, 2]


def test_a_span_without_a_word_counts_as_missed(tokenizer):
    row = {"text": "a \u200b b", "spans": [span(2, 3)]}
    found = first_row(tokenizer, row, {"spans": ENTITIES})
    assert found["spans"] == [-100, 0, 0, -100]
    assert found["spans_tags"] == [0, 0, 1]
    assert found["spans_positions"] == [1, 2, -1]


def test_a_row_without_entities_is_labelled_and_one_without_labels_is_not(tokenizer):
    none = first_row(tokenizer, {"text": "a b", "spans": []}, {"spans": ENTITIES})
    assert (none["spans"], none["spans_tags"]) == ([-100, 0, 0, -100], [0, 0])
    absent = first_row(tokenizer, {"text": "a b", "spans": None}, {"spans": ENTITIES})
    assert (absent["spans"], absent["spans_tags"]) == ([-100] * 4, [-100, -100])
    assert absent["spans_positions"] == [1, 2]


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


def test_as_many_numbers_as_the_task_names_are_needed(tokenizer):
    row, feature = {"text": "a", "stars": [1, 2]}, List(Value("float64"))
    message = r"'stars': should have 1 numbers \(stars\)\. Found \[1\.0, 2\.0\]"
    with pytest.raises(ValueError, match=message):
        first_row(tokenizer, row, {"stars": STARS}, feature)


def test_an_embedding_task_needs_no_label(tokenizer):
    found = first_row(tokenizer, {"text": "a"}, {"vector": {"type": "sentence_embedding"}})
    assert sorted(found) == ["input_ids", "length"]


def test_cutting_keeps_every_tag(tokenizer):
    row = {"tokens": ["in", "Ulm", "Paris"], "tags": ["O", "O", "B-LOC"]}
    found = first_row(tokenizer, row, {"tags": ENTITIES}, max_length=4)
    assert pieces(tokenizer, found) == ["[CLS]", "in", "u", "[SEP]"]
    assert found["tags"] == [-100, 0, 0, -100]
    assert found["tags_tags"] == [0, 0, 1]
    assert found["tags_positions"] == [1, 2, -1]


def test_cutting_keeps_every_word_and_whole_spans(tokenizer):
    row = {"text": "in New Ulm Paris", "spans": [span(3, 10), span(11, 16, "PER")]}
    found = first_row(tokenizer, row, {"spans": ENTITIES}, max_length=4)
    assert pieces(tokenizer, found) == ["[CLS]", "in", "n", "[SEP]"]
    assert found["spans"] == [-100, 0, 1, -100]
    assert found["spans_tags"] == [0, 1, 2, 3]
    assert found["spans_positions"] == [1, 2, -1, -1]


@pytest.mark.parametrize("max_length", [2, 0, -1])
def test_cutting_must_leave_room_for_text(max_length, tokenizer):
    message = rf"max_length should be more than the 2 special tokens\. Found {max_length}"
    with pytest.raises(ValueError, match=message):
        first_row(tokenizer, {"text": "a"}, {}, max_length=max_length)


def test_longer_rows_than_the_encoder_takes_are_refused(tokenizer):
    short = copy.deepcopy(tokenizer)
    short.model_max_length = 6
    rows = rows_of({"text": "a b c d"}, {"text": "a b c d e"})
    with pytest.raises(
        ValueError, match=r"file, row 2: has 7 tokens, the encoder takes 6\. Set max_length"
    ):
        preprocess(rows, short, {}, strip_offsets, word_ids)
    assert preprocess(rows, short, {}, strip_offsets, word_ids, max_length=6)["length"][:] == [6, 6]


@pytest.mark.parametrize("prompt", ["query: ", "query:", "  "])
@pytest.mark.parametrize("name", ["tokenizer", "byte_tokenizer", "metaspace_tokenizer"])
def test_a_prompt_shifts_the_offsets(name, prompt, request):
    tokenizer = request.getfixturevalue(name)
    row = {"text": "By Ulm", "spans": [span(3, 6)]}
    plain = first_row(tokenizer, row, {"spans": ENTITIES})
    prompted = first_row(tokenizer, row, {"spans": ENTITIES}, prompt=prompt)
    assert plain["spans_tags"] == prompted["spans_tags"] == [0, 1]
    assert [prompted["spans"][position] for position in prompted["spans_positions"]] == [0, 1]
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
    assert found["tags_positions"] == [3, 5]


def test_an_unknown_label_names_row_task_and_choices(tokenizer):
    message = (
        r"^file, row 1, task 'topic': unknown label 'art'\. Expected one seen in training or given "
        r"as `labels`: sports, tech\.$"
    )
    with pytest.raises(ValueError, match=message):
        first_row(tokenizer, {"text": "a", "topic": "art"}, {"topic": TOPIC}, Value("string"))
    with pytest.raises(ValueError, match="row 1, task 'spans': unknown label 'B-ORG'"):
        first_row(tokenizer, {"text": "a", "spans": [span(0, 1, "ORG")]}, {"spans": ENTITIES})


def test_all_tokens_need_the_inside_tag(tokenizer):
    task = {"tags": {"type": "token_classification", "labels": ["O", "B-LOC"]}}
    row = {"tokens": ["Ulm"], "tags": ["B-LOC"]}
    assert first_row(tokenizer, row, task)["tags"] == [-100, 1, -100, -100, -100]
    with pytest.raises(ValueError, match="row 1, task 'tags': unknown label 'I-LOC'"):
        first_row(tokenizer, row, task, labelling="all")


def test_a_tokenizer_without_offsets_is_refused(monkeypatch, tokenizer):
    monkeypatch.setattr(BertTokenizer, "is_fast", False)
    with pytest.raises(ValueError, match="BertTokenizer gives no offsets; a fast tokenizer is"):
        first_row(tokenizer, {"text": "a"}, {})
