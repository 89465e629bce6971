"""The config: what it fills in, and what it refuses."""

import math

import pytest
from conftest import TASKS, encoder_config

from multitask_encoder.modeling import MultiTaskConfig

KIND = {"type": "sequence_classification", "labels": ["a", "b"]}
SIZE = {**KIND, "labels": ["a"], "problem_type": "regression"}


def test_defaults_are_filled_in():
    config = MultiTaskConfig(tasks={"kind": KIND, "vector": {"type": "sentence_embedding"}})
    weights = {"weight": 1.0, "score_weight": 1.0}
    assert config.tasks == {
        "kind": {**KIND, **weights, "problem_type": "single_label_classification"},
        "vector": {"type": "sentence_embedding", **weights, "loss": "retention"},
    }
    assert (config.pooling, config.normalize, config.prompts) == ("mean", False, None)


def test_class_weights_are_of_all_labels_in_order(tmp_path):
    tasks = {"kind": {**KIND, "labels": ["b", "a"], "class_weights": {"a": 2}}}
    MultiTaskConfig(tasks=tasks).save_pretrained(tmp_path)
    weights = MultiTaskConfig.from_pretrained(tmp_path).tasks["kind"]["class_weights"]
    assert list(weights.items()) == [("b", 1.0), ("a", 2.0)]


def test_round_trip_keeps_everything_in_order(tmp_path):
    config = MultiTaskConfig(
        encoder_config=encoder_config("distilbert"),
        pooling="cls",
        normalize=True,
        prompts={"default": "query: "},
        tasks=TASKS,
        task_name="topic",
    )
    config.save_pretrained(tmp_path)
    loaded = MultiTaskConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert list(loaded.tasks) == list(TASKS)
    assert loaded.encoder_config.model_type == "distilbert"
    assert loaded.hidden_size == 16
    assert loaded.get_text_config() is loaded.encoder_config


def test_nested_config_asks_for_no_code():
    nested = {
        "model_type": "bert",
        "trust_remote_code": True,
        "auto_map": {"AutoModel": "evil.Evil"},
    }
    config = MultiTaskConfig(encoder_config=nested)
    assert not hasattr(config.encoder_config, "trust_remote_code")
    assert not hasattr(config.encoder_config, "auto_map")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pooling": "last"}, "pooling should be one of cls, mean, max. Found 'last'."),
        ({"head_dropout": 1.0}, "`head_dropout` should be in [0, 1). Found 1.0."),
        ({"task_name": "topic"}, "`task_name` should be one of kind. Found 'topic'."),
        ({"prompts": {"query": 3}}, "Prompt 'query' should be a text. Found 3."),
        (
            {"tasks": {"2nd": KIND}},
            "should be a letter followed by letters, digits and underscores",
        ),
        ({"tasks": {"a.b": KIND}}, "Found 'a.b'."),
        ({"tasks": {"keys": KIND}}, "A task can't be named 'keys'"),
        ({"tasks": {"kind": "topic"}}, "Task 'kind' should be a mapping with the key `type`."),
        (
            {"tasks": {"kind": {**KIND, "type": "pos"}}},
            "`type` of task 'kind' should be one of sequence_classification, token_classification, "
            "sentence_embedding. Found 'pos'.",
        ),
        ({"tasks": {"kind": {**KIND, "lables": []}}}, "Found 'lables'."),
        ({"tasks": {"kind": {**KIND, "labels": ["a"]}}}, "a list of at least 2 different texts"),
        ({"tasks": {"kind": {**KIND, "labels": ["a", "a"]}}}, "Found ['a', 'a']."),
        (
            {"tasks": {"kind": {**KIND, "labels": [1, 2]}}},
            "`labels` of task 'kind' should be texts.",
        ),
        (
            {"tasks": {"kind": {**KIND, "weight": -1}}},
            "`weight` of task 'kind' should be at least 0.",
        ),
        (
            {"tasks": {"kind": {**KIND, "score_weight": True}}},
            "`score_weight` of task 'kind' should be at least 0. Found True.",
        ),
        (
            {"tasks": {"kind": {**KIND, "class_weights": {"c": 2}}}},
            "A label in `class_weights` of task 'kind' should be one of a, b. Found 'c'.",
        ),
        (
            {"tasks": {"kind": {**KIND, "class_weights": {"a": 0}}}},
            "`class_weights` of task 'kind' should be above 0, and finite. Found 0 for 'a'.",
        ),
        (
            {"tasks": {"kind": {**KIND, "class_weights": {"a": math.inf}}}},
            "`class_weights` of task 'kind' should be above 0, and finite. Found inf for 'a'.",
        ),
        (
            {"tasks": {"kind": {**KIND, "class_weights": "balanced"}}},
            "`class_weights` of task 'kind' should map labels to numbers. Found 'balanced'.",
        ),
        (
            {"tasks": {"kind": {**SIZE, "class_weights": {"a": 2}}}},
            "`class_weights` of task 'kind' is for labels. Found a regression task.",
        ),
        (
            {"tasks": {"kind": {"type": "sentence_embedding", "class_weights": {"a": 2}}}},
            "`class_weights` of task 'kind' is for labels. Found a sentence_embedding task.",
        ),
        (
            {"tasks": {"kind": {**KIND, "standardization": {"a": {"mean": 0, "std": 1}}}}},
            "`standardization` of task 'kind' is for a regression. Found single_label",
        ),
        (
            {"tasks": {"kind": {**SIZE, "standardization": [1, 2]}}},
            "`standardization` of task 'kind' should be a mapping. Found [1, 2].",
        ),
        (
            {"tasks": {"kind": {**SIZE, "standardization": {"b": {"mean": 0, "std": 1}}}}},
            "A label in `standardization` of task 'kind' should be one of a. Found 'b'.",
        ),
        *(
            (
                {"tasks": {"kind": {**SIZE, "standardization": {"a": found}}}},
                "`standardization` of task 'kind' should give a finite mean and a std above 0. "
                f"Found {found!r} for 'a'.",
            )
            for found in (
                *({"mean": 0, "std": 0}, {"mean": math.nan, "std": 1}, {"mean": 0}, 2.0),
                {"mean": 0, "std": 1, "unit": "m"},
            )
        ),
        (
            {"tasks": {"kind": {**KIND, "problem_type": "ranking"}}},
            "`problem_type` of task 'kind' should be one of single_label_classification",
        ),
        (
            {
                "tasks": {
                    "kind": {**KIND, "type": "token_classification", "problem_type": "regression"}
                }
            },
            "of the token_classification task 'kind' should be single_label_classification",
        ),
    ],
)
def test_what_is_not_allowed_is_named(fields, message):
    with pytest.raises(ValueError) as error:
        MultiTaskConfig(**{"tasks": {"kind": KIND}, **fields})
    assert message in str(error.value)


def test_config_of_another_model_is_refused():
    with pytest.raises(ValueError, match=r"should be multitask\. Found 'bert'"):
        MultiTaskConfig.from_dict({"model_type": "bert"})
