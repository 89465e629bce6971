"""YAML and command line to checked arguments."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch
import yaml
from transformers import HfArgumentParser

from multitask_encoder.arguments import parsing
from multitask_encoder.arguments import run_arguments as arguments
from multitask_encoder.arguments.help import OTHERS, TASKS, help_text, subjects
from multitask_encoder.arguments.parsing import DEFAULT_CONFIG, parse_arguments, resolve
from multitask_encoder.arguments.tasks import MODEL_KEYS, TaskArguments
from multitask_encoder.modeling.configuration_multitask import FITTED, TASK_KEYS
from multitask_encoder.processor import has_fast_bf16

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
BASE = """
encoder: some/encoder
train_file: train.jsonl
output_dir: out
use_cpu: true
tasks:
  intent: {type: sequence_classification}
  slots: {type: token_classification, weight: 0.5}
"""


@pytest.fixture
def parse(tmp_path):
    """(more YAML, words of the command line) -> the run."""

    def parse(more: str = "", *argv: str) -> arguments.RunArguments:
        path = tmp_path / "config.yaml"
        path.write_text(BASE + more, encoding="utf-8")
        return parse_arguments([str(path), *argv])

    return parse


def test_keys_go_to_their_dataclasses(parse):
    run = parse("pooling: cls\nseed: 3\n")
    assert (run.model.encoder, run.model.pooling) == ("some/encoder", "cls")
    assert (run.data.train_file, run.data.test_file) == (["train.jsonl"], None)
    assert (run.training.output_dir, run.training.seed) == ("out", 3)
    assert run.tasks == {
        "intent": TaskArguments(type="sequence_classification"),
        "slots": TaskArguments(type="token_classification", weight=0.5),
    }


def test_the_command_line_wins(parse):
    run = parse("seed: 3\nlearning_rate: 1.0e-3\n", "--seed", "4", "--pooling", "max")
    assert (run.training.seed, run.training.learning_rate, run.model.pooling) == (4, 1e-3, "max")


@pytest.mark.parametrize("written", ["3e-5", "3.0e-5", "0.00003", "'3e-5'"])
def test_numbers_of_yaml_are_numbers(written, parse):
    assert parse(f"learning_rate: {written}\n").training.learning_rate == 3e-5


def test_keys_may_be_joined_to_their_values(parse):
    run = parse("", "--seed=5", "--prompt=--query: a=b", "--data_dir=")
    assert (run.training.seed, run.model.prompt, run.data.data_dir) == (5, "--query: a=b", "")


def test_values_may_begin_with_a_dash(parse):
    assert parse("prompt: '-1'\n").model.prompt == "-1"
    assert parse("", "--max_steps", "-1").training.max_steps == -1


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["--normalize"], True),
        (["--normalize", "true"], True),
        (["--normalize=yes"], True),
        (["--normalize", "false"], False),
        (["--normalize=0"], False),
        ([], False),
    ],
)
def test_a_flag_without_a_value_is_true(words, value, parse):
    assert parse("", *words).model.normalize is value


def test_a_flag_may_stand_before_another_key(parse):
    run = parse("do_train: true\n", "--do_train", "false", "--normalize", "--seed", "9")
    assert (run.training.do_train, run.model.normalize, run.training.seed) == (False, True, 9)


def test_an_empty_key_keeps_its_default(parse):
    assert parse("seed:\npooling: null\n").training.seed == 42
    assert parse("pooling: null\n").model.pooling == "mean"


def test_lists_come_from_yaml_and_command_line(parse):
    assert parse("examples: [one text, another]\n").data.examples == ["one text", "another"]
    assert parse("examples: [one text]\n").data.examples == ["one text"]
    assert parse("", "--examples", "one text", "another").data.examples == ["one text", "another"]


def test_keys_of_tasks_are_dotted(parse):
    run = parse(
        "",
        *("--tasks.intent.weight", "2"),
        *("--tasks.intent.labels", "b", "a"),
        *("--tasks.mood.type=sequence_classification",),
        *("--tasks.mood.labels", "one"),
    )
    assert run.tasks["intent"] == TaskArguments(
        type="sequence_classification", weight=2.0, labels=["b", "a"]
    )
    assert run.tasks["mood"] == TaskArguments(type="sequence_classification", labels=["one"])
    assert run.tasks["slots"].weight == 0.5


def test_class_weights_are_balanced_or_a_mapping(parse):
    assert parse("", "--tasks.intent.class_weights", "balanced").tasks["intent"].class_weights == (
        "balanced"
    )
    assert parse("", "--tasks.intent.class_weights.b", "2").tasks["intent"].class_weights == {
        "b": 2.0
    }
    more = "  stars: {type: sequence_classification, class_weights: {1: 3}}\n"
    assert parse(more).tasks["stars"].class_weights == {"1": 3.0}


def test_labels_of_yaml_are_texts(parse):
    assert parse("", "--tasks.intent.labels", "yes", "no").tasks["intent"].labels == ["yes", "no"]
    more = "  stars: {type: sequence_classification, labels: [1, 2.5]}\n"
    assert parse(more).tasks["stars"].labels == ["1", "2.5"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--learning_rat", "1"], "Unknown key learning_rat. Did you mean learning_rate?"),
        (["--poling=cls"], "Unknown key poling. Did you mean pooling?"),
        (["--task", "x"], "Unknown key task. Did you mean tasks?"),
        (["--qqqq", "1"], "Unknown key qqqq."),
        (["--", "1"], "Unknown key ."),
        (["--tasks.intent.wight", "2"],
         "Unknown key tasks.intent.wight. Did you mean tasks.intent.weight?"),
        (["--learning_rate", "abc"], "--learning_rate/--learning-rate: invalid float value: 'abc'"),
        (["--num_train_epochs", "x"], "invalid float value: 'x'"),
        (["--seed", "1.5"], "--seed: invalid int value: '1.5'"),
        (["--bf16", "maybe"], "--bf16: Truthy value expected: got maybe"),
        (["--labelling", "last"], "invalid choice: 'last' (choose from 'first', 'all')"),
        (["--seed", "1", "2"], "seed should be one value. Found ['1', '2']."),
        (["--learning_rate"], "invalid float value: 'true'"),
        (["seed", "1"], "Expected a key like --seed. Found 'seed'."),
        (["--seed.x", "1"], "--seed.x: 'seed' has no keys of its own."),
        (["--gradient_accumulation_steps", "0"],
         "gradient_accumulation_steps should be at least 1. Found 0."),
        (["--per_device_train_batch_size=-1"],
         "per_device_train_batch_size should be a number from 0 to"),
        (["--tasks.intent.weight", "heavy"],
         "tasks.intent.weight should be a number. Found 'heavy'."),
        (["--tasks.intent", "x"], "tasks.intent should be a mapping with a `type`. Found 'x'."),
        (["--tasks.mood.weight", "2"],
         "tasks.mood should be a mapping with a `type`. Found {'weight': '2'}."),
        (
            ["--tasks.intent.type", "ner"],
            "tasks.intent.type should be one of sequence_classification, token_classification, "
            "sentence_embedding. Found 'ner'.",
        ),
        (
            ["--tasks.intent.problem_type", "multilabel"],
            "tasks.intent.problem_type should be one of single_label_classification, "
            "multi_label_classification, regression. Found 'multilabel'.",
        ),
    ],
)  # fmt: skip
def test_bad_words_are_refused(words, message, parse):
    seed = "seed: 1\n" if words[0] == "--seed.x" else ""
    with pytest.raises(ValueError) as raised:
        parse(seed, *words)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "should hold keys and values. Found None."),
        ("- a\n", "should hold keys and values. Found ['a']."),
        ("a: [1\nb: }\n", "is not valid YAML: while parsing a flow sequence"),
        ("a: b: c\n", "is not valid YAML: mapping values are not allowed here"),
        ("tasks: {a: 1}\nseed: 1\nseed: 2\n", "is not valid YAML: found the key 'seed' twice"),
        ("tasks:\n  a: {type: x, type: y}\n", "is not valid YAML: found the key 'type' twice"),
        (b"a: \xff\n", "is not valid YAML: 'utf-8' codec can't decode byte 0xff"),
        ("seed: 1\n", "`tasks` should map names to tasks. Found None."),
        ("tasks: []\n", "`tasks` should map names to tasks. Found []."),
        ("seed: [1, 2]\ntasks: {a: {type: sentence_embedding}}\n", "seed should be one value."),
        ("1: 2\ntasks: {a: {type: sentence_embedding}}\n", "Unknown key 1."),
        (
            "tasks: {a: {type: sequence_classification, labels: [yes, no]}}\n",
            "tasks.a.labels should be texts; YAML reads yes, no, true and false as booleans",
        ),
    ],
)
def test_bad_files_are_refused(content, message, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError) as raised:
        parse_arguments([str(path)])
    assert message in str(raised.value)


def test_an_alias_is_a_value_of_its_own(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "tasks: {a: &one {type: sequence_classification}, b: *one}\ntrain_file: x.jsonl\n"
    )
    run = parse_arguments([str(path), "--tasks.a.weight", "5"])
    assert [task.weight for task in run.tasks.values()] == [5.0, 1.0]


def test_labels_that_are_numbers_are_mapped_as_texts():
    topic = {"type": "sequence_classification", "label_map": {0: "no", 1.5: "yes", "none": 2}}
    tasks = resolve({"tasks": {"topic": topic}, "train_file": "x.jsonl"}).tasks
    assert tasks["topic"].label_map == {"0": "no", "1.5": "yes", "none": "2"}


def test_an_entity_type_that_is_mapped_to_o_is_dropped():
    slots = {"type": "token_classification", "label_map": {"ORG": "O", "MISC": None, "A": "B"}}
    tasks = resolve({"tasks": {"slots": slots}, "train_file": "x.jsonl"}).tasks
    assert tasks["slots"].label_map == {"ORG": None, "MISC": None, "A": "B"}


def test_a_tag_that_is_a_number_in_yaml_is_a_text(parse):
    assert parse("", "--tasks.slots.unlabelled_tag", "X").tasks["slots"].unlabelled_tag == "X"
    more = "  tags: {type: token_classification, unlabelled_tag: 99}\n"
    assert parse(more).tasks["tags"].unlabelled_tag == "99"


def test_numbers_of_several_columns_are_named_by_them():
    stars = {"type": "sequence_classification", "problem_type": "regression", "column": ["a", "b"]}
    given = {"tasks": {"stars": stars}, "train_file": "x.jsonl"}
    assert resolve(given).tasks["stars"].labels == ["a", "b"]
    named = {"tasks": {"stars": {**stars, "labels": ["x", "y"]}}, "train_file": "x.jsonl"}
    assert resolve(named).tasks["stars"].labels == ["x", "y"]


def of_data_sets(**keys) -> dict:
    tasks = {"intent": {"type": "sequence_classification"}}
    return {"tasks": tasks, "datasets": {"one": {"train_file": "x.csv", "weight": 3}}, **keys}


def test_null_is_the_default_weight_of_a_data_set():
    assert parse_arguments([], of_data_sets()).datasets["one"].weight == 3.0
    words = ["--datasets.one.weight", "null"]
    assert parse_arguments(words, of_data_sets()).datasets["one"].weight == 1.0


def test_keys_beside_data_sets_may_be_those_of_the_texts_to_predict():
    run = resolve(of_data_sets(text_column="comment", predict_file="new.csv"))
    assert (run.data.text_column, run.datasets["one"].arguments.text_column) == (["comment"], None)


def test_a_dropped_task_takes_along_what_is_said_of_it(parse):
    more = "teachers: {slots: a/model}\nsearch: {tasks: {slots: {weight: [1, 2]}}, seed: [1, 2]}\n"
    assert set(parse(more).search) == {"tasks.slots.weight", "seed"}
    run = parse(more, "--tasks.slots", "null")
    assert (set(run.tasks), run.teachers, set(run.search)) == ({"intent"}, {}, {"seed"})
    assert parse("search: {tasks.slots.weight: [1, 2]}\n", "--tasks.slots", "null").search is None


def test_null_takes_back_an_entry(parse):
    more = "teachers: {slots: a/model, intent: b}\nsearch: {seed: [1, 2], learning_rate: [1e-3]}\n"
    run = parse(more, "--teachers.slots", "null", "--search.learning_rate", "null")
    assert run.teachers == {"intent": ["b"]} and set(run.search) == {"seed"}
    run = parse_arguments(["--datasets.two", "null"], of_data_sets())
    assert set(run.datasets) == {"one"}


def test_homes_are_expanded(parse, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    run = parse("model: ~/a\npredict_output: ~/b\nteachers: {intent: ~/c}\n")
    assert run.model.model == "/home/me/a"
    assert run.data.predict_output == "/home/me/b"
    assert run.teachers == {"intent": ["/home/me/c"]}


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"^No config file none/such\.yaml\.$"):
        parse_arguments(["none/such.yaml"])


def test_without_a_config_the_quickstart_runs(tmp_path, monkeypatch, capsys):
    assert DEFAULT_CONFIG.resolve() == ROOT / "configs" / "quickstart.yaml"
    monkeypatch.setattr(parsing, "DEFAULT_CONFIG", tmp_path / "quickstart.yaml")
    (tmp_path / "quickstart.yaml").write_text(BASE)
    assert parse_arguments([]).data.train_file == ["train.jsonl"]
    assert capsys.readouterr().out == "No config given: running configs/quickstart.yaml.\n"
    assert parse_arguments(["--seed", "8"]).training.seed == 8


def test_help_lists_the_keys(capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_arguments(["--help"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert all(key in printed for key in ("--encoder", "--train_file", "--learning_rate"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_parses(path):
    run = parse_arguments([str(path), "--use_cpu"])
    assert run.tasks
    assert run.training.output_dir.startswith("runs/")


def test_a_run_is_told_by_what_was_set_and_what_it_starts_from(parse):
    run = parse("pooling: cls\nseed: 3\n", "--pooling", "max", "--seed", "null")
    assert run.set_keys() == yaml.safe_load(BASE) | {"pooling": "max"}
    del run.given["encoder"]
    assert run.set_keys()["encoder"] == "some/encoder"
    assert "encoder" not in parse("", "--encoder", "null", "--model", "a/model").set_keys()


def test_a_saved_run_starts_again(parse, tmp_path):
    run = parse(
        "learning_rate: 3e-5\nexamples: [é, b]\nprompt: 'query: '\nlr_scheduler_kwargs: {a: 1}\n"
        "seed:\n",
        *("--tasks.intent.labels", "no", "1"),
        *("--normalize", "--num_train_epochs=2", "--bf16", "false"),
    )
    saved = tmp_path / "saved.yaml"
    run.save(saved)
    assert None not in yaml.safe_load(saved.read_text(encoding="utf-8")).values()
    again = parse_arguments([str(saved)])
    assert (again.model, again.data, again.tasks) == (run.model, run.data, run.tasks)
    assert again.training.to_dict() == run.training.to_dict()
    assert again.training.num_train_epochs == 2
    assert again.training.lr_scheduler_kwargs == {"a": 1}
    assert again.tasks["intent"].labels == ["no", "1"]


def test_a_saved_run_is_utf_8_wherever_it_is_saved(parse, tmp_path, monkeypatch):
    run = parse("prompt: größer\n")
    monkeypatch.setattr("io.text_encoding", lambda encoding, *_: encoding or "ascii")
    run.save(tmp_path / "saved.yaml")
    assert "größer" in (tmp_path / "saved.yaml").read_bytes().decode()


def test_evaluation_is_off_without_do_eval(parse):
    training = parse("", "--do_eval", "false").training
    assert (training.eval_strategy, training.load_best_model_at_end) == ("no", False)


def test_bf16_follows_the_processor_unless_told(parse, monkeypatch):
    for fast in (True, False):
        monkeypatch.setattr(arguments, "has_fast_bf16", lambda use_cpu, fast=fast: fast)
        assert parse().training.bf16 is fast
        assert parse("bf16: false\n").training.bf16 is False


@pytest.mark.skipif(torch.accelerator.is_available(), reason="needs a machine without a GPU")
def test_bf16_without_a_gpu_needs_no_word_of_the_processor(parse):
    training = parse("bf16: true\n", "--use_cpu", "false").training
    assert (training.use_cpu, training.bf16) == (True, True)


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [
        ({"avx512_f": True, "amx_bf16": False, "avx512_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_processors_that_multiply_bf16(capabilities, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_fast_bf16(use_cpu=True) is fast


def test_a_model_that_only_answers_is_not_trained():
    given = ["--model", "runs/mine", "--do_predict", "--predict_file", "a.txt"]
    assert parse_arguments(given).training.only_predicts
    assert parse_arguments([*given, "--do_train", "false"]).training.only_predicts


# The help


def test_help_has_every_key_under_one_subject():
    keys = [key.name for title, some in subjects().items() if title != TASKS for key in some]
    assert len(keys) == len(set(keys))
    assert set(keys) == {key.name for group in parsing.GROUPS for key in fields(group) if key.init}
    own = set(vars(arguments.MultiTaskTrainingArguments)["__annotations__"])
    assert own.isdisjoint(key.name for key in subjects()[OTHERS])
    assert subjects()[TASKS] == list(fields(TaskArguments))


@pytest.mark.parametrize("argv", [["--help"], ["my.yaml", "-h"]])
def test_help_is_readable_at_100_columns(argv, capsys):
    with pytest.raises(SystemExit, match="0"):
        parse_arguments(argv)
    out = capsys.readouterr().out
    assert out == help_text() + "\n"
    assert max(map(len, out.splitlines())) <= 100
    assert "  --tasks.NAME.loss\n" in out


def test_tasks_of_a_run_and_of_a_model_have_the_same_keys():
    of_the_run, of_the_rows = {"labelling"}, {"begin_marks", "inner_marks", "standardization"}
    assert {*MODEL_KEYS, *of_the_run, *of_the_rows, *FITTED} == set(TASK_KEYS)


NUMBERS = [
    action.dest
    for action in HfArgumentParser(parsing.GROUPS)._actions
    if action.type in (int, float) and action.nargs is None
]


def test_the_keys_that_are_numbers_are_known():
    assert {"learning_rate", "weight_decay", "seed", "stride", "warmup_steps"} < set(NUMBERS)


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e300", "-1e300"])
@pytest.mark.parametrize("key", NUMBERS)
def test_no_number_is_infinite_or_huge(key, value, parse):
    with pytest.raises(ValueError, match=key.replace("_", "[_-]")) as error:
        parse(f"{key}: {value}\n")
    assert "\n" not in str(error.value)


CHOICES = [
    action.dest
    for action in HfArgumentParser(parsing.GROUPS)._actions
    if action.choices or action.dest in ("eval_strategy", "save_strategy", "optim")
]


@pytest.mark.parametrize("value", ["wrong", "''", "7", "[a, b]", "{a: b}"])
@pytest.mark.parametrize("key", CHOICES)
def test_a_wrong_name_is_one_line(key, value, parse):
    with pytest.raises(ValueError, match=r".") as error:
        parse(f"{key}: {value}\n")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["", "tasks.intent.", "datasets.one.", "datasets.one.columns."])
def test_an_unknown_key_is_named_wherever_it_is(where, parse):
    keys = ["--train_file", "null", "--datasets.one.train_file", "train.jsonl"]
    with pytest.raises(ValueError, match="nonsense"):
        parse("", *(keys if "datasets" in where else []), f"--{where}nonsense", "1")


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        ("loss_kind_accuracy", True),
        ("eval_loss_kind_spearman", True),
        ("loss_kind_mae", False),
        ("loss_loss_kind", False),
        ("loss_intent", False),
        ("loss", False),
    ],
)
def test_a_task_may_be_named_after_a_loss(metric, higher):
    tasks = {name: {"type": "sequence_classification"} for name in ("loss_kind", "intent")}
    run = resolve({"tasks": tasks, "metric_for_best_model": metric})
    assert run.training.greater_is_better is higher
    run = resolve({"tasks": tasks, "metric_for_best_model": metric, "greater_is_better": True})
    assert run.training.greater_is_better is True


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"early_stopping_patience": 0}, "early_stopping_patience should be at least 1. Found 0."),
        (
            {
                "early_stopping_patience": 3,
                "eval_strategy": "no",
                "save_strategy": "no",
                "load_best_model_at_end": False,
            },
            "early_stopping_patience needs do_eval and an eval_strategy.",
        ),
    ],
)
def test_early_stopping_waits_for_evaluations(keys, message):
    with pytest.raises(ValueError, match=message):
        resolve({"tasks": {"intent": {"type": "sequence_classification"}}, **keys})
