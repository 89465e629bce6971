"""What a user gets wrong ends in one line that says what, with exit code 2 and nothing written."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import ClassLabel, Features, Value

from multitask_encoder.cli import run as run_multitask

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


def words(*tags) -> list[dict]:
    return [{"tokens": ["a"] * len(tags), "slots": list(tags)}]


def lines(rows: list) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def write(path: Path, content) -> None:
    """A text, bytes, rows (as JSON lines), a table, or a folder of such."""
    if isinstance(content, dict):
        path.mkdir()
        for name, inner in content.items():
            write(path / name, inner)
    elif isinstance(content, pa.Table) and path.suffix == ".parquet":
        pq.write_table(content, path)
    elif isinstance(content, pa.Table):
        with pa.ipc.new_file(str(path), content.schema) as file:
            file.write_table(content)
    else:
        text = lines(content) if isinstance(content, list) else content
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def configured(tmp_path, backbone):
    """Writes a config and returns its path.

    Keys that end in `_file` may hold rows or bytes instead of names of files.
    """

    def files(config: dict, prefix: str = "") -> dict:
        config = dict(config)
        for key, content in config.items():
            is_rows = isinstance(content, list) and isinstance(content[0], dict)
            if key.endswith("_file") and (is_rows or isinstance(content, bytes)):
                path = tmp_path / f"{prefix}{key.removesuffix('_file')}.jsonl"
                write(path, content)
                config[key] = str(path)
        return config

    def configured(**config) -> str:
        common = {
            "encoder": str(backbone("bert")),
            "output_dir": str(tmp_path / "run"),
            "tasks": CLASSES,
            "num_train_epochs": 1,
            "per_device_train_batch_size": 2,
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "report": False,
            "save_strategy": "no",
            "load_best_model_at_end": False,
        }
        if "datasets" not in config:
            common |= {"train_file": TEXTS, "validation_file": TEXTS}
        config = files({**common, **config})
        if isinstance(config.get("datasets"), dict):
            config["datasets"] = {
                name: files(source, f"{name}_") if isinstance(source, dict) else source
                for name, source in config["datasets"].items()
            }
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return str(path)

    return configured


@pytest.fixture
def refused(tmp_path, configured, capsys):
    """Runs a config that is refused, and returns what the user is told: one line, if not several
    rows are bad."""

    def refused(*argv: str, **config) -> str:
        return stopped(configured(**config), *argv)

    def stopped(*argv: str) -> str:
        capsys.readouterr()
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as raised:
            run_multitask.main(list(argv))
        assert raised.value.code == 2
        assert sorted(tmp_path.rglob("*")) == before
        told = capsys.readouterr().err
        assert "Traceback" not in told
        (message,) = told.split("error: ")[1:]
        assert "\n" not in message.strip() or message.split(maxsplit=1)[1].startswith("rows are")
        return f"error: {message.strip()}"

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
        refused()
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
        ({"eval_strategy": "steps", "save_strategy": "epoch", "load_best_model_at_end": True},
         "requires the save and eval strategy to match"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size should be at least 1"),
        ({"pooling": "men"}, "pooling should be one of cls, mean, max. Found 'men'."),
        ({"head_dropout": 1.5}, "`head_dropout` should be in [0, 1). Found 1.5."),
        ({"max_length": 1}, "max_length should be more than the 2 special tokens and tokens of "),
        ({"max_length": 0}, "max_length should be more than the 2 special tokens and tokens of "),
        ({"max_length": 129}, "max_length should be at most 128, which is what "),
        ({"max_length": 12, "stride": 10},
         "stride should be at least 0 and less than the 10 tokens of text that a window of "
         "max_length 12 has room for. Found 10."),
        ({"stride": -1}, "`stride` should be at least 0. Found -1."),
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
        ({"train_file": "none.jsonl"}, "No file none.jsonl."),
        ({"train_file": "none.jsonl", "data_dir": "a"}, "No file a/none.jsonl."),
        ({"train_file": ["no/*.jsonl"]}, "No file no/*.jsonl."),
        ({"validation_file": "none.jsonl"}, "No file none.jsonl."),
        ({"train_file": None}, "There is no train data."),
        ({"validation_file": None}, "There is no validation data."),
        ({"dataset": "no/such", "train_file": None, "validation_file": None},
         "Can't load data set 'no/such': "),
        ({"dataset": "synthetic", "train_file": None, "validation_file": None},
         "`synthetic` needs train_size: how many rows to make."),
        ({"dataset": "synthetic"}, "Set `dataset` or files, not both. Found 'synthetic' and "),
        ({"tasks": {"topic": {**CLASSES["topic"], "column": "tpic"}}},
         "train.jsonl: has no column 'tpic'. Found: text, topic."),
        ({"text_column": "sentence"}, "train.jsonl: has no column 'sentence'. Found: text, topic."),
        ({"tokens_column": "words"}, "train.jsonl: has no column 'words'. Found: text, topic."),
        ({"validation_file": [{"text": "a"}]},
         "validation.jsonl: has no column 'topic'. Found: text."),
        ({"train_file": [{"text": "a " * 127, "topic": "x"}]},
         "`labels` of task 'topic' should be a list of at least 2 different texts. Found ['x']."),
        ({"train_file": [*TEXTS, {"text": "a " * 127, "topic": "x"}], "long_texts": "refuse"},
         "train.jsonl, line 3: should have at most 128 tokens. Found 129; `long_texts: window` "),
        ({"validation_file": [{"text": "a", "topic": "z"}]},
         "validation.jsonl, line 1: task 'topic': unknown label 'z'. Expected one seen in training "
         "or given as `labels`: x, y."),
        ({"train_file": [{"text": "a", "topic": None}]},
         "No row of the training data has a label of task 'topic'."),
        ({"validation_fraction": 0.5},
         "validation_fraction cuts a missing split off the rows. Found a validation split."),
        ({"validation_fraction": 1.5, "validation_file": None},
         "validation_fraction should be in (0, 1). Found 1.5."),
        ({"test_fraction": 0}, "test_fraction should be in (0, 1). Found 0.0."),
        ({"test_fraction": "nan"}, "test_fraction should be in (0, 1). Found nan."),
        ({"validation_fraction": 0.6, "test_fraction": 0.4, "validation_file": None},
         "validation_fraction and test_fraction should leave rows to train on. Found 1.0 "
         "together."),
        ({"test_fraction": 0.1},
         "0.1 of 2 training rows is none; give more, or a file."),
    ],
)  # fmt: skip
def test_data(config, message, refused):
    assert message in refused(**config)


@pytest.mark.parametrize(
    ("tasks", "row", "message"),
    [
        (CLASSES, {"text": " ", "topic": "x"}, "'text' should be a text. Found ' '."),
        (CLASSES, {"topic": "x"}, "has no 'text'. Found: topic."),
        (CLASSES, {"text": None, "topic": "x"}, "'text' should be a text. Found None."),
        (CLASSES, {"text": 7, "topic": "x"}, "'text' should be a text. Found 7."),
        (CLASSES, {"text": ["a"], "topic": "x"}, "'text' should be a text. Found ['a']."),
        (CLASSES, {"text": "a\ud800", "topic": "x"},
         "should be Unicode text. Found half of a surrogate pair: {'text': 'a\\ud800', "),
        (CLASSES, {"text": "a", "topic": "\udc80"},
         "should be Unicode text. Found half of a surrogate pair: {'text': 'a', "),
        (CLASSES, {"text": "a", "topic": ["x", "y"]},
         "'topic' should be one label. Found ['x', 'y']."),
        (CLASSES, {"text": "a", "topic": {"x": 1}}, "'topic' should be one label. Found {'x': 1}."),
        (CLASSES, {"text": "a", "topic": float("nan")}, "'topic' should be one label. Found nan."),
        (MULTI, {"text": "a", "topic": 3}, "'topic' should be a list of labels. Found 3."),
        (MULTI, {"text": "a", "topic": ["x", None]},
         "'topic' should be a list of labels. Found ['x', None]."),
        (MULTI, {"text": "a", "topic": "[x"}, "'topic' should be JSON ("),
        (MULTI, {"text": "a", "topic": "[" * 9999}, "'topic' should be JSON (maximum recursion "),
        (REGRESSION, {"text": "a", "topic": "x"}, "'topic' should be a number. Found 'x'."),
        (REGRESSION, {"text": "a", "topic": "1,5"}, "'topic' should be a number. Found '1,5'."),
        (REGRESSION, {"text": "a", "topic": float("nan")},
         "'topic' should be a finite number. Found nan."),
        (REGRESSION, {"text": "a", "topic": "-inf"},
         "'topic' should be a finite number. Found '-inf'."),
        (REGRESSION, {"text": "a", "topic": 10**400}, "'topic' should be a number. Found 1000000"),
        (REGRESSION, {"text": "a", "topic": [1, 2]},
         "task 'topic': should have 1 numbers (topic). Found [1.0, 2.0]."),
    ],
)  # fmt: skip
def test_sentence_labels(tasks, row, message, refused, tmp_path):
    good = {MULTI["topic"]["problem_type"]: [["x", "y"]], "regression": [0.5]}
    labels = good.get(tasks["topic"].get("problem_type"), ["x", "y"])
    rows = [{"text": "a b", "topic": label} for label in labels]
    line = refused(train_file=[*rows, row], validation_file=rows, tasks=tasks)
    assert line.startswith(f"error: {tmp_path}/train.jsonl, line {len(rows) + 1}: {message}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "slots": ["O"]},
         "'slots' should have one tag for each of the 2 words. Found 1."),
        ({"tokens": ["a"], "slots": "O O"},
         "'slots' should have one tag for each of the 1 words. Found 2."),
        ({"tokens": ["a"], "slots": [1]}, "'slots' should have tags that are texts. Found 1."),
        ({"tokens": ["a"], "slots": [""]}, "'slots' should have tags that are texts. Found ''."),
        ({"tokens": ["a"], "slots": [None]}, "'slots' should have tags that are texts. Found None"),
        ({"tokens": ["a"], "slots": {"LOC": 1}},
         "'slots' should have one tag for each of the 1 words. Found {'LOC': 1}."),
        ({"tokens": ["a"], "slots": ["L-LOC"]},
         "'slots' should have tags `O`, `B-...` and `I-...` (IOB2). Found 'L-LOC'."),
        ({"tokens": ["a"], "slots": ["LOC"]},
         "'slots' should have tags `O`, `B-...` and `I-...` (IOB2). Found 'LOC'."),
        ({"tokens": ["a"], "slots": ["B-"]},
         "'slots' should have tags `O`, `B-...` and `I-...` (IOB2). Found 'B-'."),
        ({"tokens": [], "slots": []}, "'tokens' should have at least one word. Found []."),
        ({"tokens": [" "], "slots": ["O"]}, "'tokens' should have at least one word. Found [' ']."),
        ({"tokens": ["a", ""], "slots": ["O", "O"]},
         "'tokens' should have no empty word. Found ['a', '']."),
        ({"tokens": [1, 2], "slots": ["O", "O"]},
         "'tokens' should be a list of words. Found [1, 2]."),
        ({"tokens": "[a", "slots": ["O"]}, "'tokens' should be JSON ("),
        ({"slots": ["O"]}, "has no 'tokens'. Found: slots."),
    ],
)  # fmt: skip
def test_tags(row, message, refused, tmp_path):
    tasks = {"slots": {**TAGS["slots"], "tag_scheme": "iob2"}}
    line = refused(train_file=[*WORDS, row], validation_file=WORDS, tasks=tasks)
    assert line.startswith(f"error: {tmp_path}/train.jsonl, line 2: {message}")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (span(0, 9), "should have named spans within the text's 5 characters. Found "
         "{'start': 0, 'end': 9, 'label': 'LOC'}."),
        (span(-1, 1), "should have named spans within the text's 5 characters. Found "),
        (span(2, 2), "should have named spans within the text's 5 characters. Found "),
        (span(0, 1, ""), "should have named spans within the text's 5 characters. Found "),
        (span(0, 1, 7), "should have named spans within the text's 5 characters. Found "),
        (span(0.5, 1), "should have whole numbers for start and end. Found {'start': 0.5, "),
        (span("0", "1"), "should have whole numbers for start and end. Found {'start': '0', "),
        (span(0, float("inf")), "should have spans of start, end and label. Found {'start': 0, "),
        (span(0, float("nan")), "should have spans of start, end and label. Found {'start': 0, "),
        ({"start": 0, "label": "LOC"}, "should have spans of start, end and label. Found {'start"),
        ([0, 1], "should have spans of start, end and label. Found [0, 1]."),
        ("LOC", "should have spans of start, end and label. Found 'LOC'."),
        (None, "should have spans of start, end and label. Found None."),
        ({**span(0, 1), "text": "b"}, "should have spans in characters: 0 to 1 is 'a'. Found "),
    ],
)  # fmt: skip
def test_spans(found, message, refused, tmp_path):
    line = refused(train_file=[*SPANS, *spans(found)], validation_file=SPANS, tasks=TAGS)
    assert line.startswith(f"error: {tmp_path}/train.jsonl, line 2: 'slots' {message}")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (3, "'slots' should be a list of spans. Found 3."),
        ("[{", "'slots' should be JSON (Expecting property name enclosed in double quotes: "),
        ([span(0, 3), span(2, 5)],
         "'slots' should have spans that do not overlap. Found {'start': 0, 'end': 3, "),
        ([span(0, 3), span(0, 3, "PER")],
         "'slots' should have spans that do not overlap. Found {'start': 0, 'end': 3, "),
    ],
)  # fmt: skip
def test_lists_of_spans(found, message, refused, tmp_path):
    bad = {"text": "a b c", "slots": found}
    line = refused(train_file=[*SPANS, bad], validation_file=SPANS, tasks=TAGS)
    assert line.startswith(f"error: {tmp_path}/train.jsonl, line 2: {message}")


@pytest.mark.parametrize(
    ("task", "rows", "message"),
    [
        ({}, words("B-LOC", "LOC"),
         "Task 'slots': should have tags that all have a prefix such as `B-`, or types that all "
         "have none. Found 'B-LOC' and 'LOC'."),
        ({}, words("B-LOC", "B-"),
         "Task 'slots': should have tags that all have a prefix such as `B-`, or types that all "
         "have none. Found 'B-LOC' and 'B-'."),
        ({}, words("B-"), "line 1: 'slots' should have tags `O` and types without a prefix (IO). "),
        ({}, words("O"), "No row of the training data has a label of task 'slots'."),
        ({"tag_scheme": "iob1"}, words("U-LOC"),
         "line 1: 'slots' should have tags `O`, `B-...` and `I-...` (IOB1). Found 'U-LOC'."),
        ({"tag_scheme": "bilou"}, words("LOC"),
         "line 1: 'slots' should have tags `O`, `B-...`, `I-...`, `L-...` and `U-...` (BILOU; "),
        ({"tag_scheme": "io"}, words("I-LOC"),
         "line 1: 'slots' should have tags `O` and types without a prefix (IO). Found 'I-LOC'."),
        ({"tag_scheme": "iob2", "on_broken_tags": "refuse"}, words("O", "I-LOC"),
         "line 1: 'slots' should have whole IOB2 tags. Found ['O', 'I-LOC']."),
        ({"on_broken_tags": "refuse"}, words("B-LOC", "O", "U-LOC"),
         "line 1: 'slots' should have whole BILOU tags. Found ['B-LOC', 'O', 'U-LOC']."),
        ({"overlap": "refuse"}, spans(span(0, 3), span(2, 5)),
         "line 1: 'slots' should have spans that do not overlap. Found "),
        ({"label_map": {"PRE": "PER"}}, WORDS,
         "label_map of task 'slots' should name labels that rows have: LOC. Found 'PRE'."),
        ({"label_map": {"LOC": None}}, WORDS,
         "No row of the training data has a label of task 'slots'."),
        ({"labels": ["O", "B-PER", "I-PER"]}, WORDS,
         "line 1: task 'slots': unknown label 'B-LOC'. Expected one seen in training or given as "
         "`labels`: O, B-PER, I-PER."),
        ({"labels": ["B-LOC", "I-LOC"]}, WORDS, "line 1: task 'slots': unknown label 'O'. "),
        ({"labels": ["O", "I-LOC"]}, WORDS, "line 1: task 'slots': unknown label 'B-LOC'. "),
    ],
)  # fmt: skip
def test_how_labels_are_read(task, rows, message, refused):
    tasks = {"slots": {**TAGS["slots"], **task}}
    assert message in refused(train_file=rows, validation_file=None, do_eval=False, tasks=tasks)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"label_map": {"z": "x"}},
         "label_map of task 'topic' should name labels that rows have: x, y. Found 'z'."),
        ({"label_map": {"x": "y"}},
         "`labels` of task 'topic' should be a list of at least 2 different texts. Found ['y']."),
        ({"label_map": {"x": 5}},
         "tasks.topic.label_map should map labels to new names, or to null to drop them. Found "
         "{'x': 5}."),
        ({"label_map": {"x": ""}}, "tasks.topic.label_map should map labels to new names, or to "),
        ({"label_map": {True: "x"}}, "tasks.topic.label_map should map labels to new names, or "),
        ({"label_map": ["x"]}, "tasks.topic.label_map should map labels to new names, or to null"),
        ({"label_map": {"x": "y"}, "problem_type": "regression"},
         "tasks.topic.label_map is for labels. Found a regression task."),
        ({"labels": [True, False]},
         "tasks.topic.labels should be texts; YAML reads yes, no, true and false as booleans, and "
         "null as none, unless they are in quotes. Found [True, False]."),
        ({"labels": ["x", None]}, "tasks.topic.labels should be texts; "),
        ({"labels": ["x", ["y"]]}, "tasks.topic.labels should be texts; "),
        ({"labels": {"x": 0}}, "tasks.topic.labels should be texts; "),
        ({"column": ["topic"]}, "tasks.topic.column should be a text. Found ['topic']."),
        ({"weight": "much"}, "tasks.topic.weight should be a number. Found 'much'."),
        ({"weight": float("nan")}, "`weight` of task 'topic' should be at least 0. Found nan."),
        ({"tag_scheme": "iob"},
         "tasks.topic.tag_scheme should be one of auto, iob2, iob1, io, bilou. Found 'iob'."),
        ({"on_broken_tags": "ignore"},
         "tasks.topic.on_broken_tags should be one of repair, refuse. Found 'ignore'."),
        ({"overlap": "shortest"},
         "tasks.topic.overlap should be one of refuse, longest, first. Found 'shortest'."),
        ({"type": ["token_classification"]}, "tasks.topic.type should be one of "),
    ],
)  # fmt: skip
def test_keys_of_tasks(task, message, refused):
    assert message in refused(tasks={"topic": {**CLASSES["topic"], **task}})


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (WORDS, [*WORDS, {"tokens": ["a"], "slots": ["I-PER"]}]),
        (SPANS, [*SPANS, *spans(span(0, 1, "PER"))]),
    ],
)
def test_a_type_unseen_in_training(train, validation, refused):
    line = refused(train_file=train, validation_file=validation, tasks=TAGS)
    assert "/validation.jsonl, line 2: task 'slots': unknown label '" in line
    assert "-PER'. Expected one seen in training or given as `labels`: O, B-LOC, I-LOC." in line


# Files


TABLE = pa.table({"text": ["a b", " "], "topic": ["x", "y"]})
CLASS_IDS = Features({"text": Value("string"), "topic": ClassLabel(names=["x", "y"])})
NO_UTF8 = pa.Array.from_buffers(
    pa.utf8(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff")]
)
STUDIO = {"data": {"text": "a b c"}}
STUDIO_SPAN = {"from_name": "slots", "type": "labels"}


def studio(*results, **keys) -> list[dict]:
    return [{**STUDIO, "annotations": [{"result": list(results)}], **keys}]


def located(start, end, text="a", labels=("LOC",)) -> dict:
    value = {"start": start, "end": end, "text": text, "labels": list(labels)}
    return {**STUDIO_SPAN, "value": value}


@pytest.mark.parametrize(
    ("name", "content", "config", "message"),
    [
        # JSON lines
        ("t.jsonl", "", {}, ": has no rows."),
        ("t.jsonl", "\n \n", {}, ": has no rows."),
        ("t.jsonl", '{"text": "a", "topic": "x"}\n{"text": \n{"text": "b", "topic": "y"}\n', {},
         ", line 2: should be JSON (Expecting value at character 10). Found '{\"text\": '."),
        ("t.jsonl", '{"text": "a", "topic": "x"}\n[1]\n', {},
         ", line 2: should be a JSON object. Found [1]."),
        ("t.jsonl", '{"text": "a", "topic": "x"} {}\n', {},
         ", line 1: should be JSON (Extra data at character 29). Found "),
        ("t.jsonl", "text,topic\n", {},
         ", line 1: should be JSON (Expecting value at character 1). Found 'text,topic'."),
        ("t.jsonl", b'{"text": "a", "topic": "x"}\n{"text": "\xff", "topic": "x"}\n', {},
         ", line 2: should be UTF-8. Found b'{\"text\": \"\\xff\", \"topic\": \"x\"}'."),
        ("t.jsonl", '{"text": "a", "topic": "x"}\n{"text": ' + "[" * 99999 + "\n", {},
         ", line 2: should be JSON (maximum recursion depth exceeded"),
        ("t.jsonl", '{"text": "a", "topic": ' + "[" * 900 + "]" * 900 + "}\n", {},
         ", line 1: 'topic' should be one label. Found [[[["),
        ("t.jsonl", '{"text": "a", "topic": ' + "1" * 5000 + "}\n", {},
         ", line 1: should be JSON (Exceeds the limit (4300 digits)"),
        # JSON arrays
        ("t.json", "", {}, ": has no rows."),
        ("t.json", "[]", {}, ": has no rows."),
        ("t.json", '[{"text": "a"', {}, ": should be a JSON array, or have an object in each line "
         "(Expecting ',' delimiter in line 1, character 14)."),
        ("t.json", '[\n{"text": "a", "topic": "x"},\n7\n]', {},
         ", row 2: should be a JSON object. Found 7."),
        ("t.json", '{\n"text": "a"\n}', {}, ": should be a JSON array, or have an object in each "
         "line. Found {'text': 'a'}."),
        ("t.json", b'[{"text": "\xff"}]', {}, ": should be a JSON array in UTF-8 ('utf-8' codec "),
        ("t.json", '[{"text": "\\ud800", "topic": "x"}]', {},
         ", row 1: should be Unicode text. Found half of a surrogate pair: "),
        ("t.json", "[" * 99999, {}, ": should be a JSON array in UTF-8 (maximum recursion depth "),
        # Tables
        ("t.csv", "", {}, ": has no rows."),
        ("t.csv", "text,topic\n", {}, ": has no rows."),
        ("t.csv", "txt,topic\na,x\n", {}, ": has no column 'text'. Found: txt, topic."),
        ("t.csv", "text,topic\na,x\nb,y,z\n", {},
         ", line 3: should have 2 fields. Found 3: ['b', 'y', 'z']."),
        ("t.csv", 'text,topic\n"a\nb",x\nb\n', {},
         ", line 4: should have 2 fields. Found 1: ['b']."),
        ("t.csv", "text,text\na,x\n", {},
         ": the columns should have different names. Found text, text."),
        ("t.csv", 'text,topic\n"a,x\n', {}, ": line 2: unexpected end of data."),
        ("t.csv", 'text,topic\n"a"b,x\n', {}, ": line 2: ',' expected after '\"'."),
        ("t.csv", "text,topic\na\0,x\n", {}, ": line 2: should be text. Found a null byte."),
        ("t.csv", "text,topic\na,x\n".encode("utf-16"), {},
         ": line 1: should be text. Found a null byte."),
        ("t.csv", b"text,topic\na,x\n\xff,x\n", {}, ", line 3: should be UTF-8. Found b'\\xffx'."),
        ("t.csv", "text,topic\na,x\n,y\n", {}, ", line 3: 'text' should be a text. Found ''."),
        ("t.tsv", "text,topic\na,x\n", {}, ": has no column 'text'. Found: text,topic."),
        ("t.tsv", "text\ttopic\na\tx\tz\n", {},
         ", line 2: should have 2 fields. Found 3: ['a', 'x', 'z']."),
        ("t.tsv", b"text\ttopic\n\xff\tx\n", {}, ", line 2: should be UTF-8. Found b'\\xffx'."),
        # Parquet and Arrow
        ("t.parquet", "no parquet", {}, ": Parquet magic bytes not found in footer."),
        ("t.parquet", "", {}, ": Parquet file size is 0 bytes"),
        ("t.parquet", TABLE, {}, ", row 2: 'text' should be a text. Found ' '."),
        ("t.parquet", TABLE.slice(0, 0), {}, ": has no rows."),
        ("t.parquet", pa.table([["a"], ["x"]], names=["text", "text"]), {},
         ": the columns should have different names. Found text, text."),
        ("t.parquet", pa.table({"text": NO_UTF8, "topic": ["x"]}), {},
         ": 'utf-8' codec can't decode byte 0xff in position 1: invalid start byte"),
        ("t.arrow", "", {}, ": Tried reading schema message, was null or length 0"),
        ("t.arrow", "no arrow", {}, ": Expected to read "),
        ("t.arrow", TABLE, {}, ", row 2: 'text' should be a text. Found ' '."),
        ("t.arrow", pa.table({"text": ["a"], "topic": [5]}, CLASS_IDS.arrow_schema), {},
         ", row 1: class ids should be from 0 to 1, or -1. Found 5."),
        ("t", {"state.json": "{}"}, {}, ": Directory "),
        ("t", {"state.json": "{}", "dataset_info.json": "{}"}, {},
         ": should be a folder written by Dataset.save_to_disk (KeyError: '_data_files')."),
        ("t", {"state.json": "{", "dataset_info.json": "{}"}, {}, ": Expecting property name "),
        # CoNLL
        ("t.conll", "", {"tasks": TAGS}, ": has no rows."),
        ("t.conll", "a\nb\n", {"tasks": TAGS},
         ": line 1 should have two or more columns, with tabs or spaces between. Found 'a'."),
        ("t.conll", "a O\nb B-LOC\n\nc O O\n", {"column_names": ["tokens", "slots"], "tasks": TAGS},
         ", line 4: line 4 should have 2 columns. Found 3: 'c O O'."),
        ("t.conll", "a O\n\nb O\nc\n", {"column_names": ["tokens", "slots"], "tasks": TAGS},
         ", line 3: line 4 should have 2 columns. Found 1: 'c'."),
        ("t.conll", "a O\n", {"tasks": TAGS}, ": has no column 'slots'. Found: tokens, tags."),
        ("t.conll", "a O\n", {"column_names": ["tokens"], "tasks": TAGS},
         ": line 1 should have the 1 columns tokens. Found 2: 'a O'."),
        ("t.conll", "a O\n", {"column_names": ["slots", "slots"], "tasks": TAGS},
         ": the columns should have different names. Found slots, slots."),
        ("t.conll", "a\tO\n\tO\n", {"column_names": ["tokens", "slots"], "tasks": TAGS},
         ", line 1: line 2 should have a token. Found '\\tO'."),
        ("t.conll", "a\tO\nb\t\n", {"column_names": ["tokens", "slots"], "tasks": TAGS},
         ", line 1: 'slots' should have tags that are texts. Found ''."),
        ("t.conll", b"a O\n\n\xff O\n", {"column_names": ["tokens", "slots"], "tasks": TAGS},
         ", line 3: line 3 should be UTF-8. Found b'\\xff O'."),
        ("t.conll", "a B-LOC\n\nb S-LOC\nc 7\n",
         {"column_names": ["tokens", "slots"],
          "tasks": {"slots": {**TAGS["slots"], "tag_scheme": "bilou"}}},
         ", line 3: 'slots' should have tags `O`, `B-...`, `I-...`, `L-...` and `U-...` (BILOU; "),
        # seq.in, seq.out and label
        ("t", {"seq.in": "a b\nc\n", "seq.out": "O O\nO\n", "label": "x\n"}, {"tasks": TAGS},
         ": seq.in, seq.out and label should have as many lines as each other. Found 2, 2, 1."),
        ("t", {"seq.in": "a b\nc\n", "seq.out": "O O\nO O\n", "label": "x\ny\n"}, {"tasks": TAGS},
         ", line 2: should have a tag in seq.out for each of the 1 words in seq.in. Found 2."),
        ("t", {"seq.in": b"a b\n\xff\n", "seq.out": "O B-LOC\nO\n", "label": "x\ny\n"},
         {"tasks": TAGS}, ", line 2: should be UTF-8. Found b'\\xff'."),
        ("t", {"seq.in": "a\n\n", "seq.out": "B-LOC\n\n", "label": "x\ny\n"}, {"tasks": TAGS},
         ", line 2: 'tokens' should have at least one word. Found []."),
        # doccano
        ("t.jsonl", [{"text": "a", "label": [[0, 1, "X"]]}, {"text": "a", "label": [[0, 9, "X"]]}],
         {"tasks": {"label": TAGS["slots"]}},
         ", line 2: 'label' should have named spans within the text's 1 characters. Found "),
        ("t.jsonl", [{"text": "a b", "label": [[0, 3, "LOC"], [2, 3, "LOC"]]}],
         {"tasks": {"label": TAGS["slots"]}},
         ", line 1: 'label' should have spans that do not overlap. Found "),
        ("t.jsonl", [{"text": "a b", "label": [[0, 1, "LOC"], [2, 3]]}],
         {"tasks": {"label": TAGS["slots"]}},
         ", line 1: 'label' should have spans of start, end and label. Found [2, 3]."),
        ("t.jsonl", [["a"]], {"format": "doccano"},
         ", line 1: should be a JSON object. Found ['a']."),
        ("t.jsonl", b'{"text": "\xff", "label": []}\n', {"format": "doccano"},
         ", line 1: should be UTF-8. Found "),
        ("t.json", "[1", {"format": "doccano"}, ": should be a JSON array, or have an object in "),
        # Label Studio
        ("t.json", json.dumps(studio(located(0, 1), annotations=[{"result": []}, {"result": []}])),
         {"tasks": TAGS}, ", row 1: should have one annotation. Found 2: keep one of them."),
        ("t.json", json.dumps(studio(located(2, 3))), {"tasks": TAGS},
         ", row 1: 'slots' should have 'a' from character 2 to 3. Found 'b'."),
        ("t.json", json.dumps(studio(located(0, 5, "a b c"), located(2, 3, "b"))), {"tasks": TAGS},
         ", row 1: 'slots' should have spans that do not overlap. Found "),
        ("t.json", json.dumps(studio(located("0", "1"))), {"tasks": TAGS},
         ", row 1: should be a task as Label Studio exports it. Found "),
        ("t.json", json.dumps(studio({**STUDIO_SPAN, "value": {"start": 0}})), {"tasks": TAGS},
         ", row 1: should be a task as Label Studio exports it. Found "),
        ("t.json", json.dumps(studio({**STUDIO_SPAN, "type": "polygon", "value": {}})),
         {"tasks": TAGS}, ", row 1: 'slots' should be of type labels, choices, rating or number. "),
        ("t.json", "[7]", {"format": "label_studio"},
         ", row 1: should be a JSON object. Found 7."),
        ("t.json", b'[{"data": {"text": "\xff"}}]', {"format": "label_studio"},
         ": should be a JSON array in UTF-8 ("),
        # spaCy
        ("t.json", '[["a b", {"entities": [[0, 9, "X"]]}]]', {"tasks": {"entities": TAGS["slots"]}},
         ", row 1: 'entities' should have named spans within the text's 3 characters. Found "),
        ("t.json", '[["a b", {"entities": [[0, 1]]}]]', {"tasks": {"entities": TAGS["slots"]}},
         ", row 1: 'entities' should have spans of start, end and label. Found [0, 1]."),
        ("t.json", '[["a b", {"entities": {}}]]', {"tasks": {"entities": TAGS["slots"]}},
         ", row 1: 'entities' should be a list of spans. Found {}."),
        ("t.json", '[["a b", {"cats": {"x": "1"}}]]', {"tasks": {"cats": MULTI["topic"]}},
         ", row 1: 'cats' should be an object of numbers. Found {'x': '1'}."),
        ("t.json", '[["a b", {"cats": {"x": 1}}], ["a"]]', {"tasks": {"cats": MULTI["topic"]}},
         ', row 2: should be ["text", {"entities": ...}] or an object with a text. Found '
         "['a']."),
        ("t.jsonl", b'["\xff", {"entities": []}]\n', {"format": "spacy"},
         ", line 1: should be UTF-8. Found "),
        # Text
        ("t.txt", "a\n", {"format": "text"}, ": has no column 'topic'. Found: text."),
        # Endings and formats
        ("t.txt", "a", {}, ": a file ending in '.txt' could be conll or text. Set `format`."),
        ("t.xml", "a", {}, ": should end in one of .json, .jsonl, .csv, .tsv, .parquet, "),
        ("t", "a", {}, ": should end in one of .json, .jsonl, .csv, .tsv, .parquet, "),
        ("t.json", '[{"text": "a", "cats": {"x": 1}}, {"text": "a", "label": [[0, 1, "LOC"]]}]', {},
         ": could be doccano or spacy. Set `format`."),
        ("t.jsonl", TEXTS, {"format": "parquet"}, ": Parquet magic bytes not found in footer."),
        ("t.jsonl", TEXTS, {"format": "arrow"}, ": Expected to read "),
        ("t.jsonl", TEXTS, {"format": "csv"}, ": has no column 'text'. Found: "),
        ("t.jsonl", TEXTS, {"format": "text"}, ": has no column 'topic'. Found: text."),
        ("t.jsonl", WORDS, {"format": "conll", "tasks": TAGS},
         ": has no column 'slots'. Found: tokens, "),
        ("t.csv", "text,topic\n", {"format": "json"}, ", line 1: should be JSON (Expecting value "),
        ("t.csv", "{text,topic\n", {"format": "label_studio"}, ": should be a JSON array, or "),
    ],
)  # fmt: skip
def test_files(name, content, config, message, refused, tmp_path):
    write(tmp_path / name, content)
    config = {"validation_file": None, "do_eval": False, **config}
    line = refused(train_file=str(tmp_path / name), **config)
    assert line.startswith(f"error: {tmp_path}/{name}{message}")


def test_folders_and_files_that_are_not_there(refused, tmp_path):
    (tmp_path / "folder").mkdir()
    hint = f"No file {tmp_path}/folder. It is a folder: name its files, as {tmp_path}/folder/*.json"
    assert hint in refused(train_file=str(tmp_path / "folder"))
    write(tmp_path / "intents", {"seq.in": "a b\n"})
    assert f"No such file or directory: '{tmp_path}/intents/seq.out'" in refused(
        train_file=str(tmp_path / "intents")
    )
    assert f"Not a directory: '{tmp_path}/train.jsonl/seq.in'" in refused(format="intent_slots")
    assert f"Is a directory: '{tmp_path}/intents'" in refused(
        train_file=str(tmp_path / "intents"), format="jsonl"
    )


# Data sets


def one(**keys) -> dict:
    return {"train_file": TEXTS, "validation_file": TEXTS, **keys}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"datasets": ["a"]}, "`datasets` should map names to data sets. Found ['a']."),
        ({"datasets": {}}, "`datasets` should map names to data sets. Found {}."),
        ({"datasets": {"a": "a.jsonl"}}, "datasets.a should be a mapping. Found 'a.jsonl'."),
        ({"datasets": {"my data": one()}},
         "A data set's name should be a letter followed by letters, digits and underscores. Found "
         "'my data'."),
        ({"datasets": {7: one()}}, "A data set's name should be a letter followed by letters, "),
        ({"datasets": {"a": one(trian_file="b")}},
         "Unknown key datasets.a.trian_file. Did you mean datasets.a.train_file?"),
        ({"datasets": {"a": one(columns={"topc": "topic"})}},
         "A task in datasets.a.columns should be one of topic. Found 'topc'."),
        ({"datasets": {"a": one(columns={"topic": None})}},
         "datasets.a.columns.topic should be a text. Found None."),
        ({"datasets": {"a": one(columns=["topic"])}},
         "datasets.a.columns should map the tasks it labels to columns. Found ['topic']."),
        ({"datasets": {"a": one(columns={"topic": "tpic"})}},
         "a_train.jsonl: has no column 'tpic'. Found: text, topic."),
        ({"datasets": {"a": one(columns={"topic": "topic"})}, "tasks": {**CLASSES, **TAGS}},
         "Task 'slots' is labelled by none of the `datasets`."),
        ({"datasets": {"a": one()}, "train_file": TEXTS},
         "train_file is of one data set: set it in each of `datasets`, or leave those out. Found "),
        ({"datasets": {"a": one()}, "dataset": "synthetic"}, "dataset is of one data set: set it "),
        ({"datasets": {"a": one()}, "test_fraction": 0.1},
         "test_fraction is of one data set: set it in each of `datasets`, or leave those out. "),
        ({"datasets": {"a": one(weight="much")}},
         "datasets.a.weight should be a number. Found 'much'."),
        ({"datasets": {"a": one(weight=-1), "b": one()}, "mixing": "weights"},
         "datasets.a.weight should be at least 0, and finite. Found -1.0."),
        ({"datasets": {"a": one(weight=float("nan")), "b": one()}, "mixing": "weights"},
         "datasets.a.weight should be at least 0, and finite. Found nan."),
        ({"datasets": {"a": one(), "b": one()}, "tasks": {"topic": {**CLASSES["topic"],
          "label_map": {"z": "x"}}}},
         "label_map of task 'topic' should name labels that rows have: x, y. Found 'z'."),
        ({"datasets": {"a": one(weight=0), "b": one(weight=0)}, "mixing": "weights"},
         "weights should be at least 0, and not all 0. Found [0.0, 0.0]."),
        ({"datasets": {"a": one(), "b": one()}, "mixing": "temperature", "mixing_temperature": 0},
         "mixing_temperature should be above 0. Found 0.0."),
        ({"datasets": {"a": one(), "b": one()}, "mixing": "temperature",
          "mixing_temperature": "nan"}, "mixing_temperature should be above 0. Found nan."),
        ({"datasets": {"a": one(format="xml")}}, "argument --format: invalid choice: 'xml'"),
        ({"datasets": {"a": one(data_dir="none", train_file="a.jsonl")}}, "No file none/a.jsonl."),
        ({"datasets": {"a": one(), "b": {}}},
         "datasets.b should have files, or a `dataset`. Found neither."),
    ],
)  # fmt: skip
def test_data_sets(config, message, refused):
    assert message in refused(**config)


@pytest.mark.parametrize(
    ("key", "choices"),
    [
        ("mixing", "'proportional', 'uniform', 'temperature', 'weights'"),
        ("labelling", "'first', 'all'"),
        ("long_texts", "'window', 'truncate', 'refuse'"),
        ("sentence_windows", "'first', 'mean'"),
        ("on_bad_row", "'refuse', 'skip'"),
        ("format", "'json', 'jsonl', 'csv', 'tsv', 'parquet', 'arrow', 'conll', 'intent_slots', "
         "'doccano', 'label_studio', 'spacy', 'text'"),
    ],
)  # fmt: skip
def test_choices(key, choices, refused):
    line = refused(**{key: "other"})
    assert f"argument --{key}" in line
    assert ": invalid choice: 'other' (choose from " in line
    assert choices.replace("'", "") in line.replace("'", "")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"max_steps": -1}, "streaming needs max_steps. Found -1."),
        ({"tasks": CLASSES}, "streaming needs the `labels` of task 'topic': they can't be "),
        ({"train_file": None, "test_file": TEXTS}, "There is no train data. Set train_file or "),
        ({"train_file": "none.jsonl"}, "No file none.jsonl."),
        ({"test_fraction": 0.1},
         "streaming can't cut off a test split: set test_file. Found test_fraction."),
        ({"train_file": None, "validation_file": None, "datasets": {"a": one(), "b": one()}},
         "streaming needs `mixing: uniform` or `weights`: how many rows there are is not known. "
         "Found 'proportional'."),
        ({"train_file": None, "validation_file": None, "mixing": "weights",
          "datasets": {"a": one(weight=0), "b": one(weight=0)}},
         "weights should be at least 0, and not all 0. Found [0.0, 0.0]."),
        ({"text_column": "txt", "validation_file": None, "do_eval": False},
         "train.jsonl: has no column 'txt'. Found: text, topic."),
        ({"tasks": {"topic": {**CLASSES["topic"], "labels": ["x", "y"], "column": "tpic"}},
          "validation_file": [{"text": "a", "tpic": "x"}]},
         "train.jsonl: has no column 'tpic'. Found: text, topic."),
        ({"train_file": words("B-LOC", "LOC"), "validation_file": WORDS,
          "tasks": {"slots": {**TAGS["slots"], "labels": ["O", "B-LOC", "I-LOC"]}}},
         "Task 'slots': should have tags that all have a prefix such as `B-`, or types that all "),
    ],
)  # fmt: skip
def test_streaming(config, message, refused):
    tasks = {"topic": {**CLASSES["topic"], "labels": ["x", "y"]}}
    config = {"streaming": True, "max_steps": 1, "tasks": tasks, **config}
    assert message in refused(**config)


# Several bad rows


BAD = {"text": " ", "topic": "x"}
HINT = "`on_bad_row: skip` leaves such rows out and writes them to a file."


def test_every_bad_row_is_listed_over_files_splits_and_data_sets(refused, tmp_path):
    write(tmp_path / "1.jsonl", [*TEXTS, BAD])
    write(tmp_path / "2.csv", "text,topic\na,x\n,y\n")
    a = one(train_file=[str(tmp_path / "1.jsonl"), str(tmp_path / "2.csv")])
    b = one(train_file=[BAD, *TEXTS], validation_file=[BAD, BAD])
    assert refused(datasets={"a": a, "b": b}).splitlines() == [
        "error: 5 rows are not as they should be:",
        f"{tmp_path}/1.jsonl, line 3: 'text' should be a text. Found ' '.",
        f"{tmp_path}/2.csv, line 3: 'text' should be a text. Found ''.",
        f"{tmp_path}/b_train.jsonl, line 1: 'text' should be a text. Found ' '.",
        f"{tmp_path}/b_validation.jsonl, line 1: 'text' should be a text. Found ' '.",
        f"{tmp_path}/b_validation.jsonl, line 2: 'text' should be a text. Found ' '.",
        HINT,
    ]


@pytest.mark.parametrize(
    ("count", "last"), [(20, []), (21, ["and 1 more."]), (99, ["and 79 more."])]
)
def test_the_first_20_bad_rows_are_listed_in_full(count, last, refused, tmp_path):
    header, *listed = refused(train_file=[*TEXTS, *[BAD] * count]).splitlines()
    assert header == f"error: {count} rows are not as they should be:"
    assert listed == [
        *(
            f"{tmp_path}/train.jsonl, line {line}: 'text' should be a text. Found ' '."
            for line in range(3, 23)
        ),
        *last,
        HINT,
    ]


def test_unknown_labels_of_all_splits_are_listed(refused, tmp_path):
    unknown = [*TEXTS, {"text": "a", "topic": "z"}]
    expected = "unknown label 'z'. Expected one seen in training or given as `labels`: x, y."
    assert refused(validation_file=unknown, test_file=unknown).splitlines()[1:] == [
        f"{tmp_path}/validation.jsonl, line 3: task 'topic': {expected}",
        f"{tmp_path}/test.jsonl, line 3: task 'topic': {expected}",
        HINT,
    ]


def test_one_bad_row_is_one_line_whatever_is_in_it(refused, tmp_path):
    line = refused(train_file=[*TEXTS, {"text": "a", "topic": ["x\ny\r\u2028z", "\t" * 999]}])
    start = f"error: {tmp_path}/train.jsonl, line 3: 'topic' should be one label. Found ['x\\ny\\r"
    assert line.startswith(start)
    assert len(line) < len(start) + 250


@pytest.fixture
def skipping(tmp_path, configured):
    """Runs with bad rows skipped, and returns what bad_rows.jsonl holds: source, problem, row."""

    def run(*argv: str, **config) -> list[tuple]:
        run_multitask.main([configured(on_bad_row="skip", **config), *argv])
        assert (tmp_path / "run" / "all_results.json").is_file()
        return written()

    def written() -> list[tuple]:
        rows = (tmp_path / "run" / "bad_rows.jsonl").read_text().splitlines()
        return [
            (row["source"].removeprefix(f"{tmp_path}/"), row["problem"], row["row"])
            for row in map(json.loads, rows)
        ]

    run.written = written
    return run


UNKNOWN = (
    "task 'topic': unknown label 'z'. Expected one seen in training or given as `labels`: x, y."
)


def test_skipped_rows_are_counted_and_written(skipping, tmp_path, caplog):
    train = lines([*TEXTS, BAD]) + '{"text": \n' + lines([{"text": "e", "topic": "x", "id": 7}])
    validation = [*TEXTS, {"text": "f", "topic": "z"}]
    assert skipping(train_file=train.encode(), validation_file=validation) == [
        ("train.jsonl, line 3", "'text' should be a text. Found ' '.", BAD),
        (
            "train.jsonl, line 4",
            "should be JSON (Expecting value at character 10). Found '{\"text\": '.",
            None,
        ),
        ("validation.jsonl, line 3", UNKNOWN, {"text": "f", "topic": "z"}),
    ]
    assert f"Skipped 3 bad rows; they are in {tmp_path}/run/bad_rows.jsonl." in caplog.text
    assert "train: 3 rows." in caplog.text
    assert "validation: 2 rows." in caplog.text
    assert "Training on 3 rows with topic" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "problem", "row"),
    [
        ("t.csv", "tokens,slots\na b,O\n",
         "line 2: 'slots' should have one tag for each of the 2 words. Found 1.",
         {"tokens": "a b", "slots": "O"}),
        ("t.conll", "a O\n\nb O\nc I-LOC\n",
         "line 3: 'slots' should have whole IOB2 tags. Found ['O', 'I-LOC'].",
         {"tokens": ["b", "c"], "slots": ["O", "I-LOC"]}),
        ("t.conll", "a O\n\nb U-LOC\n", "line 3: 'slots' should have tags `O`, `B-...` and `I-...` "
         "(IOB2). Found 'U-LOC'.", {"tokens": ["b"], "slots": ["U-LOC"]}),
        ("t.conll", "a O\nb\n", "line 1: line 2 should have 2 columns. Found 1: 'b'.", None),
        ("t.jsonl", [{"tokens": ["a"], "slots": ["B-PER"], "id": 7}],
         "line 1: task 'slots': unknown label 'B-PER'. Expected one seen in training or given as "
         "`labels`: O, B-LOC, I-LOC.", {"tokens": ["a"], "slots": ["B-PER"]}),
    ],
)  # fmt: skip
def test_skipped_rows_of_tags(name, content, problem, row, skipping, tmp_path):
    write(tmp_path / name, content)
    write(tmp_path / "good.conll", "a B-LOC\nb O\n")
    found = skipping(
        train_file=[str(tmp_path / "good.conll"), str(tmp_path / name)],
        column_names=["tokens", "slots"],
        tasks={
            "slots": {
                **TAGS["slots"],
                "tag_scheme": "iob2",
                "on_broken_tags": "refuse",
                "labels": ["O", "B-LOC", "I-LOC"],
            }
        },
        validation_file=None,
        do_eval=False,
    )
    place, _, problem = problem.partition(": ")
    assert found == [(f"{name}, {place}", problem, row)]


def test_each_run_begins_the_file_of_skipped_rows_anew(skipping, configured, tmp_path):
    first = skipping(train_file=[*TEXTS, BAD])
    second = skipping(train_file=[BAD, *TEXTS])
    assert [source for source, _, _ in first] == ["train.jsonl, line 3"]
    assert [source for source, _, _ in second] == ["train.jsonl, line 1"]
    run_multitask.main([configured(on_bad_row="skip")])
    assert not (tmp_path / "run" / "bad_rows.jsonl").exists()


def test_a_run_that_is_refused_leaves_the_file_of_the_one_before(skipping, refused):
    before = skipping(train_file=[*TEXTS, BAD])
    assert "rows are bad" in refused(train_file=[BAD], on_bad_row="skip")
    assert "'text' should be a text" in refused(train_file=[*TEXTS, BAD, *TEXTS])
    assert skipping.written() == before


def test_inspection_lists_bad_rows_and_writes_none(configured, tmp_path, capsys):
    run_multitask.main([configured(train_file=[*TEXTS, BAD], do_inspect=True)])
    said = capsys.readouterr().out
    assert "train.jsonl, line 3: 'text' should be a text. Found ' '." in said
    assert said.endswith("\nBad rows end that run, unless `on_bad_row: skip` leaves them out.\n")
    assert not (tmp_path / "run" / "bad_rows.jsonl").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"train_file": [BAD, BAD]},
         "train: all of its 2 rows are bad, the first one being {path}/train.jsonl, line 1: 'text' "
         "should be a text. Found ' '."),
        ({"validation_file": [{"text": "a", "topic": "z"}]},
         "validation: all of its 1 rows are bad, the first one being {path}/validation.jsonl, line "
         "1: task 'topic': unknown label 'z'."),
        ({"train_file": b"{\n"},
         "train: all of its 1 rows are bad, the first one being {path}/train.jsonl, line 1: should "
         "be JSON (Expecting property name enclosed in double quotes at character 2). Found '{{'."),
        ({"train_file": [*TEXTS, {"text": "a " * 20, "topic": "x"}], "max_length": 9,
          "long_texts": "refuse", "test_file": [{"text": "a " * 20, "topic": "x"}]},
         "test: all of its 1 rows are bad, the first one being {path}/test.jsonl, line 1: should "
         "have at most 9 tokens. Found 22;"),
    ],
)  # fmt: skip
def test_all_rows_are_bad(config, message, refused, tmp_path):
    line = refused(on_bad_row="skip", **config)
    assert line.startswith(f"error: {message.format(path=tmp_path)}")


# Bad rows of data that is streamed: met after the training began


STREAMED = {
    "streaming": True,
    "max_steps": 1,
    "per_device_train_batch_size": 1,
    "eval_strategy": "no",
    "tasks": {"topic": {**CLASSES["topic"], "labels": ["x", "y"]}},
}


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ([*TEXTS, BAD], ", line 3: 'text' should be a text. Found ' '."),
        ([*TEXTS, {"text": "a", "topic": "z"}], f", line 3: {UNKNOWN}"),
        (lines(TEXTS).encode() + b"{\n",
         ", line 3: should be JSON (Expecting property name enclosed in double quotes at character "
         "2). Found '{'."),
    ],
)  # fmt: skip
def test_a_streamed_bad_row(train, problem, configured, tmp_path, capsys):
    path = configured(train_file=train, **STREAMED)
    assert stopped(path, capsys) == f"error: {tmp_path}/train.jsonl{problem}"
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_streamed_file_that_breaks_off(configured, tmp_path, capsys):
    # Behind the rows that are read before training, and among those that are shuffled.
    write(tmp_path / "t.csv", "text,topic\n" + "a,x\n" * 1100 + '"b,x\n')
    config = {**STREAMED, "per_device_train_batch_size": 8}
    line = stopped(configured(train_file=str(tmp_path / "t.csv"), **config), capsys)
    assert line == f"error: {tmp_path}/t.csv: line 1102: unexpected end of data."


def test_streamed_bad_rows_of_a_worker(configured, tmp_path, capsys):
    path = configured(train_file=[*TEXTS, BAD, BAD], dataloader_num_workers=1, **STREAMED)
    assert stopped(path, capsys).splitlines() == [
        "error: 2 rows are not as they should be:",
        f"{tmp_path}/train.jsonl, line 3: 'text' should be a text. Found ' '.",
        f"{tmp_path}/train.jsonl, line 4: 'text' should be a text. Found ' '.",
        HINT,
    ]


def test_streamed_rows_that_are_all_bad(configured, capsys):
    line = stopped(configured(on_bad_row="skip", train_file=[BAD], **STREAMED), capsys)
    assert line == "error: A data set that is streamed should have rows. Found no good one."


def stopped(path: str, capsys) -> str:
    with pytest.raises(SystemExit) as raised:
        run_multitask.main([path])
    assert raised.value.code == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return "error: " + told.split("error: ")[1].strip()


def test_skipped_rows_of_streamed_data_are_written_once(skipping):
    train = [BAD, *TEXTS, {"text": "f", "topic": "z"}]
    validation = [*TEXTS, BAD]
    for _ in range(2):
        found = skipping(train_file=train, validation_file=validation, **STREAMED)
        assert found == [
            ("validation.jsonl, line 3", "'text' should be a text. Found ' '.", BAD),
            ("train.jsonl, line 1", "'text' should be a text. Found ' '.", BAD),
            ("train.jsonl, line 4", UNKNOWN, {"text": "f", "topic": "z"}),
        ]


def test_a_label_map_is_for_all_data_sets_together(configured, tmp_path):
    capital = [{**row, "topic": row["topic"].upper()} for row in TEXTS]
    b = {"train_file": capital, "validation_file": capital}
    tasks = {"topic": {**CLASSES["topic"], "label_map": {"X": "x", "Y": "y"}}}
    run_multitask.main([configured(datasets={"a": one(), "b": b}, tasks=tasks)])
    assert json.loads((tmp_path / "run" / "config.json").read_text())["tasks"]["topic"][
        "labels"
    ] == ["x", "y"]


def test_a_label_map_of_streamed_data(configured, tmp_path):
    tasks = {"topic": {**STREAMED["tasks"]["topic"], "label_map": {"X": "x"}}}
    train = [*TEXTS, {"text": "e", "topic": "X"}]
    config = {**STREAMED, "tasks": tasks, "validation_file": None, "do_eval": False}
    run_multitask.main([configured(train_file=train, **config)])
    assert (tmp_path / "run" / "all_results.json").is_file()


# The model


@pytest.mark.parametrize("name", ["no/such", "/no/such/folder", "nosuch"])
def test_unknown_encoder(name, refused):
    assert f"encoder {name!r}" in refused(encoder=name)


def test_a_backbone_that_is_not_there_names_the_script(refused):
    line = refused(encoder="backbones/nosuch")
    assert "backbones/nosuch" in line
    assert "multitask-encoder get-backbone" in line


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
