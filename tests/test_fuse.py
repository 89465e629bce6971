"""Several saved models become one, from texts alone."""

import json

import pytest
import yaml
from conftest import results
from datasets import Dataset, Features, List, Value
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from multitask_encoder.cli import fuse
from multitask_encoder.inference.loading import load_pipeline
from multitask_encoder.reporting.beside_teachers import _score
from multitask_encoder.training.teacher_config import task_of_teacher

TOPIC = {"type": "sequence_classification", "labels": ["x", "y"]}
SLOTS = {"type": "token_classification", "labels": ["O", "B-LOC", "I-LOC"]}
TEXTS = [f"{word} the {other}" for word in ("paris", "ulm", "play") for other in
         ("sun", "food", "sea", "day", "car", "bus", "end", "is", "of", "in")]  # fmt: skip
QUICK = ["--num_train_epochs", "1", "--use_cpu", "--report_to", "none", "--bf16", "false"]


def test_three_models_become_one(saved, backbone, tmp_path, capsys):
    (tmp_path / "pile.txt").write_text("\n".join([*TEXTS, "", ""]))
    topic, slots, encoder = saved("a", topic=TOPIC), saved("b", slots=SLOTS), backbone()
    output = tmp_path / "fused"
    fuse.main(
        [f"intent={topic}", f"slots={slots}", f"embedding={topic}", "--texts",
         str(tmp_path / "pi*.txt"), "--encoder", str(encoder), "--output_dir", str(output), *QUICK]
    )  # fmt: skip
    answer = load_pipeline(str(output))("paris is the sea")
    assert set(answer["labels"]["intent"]["scores"]) == {"x", "y"}
    assert list(answer["entities"]) == ["slots"]
    found = results(output)
    assert found["train_samples"] == 27 and found["eval_samples"] == 3
    rows = {(row["task"], row["model"]): row for row in found["teachers"]}
    assert list(rows) == [
        ("intent", topic), ("intent", "this model"), ("slots", slots), ("slots", "this model"),
        ("embedding", topic),
    ]  # fmt: skip
    assert rows["intent", topic]["agreement"] == pytest.approx(found["eval_intent_accuracy"])
    assert rows["slots", slots]["agreement"] == pytest.approx(found["eval_slots_f1"])
    assert rows["intent", topic]["metric"] is None  # there are no labels
    assert all(row["parameters"] > 0 < row["sentences_per_second"] for row in rows.values())
    printed = capsys.readouterr().out
    assert "Beside its teachers." in printed
    assert '<h2 id="teachers-title">' in (output / "report.html").read_text()
    config = yaml.safe_load((output / "config.yaml").read_text())
    assert config["tasks"]["embedding"] == {"type": "sentence_embedding", "weight": 3}
    assert config["teachers"] == {"intent": [topic], "slots": [slots], "embedding": [topic]}
    assert len((output / "bad_rows.jsonl").read_text().splitlines()) == 1  # the blank line


def test_teachers_are_measured_where_there_are_labels(run, saved, tmp_path):
    topic, slots = saved("a", topic=TOPIC), saved("b", slots=SLOTS)
    texts = [{"text": text} for text in TEXTS]
    pipelines = {name: load_pipeline(folder) for name, folder in (("a", topic), ("b", slots))}
    right = [
        {
            "text": text,
            "topic": pipelines["a"](text)["labels"]["topic"]["label"],
            "slots": [
                {key: one[key] for key in ("start", "end", "label")}
                for one in pipelines["b"](text)["entities"]["slots"]
            ],
        }
        for text in TEXTS
    ]
    tasks = {name: {"type": task["type"]} for name, task in (("topic", TOPIC), ("slots", SLOTS))}
    folder = run(train_file=texts, validation_file=right, tasks=tasks,
                 teachers={"topic": topic, "slots": slots})  # fmt: skip
    found = {(row["task"], row["model"]): row for row in results(folder)["teachers"]}
    for name, teacher, metric in (("topic", topic, "accuracy"), ("slots", slots, "f1")):
        assert found[name, teacher]["metric"] == 1.0
        student = results(folder)[f"eval_{name}_{metric}"]
        assert found[name, "this model"]["metric"] == pytest.approx(student)
        assert found[name, teacher]["agreement"] == pytest.approx(student)


def test_a_teacher_says_which_task_it_has(saved, plain, backbone):
    numbers = {**TOPIC, "problem_type": "regression", "labels": ["a", "b"]}
    many = saved("many", topic=TOPIC, slots=SLOTS, stars=numbers)
    single = {"problem_type": "single_label_classification"}
    assert task_of_teacher(many, "topic") == {"type": TOPIC["type"], **single}
    assert task_of_teacher(many, "slots") == {"type": SLOTS["type"]}
    assert task_of_teacher(many, "stars") == {key: numbers[key] for key in numbers}
    assert task_of_teacher(many, "embedding") == {"type": "sentence_embedding"}
    assert task_of_teacher(saved("one", slots=SLOTS), "any")["type"] == SLOTS["type"]
    several = "multi_label_classification"
    folder = plain(AutoModelForSequenceClassification, ["x", "y"], problem_type=several)
    assert task_of_teacher(folder, "kinds") == {"type": TOPIC["type"], "problem_type": several}
    folder = plain(AutoModelForTokenClassification, ["O", "B-X"])
    assert task_of_teacher(folder, "any") == {"type": SLOTS["type"]}
    assert task_of_teacher(str(backbone()), "embedding") == {"type": "sentence_embedding"}
    with pytest.raises(ValueError, match=r"should have a task of that name\. Found topic, slots"):
        task_of_teacher(many, "intent")
    with pytest.raises(ValueError, match="ForTokenClassification, or the task be named embedding"):
        task_of_teacher(str(backbone()), "vectors")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["a=b"], "--texts should name the files of texts. Found none."),
        (["--texts", "a.txt"], "There should be a NAME=MODEL for each task. Found none."),
        (["ab", "--texts", "a.txt"], "A task and its teacher should be NAME=MODEL. Found 'ab'."),
        (["a=", "--texts=a.txt"], "A task and its teacher should be NAME=MODEL. Found 'a='."),
        (["a=nowhere", "--texts", "a"], "The teacher 'nowhere' of task 'a' can't be loaded"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line(argv, line, capsys):
    with pytest.raises(SystemExit) as exit_info:
        fuse.main(argv)
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert line in error and len(error.splitlines()) == 1


def test_embeddings_alone_and_mixed_files_are_refused(saved, backbone, capsys):
    for argv, line in (
        ([f"embedding={backbone()}", "--texts", "a.txt"], "Found only embeddings."),
        ([f"a={saved('a', topic=TOPIC)}", "--texts", "a.txt", "b.jsonl"], "Found both."),
    ):
        with pytest.raises(SystemExit):
            fuse.main(argv)
        assert capsys.readouterr().err.rstrip().endswith(line)


def test_a_pile_may_be_a_table(saved, backbone, tmp_path):
    for name, labels in (("pile", {}), ("mine", {"topic": "x"})):
        rows = "".join(f"{json.dumps({'text': text, **labels})}\n" for text in TEXTS)
        (tmp_path / f"{name}.jsonl").write_text(rows)
    output = tmp_path / "fused"
    fuse.main(
        [f"topic={saved('a', topic=TOPIC)}", f"topic={saved('b', topic=TOPIC)}",
         f"--texts={tmp_path / 'pile.jsonl'}", "--encoder", str(backbone()), "--output_dir",
         str(output), "--datasets.mine.test_file", str(tmp_path / "mine.jsonl"), "--report",
         "false", *QUICK]
    )  # fmt: skip
    assert all(row["metric"] is not None for row in results(output)["teachers"])  # of `mine`
    assert [row["model"] for row in results(output)["teachers"]] == [
        str(tmp_path / "a"), str(tmp_path / "b"), "this model"
    ]  # fmt: skip


def test_who_says_nothing_is_wrong():
    def score(given: list, wanted: list, problem_type: str) -> float | None:
        several = problem_type == "multi_label_classification"
        features = Features({"topic": List(Value("string")) if several else Value("string")})
        sides = [[Dataset.from_dict({"topic": one}, features)] for one in (given, wanted)]
        return _score("topic", {**TOPIC, "problem_type": problem_type}, *sides)

    single, several = "single_label_classification", "multi_label_classification"
    found = score(["x", None, "q", "y"], ["x", "y", "q", None], single)
    assert found == pytest.approx(2 / 3)
    assert score([None], [None], single) is None
    assert score([["x"], []], [["x"], ["y"]], several) == 0.5
    assert score([[], []], [[], []], several) == 1.0


def test_pairs_alone_may_be_measured(saved, backbone, tmp_path):
    (tmp_path / "pile.txt").write_text("\n".join(TEXTS))
    pairs = [{"sentence1": "the sun", "sentence2": text, "score": len(text)} for text in TEXTS[:4]]
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in pairs))
    output = tmp_path / "fused"
    fuse.main(
        [f"topic={saved('a', topic=TOPIC)}", f"embedding={backbone()}", "--texts",
         str(tmp_path / "pile.txt"), "--encoder", str(backbone()), "--output_dir", str(output),
         "--datasets.sts.test_file", str(tmp_path / "pairs.jsonl"), "--datasets.sts.text_column",
         "sentence1", "sentence2", "--datasets.sts.columns.embedding", "score", "--report",
         "false", *QUICK]
    )  # fmt: skip
    assert "teachers" in results(output)
