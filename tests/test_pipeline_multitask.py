"""The pipeline: text in; embedding, labels and entities with offsets in that text out."""

import copy
import json
import random
import re
from collections import UserDict
from itertools import accumulate
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import TASKS, encoder_config
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from multitask_encoder.inference import Predictor
from multitask_encoder.modeling import (
    MultiTaskConfig,
    MultiTaskModel,
    MultiTaskPipeline,
    pipeline_multitask,
)
from multitask_encoder.modeling.decoding import likeliest_labels, tags_to_spans
from multitask_encoder.modeling.windows import tokenize

LONG = "Anna plays in the park in Paris. " * 30
TEXTS = [
    "Paris.",
    "",
    LONG,
    "Anna plays in the park in Paris",
    "x",
    LONG[::-1],
    "the play is  in\tParis and\nRome",
]
TOKENIZERS = ["tokenizer", "byte_tokenizer", "metaspace_tokenizer"]
# Where tokenizers lose count: marks, wide and astral characters, joiners, spaces, ligatures.
AWKWARD = "aZ9_ \t\n\u00a0\u200b\u200d\u0301éßﬁ㎏ﷺİ𝔸😀👍🏽中日한नि«—.'\x00\ufeff"
texts = st.text(max_size=24) | st.text(alphabet=AWKWARD, max_size=24)
bounded = settings(
    max_examples=40,
    deadline=None,  # the cores may be busy
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # a model to read, not to change
)


@pytest.fixture
def pipe(make_model, tokenizer) -> MultiTaskPipeline:
    return MultiTaskPipeline(model=make_model().eval(), tokenizer=tokenizer)


@pytest.fixture
def finds_people(make_model):
    """Tokenizer -> a pipeline to which every word is a person."""

    def make(tokenizer, **kwargs) -> MultiTaskPipeline:
        model = make_model(**kwargs).eval()
        person = TASKS["entities"]["labels"].index("B-PER")
        model.heads["entities"].classifier.bias.data[person] = 99
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.model_max_length = 512  # some characters are many tokens
        return MultiTaskPipeline(model=model, tokenizer=tokenizer)

    return make


def without_scores(answer: dict) -> list[tuple[int, int, str, str]]:
    entities = answer["entities"]["entities"]
    return [(one["start"], one["end"], one["text"], one["label"]) for one in entities]


def assert_same(answer: dict, other: dict) -> None:
    """Equal but for the rounding of sums taken in another order."""
    assert without_scores(answer) == without_scores(other)
    assert answer["embedding"] == pytest.approx(other["embedding"], rel=1e-4, abs=1e-5)
    for one, two in zip(answer["entities"]["entities"], other["entities"]["entities"], strict=True):
        assert one["score"] == pytest.approx(two["score"], abs=1e-5)
    assert answer["labels"]["topic"]["label"] == other["labels"]["topic"]["label"]
    assert answer["labels"]["topic"]["scores"] == pytest.approx(
        other["labels"]["topic"]["scores"], abs=1e-5
    )


def test_answer_holds_embedding_labels_and_entities(pipe):
    answer = pipe("Paris is in the play.")
    assert list(answer) == ["embedding", "labels", "entities"]
    assert len(answer["embedding"]) == 16
    topic = answer["labels"]["topic"]
    assert list(topic) == ["label", "score", "scores"]
    assert list(topic["scores"]) == ["sports", "tech", "health"]
    assert sum(topic["scores"].values()) == pytest.approx(1)
    assert topic["score"] == max(topic["scores"].values()) == topic["scores"][topic["label"]]
    assert answer["entities"]["entities"]
    for entity in answer["entities"]["entities"]:
        assert list(entity) == ["start", "end", "text", "label", "score"]
        assert entity["label"] in ("LOC", "PER")
        assert 0 < entity["score"] <= 1
    assert json.loads(json.dumps(answer)) == answer


def test_answers_are_the_models_own(pipe, tokenizer):
    output = pipe.model(**tokenizer("Paris", return_tensors="pt"))
    answer = pipe("Paris")
    assert answer["embedding"] == output.sentence_embedding[0].tolist()
    assert list(answer["labels"]["topic"]["scores"].values()) == pytest.approx(
        output.logits["topic"][0].softmax(-1).tolist()
    )


def test_a_model_that_returns_tuples_is_answered(pipe):
    expected = pipe("Paris")
    pipe.model.config.return_dict = False
    assert pipe("Paris") == expected


def test_every_word_is_an_entity_when_the_model_says_so(finds_people, tokenizer):
    assert without_scores(finds_people(tokenizer)(" Anna's  café, 中文!")) == [
        (1, 5, "Anna", "PER"),
        (5, 6, "'", "PER"),
        (6, 7, "s", "PER"),
        (9, 13, "café", "PER"),
        (13, 14, ",", "PER"),
        (15, 16, "中", "PER"),
        (16, 17, "文", "PER"),
        (17, 18, "!", "PER"),
    ]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_entity_text_is_the_slice_of_the_input_for_any_text(name, finds_people, pipe, request):
    everyone = finds_people(request.getfixturevalue(name))
    undecided = MultiTaskPipeline(model=pipe.model, tokenizer=everyone.tokenizer)

    @bounded
    @given(texts)
    def check(text):
        for one in (everyone, undecided):
            end = 0
            for entity in one(text)["entities"]["entities"]:
                assert text[entity["start"] : entity["end"]] == entity["text"]
                assert entity["text"].strip() == entity["text"] != ""
                assert entity["start"] >= end
                end = entity["end"]

    check()


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
def test_ten_thousand_texts_of_any_characters(name, pipe, request):
    """3 x 334 x 10 texts, read at once or in windows, alone or with others."""
    tokenizer = copy.deepcopy(request.getfixturevalue(name))
    tokenizer.model_max_length = 40
    one_by_one = MultiTaskPipeline(model=pipe.model, tokenizer=tokenizer)

    @settings(bounded, max_examples=334)
    @given(
        st.lists(
            st.text(max_size=60) | st.text(alphabet=AWKWARD, max_size=60), min_size=10, max_size=10
        ),
        st.integers(1, 10),
    )
    def check(several, batch_size):
        answers = one_by_one(several, batch_size=batch_size)
        for text, answer in zip(several, answers, strict=True):
            assert_same(one_by_one(text), answer)
            end = 0
            for entity in answer["entities"]["entities"]:
                assert text[entity["start"] : entity["end"]] == entity["text"]
                assert entity["text"].strip() == entity["text"] != ""
                assert entity["start"] >= end
                end = entity["end"]

    check()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_prompt_leaves_offsets_in_the_texts_own_coordinates(name, finds_people, request):
    tokenizer = request.getfixturevalue(name)
    plain = finds_people(tokenizer)
    prompted = finds_people(tokenizer, prompts={"default": "query: ", "passage": "the passage: "})

    @bounded
    @given(texts)
    def check(text):
        expected = without_scores(plain(text))
        assert without_scores(prompted(text)) == expected
        assert without_scores(prompted(text, prompt_name="passage")) == expected

    check()
    text = "Anna plays"
    for name, prompt in (("default", "query: "), ("passage", "the passage: ")):
        answer = prompted(text, prompt_name=name)
        assert answer["embedding"] == plain(prompt + text)["embedding"]


def test_what_holds_for_all_calls_can_be_left_out_of_one(make_model, tokenizer, pipe):
    model = make_model(prompts={"default": "query: "}).eval()
    given: dict[str, Any] = {"tasks": "topic", "top_k": 1, "thresholds": 0.9}
    ours = MultiTaskPipeline(model=model, tokenizer=tokenizer, **given)
    plain = MultiTaskPipeline(model=model, tokenizer=tokenizer)
    text = "Anna plays"
    assert ours(text) == plain(text, **given) != plain(text)
    assert ours(text, **dict.fromkeys(given)) == plain(text)
    assert plain(text, prompt_name="") == pipe(text) != plain(text)


def test_a_model_in_memory_has_the_stock_way_to_its_pipeline(make_model, tokenizer, pipe):
    ours = pipeline("multitask", model=make_model().eval(), tokenizer=tokenizer)
    assert type(ours) is MultiTaskPipeline
    assert ours(TEXTS) == pipe(TEXTS)


def test_unknown_prompt_is_refused(pipe):
    with pytest.raises(ValueError, match=r"^Unknown prompt 'query'\. This model has: \[\]\.$"):
        pipe("Paris", prompt_name="query")


@pytest.mark.parametrize("padding_side", ["right", "left"])
@pytest.mark.parametrize("batch_size", [2, 3, 32])
def test_answers_do_not_depend_on_batches(batch_size, padding_side, pipe, tokenizer):
    alone = [pipe(text) for text in TEXTS]
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = padding_side
    batched = MultiTaskPipeline(model=pipe.model, tokenizer=tokenizer)(TEXTS, batch_size=batch_size)
    assert len(batched) == len(TEXTS)
    for one, other in zip(alone, batched, strict=True):
        assert_same(one, other)


def test_order_is_kept_for_lists_and_generators(pipe):
    alone = [pipe(text) for text in TEXTS]
    answers = pipe(TEXTS)
    assert isinstance(answers, list)
    stream = pipe((text for text in TEXTS), batch_size=2)
    assert not isinstance(stream, list)
    for one, other, streamed in zip(alone, answers, stream, strict=True):
        assert_same(one, other)
        assert_same(one, streamed)


@pytest.mark.parametrize("limit", [("POOL_TEXTS", 2), ("POOL_CHARACTERS", 40)])
def test_many_texts_are_read_a_few_at_a_time(limit, pipe, monkeypatch):
    alone = [pipe(text) for text in TEXTS]
    monkeypatch.setattr(pipeline_multitask, *limit)
    read = []

    def texts():
        for text in TEXTS:
            read.append(text)
            yield text

    stream = pipe(texts())
    first = next(stream)
    assert len(read) < len(TEXTS)
    for one, other in zip(alone, [first, *stream], strict=True):
        assert_same(one, other)
    assert len(pipe(TEXTS * 3)) == 3 * len(TEXTS)


def test_columns_of_data_sets_are_answered(pipe):
    rows = Dataset.from_dict({"text": TEXTS})
    for column in (rows["text"], KeyDataset(rows, "text")):
        for text, answer in zip(TEXTS, pipe(column), strict=True):
            assert_same(answer, pipe(text))


def test_batches_are_of_similar_length_and_bounded(pipe, monkeypatch):
    monkeypatch.setattr(pipeline_multitask, "TOKENS_PER_THREAD", 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    shapes, forward = [], pipe.model.forward

    def recording(**inputs):
        shapes.append(inputs["input_ids"].shape)
        return forward(**inputs)

    monkeypatch.setattr(pipe.model, "forward", recording)
    pipe([" ".join(["x"] * (1 + index % 7)) for index in range(70)])
    assert sum(rows for rows, _ in shapes) == 70
    assert all(rows * width <= 64 for rows, width in shapes)
    own = sum((3 + index % 7) for index in range(70))  # [CLS] and [SEP] as well
    assert sum(rows * width for rows, width in shapes) < 1.05 * own
    shapes.clear()
    pipe(["x"] * 9, batch_size=4)
    assert [rows for rows, _ in shapes] == [4, 4, 1]


def test_a_bad_text_among_many_is_named_by_its_place(pipe):
    with pytest.raises(ValueError, match=r"^The input should be a text\. Found int as input 2\.$"):
        pipe(["x", "y", 3])
    with pytest.raises(ValueError, match=r"lone surrogate at 1 as input 1\.$"):
        list(pipe(text for text in ["x", "y\ud800"]))


@pytest.mark.parametrize("nothing", [[], (), iter(())], ids=["[]", "()", "generator"])
def test_no_texts_give_no_answers(nothing, pipe):
    assert list(pipe(nothing)) == []


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u00a0"])
def test_empty_text_is_answered_without_entities(text, name, finds_people, request):
    answer = finds_people(request.getfixturevalue(name))(text)
    assert answer["entities"] == {"entities": []}
    assert answer["labels"]["topic"]["label"] in ("sports", "tech", "health")
    assert len(answer["embedding"]) == 16


def test_only_the_asked_tasks_are_answered(pipe):
    everything = pipe("Paris")
    answer = pipe("Paris", tasks=["topic"])
    assert answer == {**everything, "entities": {}}
    assert pipe("Paris", tasks=["entities"]) == {**everything, "labels": {}}
    assert pipe("Paris", tasks=["embedding"]) == {**everything, "labels": {}, "entities": {}}
    assert pipe("Paris", tasks="topic") == answer
    assert pipe(["Paris", "x"], tasks=["topic"], batch_size=2)[1]["entities"] == {}
    for unknown in (["mood"], "mood", ["topic", "mood"]):
        with pytest.raises(
            ValueError,
            match=r"^Unknown task 'mood'\. This model has: topic, entities, embedding\.$",
        ):
            pipe("Paris", tasks=unknown)


def test_top_k_gives_the_highest_scores_first(pipe):
    for whole, answer in zip(pipe(TEXTS), pipe(TEXTS, top_k=2), strict=True):
        scores = whole["labels"]["topic"]["scores"]
        highest = sorted(scores, key=scores.get, reverse=True)[:2]
        found = answer["labels"]["topic"]
        assert list(found["scores"]) == highest
        assert found["scores"] == pytest.approx({label: scores[label] for label in highest})
        assert found["label"] == highest[0]
        assert answer["entities"] == whole["entities"]


def test_what_is_below_its_threshold_is_no_answer(pipe):
    whole = pipe(TEXTS)
    score = whole[0]["labels"]["topic"]["score"]
    for threshold, kept in ((score - 1e-6, True), (score, False)):
        for thresholds in (threshold, {"topic": threshold}):
            label = pipe(TEXTS[0], thresholds=thresholds)["labels"]["topic"]
            expected = whole[0]["labels"]["topic"]
            assert label["scores"] == expected["scores"] and label["score"] == score
            assert label["label"] == (expected["label"] if kept else None)

    found = [one for answer in whole for one in answer["entities"]["entities"]]
    least = sorted(one["score"] for one in found)[len(found) // 2]
    kept = pipe(TEXTS, thresholds={"entities": least})
    assert [answer["labels"] for answer in kept] == [answer["labels"] for answer in whole]
    found = [one for one in found if one["score"] > least]
    assert [one for answer in kept for one in answer["entities"]["entities"]] == found
    assert len(found) > 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"top_k": 0}, r"top_k should be a whole number of at least 1\. Found 0"),
        ({"top_k": 1.5}, r"top_k .* Found 1\.5"),
        ({"batch_size": -1}, r"batch_size should be a whole number of at least 1\. Found -1"),
        ({"batch_size": 0}, r"batch_size .* Found 0"),
        ({"thresholds": 2}, r"threshold should be from 0 to 1\. Found 2"),
        ({"thresholds": {"topic": "high"}}, r"from 0 to 1\. Found 'high' for 'topic'"),
        ({"thresholds": {"embedding": 0.5}}, r"some of topic, entities\. Found 'embedding'"),
    ],
)
def test_limits_out_of_range_are_refused(asked, message, pipe):
    with pytest.raises(ValueError, match=message):
        pipe("Paris", **asked)


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ({"threshold": 0.5}, " Did you mean thresholds?"),
        ({"taks": "topic"}, " Did you mean tasks?"),
        ({"batchsize": 2}, " Did you mean batch_size?"),
        ({"zzz": 1}, ""),
    ],
)
def test_unknown_arguments_are_refused_with_the_nearest(asked, hint, pipe, tokenizer):
    message = f"^{re.escape(f'Unknown argument {next(iter(asked))}.{hint}')}$"
    with pytest.raises(TypeError, match=message):
        pipe("Paris", **asked)
    with pytest.raises(TypeError, match=message):
        pipe.read(["Paris"], **asked)
    with pytest.raises(TypeError, match=message):
        MultiTaskPipeline(model=pipe.model, tokenizer=tokenizer, **asked)


def test_a_batch_size_for_all_calls_is_checked_at_once(pipe, tokenizer):
    with pytest.raises(ValueError, match=r"^batch_size should be .* at least 1\. Found -1\.$"):
        MultiTaskPipeline(model=pipe.model, tokenizer=tokenizer, batch_size=-1)


def test_thresholds_of_other_tasks_are_left_aside(pipe):
    some = {"thresholds": {"entities": 0.8, "topic": 0.4}, "tasks": ["topic"]}
    assert pipe(TEXTS, **some) == pipe(TEXTS, thresholds=0.4, tasks=["topic"])
    with pytest.raises(ValueError, match=r"should name some of topic, entities\. Found 'moods'"):
        pipe(TEXTS, thresholds={"moods": 0.8}, tasks=["topic"])


def test_a_model_in_training_answers_without_dropout(make_model, tokenizer):
    model = make_model(head_dropout=0.9).train()
    model.encoder.eval()
    modes = [part.training for part in model.modules()]
    pipe = MultiTaskPipeline(model=model, tokenizer=tokenizer)
    assert pipe(TEXTS) == pipe(TEXTS)
    assert [part.training for part in model.modules()] == modes


# RoBERTa's positions, 514 here, begin after that of the padding, 0 here.
@pytest.mark.parametrize(("family", "limit"), [("bert", 512), ("roberta", 513)])
def test_a_tokenizer_without_a_limit_gets_the_encoders(family, limit, make_model, tokenizer):
    free, limited = copy.deepcopy(tokenizer), copy.deepcopy(tokenizer)
    free.model_max_length = 10**30
    limited.model_max_length = limit
    model, text = make_model(family).eval(), "the park in Paris " * 400
    answers = [MultiTaskPipeline(model=model, tokenizer=one)(text) for one in (free, limited)]
    assert answers[0] == answers[1]


def test_labels_that_are_no_tags_are_entities_of_one_word(make_model, tokenizer):
    parts = {"type": "token_classification", "labels": ["NOUN", "INTJ", "O"]}
    model = make_model(tasks={"parts": parts}).eval()
    model.heads["parts"].classifier.weight.data.zero_()
    model.heads["parts"].classifier.bias.data.copy_(torch.tensor([0.0, 1.0, 0.5]))
    found = MultiTaskPipeline(model=model, tokenizer=tokenizer)("the park")["entities"]["parts"]
    assert [(one["text"], one["label"]) for one in found] == [("the", "INTJ"), ("park", "INTJ")]


@pytest.mark.parametrize(
    ("found", "name"),
    [
        *((None, "NoneType"), (3, "int"), (b"Paris", "bytes"), ({"text": ""}, "dict")),
        *((UserDict(text=""), "UserDict"), (pd.DataFrame({"text": ["a", "b"]}), "DataFrame")),
    ],
)
def test_what_is_no_text_is_refused(found, name, pipe):
    for inputs, place in ((found, ""), (["Paris", found], " as input 1")):
        hint = "; give one of its columns" if name == "DataFrame" else ""
        message = rf"^The input should be a text\. Found {name}{place}{hint}\.$"
        for ask in (pipe, Predictor(pipe)):
            with pytest.raises(ValueError, match=message):
                ask(inputs)


def test_half_a_character_is_refused(pipe):
    with pytest.raises(
        ValueError, match=r"^The text should be Unicode\. Found a lone surrogate at 2"
    ):
        pipe("a \ud83d")


@pytest.fixture
def knows_words(tokenizer):
    """Labelling -> a pipeline to which a token is what its word in the vocabulary says, wherever
    it stands: `paris` begins a place, `play` a person, `##ing` goes on with a person. What comes
    before that is a person's beginning, if it can be."""

    def make(labelling: str, stride: int | None = None) -> MultiTaskPipeline:
        encoder = encoder_config("bert")
        encoder.num_hidden_layers = 0
        task = {**TASKS["entities"], "labelling": labelling}
        config = MultiTaskConfig(encoder_config=encoder, tasks={"entities": task}, stride=stride)
        model = MultiTaskModel(config).eval()
        for parameter in model.parameters():
            parameter.data.zero_()
        embeddings, classifier = model.encoder.embeddings, model.heads["entities"].classifier
        embeddings.LayerNorm.weight.data.fill_(1)
        classifier.bias.data[0] = 1  # O, where no word says more
        classifier.bias.data[[2, 4]] = -0.5  # no ties between B- and I-
        for axis, (word, label) in enumerate(
            {"paris": "B-LOC", "play": "B-PER", "##ing": "I-PER"}.items()
        ):
            token = tokenizer.convert_tokens_to_ids(word)
            embeddings.word_embeddings.weight.data[token, axis] = 1
            classifier.weight.data[task["labels"].index(label), axis] = 1
        return MultiTaskPipeline(model=model, tokenizer=tokenizer)

    return make


def test_units_of_a_task_are_words_or_tokens(knows_words):
    text = "Plays in Paris, playing xing"
    assert without_scores(knows_words("first")(text)) == [
        (0, 5, "Plays", "PER"),
        (9, 14, "Paris", "LOC"),
        (16, 23, "playing", "PER"),
    ]
    assert without_scores(knows_words("all")(text)) == [
        (0, 4, "Play", "PER"),
        (9, 14, "Paris", "LOC"),
        (16, 23, "playing", "PER"),
        (24, 28, "xing", "PER"),
    ]


def test_bytes_of_a_character_are_one_unit(finds_people, byte_tokenizer):
    pipe = finds_people(byte_tokenizer)
    pipe.model.config.tasks["entities"]["labelling"] = "all"
    assert without_scores(pipe("é€b")) == [
        (0, 1, "é", "PER"),
        (1, 2, "€", "PER"),
        (2, 3, "b", "PER"),
    ]


@pytest.fixture(scope="module")
def paragraphs() -> list[str]:
    """5,000 words, most of them the model's entities, in paragraphs that fit one window."""
    words = ["the", "in", "ab.", "x", "Paris", "Paris's", "play", "plays", "playing", "xing"]
    chosen = random.Random(0).choices(words, k=5_000)
    lines = [" ".join(chosen[start : start + 30]) for start in range(0, 5_000, 30)]
    return [*lines[:80], "", *lines[80:]]


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("labelling", ["first", "all"])
@pytest.mark.parametrize("stride", [None, 0])
def test_entities_of_a_long_text_are_those_of_its_paragraphs(
    stride, labelling, batch_size, knows_words, paragraphs, tokenizer
):
    text = "\n".join(paragraphs)
    pipe = knows_words(labelling, stride)
    starts = accumulate((len(one) + 1 for one in paragraphs[:-1]), initial=0)
    expected = [
        (start + entity["start"], start + entity["end"], entity["text"], entity["label"])
        for start, answer in zip(starts, pipe(paragraphs, batch_size=8), strict=True)
        for entity in answer["entities"]["entities"]
    ]
    assert len(expected) > 2_000

    # Windows also begin, end and take over from each other within entities.
    (tokens,) = tokenize(tokenizer, [text], stride=stride)
    assert len(tokens.windows) > 60
    inside = {(start, end) for start, end, _, _ in expected}
    for cuts in ([one.end for one in tokens.windows[:-1]], [one.last for one in tokens.windows]):
        assert any(
            start < tokens.offsets[cut][0] < end
            for cut in cuts
            if cut < len(tokens.ids)
            for start, end in inside
        )
    assert without_scores(pipe(text, batch_size=batch_size)) == expected


@pytest.mark.parametrize("prompts", [None, {"default": "the play: "}])
@pytest.mark.parametrize("stride", [None, 0, 100])
def test_long_text_is_answered_by_its_windows(stride, prompts, make_model, tokenizer):
    """A token by the window that answers for it, the sentence by the first window or all."""
    model = make_model(prompts=prompts, stride=stride, normalize=True).eval()
    model.config.tasks["entities"]["labelling"] = "all"
    prompt = prompts["default"] if prompts else ""
    (tokens,) = tokenize(tokenizer, [LONG], prompt, stride=stride)
    topics, vectors, logits = [], [], []
    for window in tokens.windows:
        with torch.no_grad():
            output = model(input_ids=torch.tensor([tokens.input_ids(window)]))
        topics.append(output.logits["topic"][0])
        vectors.append(output.sentence_embedding[0])
        shift = len(tokens.prefix) - window.start
        logits.append(output.logits["entities"][:, window.first + shift : window.last + shift])
    logits = torch.cat(logits, dim=1)
    labels, units = TASKS["entities"]["labels"], torch.ones(logits.shape[:2], dtype=torch.bool)
    best = likeliest_labels(logits, units, labels)[0].tolist()
    scores = [row[label].item() for row, label in zip(logits[0].softmax(-1), best, strict=True)]
    tags = [labels[label] for label in best]
    entities = [
        {
            "start": start,
            "end": end,
            "text": LONG[start:end],
            "label": label,
            "score": pytest.approx(sum(scores[one] for one in members) / len(members), abs=1e-5),
        }
        for start, end, label, members in tags_to_spans(tags, tokens.offsets)
    ]
    assert len(entities) > 30

    pipe = MultiTaskPipeline(model=model, tokenizer=tokenizer)
    for batch_size in (1, 4):
        for sentence_windows, topic, vector in (
            ("first", topics[0], vectors[0]),
            ("mean", torch.stack(topics).mean(0), torch.stack(vectors).mean(0)),
        ):
            model.config.sentence_windows = sentence_windows
            answer = pipe(LONG, batch_size=batch_size)
            assert answer["entities"]["entities"] == entities
            assert list(answer["labels"]["topic"]["scores"].values()) == pytest.approx(
                topic.softmax(-1).tolist(), abs=1e-5
            )
            assert answer["embedding"] == pytest.approx(
                (vector / vector.norm()).tolist(), rel=1e-4, abs=1e-5
            )


def test_only_the_windows_that_an_answer_needs_are_read(pipe):
    read = []
    pipe.model.register_forward_hook(
        lambda _, inputs, output: read.append(len(output.sentence_embedding))
    )
    answer = pipe(LONG)
    windows = sum(read)
    assert windows > 3
    read.clear()
    without = pipe(LONG, tasks=["topic", "embedding"])
    assert sum(read) == 1
    assert_same({**without, "entities": answer["entities"]}, answer)
    read.clear()
    pipe.model.config.sentence_windows = "mean"
    pipe(LONG, tasks="topic")
    assert sum(read) == windows


def test_text_of_exactly_one_window_is_read_at_once(pipe, tokenizer):
    text = "x " * 126
    output = pipe.model(**tokenizer(text, return_tensors="pt"))
    assert pipe(text)["embedding"] == output.sentence_embedding[0].tolist()
    assert pipe(text + "x")["entities"]["entities"][-1]["end"] <= 253


def test_stride_that_leaves_no_room_is_refused(pipe):
    pipe.model.config.stride = 126
    with pytest.raises(ValueError, match=r"^stride should be .* 126 tokens .* Found 126\.$"):
        pipe("Paris")


def test_multi_label_and_regression_tasks(make_model, tokenizer):
    tasks = {
        "tags": {
            "type": "sequence_classification",
            "labels": ["new", "old", "odd"],
            "problem_type": "multi_label_classification",
        },
        "stars": {
            "type": "sequence_classification",
            "labels": ["food", "service"],
            "problem_type": "regression",
        },
    }
    model = make_model(tasks=tasks).eval()
    for name, bias in (("tags", [0.0, 2.0, -2.0]), ("stars", [4.5, -1.0])):
        model.heads[name].classifier.weight.data.zero_()
        model.heads[name].classifier.bias.data = torch.tensor(bias)
    labels = MultiTaskPipeline(model=model, tokenizer=tokenizer)("Paris")["labels"]
    assert labels["tags"]["label"] == ["old"]
    assert labels["tags"]["score"] == pytest.approx([0.880797])
    assert labels["tags"]["scores"] == pytest.approx({"new": 0.5, "old": 0.880797, "odd": 0.119203})
    assert labels["stars"] == {
        "label": ["food", "service"],
        "score": [4.5, -1.0],
        "scores": {"food": 4.5, "service": -1.0},
    }


def test_probabilities_of_a_half_precision_model_sum_to_one(make_model, tokenizer):
    model = make_model(dtype=torch.bfloat16).eval()
    topic = MultiTaskPipeline(model=model, tokenizer=tokenizer)("Paris")["labels"]["topic"]
    assert sum(topic["scores"].values()) == pytest.approx(1, abs=1e-6)
