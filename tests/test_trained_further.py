"""Finished models in runs: what stays of their tasks, and what is refused."""

import json
from pathlib import Path

import pytest
from bad_input import CLASSES, MULTI, REGRESSION
from conftest import ROWS, results

EMBEDDING = {"embedding": {"type": "sentence_embedding"}}
MOOD = {"mood": {"type": "sequence_classification"}}
OTHERS = [{"text": row["text"], "mood": row["topic"]} for row in ROWS]


def tasks_in(folder) -> dict[str, dict]:
    return json.loads(Path(folder, "config.json").read_text())["tasks"]


@pytest.fixture
def further(run, tmp_path):
    """Runs that start from the model of a first run, and write to a folder of their own."""

    def further(first: dict, **keys) -> Path:
        old = tmp_path / "old"
        run(**first).rename(old)
        return run(model=str(old), encoder=None, **keys)

    return further


@pytest.mark.parametrize("keys", [{"do_train": False}, {"tasks": {**CLASSES, **EMBEDDING, **MOOD}}])
def test_a_model_with_an_embedding_is_evaluated_and_grows(keys, further):
    tasks, both = {**CLASSES, **EMBEDDING}, [{**row, "mood": row["topic"]} for row in ROWS]
    folder = further(
        {"tasks": tasks}, **{"tasks": tasks, "train_file": OTHERS, "validation_file": both, **keys}
    )
    assert "eval_topic_accuracy" in results(folder)


@pytest.mark.parametrize("old", [MULTI, REGRESSION], ids=["several labels", "numbers"])
def test_a_task_stays_of_its_problem_type(old, further):
    numbers = [{**row, "topic": len(row["text"])} for row in ROWS]
    first = {"tasks": old, **dict.fromkeys(("train_file", "validation_file"), numbers)}
    folder = further(first if old is REGRESSION else {"tasks": old}, tasks={**CLASSES, **MOOD},
                     train_file=OTHERS, validation_file=OTHERS)  # fmt: skip
    assert tasks_in(folder)["topic"]["problem_type"] == old["topic"]["problem_type"]


def test_numbers_keep_their_names(further):
    task = {"topic": {**REGRESSION["topic"], "labels": ["val", "aro"]}}
    rows = [{**row, "topic": [1.0, 2.0]} for row in ROWS]
    folder = further({"tasks": task, "train_file": rows, "validation_file": rows},
                     tasks={**CLASSES, **MOOD}, train_file=OTHERS,
                     validation_file=OTHERS)  # fmt: skip
    assert tasks_in(folder)["topic"]["labels"] == ["val", "aro"]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            {"type": "token_classification"},
            "is sequence_classification, single_label_classification. Found token_classification: "
            "give a new task another name.",
        ),
        (
            MULTI["topic"],
            "is sequence_classification, single_label_classification. Found "
            "sequence_classification, multi_label_classification: give",
        ),
        (
            {**CLASSES["topic"], "labels": ["x", "y"]},
            "label_map renames and drops them. Lacking: z.",
        ),
    ],
)
def test_another_kind_of_task_and_fewer_labels_are_refused(task, message, further, capsys):
    weighed = {"topic": {**CLASSES["topic"], "class_weights": "balanced"}}
    first = {"train_file": [*ROWS, {"text": "z", "topic": "z"}], "tasks": weighed}
    with pytest.raises(SystemExit, match="2"):
        further(first, tasks={"topic": task}, train_file=ROWS)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("of_teacher", [False, True])
def test_numbers_as_labels_are_spelled_as_the_model_spells_them(of_teacher, run, tmp_path):
    """A table with a gap writes 1.0 where another wrote 1."""
    old, new = (
        [{**row, "topic": names[row["topic"]]} for row in ROWS]
        for names in ({"x": "1", "y": "2"}, {"x": 1.0, "y": 2.0})
    )
    run(train_file=old, validation_file=old).rename(tmp_path / "old")
    model = str(tmp_path / "old")
    keys = {"teachers": {"topic": model}} if of_teacher else {"model": model, "encoder": None}
    folder = run(train_file=new, validation_file=new, **keys)
    assert tasks_in(folder)["topic"]["labels"] == ["1", "2"]
    assert results(folder)["eval_samples"] == len(ROWS)


def test_a_test_split_without_labels_is_not_passed_over_in_silence(run, caplog):
    rows = [{"text": row["text"], "topic": None} for row in ROWS]
    folder = run(test_file=rows)
    assert "No test row has a label of topic." in caplog.text
    assert "test_topic_accuracy" not in results(folder)


def test_rows_without_any_label_measure_nothing(further, capsys):
    rows = [{"text": row["text"], "other": row["topic"]} for row in ROWS]
    with pytest.raises(SystemExit, match="2"):
        further({}, train_file=ROWS, validation_file=rows, do_train=False)
    assert "No validation row has a label of topic." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "key", "message"),
    [
        (MULTI, {"out_of_scope": 0.05}, "tasks.topic.out_of_scope is for one label a text."),
        (REGRESSION, {"label_map": {"a": "b"}}, "tasks.topic.label_map is for labels."),
    ],
)
def test_keys_are_for_the_kind_that_the_task_has(old, key, message, further, capsys):
    numbers = [{**row, "topic": len(row["text"])} for row in ROWS]
    rows = dict.fromkeys(("train_file", "validation_file"), numbers if old is REGRESSION else ROWS)
    with pytest.raises(SystemExit, match="2"):
        further({"tasks": old, **rows}, tasks={"topic": {**CLASSES["topic"], **key}}, **rows)
    assert message in capsys.readouterr().err


def test_numbers_are_not_renamed(further, capsys):
    values = [{**row, "topic": [1.0, 2.0]} for row in ROWS]
    rows = dict.fromkeys(("train_file", "validation_file"), values)
    old, new = ({"topic": {**REGRESSION["topic"], "labels": [*names]}} for names in ("ab", "xy"))
    with pytest.raises(SystemExit, match="2"):
        further({"tasks": old, **rows}, tasks=new, **rows)
    assert "old. Lacking: a, b." in capsys.readouterr().err


def test_a_grown_model_is_evaluated_by_the_config_of_its_run(further, run):
    tasks = {**CLASSES, **MOOD}
    folder = further({}, tasks=tasks, train_file=OTHERS, validation_file=OTHERS)
    before = results(folder)
    again = run(model=str(folder), encoder=None, tasks=tasks, train_file=OTHERS,
                validation_file=OTHERS, do_train=False)  # fmt: skip
    assert results(again)["eval_mood_accuracy"] == before["eval_mood_accuracy"]
