"""Mistakes in a config end in one line that says what, with exit code 2 and nothing written."""

import pytest
from bad_input import CLASSES, TAGS, WORDS, stopped


def test_a_run_without_mistakes_is_not_refused(refused, tmp_path, capsys):
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        refused()
    assert (tmp_path / "run" / "all_results.json").is_file()
    assert "error" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "error: No config file {path}."),
        ("a: [1\nb: }\n", "error: {path}: is not valid YAML: while parsing a flow sequence"),
        ("- a\n- b\n", "error: {path}: should hold keys and values. Found ['a', 'b']."),
        ("", "error: {path}: should hold keys and values. Found None."),
        (b"\xff\xfe\x00", "error: {path}: is not valid YAML: "),
        ("a: " + "[" * 5000, "error: {path}: is not valid YAML: found more than 20 levels"),
        ("a: &a [*a]\n", "error: {path}: should hold at most 1,000,000 values, aliases included."),
        (
            "a0: &a0 x\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 10)),
            "error: {path}: should hold at most 1,000,000 values, aliases included.",
        ),
    ],
)
def test_config_file(content, message, tmp_path, capsys):
    path = tmp_path / "my.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = sorted(tmp_path.iterdir())
    assert stopped(str(path), capsys=capsys).startswith(message.format(path=path))
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_is_no_config(tmp_path, capsys):
    line = stopped(str(tmp_path), capsys=capsys)
    assert f"{tmp_path} is a folder: name the config, like {tmp_path}/config.yaml." in line


def test_the_run_folder_is_no_file_and_in_none(tmp_path, capsys):
    (tmp_path / "a").write_text("")
    (tmp_path / "my.yaml").write_text(
        "encoder: x\ntasks: {topic: {type: sequence_classification}}\n"
    )
    for folder in (tmp_path / "a", tmp_path / "a" / "b" / "c"):
        line = stopped(str(tmp_path / "my.yaml"), "--output_dir", str(folder), capsys=capsys)
        assert f"output_dir should be a folder. Found the file {tmp_path / 'a'}." in line


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"learning_rat": 1}, "Unknown key learning_rat. Did you mean learning_rate?"),
        ({"learning_rate": "fast"}, "invalid float value: 'fast'"),
        ({"seed": [1, 2]}, "seed should be one value. Found [1, 2]."),
        ({"eval_strategy": "sometimes"}, "sometimes is not a valid IntervalStrategy"),
        ({"eval_strategy": "steps", "save_strategy": "epoch", "load_best_model_at_end": True},
         "requires the save and eval strategy to match"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size should be at least 1"),
        ({"pooling": "men"}, "pooling should be one of cls, mean, max. Found 'men'."),
        ({"head_dropout": 1.5}, "`head_dropout` should be in [0, 1). Found 1.5."),
        ({"max_length": 1}, "max_length should be more than the 2 special and prompt tokens. "),
        ({"max_length": 0}, "max_length should be more than the 2 special and prompt tokens. "),
        ({"max_length": 129}, "max_length should be at most 128, the limit of "),
        ({"max_length": 12, "stride": 10},
         "stride should be at least 0 and less than the 10 tokens of text that a window of "
         "max_length 12 has room for. Found 10."),
        ({"stride": -1}, "stride should be a number from 0 to 4,294,967,295. Found -1."),
        ({"max_length": "long"}, "argument --max_length/--max-length: invalid int value: 'long'"),
        ({"train_size": 0}, "train_size should be at least 1. Found 0."),
        ({"tasks": None}, "`tasks` should map names to tasks. Found None."),
        ({"tasks": ["topic"]}, "`tasks` should map names to tasks. Found ['topic']."),
        ({"tasks": {"topic": "ner"}},
         "tasks.topic should be a mapping with a `type`. Found 'ner'."),
        (
            {"tasks": {"topic": {"type": "sequence_clasification"}}},
            "tasks.topic.type should be one of sequence_classification, token_classification, "
            "sentence_embedding. Found 'sequence_clasification'.",
        ),
        (
            {"tasks": {"topic": {**CLASSES["topic"], "problem_type": "multilabel"}}},
            "tasks.topic.problem_type should be one of single_label_classification, ",
        ),
        (
            {"tasks": {"slots": {**TAGS["slots"], "problem_type": "regression"}},
             "train_file": WORDS, "validation_file": WORDS},
            "`problem_type` of the token_classification task 'slots' should be "
            "single_label_classification. Found 'regression'.",
        ),
        (
            {"tasks": {"topic": {**CLASSES["topic"], "lables": ["x"]}}},
            "Unknown key tasks.topic.lables. Did you mean tasks.topic.labels?",
        ),
        (
            {"tasks": {"topic": {**CLASSES["topic"], "weight": -1}}},
            "`weight` of task 'topic' should be at least 0. Found -1.0.",
        ),
        (
            {"tasks": {"topic": {**CLASSES["topic"], "labels": ["x", "x"]}}},
            "`labels` of task 'topic' should be a list of at least 2 different texts.",
        ),
        (
            {"tasks": {"my topic": {**CLASSES["topic"], "column": "topic"}}},
            "A task's name should be a letter followed by letters, digits and underscores. "
            "Found 'my topic'.",
        ),
        (
            {"tasks": {7: {**CLASSES["topic"], "column": "topic"}}},
            "A task's name should be a letter followed by letters, digits and underscores. "
            "Found '7'.",
        ),
        (
            {"tasks": {"keys": {**CLASSES["topic"], "column": "topic"}}},
            "A task can't be named 'keys': torch.nn.ModuleDict uses that name.",
        ),
        (
            {"tasks": {"text": {**CLASSES["topic"], "column": "topic"}}},
            "A task can't be named 'text': rows have a column of that name.",
        ),
        (
            {"tasks": {**CLASSES, "topic_score": {**CLASSES["topic"], "column": "topic"}}},
            "should have different names. Found 'topic_score' twice in file, index, text, topic,",
        ),
        ({"resume_from_checkpoint": "no/checkpoint"}, "No checkpoint no/checkpoint."),
        ({"max_steps": 0}, "max_steps should be above 0, or -1 for num_train_epochs. Found 0."),
        ({"eval_do_concat_batches": False}, "eval_do_concat_batches should be True. Found False."),
        ({"report_to": "nothing"}, "report_to ['nothing']: nothing is not supported, only "),
        ({"optim": "adamw_torch_4bit"}, "optim "),
        ({"optim": "adamw_torch", "optim_args": "fast"}, "optim "),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_type "),
        ({"lr_scheduler_kwargs": {"speed": 1}}, "got an unexpected keyword argument 'speed'"),
        ({"accelerator_config": {"speed": 1}}, "got an unexpected keyword argument 'speed'"),
    ],
)  # fmt: skip
def test_config(config, message, refused):
    assert message in refused(**config)


def test_words_of_the_command_line(refused):
    assert refused("--learning_rate", "abc").endswith("invalid float value: 'abc'")
    assert refused("seed", "1") == "error: Expected a key like --seed. Found 'seed'."


# What only shows at the end must not cost a training


def test_prediction_needs_its_file(refused):
    assert "predict_file" in refused(do_predict=True)
    assert "No file none.jsonl" in refused(do_predict=True, predict_file="none.jsonl")


def test_an_unknown_metric_costs_no_training(refused):
    line = refused(metric_for_best_model="topic_acuracy")
    assert "topic_accuracy" in line
    assert "'topic_acuracy'" in line


def test_a_score_of_no_task_costs_no_training(refused):
    line = refused(tasks={"topic": {**CLASSES["topic"], "score_weight": 0}})
    assert "have no label of a task that counts in the score" in line
    assert "set metric_for_best_model to one of exact_match, loss, loss_topic, " in line
    line = refused(metric_for_best_model="scores")
    assert "metric_for_best_model should be one of score, exact_match, loss, loss_topic, " in line
    assert "Found 'scores'." in line


def test_a_folder_that_does_not_exist_is_not_looked_for_on_the_hub(refused, tmp_path, monkeypatch):
    def asked(*args, **kwargs):
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr("huggingface_hub.file_download.get_hf_file_metadata", asked)
    (tmp_path / "finished").mkdir()
    (tmp_path / "finished" / "config.json").write_text("{}")
    missing = str(tmp_path / "finishd")
    for key in ("model", "encoder"):
        line = refused(**{key: missing})
        assert f"There is no folder {missing!r}. Beside it: finished." in line


def test_the_run_folder_must_not_be_a_file(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refused(output_dir=str(tmp_path / "file"))


def test_training_needs_a_task_with_labels(refused):
    assert "sentence_embedding" in refused(tasks={"vector": {"type": "sentence_embedding"}})
