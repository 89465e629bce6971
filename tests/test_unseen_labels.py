"""Labels that only validation or test has count as wrong: literal rows, and whole runs."""

import json
import math

import numpy as np
import pytest
from bad_input import lines
from conftest import results
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score as entity_f1_score
from seqeval.metrics import precision_score, recall_score
from sklearn.metrics import accuracy_score, f1_score

from multitask_encoder.cli import main as command
from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.data.inspection import unseen_labels, unseen_lines
from multitask_encoder.data.preprocessing import preprocess
from multitask_encoder.inference import load_pipeline
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.losses import count_labels
from multitask_encoder.modeling.windows import tokenize
from multitask_encoder.training.row_scores import metrics_of, row_answers

SINGLE = {
    "type": "sequence_classification",
    "problem_type": "single_label_classification",
    "labels": ["x", "y"],
    "weight": 1.0,
    "score_weight": 1.0,
}
MULTI = {**SINGLE, "problem_type": "multi_label_classification"}
ENTITIES = {
    **SINGLE,
    "type": "token_classification",
    "labels": ["O", "B-LOC", "I-LOC"],
    "labelling": "first",
}
MODEL_TASKS = {"topic": SINGLE, "kinds": MULTI, "spans": ENTITIES}
SPAN = {"start": Value("int32"), "end": Value("int32"), "label": Value("string")}
FEATURES = Features(
    {
        "source": Value("string"),
        "text": Value("string"),
        "topic": Value("string"),
        "kinds": List(Value("string")),
        "spans": List(SPAN),
    }
)


def loaded(*rows: dict) -> Dataset:
    columns = {name: [row.get(name) for row in rows] for name in FEATURES}
    columns["source"] = [f"rows, line {number}" for number in range(1, len(rows) + 1)]
    return Dataset.from_dict(columns, FEATURES)


def windows_of(tokenizer, rows: Dataset, tasks: dict, open_tasks=None, **reading) -> Dataset:
    open_tasks = list(tasks if open_tasks is None else open_tasks)
    return preprocess(rows, tokenizer, tasks, tokenize, UNITS, open_tasks=open_tasks, **reading)


# Preprocessed rows


def test_the_loss_ignores_unseen_labels_and_metrics_find_them(tokenizer):
    spans = [{"start": 0, "end": 5, "label": "PER"}, {"start": 6, "end": 7, "label": "LOC"}]
    rows = loaded(
        {"text": "a u.s c", "topic": "z", "kinds": ["y", "w", "v"], "spans": spans},
        {"text": "a", "topic": "x", "kinds": [], "spans": []},
        {"text": "a"},
    )
    unseen, seen, absent = windows_of(tokenizer, rows, MODEL_TASKS).to_list()
    assert (unseen["topic"], unseen["topic.unseen"]) == (-100, ["z"])
    assert (unseen["kinds"], unseen["kinds.unseen"]) == ([0, 1], ["w", "v"])
    # [CLS] a u . s c [SEP]: each is a unit; -101 is one to predict, too.
    assert unseen["spans"] == [-100, -101, -101, -101, -101, 1, -100]
    assert (unseen["spans.tags"], unseen["spans.unseen"]) == ([3, 4, 4, 4, 1], ["PER"])
    assert (seen["topic"], seen["kinds"], seen["spans"]) == (0, [0, 0], [-100, 0, -100])
    assert (absent["topic"], absent["spans"]) == (-100, [-100, -100, -100])
    for name in MODEL_TASKS:
        assert seen[f"{name}.unseen"] == absent[f"{name}.unseen"] == []
    batch = MultiTaskCollator(tokenizer, MODEL_TASKS)([unseen, seen, absent])
    counts = {name: count_labels(labels).tolist() for name, labels in batch["labels"].items()}
    assert counts == {"topic": [1, 1], "kinds": [4, 2], "spans": [2, 2]}  # labels, and rows


def test_types_of_words_are_unseen_in_every_window(tokenizer):
    rows = Dataset.from_dict(
        {
            "source": ["rows, line 1"],
            "tokens": [["a", "b", "c", "d", "e", "f", "g"]],
            "spans": [["B-PER", "I-PER", "O", "O", "O", "B-ORG", "B-PER"]],
        }
    )
    reading = {"max_length": 6, "stride": 2}
    windows = windows_of(tokenizer, rows, {"spans": ENTITIES}, **reading).to_list()
    assert len(windows) > 1
    assert [tag for window in windows for tag in window["spans.tags"]] == [3, 4, 0, 0, 0, 5, 3]
    assert {tuple(window["spans.unseen"]) for window in windows} == {("PER", "ORG")}


def test_only_open_tasks_have_unseen_labels(tokenizer):
    rows = loaded({"text": "a", "topic": "z", "kinds": ["w"], "spans": []})
    (found,) = windows_of(tokenizer, rows, MODEL_TASKS, ["topic"]).to_list()
    assert found["problem"].startswith("task 'kinds': unknown label 'w'. Expected one seen in ")


def test_unseen_labels_are_counted_and_the_first_20_named(tokenizer):
    spans = [{"start": 0, "end": 1, "label": "PER"}, {"start": 2, "end": 3, "label": "PER"}]
    rows = loaded(
        {"text": "a b", "topic": "x", "kinds": ["w", "x", "v"], "spans": spans},
        {"text": "a b", "topic": "z", "kinds": ["w"], "spans": spans[:1]},
        *({"text": "a b", "topic": f"z{number}"} for number in range(21)),
    )
    found = unseen_labels(rows, windows_of(tokenizer, rows, MODEL_TASKS), MODEL_TASKS)
    names = ["z", *(f"z{number}" for number in range(21))]
    assert found == {
        "topic": {"rows": 22, "labels": dict.fromkeys(names, 1)},
        "kinds": {"rows": 2, "labels": {"w": 2, "v": 1}},
        "spans": {"rows": 2, "labels": {"PER": 3}},
    }
    assert unseen_lines(found) == [
        "topic: 22 rows have labels that training lacks, which count as wrong: "
        f"{', '.join(f'{name} 1' for name in names[:20])}, and 2 more",
        "kinds: 2 rows have labels that training lacks, which count as wrong: w 2, v 1",
        "spans: 2 rows have labels that training lacks, which count as wrong: PER 3",
    ]


# Metrics


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(st.data())
def test_metrics_are_those_of_scikit_learn_with_all_labels(data):
    names = ["x", "y", "v", "w"]  # the model has the first two
    rows = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(names),
                st.sets(st.sampled_from(names)),
                st.tuples(*[st.floats(-1, 1)] * 4),
            ),
            min_size=1,
            max_size=8,
        )
    )
    singles, multis, logits = zip(*rows, strict=True)
    known = names[:2]
    columns = {
        "topic": [known.index(name) if name in known else -100 for name in singles],
        "topic.unseen": [[name] if name not in known else [] for name in singles],
        "kinds": [[float(name in chosen) for name in known] for chosen in multis],
        "kinds.unseen": [sorted(chosen - set(known)) for chosen in multis],
    }
    numbers = {"row": list(range(len(rows))), "window": [0] * len(rows), "dataset": [0] * len(rows)}
    features = {
        "topic": Value("int32"),
        "topic.unseen": List(Value("string")),
        "kinds": List(Value("float32")),
        "kinds.unseen": List(Value("string")),
        **dict.fromkeys(numbers, Value("int32")),
    }
    windows = Dataset.from_dict({**columns, **numbers}, Features(features))
    both = np.asarray(logits)
    predictions = {"topic": both[:, :2], "kinds": both[:, 2:]}
    tasks = {"topic": SINGLE, "kinds": MULTI}
    found = metrics_of(row_answers(predictions, windows, tasks), tasks)

    answers = [known[index] for index in both[:, :2].argmax(1)]
    assert found["topic_accuracy"] == accuracy_score(singles, answers)
    assert found["topic_macro_f1"] == pytest.approx(
        f1_score(singles, answers, average="macro", zero_division=0)
    )
    every = [*known, *(name for name in names[2:] if any(name in chosen for chosen in multis))]
    expected = np.asarray([[name in chosen for name in every] for chosen in multis], dtype=int)
    chosen = np.zeros_like(expected)
    chosen[:, :2] = both[:, 2:] > 0
    assert found["kinds_accuracy"] == accuracy_score(expected, chosen)
    assert found["kinds_macro_f1"] == pytest.approx(
        f1_score(expected, chosen, average="macro", zero_division=0)
    )
    right = (np.asarray(singles) == np.asarray(answers)) & (expected == chosen).all(1)
    assert found["exact_match"] == pytest.approx(right.mean())


def test_an_unseen_entity_is_a_missed_one():
    columns = {
        "row": [0, 1, 1],
        "window": [0, 0, 1],
        "dataset": [0, 0, 0],
        "spans.tags": [[3, 4, 1], [5, 3], [4, 0]],
        "spans.positions": [[1, 2, 3], [1, 2], [1, 2]],
        "spans.unseen": [["PER"], ["PER", "ORG"], ["PER", "ORG"]],
    }
    answers = np.array([[0, 1, 2, 1], [0, 0, 0, 0], [0, 0, 0, 0]])
    tasks = {"spans": ENTITIES}
    found = metrics_of(row_answers({"spans": answers}, Dataset.from_dict(columns), tasks), tasks)
    expected = [["B-PER", "I-PER", "B-LOC"], ["B-ORG", "B-PER", "I-PER", "O"]]
    predicted = [["B-LOC", "I-LOC", "B-LOC"], ["O"] * 4]
    assert found["spans_precision"] == precision_score(expected, predicted) == 1 / 2
    assert found["spans_recall"] == recall_score(expected, predicted) == 1 / 4
    assert found["spans_f1"] == pytest.approx(entity_f1_score(expected, predicted))
    assert found["exact_match"] == 0


def test_the_answer_does_not_depend_on_whether_the_label_is_known(
    make_trainer, make_model, tokenizer
):
    tags = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    tasks = {"spans": {**ENTITIES, "labels": tags}}
    model = make_model(tasks=tasks)
    bias = model.heads["spans"].classifier.bias.data
    bias.copy_(bias.new_tensor([0.0, 0.3, 0.9, 0.3, 0.9]))  # `I-` alone is the likeliest
    words = ["the", "u.s.", "in", "paris", "a"]
    rows = {
        "source": ["rows, line 1"] * 2,
        "tokens": [words] * 2,
        "spans": [["O", "B-LOC", "I-LOC", "B-PER", "O"], ["O", "B-NEW", "I-NEW", "B-NEW", "O"]],
    }
    windows = windows_of(tokenizer, Dataset.from_dict(rows), tasks)
    trainer = make_trainer(model=model, tasks=tasks, train=windows.select([0]))
    known, unseen = trainer.predict(windows).predictions["spans"]
    assert known.tolist() == unseen.tolist()
    assert known[1] in (0, 1, 3)  # not the likeliest by itself: the units were decoded


# Runs

TASKS = {
    "topic": {"type": "sequence_classification"},
    "kinds": {
        "type": "sequence_classification",
        "problem_type": "multi_label_classification",
    },
    "spans": {"type": "token_classification"},
}
TRAIN: list[dict] = [
    {"text": "a b", "topic": "x", "kinds": ["p"], "spans": [[0, 1, "LOC"]]},
    {"text": "c d", "topic": "y", "kinds": ["q"], "spans": []},
    {"text": "a d", "topic": "x", "kinds": ["p", "q"], "spans": [[0, 1, "LOC"]]},
] * 4
KNOWN: dict = {"text": "a b", "topic": "x", "kinds": ["p"], "spans": [[0, 1, "LOC"]]}
UNSEEN: list[dict] = [
    {"text": "a e", "topic": "z", "kinds": ["p", "r"], "spans": [[0, 1, "LOC"], [2, 3, "PER"]]},
    {"text": "c e", "topic": "z", "kinds": ["r"], "spans": [[2, 3, "PER"]]},
]
LINES = [
    "validation: kinds: 2 rows have labels that training lacks, which count as wrong: r 2.",
    "validation: spans: 2 rows have labels that training lacks, which count as wrong: PER 2.",
    "validation: topic: 2 rows have labels that training lacks, which count as wrong: z 2.",
]


@pytest.fixture
def trained(run):
    """The folder of a run whose validation split has labels that training lacks."""
    return run(
        tasks=TASKS,
        train_file=TRAIN,
        validation_file=[KNOWN, *UNSEEN],
        num_train_epochs=40,
        per_device_train_batch_size=12,
        learning_rate=1e-2,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
        report=True,
    )


def expected_of(folder, rows: list[dict]) -> dict[str, float]:
    """The metrics of a finished model's answers, from the names of its labels alone."""
    answers = load_pipeline(str(folder))([row["text"] for row in rows])
    topics = [answer["labels"]["topic"]["label"] for answer in answers]
    kinds = [answer["labels"]["kinds"]["label"] for answer in answers]
    spans = [
        {
            (entity["start"], entity["end"], entity["label"])
            for entity in answer["entities"]["spans"]
        }
        for answer in answers
    ]
    golden = [{tuple(span) for span in row["spans"]} for row in rows]
    right = sum(len(own & found) for own, found in zip(golden, spans, strict=True))
    exact = [
        topic == row["topic"] and sorted(kind) == sorted(row["kinds"]) and own == found
        for row, topic, kind, own, found in zip(rows, topics, kinds, golden, spans, strict=True)
    ]
    return {
        "topic_accuracy": accuracy_score([row["topic"] for row in rows], topics),
        "kinds_accuracy": float(
            np.mean([sorted(k) == sorted(row["kinds"]) for k, row in zip(kinds, rows, strict=True)])
        ),
        "spans_recall": right / sum(map(len, golden)),
        "exact_match": float(np.mean(exact)),
    }


def test_a_run_counts_unseen_labels_as_wrong(trained, caplog):
    found = results(trained)
    for name, value in expected_of(trained, [KNOWN, *UNSEEN]).items():
        assert found[f"eval_{name}"] == pytest.approx(value), name
    assert found["eval_topic_accuracy"] == pytest.approx(1 / 3)  # it has learned the rest
    assert found["eval_topic_macro_f1"] == pytest.approx((1 / 2 + 0 + 0) / 3, abs=0.2)
    assert found["eval_spans_recall"] == pytest.approx(2 / 4)
    assert found["eval_exact_match"] == pytest.approx(1 / 3)
    assert math.isfinite(found["eval_loss"])
    logged = [record.getMessage() for record in caplog.get_records("setup")]
    assert [line for line in logged if "training lacks" in line] == LINES
    page = (trained / "report.html").read_text()
    for line in LINES:
        assert f'<p class="note">{line}</p>' in page
    assert "z mistaken for " in page
    config = json.loads((trained / "config.json").read_text())
    assert config["tasks"]["topic"]["labels"] == ["x", "y"]


def test_a_finished_model_is_measured_on_other_labels(trained, run, tmp_path, caplog):
    first = results(trained)
    caplog.clear()
    (tmp_path / "other.jsonl").write_text(lines([KNOWN, *UNSEEN]))
    argv = ["evaluate", str(trained / "config.yaml"), "--model", str(trained)]
    files = ["--train_file", "other.jsonl", "--validation_file", str(tmp_path / "other.jsonl")]
    files += ["--data_dir", str(tmp_path)]
    command.main([*argv, *files, "--output_dir", str(tmp_path / "measured")])
    assert [line for line in caplog.messages if "training lacks" in line] == LINES
    found = results(tmp_path / "measured")
    for key in ("topic_accuracy", "kinds_macro_f1", "spans_f1", "exact_match", "loss"):
        assert found[f"eval_{key}"] == pytest.approx(first[f"eval_{key}"]), key


def test_the_loss_is_that_of_the_labels_that_are_known(trained, run, tmp_path):
    def measured(rows):
        config = {"tasks": TASKS, "do_train": False, "model": str(trained)}
        run(**config, train_file=None, validation_file=rows, output_dir=str(tmp_path / "measured"))
        return results(tmp_path / "measured")

    unseen = [{**KNOWN, "topic": "z"}, {**KNOWN, "topic": "y"}]
    without = [{**KNOWN, "topic": None}, {**KNOWN, "topic": "y"}]
    found, expected = measured(unseen), measured(without)
    assert found["eval_loss"] == pytest.approx(expected["eval_loss"])
    assert found["eval_topic_accuracy"] == expected["eval_topic_accuracy"] / 2
    alone = measured([{**KNOWN, "topic": "z"}])
    assert alone["eval_topic_accuracy"] == alone["eval_exact_match"] == 0
    assert math.isfinite(alone["eval_loss"])


def test_inspection_names_unseen_labels(run, capsys):
    folder = run("--do_inspect", tasks=TASKS, train_file=TRAIN, validation_file=[KNOWN, *UNSEEN])
    printed = capsys.readouterr().out.splitlines()
    for line in LINES:
        assert line.removesuffix(".").replace("validation:", " ") in printed
    report = json.loads((folder / "inspection.json").read_text())["splits"]
    assert report["train"]["unseen_labels"] == {}
    assert report["validation"]["bad_rows"] == []
    assert report["validation"]["unseen_labels"] == {
        "topic": {"rows": 2, "labels": {"z": 2}},
        "kinds": {"rows": 2, "labels": {"r": 2}},
        "spans": {"rows": 2, "labels": {"PER": 2}},
    }


def test_several_data_sets_and_a_streamed_one(run, tmp_path, caplog):
    """The model that training goes on from knows x and y; so rows to train on have no others."""
    splits = {"train": TRAIN, "one": [KNOWN, UNSEEN[0]], "two": [KNOWN], "bad": [*TRAIN, *UNSEEN]}
    for name, rows in splits.items():
        (tmp_path / f"{name}.jsonl").write_text(lines(rows))
    files = {"train_file": str(tmp_path / "train.jsonl")}
    datasets = {
        name: {**files, "validation_file": str(tmp_path / f"{name}.jsonl")}
        for name in ("one", "two")
    }
    alone = {"train_file": None, "validation_file": None}
    folder = run(tasks=TASKS, datasets=datasets, **alone)
    found = results(folder)
    assert "one validation: topic: 1 rows have labels that training lacks, which" in caplog.text
    assert found["eval_one_topic_accuracy"] <= 1 / 2
    assert found["eval_topic_accuracy"] <= 2 / 3

    finished = folder.rename(tmp_path / "finished")
    stream = {"streaming": True, "max_steps": 2, "mixing": "uniform", "model": str(finished)}
    streamed = run(tasks=TASKS, datasets=datasets, **alone, **stream)
    assert results(streamed)["eval_one_topic_accuracy"] <= 1 / 2
    datasets["one"]["train_file"] = str(tmp_path / "bad.jsonl")
    with pytest.raises(SystemExit):
        run(tasks=TASKS, datasets=datasets, **alone, **stream)


def test_rows_with_unseen_labels_are_not_skipped(run):
    folder = run(validation_file=[{"text": "a", "topic": "z"}], on_bad_row="skip")
    assert results(folder)["eval_topic_accuracy"] == 0
    assert not (folder / "bad_rows.jsonl").exists()


def test_labels_of_rows_cut_off_are_not_unseen(run, caplog):
    rows = [{"text": f"a {number}", "topic": f"t{number % 12}"} for number in range(24)]
    run(train_file=rows, validation_file=None, validation_fraction=0.2)
    assert "training lacks" not in caplog.text
