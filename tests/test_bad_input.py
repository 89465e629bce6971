"""What a user gets wrong ends in one line that says what, with exit code 2 and nothing written."""

import json
import shutil

import pytest
import yaml

import run_multitask

CLASSES = {"topic": {"type": "sequence_classification"}}
MULTI = {"topic": {**CLASSES["topic"], "problem_type": "multi_label_classification"}}
REGRESSION = {"topic": {**CLASSES["topic"], "problem_type": "regression"}}
TAGS = {"slots": {"type": "token_classification"}}
TEXTS = [{"text": "a b", "topic": "x"}, {"text": "c d", "topic": "y"}]
WORDS = [{"tokens": ["a", "b"], "slots": ["O", "B-LOC"]}]
SPANS = [{"text": "a b", "slots": [{"start": 0, "end": 1, "label": "LOC"}]}]


def span(start, end, label="LOC") -> dict:
    return {"start": start, "end": end, "label": label}


def spans(*found, text="a b c") -> list[dict]:
    return [{"text": text, "slots": list(found)}]


@pytest.fixture
def refused(tmp_path, backbone, capsys):
    """Runs what it is given, and returns the one error line.

    Keys that end in `_file` may hold rows, a text or bytes instead of a file's name.
    """

    def refused(*argv: str, **config) -> str:
        config = {
            "encoder": str(backbone("bert")),
            "train_file": TEXTS,
            "validation_file": TEXTS,
            "output_dir": str(tmp_path / "run"),
            "tasks": CLASSES,
            "num_train_epochs": 1,
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            **config,
        }
        for key, rows in config.items():
            if key.endswith("_file") and not isinstance(rows, str | None):
                path = tmp_path / key.replace("_file", ".jsonl")
                if isinstance(rows, list):
                    rows = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
                path.write_bytes(rows)
                config[key] = str(path)
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        return stopped(str(path), *argv)

    def stopped(*argv: str) -> str:
        capsys.readouterr()
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as raised:
            run_multitask.main(list(argv))
        assert raised.value.code == 2
        assert sorted(tmp_path.rglob("*")) == before
        lines = capsys.readouterr().err.splitlines()
        assert not any("Traceback" in line for line in lines)
        (line,) = (line for line in lines if line.startswith("error: "))
        return line

    refused.stopped = stopped
    return refused


@pytest.fixture
def finished(make_model, tokenizer, tmp_path):
    """The folder of a finished model."""
    folder = tmp_path / "finished"
    make_model(tasks={"topic": {**CLASSES["topic"], "labels": ["x", "y"]}}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def encoder(backbone, tmp_path):
    """A folder of an encoder to break."""
    return shutil.copytree(backbone("bert"), tmp_path / "encoder")


def test_a_run_without_mistakes_is_not_refused(refused, tmp_path, capsys):
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        refused(per_device_train_batch_size=2, save_strategy="no", load_best_model_at_end=False)
    assert (tmp_path / "run" / "all_results.json").is_file()
    assert "error" not in capsys.readouterr().err


# The config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "error: No config file {path}."),
        ("a: [1\nb: }\n", "error: {path}: is no YAML: while parsing a flow sequence"),
        ("- a\n- b\n", "error: {path}: should hold keys and values. Found ['a', 'b']."),
        ("", "error: {path}: should hold keys and values. Found None."),
        (b"\xff\xfe\x00", "error: {path}: is no YAML: "),
    ],
)
def test_config_file(content, message, refused, tmp_path):
    path = tmp_path / "my.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refused.stopped(str(path)).startswith(message.format(path=path))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"learning_rat": 1}, "Unknown key learning_rat. Did you mean learning_rate?"),
        ({"learning_rate": "fast"}, "invalid float value: 'fast'"),
        ({"seed": [1, 2]}, "seed should be one value. Found [1, 2]."),
        ({"eval_strategy": "sometimes"}, "sometimes is not a valid IntervalStrategy"),
        ({"eval_strategy": "steps"}, "requires the save and eval strategy to match"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size should be at least 1"),
        ({"pooling": "men"}, "pooling should be one of cls, mean, max. Found 'men'."),
        ({"head_dropout": 1.5}, "`head_dropout` should be in [0, 1). Found 1.5."),
        ({"max_length": 1}, "max_length should be more than the 2 special tokens. Found 1."),
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
        ({"resume_from_checkpoint": "no/checkpoint"}, "No checkpoint no/checkpoint."),
    ],
)  # fmt: skip
def test_config(config, message, refused):
    assert message in refused(**config)


def test_words_of_the_command_line(refused):
    assert refused("--learning_rate", "abc").endswith("invalid float value: 'abc'")
    assert refused("seed", "1") == "error: Expected a key like --seed. Found 'seed'."


# The data


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"train_file": "none.jsonl"}, "No file none.jsonl (train split)."),
        ({"train_file": "none.jsonl", "data_dir": "a"}, "No file a/none.jsonl (train split)."),
        ({"train_file": None}, "There is no train data."),
        ({"validation_file": None}, "There is no validation data."),
        ({"dataset": "no/such", "train_file": None, "validation_file": None},
         "Can't load data set 'no/such': "),
        ({"dataset": "synthetic", "train_file": None, "validation_file": None},
         "`synthetic` needs train_size: how many rows to make."),
        ({"dataset": "synthetic"}, "Set `dataset` or files, not both. Found 'synthetic' and "),
        ({"train_file": b""}, "train.jsonl: has no rows."),
        ({"train_file": b"\n \n"}, "train.jsonl: has no rows."),
        ({"train_file": b'{"text": "a", "topic": "x"}\n{"text": \n'},
         "train.jsonl: can't be read: line 2 is no JSON: Expecting value at character "),
        ({"train_file": b"text,topic\n"}, "train.jsonl: can't be read: line 1 is no JSON: "),
        ({"train_file": b"1\n2\n"}, "train.jsonl: can't be read: line 1 should be a JSON object."),
        ({"train_file": b'{"text": "\xff", "topic": "x"}\n'}, "train.jsonl"),
        ({"tasks": {"topic": {**CLASSES["topic"], "column": "tpic"}}},
         "train.jsonl: has no column 'tpic'. Found: text, topic."),
        ({"text_column": "sentence"}, "train.jsonl: has no column 'sentence'. Found: text, topic."),
        ({"validation_file": [{"text": "a"}]},
         "validation.jsonl: has no column 'topic'. Found: text."),
        ({"train_file": [*TEXTS, {"text": " ", "topic": "x"}]},
         "train.jsonl, row 3: 'text' should be a text. Found ' '."),
        ({"train_file": [*TEXTS, {"topic": "x"}]},
         "train.jsonl, row 3: 'text' should be a text. Found None."),
        ({"train_file": [*TEXTS, {"text": 7, "topic": "x"}]},
         "train.jsonl, row 3: 'text' should be a text. Found 7."),
        ({"train_file": [{"text": "a " * 127, "topic": "x"}]},
         "`labels` of task 'topic' should be a list of at least 2 different texts. Found ['x']."),
        ({"train_file": [*TEXTS, {"text": "a " * 127, "topic": "x"}]},
         "train.jsonl, row 3: has 129 tokens, the encoder takes 128. Set max_length"),
        ({"validation_file": [{"text": "a", "topic": "z"}]},
         "validation.jsonl, row 1, task 'topic': unknown label 'z'. Expected one seen in training "
         "or given as `labels`: x, y."),
        ({"train_file": [{"text": "a", "topic": None}]},
         "No row of the training data has a label of task 'topic'."),
        ({"train_file": [{"text": "a", "topic": ["x", "y"]}]},
         "train.jsonl, row 1: 'topic' should be one label. Found ['x', 'y']."),
        ({"train_file": [{"text": "a", "topic": {"x": 1}}]},
         "train.jsonl, row 1: 'topic' should be one label. Found {'x': 1}."),
        ({"tasks": MULTI, "train_file": [{"text": "a", "topic": 3}]},
         "train.jsonl, row 1: 'topic' should be a list of labels. Found 3."),
        ({"tasks": MULTI, "train_file": [{"text": "a", "topic": ["x", None]}]},
         "train.jsonl, row 1: 'topic' should be a list of labels. Found ['x', None]."),
        ({"tasks": REGRESSION}, "train.jsonl, row 1: 'topic' should be a number. Found 'x'."),
        ({"tasks": REGRESSION, "train_file": [{"text": "a", "topic": [1, 2]}],
          "validation_file": [{"text": "a", "topic": 1}]},
         "train.jsonl, row 1, task 'topic': should have 1 numbers (topic). Found [1.0, 2.0]."),
    ],
)  # fmt: skip
def test_data(config, message, refused):
    assert message in refused(**config)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*WORDS, {"tokens": ["a", "b"], "slots": ["O"]}],
         "row 2: 'slots' should have one tag for each of the 2 words. Found 1."),
        ([{"tokens": ["a"], "slots": ["LOC"]}],
         "row 1: 'slots' should have tags `O`, `B-...` and `I-...`. Found 'LOC'."),
        ([{"tokens": ["a"], "slots": ["B-"]}],
         "row 1: 'slots' should have tags `O`, `B-...` and `I-...`. Found 'B-'."),
        ([{"tokens": ["a"], "slots": [1]}],
         "row 1: 'slots' should have tags `O`, `B-...` and `I-...`. Found 1."),
        ([{"tokens": ["a"], "slots": ["O"]}],
         "No row of the training data has a label of task 'slots'."),
        ([{"tokens": [], "slots": []}],
         "row 1: 'tokens' should have at least one word. Found []."),
        ([*WORDS, {"tokens": ["a", ""], "slots": ["O", "O"]}],
         "row 2: 'tokens' should have no empty word. Found ['a', '']."),
        ([{"tokens": [1, 2], "slots": ["O", "O"]}],
         "row 1: 'tokens' should be a list of words. Found [1, 2]."),
        (spans(span(0, 9)),
         "row 1: 'slots' should have named spans within the text's 5 characters. Found "
         "{'start': 0, 'end': 9, 'label': 'LOC'}."),
        (spans(span(-1, 1)), "row 1: 'slots' should have named spans within the text's 5 char"),
        (spans(span(2, 2)), "row 1: 'slots' should have named spans within the text's 5 char"),
        (spans(span(0, 1, "")), "row 1: 'slots' should have named spans within the text's"),
        (spans(span(0, 3), span(2, 5)),
         "row 1: 'slots' should have spans that do not overlap. Found {'start': 0, 'end': 3, "),
        (spans(span(0.5, 1)), "row 1: 'slots' should have whole numbers for start and end. Found"),
        (spans({"start": 0, "label": "LOC"}),
         "row 1: 'slots' should have spans of start, end and label. Found {'start': 0, "),
        (spans("LOC"), "row 1: 'slots' should have spans of start, end and label. Found 'LOC'."),
        ([{"text": "a", "slots": "[{"}], "row 1: 'slots' should be JSON ("),
        ([{"text": "a", "slots": 3}], "row 1: 'slots' should be a list of spans. Found 3."),
    ],
)  # fmt: skip
def test_token_labels(rows, message, refused):
    line = refused(train_file=rows, validation_file=rows, tasks=TAGS)
    assert message in line
    if message.startswith("row"):
        assert "/train.jsonl, row" in line


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (WORDS, [*WORDS, {"tokens": ["a"], "slots": ["I-PER"]}]),
        (SPANS, [*SPANS, *spans(span(0, 1, "PER"))]),
    ],
)
def test_a_type_unseen_in_training(train, validation, refused):
    line = refused(train_file=train, validation_file=validation, tasks=TAGS)
    assert "/validation.jsonl, row 2, task 'slots': unknown label '" in line
    assert "-PER'. Expected one seen in training or given as `labels`: O, B-LOC, I-LOC." in line


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "txt,topic\na,x\n", "t.csv: has no column 'text'. Found: txt, topic."),
        ("t.csv", "", "t.csv: has no rows."),
        ("t.csv", "text,topic\n", "t.csv: has no rows."),
        ("t.csv", "text,topic\na,x\nb,y,z\n",
         "t.csv: can't be read: line 3 should have 2 fields. Found 3."),
        ("t.csv", 'text,topic\n"a,x\n', "t.csv: can't be read: unexpected end of data"),
        ("t.csv", "text,text\na,x\n",
         "t.csv: can't be read: the columns should have different names."),
        ("t.tsv", "text,topic\na,x\n", "t.tsv: has no column 'text'. Found: text,topic."),
        ("t.json", "[]", "t.json: has no rows."),
        ("t.json", '[{"text": "a"', "t.json: can't be read: "),
        ("t.parquet", "no parquet", "t.parquet: can't be read: "),
        ("t.txt", "a", "t.txt: a data file should end in one of .jsonl, .json, .csv, .tsv, "),
    ],
)  # fmt: skip
def test_other_files(name, content, message, refused, tmp_path):
    (tmp_path / name).write_text(content)
    assert f"error: {tmp_path}/{message}" in refused(train_file=str(tmp_path / name))


# The model


@pytest.mark.parametrize("name", ["no/such", "/no/such/folder", "nosuch"])
def test_unknown_encoder(name, refused):
    assert f"encoder {name!r}" in refused(encoder=name)


def test_a_backbone_that_is_not_there_names_the_script(refused):
    line = refused(encoder="backbones/nosuch")
    assert "backbones/nosuch" in line
    assert "scripts/get_backbone.py" in line


@pytest.mark.parametrize("name", ["no/such", "/no/such/folder"])
def test_unknown_model(name, refused):
    assert repr(name) in refused(model=name)


def test_a_finished_model_is_no_encoder(finished, refused):
    assert "is a finished multi-task model" in refused(encoder=str(finished))


def test_an_encoder_is_no_finished_model(encoder, refused):
    assert "should be multitask. Found 'bert'" in refused(model=str(encoder))


@pytest.mark.parametrize("size", [0, 1000, -100])
def test_truncated_weights(size, encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:size])
        line = refused(**{key: str(folder)})
        assert f"The weights of {key} {str(folder)!r} can't be read: " in line


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_missing_files_of_the_model(file, encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        (folder / file).unlink()
        assert str(folder) in refused(**{key: str(folder)})


def test_missing_weights_of_an_encoder_are_named(encoder, refused):
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    assert "lacks the weights encoder.layer.2." in refused(encoder=str(encoder))


def test_missing_weights_of_a_model_are_named(finished, refused):
    config = json.loads((finished / "config.json").read_text())
    config["encoder_config"]["num_hidden_layers"] = 3
    (finished / "config.json").write_text(json.dumps(config))
    assert f"{finished}: its weights lack encoder.encoder.layer.2." in refused(model=str(finished))


@pytest.mark.parametrize("content", ["{", "{}", '{"model_type": "nosuch"}'])
def test_corrupt_config_of_the_model(content, encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        (folder / "config.json").write_text(content)
        assert str(folder) in refused(**{key: str(folder)})


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"version": "1.0", "model": {}}'])
def test_corrupt_tokenizer(content, encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        (folder / "tokenizer.json").write_text(content)
        assert str(folder) in refused(**{key: str(folder)})


def test_missing_tokenizer(encoder, refused):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (encoder / file).unlink()
    assert str(encoder) in refused(encoder=str(encoder))


def test_labels_of_a_finished_model_are_kept(finished, refused):
    line = refused(model=str(finished), train_file=[{"text": "a", "topic": "z"}])
    assert "task 'topic': unknown label 'z'. Expected one seen in training or given as" in line


# What only shows at the end must not cost a training


def test_prediction_needs_its_file(refused):
    assert "predict_file" in refused(do_predict=True)
    assert "No file none.jsonl" in refused(do_predict=True, predict_file="none.jsonl")


def test_an_unknown_metric_costs_no_training(refused):
    line = refused(metric_for_best_model="topic_acuracy")
    assert "topic_accuracy" in line
    assert "'topic_acuracy'" in line


def test_the_run_folder_must_not_be_a_file(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refused(output_dir=str(tmp_path / "file"))


def test_training_needs_a_task_with_labels(refused):
    assert "sentence_embedding" in refused(tasks={"vector": {"type": "sentence_embedding"}})
