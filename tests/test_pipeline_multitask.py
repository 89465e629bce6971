"""The pipeline: text in; embedding, labels and entities with offsets in that text out."""

import copy
import json

import pytest
import torch
from conftest import TASKS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeling import MultiTaskPipeline

TEXTS = ["Paris.", "", "Anna plays in the park in Paris", "x", "the play is  in\tParis and\nRome"]
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


def test_unknown_prompt_is_refused(pipe):
    with pytest.raises(ValueError, match=r"^Unknown prompt 'query'\. This model has: \[\]\.$"):
        pipe("Paris", prompt_name="query")


@pytest.mark.parametrize("padding_side", ["right", "left"])
@pytest.mark.parametrize("batch_size", [2, 3, 5])
def test_answers_do_not_depend_on_batches(batch_size, padding_side, pipe, tokenizer):
    alone = [pipe(text) for text in TEXTS]
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = padding_side
    batched = MultiTaskPipeline(model=pipe.model, tokenizer=tokenizer)(TEXTS, batch_size=batch_size)
    assert len(batched) == 5
    for one, other in zip(alone, batched, strict=True):
        assert_same(one, other)


def test_order_is_kept_for_lists_and_generators(pipe):
    alone = [pipe(text) for text in TEXTS]
    answers = pipe(TEXTS)
    assert isinstance(answers, list)
    assert answers == alone
    stream = pipe((text for text in TEXTS), batch_size=2)
    assert not isinstance(stream, list)
    for one, other in zip(alone, stream, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("nothing", [[], (), (text for text in ())], ids=["[]", "()", "generator"])
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
    assert pipe(["Paris", "x"], tasks=["topic"], batch_size=2)[1]["entities"] == {}
    with pytest.raises(ValueError, match=r"^Unknown task 'mood'\. This model has: topic, entities"):
        pipe("Paris", tasks=["mood"])


@pytest.mark.parametrize(
    ("found", "name"), [(None, "NoneType"), (3, "int"), (b"Paris", "bytes"), ({"text": ""}, "dict")]
)
def test_what_is_no_text_is_refused(found, name, pipe):
    for inputs in (found, ["Paris", found]):
        with pytest.raises(ValueError, match=rf"^The input should be a text\. Found {name}\.$"):
            pipe(inputs)


def test_half_a_character_is_refused(pipe):
    with pytest.raises(
        ValueError, match=r"^The text should be Unicode\. Found a lone surrogate at 2"
    ):
        pipe("a \ud83d")


def test_too_long_text_is_refused(pipe):
    assert pipe("x " * 126)["entities"]["entities"][-1]["end"] <= 252
    with pytest.raises(ValueError, match=r"^The text should have at most 128 tokens\. Found 129"):
        pipe("x " * 127)


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
        "label": "food",
        "score": 4.5,
        "scores": {"food": 4.5, "service": -1.0},
    }


def test_probabilities_of_a_half_precision_model_sum_to_one(make_model, tokenizer):
    model = make_model(dtype=torch.bfloat16).eval()
    topic = MultiTaskPipeline(model=model, tokenizer=tokenizer)("Paris")["labels"]["topic"]
    assert sum(topic["scores"].values()) == pytest.approx(1, abs=1e-6)
