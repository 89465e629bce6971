"""Finished models teach the rows of a run, and the old tasks of a growing model."""

import json
import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from bad_input import CLASSES, TAGS, TEXTS
from conftest import results
from datasets import Dataset, Features, Value, load_from_disk
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    pipeline,
)

from multitask_encoder.arguments.parsing import resolve
from multitask_encoder.data import rehearsal_texts
from multitask_encoder.data.label_alignment import join_words
from multitask_encoder.data.rehearsal_texts import OF_SAMPLE
from multitask_encoder.inference.loading import load_pipeline
from multitask_encoder.inference.sample_texts import read_sample_texts
from multitask_encoder.training import prepare_data, taught_rows
from multitask_encoder.training.lessons import Lesson, plan_lessons, taught_by
from multitask_encoder.training.taught_rows import ask_own_share, teach, teach_rows
from multitask_encoder.training.teacher_labels import label as label_rows
from multitask_encoder.training.teachers import Teacher, ask, load_teacher

TOPIC = {
    "type": "sequence_classification",
    "labels": ["x", "y", "z"],
    "problem_type": "single_label_classification",
}
SLOTS = {
    "type": "token_classification",
    "labels": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"],
    "labelling": "first",
    "problem_type": "single_label_classification",
}
SENTENCES = ["play the sun in paris", "In Ulm.", "is the the play in Paris and Ulm"]
ROWS = [
    {"text": f"{word} the {other}", "topic": topic, "kinds": [topic],
     "slots": [{"start": 0, "end": len(word), "label": "LOC"}]}
    for topic, word in (("x", "paris"), ("y", "ulm"))
    for other in ("sun", "play", "food", "sea", "day", "car", "bus", "end")
]  # fmt: skip
BOTH = {**CLASSES, **TAGS}


def loaded(texts: list[str], **columns) -> Dataset:
    content = {"source": [f"row {n}" for n, _ in enumerate(texts)], "text": texts, **columns}
    types = {"source": Value("string"), "text": Value("string")}
    return Dataset.from_dict(
        content, Features({**types, **dict.fromkeys(columns, Value("string"))})
    )


def said(
    teachers: list[Teacher], task: dict, texts: list[str], labels: list | None = None
) -> list[dict]:
    """What teachers say of each text, or of those without a label: label to probability, by the
    start of each unit."""
    rows = loaded(texts) if labels is None else loaded(texts, task=labels)
    lesson = Lesson("task", task, teachers, labels is not None, taught_by(teachers, task))
    rows = teach(rows, [lesson], "test")
    taught, answers = taught_by(teachers, task), []
    for row in rows:
        starts = row.get("task.soft_starts", [0] if row["task.soft"] else [])
        k = len(row["task.soft"]) // max(len(starts), 1)
        places = {"task.soft_places": list(range(len(starts)))}
        dense = taught.batch("task", [{**row, **places}], max(len(starts), 1))[0]
        dense = dense if taught.by_token else dense[None]
        answers.append(
            {
                start: dict(zip(task["labels"], unit.tolist(), strict=True))
                for start, unit in zip(starts, dense, strict=False)
            }
        )
        assert k == min(8, len(taught.known)) or not starts
    return answers


def test_a_finished_model_says_what_its_pipeline_does(saved):
    folder = saved(topic=TOPIC, slots=SLOTS)
    answers = load_pipeline(folder)(SENTENCES)
    found = said([load_teacher(folder, "topic", TOPIC)], TOPIC, SENTENCES)
    for of_text, answer in zip(found, answers, strict=True):
        assert of_text[0] == pytest.approx(answer["labels"]["topic"]["scores"], abs=1e-3)
    found = said([load_teacher(folder, "slots", SLOTS)], SLOTS, SENTENCES)
    assert [list(of_text) for of_text in found] == [
        [0, 5, 9, 13, 16], [0, 3, 6], [0, 3, 7, 11, 16, 19, 25, 29]
    ]  # fmt: skip
    for of_text, answer in zip(found, answers, strict=True):
        for entity in answer["entities"]["slots"]:
            unit = of_text[entity["start"]]
            assert max(unit, key=lambda label: unit[label]) in (
                f"B-{entity['label']}",
                f"I-{entity['label']}",
            )


def test_a_long_text_is_read_in_the_teachers_windows(saved):
    folder = saved(slots=SLOTS)
    text = " ".join(SENTENCES * 20)
    teacher = load_teacher(folder, "slots", SLOTS)
    ((ranges, values),) = teacher.answers([text])
    assert len(ranges) == len(values) > 250
    assert [text[slice(*one)] for one in ranges[:3]] == ["play", "the", "sun"]
    ((short, _),) = teacher.answers([text[: text.index("is")]])
    assert ranges[: len(short) - 1] == short[:-1]  # the last goes on in the longer text


def test_a_stock_model_says_what_its_pipeline_does(plain):
    labels = ["y", "x"]
    folder = plain(AutoModelForSequenceClassification, labels)
    stock = pipeline("text-classification", folder, top_k=None)(SENTENCES)
    found = said([load_teacher(folder, "topic", TOPIC)], TOPIC, SENTENCES)
    for of_text, answer in zip(found, stock, strict=True):
        expected = {one["label"]: one["score"] for one in answer} | {"z": -1.0}
        assert of_text[0] == pytest.approx(expected, abs=1e-3)
    tags = ["O", "B-PER", "I-PER"]
    folder = plain(AutoModelForTokenClassification, tags, "tagger")
    stock = pipeline("token-classification", folder, ignore_labels=[])(SENTENCES)
    pieces = {**SLOTS, "labelling": "all"}
    found = said([load_teacher(folder, "slots", pieces)], pieces, SENTENCES)
    for of_text, tokens in zip(found, stock, strict=True):
        for token in tokens:
            unit = of_text[token["start"]]
            assert max(unit, key=lambda label: unit[label]) == token["entity"]
            assert unit[token["entity"]] == pytest.approx(token["score"], abs=1e-3)


def test_several_teachers_are_averaged_label_by_label(plain):
    one = plain(AutoModelForSequenceClassification, ["x", "y"], "one")
    other = plain(AutoModelForSequenceClassification, ["x", "y"], "other")
    alone = [said([load_teacher(name, "topic", TOPIC)], TOPIC, SENTENCES) for name in (one, other)]
    teachers = [load_teacher(name, "topic", TOPIC) for name in (one, other)]
    for both, first, second in zip(said(teachers, TOPIC, SENTENCES), *alone, strict=True):
        for label in ("x", "y"):
            expected = (first[0][label] + second[0][label]) / 2
            assert both[0][label] == pytest.approx(expected, abs=2e-3)


def test_a_model_that_teaches_several_tasks_reads_a_text_once(saved):
    folder, tasks = saved(topic=TOPIC, slots=SLOTS), {"topic": TOPIC, "slots": SLOTS}
    teachers: list[Teacher] = []
    for name, task in tasks.items():
        teachers.append(load_teacher(folder, name, task, teachers))
    model = teachers[0].model
    assert teachers[1].model is model
    lessons = [
        Lesson(name, task, [teacher], name == "topic", taught_by([teacher], task))
        for (name, task), teacher in zip(tasks.items(), teachers, strict=True)
    ]
    texts = [*SENTENCES, " ".join(SENTENCES * 20)]
    rows = loaded(texts, topic=["x", None, None, None])
    alone = [teach(rows, [lesson], "test") for lesson in lessons]
    asked: list[list[str]] = []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: asked.append(kwargs["tasks"]), with_kwargs=True
    )
    both = teach(rows, lessons, "test")
    assert asked == [["topic", "slots"]]
    for name, part in zip(tasks, alone, strict=True):
        assert both[f"{name}.soft_ids"] == part[f"{name}.soft_ids"]
        for found, expected in zip(both[f"{name}.soft"], part[f"{name}.soft"], strict=True):
            assert found == pytest.approx(expected, abs=1e-3)
    assert both["slots.soft_starts"] == alone[1]["slots.soft_starts"]
    assert both["topic.soft"][0] == []


def test_each_process_asks_about_its_share(saved, tmp_path, monkeypatch):
    folder, texts = saved(slots=SLOTS), [f"{n} {SENTENCES[n % 3]}" for n in range(450)]
    loaded(texts).save_to_disk(tmp_path / "rows")
    rows = load_from_disk(tmp_path / "rows")
    teachers = [load_teacher(folder, "slots", SLOTS)]
    lessons = [Lesson("slots", SLOTS, teachers, False, taught_by(teachers, SLOTS))]
    asked: list[str] = []

    def counted(teachers: list[Teacher], texts: list[str]):
        asked.extend(texts)
        return ask(teachers, texts)

    monkeypatch.setattr(taught_rows, "ask", counted)
    waited = SimpleNamespace(wait_for_everyone=lambda: None)
    for rank in range(3):
        training = SimpleNamespace(process_index=rank, world_size=3, device=torch.device("cpu"),
                                   bf16=False, distributed_state=waited)  # fmt: skip
        run: Any = SimpleNamespace(training=training)
        ask_own_share(run, {"rows": rows}, lessons)
    assert asked == texts  # two shares of at least 200 rows
    found = teach_rows(run, {"rows": rows}, lessons)["rows"]
    assert asked == texts  # the rest is in the cache
    training.world_size = 1
    alone = teach_rows(run, {"rows": rows}, lessons)["rows"]
    assert found["text"][:] == alone["text"][:] == texts
    assert found["slots.soft_starts"][:] == alone["slots.soft_starts"][:]
    for one, other in zip(found["slots.soft"], alone["slots.soft"], strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_a_label_map_renames_merges_and_drops_what_a_teacher_says(plain):
    folder = plain(AutoModelForSequenceClassification, ["x", "q", "r"])
    task = {**TOPIC, "labels": ["r", "x"]}
    of_all = {**TOPIC, "labels": ["x", "q", "r"]}
    alone = said([load_teacher(folder, "topic", of_all)], of_all, SENTENCES)
    merging = {**task, "label_map": {"q": "x"}}
    for merged, one in zip(
        said([load_teacher(folder, "topic", merging)], merging, SENTENCES), alone, strict=True
    ):
        assert merged[0]["x"] == pytest.approx(one[0]["x"] + one[0]["q"], abs=2e-3)
    dropping = {**task, "label_map": {"q": None}}
    for dropped, one in zip(
        said([load_teacher(folder, "topic", dropping)], dropping, SENTENCES), alone, strict=True
    ):
        rest = one[0]["x"] + one[0]["r"]
        assert bool(dropped) == (rest > 0.5)
        if dropped:
            assert dropped[0]["x"] == pytest.approx(one[0]["x"] / rest, abs=3e-3)


def test_a_dropped_type_is_no_entity(plain):
    tags = ["O", "B-PER", "I-PER", "B-ORG"]
    folder = plain(AutoModelForTokenClassification, tags)
    of_all = {**SLOTS, "labels": tags}
    mapped = {**SLOTS, "label_map": {"ORG": None, "PER": "LOC"}}
    alone, found = (
        said([load_teacher(folder, "slots", task)], task, SENTENCES) for task in (of_all, mapped)
    )
    for of_text, expected in zip(found, alone, strict=True):
        for start, unit in of_text.items():
            none = expected[start]["O"] + expected[start]["B-ORG"]
            assert unit["O"] == pytest.approx(none, abs=2e-3)
            assert unit["B-LOC"] == pytest.approx(expected[start]["B-PER"], abs=2e-3)


def test_labels_that_are_not_numbered_from_zero_are_refused(plain):
    folder = Path(plain(AutoModelForSequenceClassification, ["x", "y"]))
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"1": "x", "2": "y"}, "label2id": {"x": 1, "y": 2}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"should number its labels from 0 to 1\. Found 1, 2\."):
        load_teacher(str(folder), "topic", TOPIC)


def test_tags_that_are_no_iob2_are_refused(plain):
    for tags, found in ((["O", "PER"], "PER"), (["O", "I-PER"], "I-PER")):
        folder = plain(AutoModelForTokenClassification, tags, name=found)
        with pytest.raises(ValueError, match=rf"labels O, B-... and I-... of .* Found '{found}'"):
            load_teacher(folder, "slots", SLOTS)


def test_rows_with_a_label_can_be_left_out(saved):
    teacher = load_teacher(saved(topic=TOPIC), "topic", TOPIC)
    found = said([teacher], TOPIC, SENTENCES, [None, "x", None])
    assert [bool(of_text) for of_text in found] == [True, False, True]


def test_texts_from_before_a_class_are_of_none_of_the_new_ones(saved):
    """The rehearsal texts that are made of the samples a model left, once the task has grown."""
    teacher = load_teacher(saved(topic=TOPIC), "topic", more := {**TOPIC, "labels": [*"xyzw"]})
    rows = loaded(SENTENCES).add_column(OF_SAMPLE, [None, False, True])
    for grown in (False, True):
        lesson = Lesson("topic", more, [teacher], False, taught_by([teacher], more), grown)
        taught = teach(rows, [lesson], "test")
        dense = lesson.taught.batch("topic", list(taught), 1)
        assert dense[:, 3].tolist() == [-1, -1, 0 if grown else -1]
        assert dense[:, :3].sum(1).tolist() == pytest.approx([1] * 3, abs=2e-3)


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression"])
def test_several_labels_and_numbers_are_taught_as_they_are(kind, saved):
    task = {**TOPIC, "problem_type": kind}
    folder = saved(topic=task)
    scores = [
        answer["labels"]["topic"]["scores"]
        for answer in load_pipeline(folder, "torch")(SENTENCES, thresholds=0.0)
    ]
    teacher = load_teacher(folder, "topic", task)
    lesson = Lesson("topic", task, [teacher], False, taught_by([teacher], task))
    rows = teach(loaded(SENTENCES), [lesson], "test")
    for row, expected in zip(rows, scores, strict=True):
        assert row["topic.soft_ids"] == [0, 1, 2]
        found = dict(zip(task["labels"], row["topic.soft"], strict=True))
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-3)


def test_numbers_are_taught_by_their_names_or_else_in_order(saved):
    def taught(labels: list[str]) -> list[list[float]]:
        task = {**TOPIC, "labels": labels, "problem_type": "regression"}
        teacher = load_teacher(folder, "task", task, partly=len(labels) > 2)
        found = said([teacher], task, SENTENCES)
        return [list(of_text[0].values()) for of_text in found]

    task = {**TOPIC, "labels": ["valence", "arousal"], "problem_type": "regression"}
    folder = saved(topic=task)
    own = taught(["valence", "arousal"])
    assert taught(["arousal", "valence"]) == [one[::-1] for one in own]
    assert taught(["a", "b"]) == own
    more = taught(["valence", "dominance", "arousal"])
    assert [[one[0], one[2]] for one in more] == own
    assert all(math.isnan(one[1]) for one in more)
    with pytest.raises(ValueError, match=r"should give 3 numbers\. Found 2\."):
        taught(["a", "b", "c"])


def test_numbers_of_any_size_are_taught(saved):
    task = {**TOPIC, "labels": ["price"], "problem_type": "regression"}
    folder = saved(topic=task)
    path = Path(folder, "model.safetensors")
    weights = load_file(path)
    weights["heads.topic.classifier.bias"] = torch.tensor([123457.0])
    save_file(weights, path, {"format": "pt"})
    teacher = load_teacher(folder, "topic", task)
    lesson = Lesson("topic", task, [teacher], False, taught_by([teacher], task))
    for row in teach(loaded(SENTENCES), [lesson], "test"):
        assert row["topic.soft"] == pytest.approx([123457], abs=10)


@pytest.mark.parametrize("kind", ["single_label_classification", "regression"])
def test_only_shares_are_computed_in_bfloat16(kind, saved):
    task = {**TOPIC, "problem_type": kind}
    teacher = load_teacher(saved(topic=task), "topic", task)
    lesson = Lesson("topic", task, [teacher], False, taught_by([teacher], task))
    wide, narrow = (teach(loaded(SENTENCES), [lesson], "test", bf16=bf16) for bf16 in (False, True))
    assert (narrow["topic.soft"][:] == wide["topic.soft"][:]) == (kind == "regression")
    for found, expected in zip(narrow["topic.soft"], wide["topic.soft"], strict=True):
        assert found == pytest.approx(expected, abs=0.02)


# Runs


def test_a_finished_model_holds_its_tasks_while_another_is_added(
    run, tmp_path, caplog, monkeypatch
):
    """Rows for the new task alone: without the old model's answers, the old head forgets."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(rehearsal_texts, "FEWEST", 1)
    keys = {"validation_file": ROWS, "learning_rate": 1e-3}
    old = run(train_file=ROWS, tasks=CLASSES, num_train_epochs=20, **keys)
    assert results(old)["eval_topic_accuracy"] == 1.0
    new_rows = [{key: row[key] for key in ("text", "slots")} for row in ROWS]
    new = tmp_path / "new"
    run(model=str(old), encoder=None, output_dir=str(new), tasks=BOTH, train_file=new_rows,
        num_train_epochs=20, l2_sp=10, **keys)  # fmt: skip
    assert "Added 16 rehearsal texts, which hold topic." in caplog.text
    assert f"topic is taught by {old} in 32 rows." in caplog.text
    assert results(new)["eval_topic_accuracy"] == 1.0
    assert results(new)["eval_slots_f1"] == 1.0
    before, after = (load_pipeline(str(folder)) for folder in (old, new))
    for row in ROWS:
        was, is_now = (model(row["text"])["labels"]["topic"]["score"] for model in (before, after))
        assert is_now == pytest.approx(was, abs=0.15)


@pytest.mark.parametrize(
    ("labelled", "keys", "stays"),
    [(0, {}, True), (0, {"freeze": "nothing"}, False), (1, {}, False)],
)
def test_an_old_head_stays_where_no_row_labels_its_task(labelled, keys, stays, run, tmp_path):
    old = run(train_file=ROWS, validation_file=ROWS, tasks=CLASSES, num_train_epochs=5)
    rows = [{key: row[key] for key in ("text", "slots")} for row in ROWS]
    new, given = tmp_path / "new", [*ROWS[:labelled], *rows[labelled:]]
    keys = {"model": str(old), "encoder": None, "output_dir": str(new), "tasks": BOTH, **keys}
    run(train_file=given, validation_file=ROWS, num_train_epochs=2, **keys)
    before, after = (load_pipeline(str(folder)).model.heads["topic"] for folder in (old, new))
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs) is stays
    # Resumed, it stays so: the optimizer has no state of it.
    run(train_file=given, validation_file=ROWS, num_train_epochs=3, resume_from_checkpoint=True,
        **keys)  # fmt: skip
    pairs = zip(before.parameters(), load_pipeline(str(new)).model.heads["topic"].parameters(),
                strict=True)  # fmt: skip
    assert all(torch.equal(one, other) for one, other in pairs) is stays


@pytest.mark.parametrize(
    ("keys", "has_noise"),
    [({}, False), ({"encoder_dropout": 0.1}, True), ({"activation_checkpointing": True}, False)],
)
def test_a_held_model_begins_without_noise(keys, has_noise, run, tmp_path):
    """Dropout would be taken for a change of what it says; where it is asked for, it is there."""
    old = run(train_file=ROWS, validation_file=ROWS, tasks=CLASSES, num_train_epochs=5)
    new_rows = [{key: row[key] for key in ("text", "slots")} for row in ROWS]
    new = tmp_path / "new"
    run(model=str(old), encoder=None, output_dir=str(new), tasks=BOTH, train_file=new_rows,
        validation_file=ROWS, logging_steps=1, **keys)  # fmt: skip
    log = json.loads((new / "trainer_state.json").read_text())["log_history"]
    first = next(one["loss_topic"] for one in log if "loss_topic" in one)
    assert (first > 1e-5) is has_noise


def test_a_grown_model_keeps_the_sample_texts_by_which_it_is_held(run, tmp_path, monkeypatch):
    seen = []

    def with_samples(rows, words, vectors, seed, samples, number):
        seen.append(samples)
        return rehearsal_texts.with_rehearsal_texts(rows, words, vectors, seed, samples, number)

    monkeypatch.setattr(prepare_data, "with_rehearsal_texts", with_samples)
    old = run(train_file=ROWS, validation_file=ROWS[:3], tasks=CLASSES)
    old_texts = [row["text"] for row in ROWS]
    new_rows = [{"text": f"{row['text']} today", "slots": row["slots"]} for row in ROWS]
    new = tmp_path / "new"
    run(model=str(old), encoder=None, output_dir=str(new), tasks=BOTH, train_file=new_rows,
        validation_file=new_rows[:2])  # fmt: skip
    assert seen == [old_texts]
    assert read_sample_texts(new) == [*(row["text"] for row in new_rows), *old_texts]
    again = tmp_path / "again"  # not held: all its tasks are labelled
    run(model=str(old), encoder=None, output_dir=str(again), tasks=CLASSES, train_file=ROWS,
        validation_file=ROWS[5:7])  # fmt: skip
    assert read_sample_texts(again) == [row["text"] for row in (*ROWS[5:7], *ROWS[:5], *ROWS[7:])]
    assert len(seen) == 1
    third = tmp_path / "third"  # its rows leave no sample of their own: they are too long
    long_rows = [{**row, "text": f"{row['text']}{' today' * 60}"} for row in new_rows]
    run(model=str(old), encoder=None, output_dir=str(third), tasks=BOTH, train_file=long_rows,
        validation_file=None, do_eval=False)  # fmt: skip
    assert read_sample_texts(third) == old_texts
    (old / "sample_texts.json").write_text("{}")
    with pytest.raises(SystemExit, match="2"):
        run(model=str(old), encoder=None, output_dir=str(third), tasks=BOTH, train_file=new_rows)


@pytest.mark.parametrize("held", ["about", "topic"])
def test_a_task_with_new_labels_is_taught_by_the_model_without_them(
    held, run, tmp_path, monkeypatch
):
    """Whether it comes after or before a task that the model itself is held to."""
    planned: list[Lesson] = []

    def spy(*arguments):
        planned.extend(plan_lessons(*arguments))
        return planned

    monkeypatch.setattr(prepare_data, "plan_lessons", spy)
    tasks = {held: BOTH["topic"], "slots": BOTH["slots"]}
    rows = [{"text": row["text"], held: row["topic"], "slots": row["slots"]} for row in ROWS]
    old = run(train_file=rows, validation_file=rows, tasks=tasks, do_eval=False)
    new_rows = [{"text": "qqq", "slots": [{"start": 0, "end": 3, "label": "NEW"}]}] * 4
    run(model=str(old), encoder=None, output_dir=str(tmp_path / "new"), tasks=tasks,
        train_file=new_rows, validation_file=None, do_eval=False)  # fmt: skip
    assert [lesson.name for lesson in planned] == sorted([held, "slots"])
    lessons = {lesson.name: lesson for lesson in planned}
    (itself,), (before,) = lessons[held].teachers, lessons["slots"].teachers
    assert before.model is not itself.model
    known = {before.labels[index] for index in lessons["slots"].taught.known}
    assert known == set(before.labels) == {"O", "B-LOC", "I-LOC"}
    assert lessons["slots"].taught.new_only


@pytest.mark.parametrize("task", ["topic", "kinds", "slots"])
def test_new_labels_begin_beside_the_old_ones(task, run, tmp_path, caplog):
    """Rows with the new label alone: old labels are answered as before, new ones are learned."""
    caplog.set_level(logging.INFO)
    later = [
        {"text": f"{word} and the {other}", "topic": "new", "kinds": ["new"] * (word == "qqq"),
         "slots": [{"start": 0, "end": len(word), "label": "NEW"}]}
        for word in ("qqq", "www") for other in ("sun", "play", "food", "sea", "day", "car")
    ]  # fmt: skip
    kind = {**CLASSES["topic"], "problem_type": "multi_label_classification"}
    keys = {
        "tasks": {task: {**BOTH, "kinds": kind}[task]},
        "learning_rate": 2e-3,
        "num_train_epochs": 20,
        "head_dropout": 0,
    }
    old = run(train_file=ROWS, validation_file=ROWS, **keys)
    new = tmp_path / "new"
    run(model=str(old), encoder=None, output_dir=str(new), train_file=later, test_file=ROWS,
        validation_file=later, l2_sp=0, load_best_model_at_end=True, **keys)  # fmt: skip
    new_label = "NEW" if task == "slots" else "new"
    assert f"New labels of {task} beside those it has: {new_label}." in caplog.text
    before, after = (json.loads((one / "config.json").read_text()) for one in (old, new))
    labels = before["tasks"][task]["labels"]
    assert after["tasks"][task]["labels"][: len(labels)] == labels
    found = results(new)
    if task != "kinds":
        assert found["eval_exact_match"] == 1.0
        assert found["test_exact_match"] >= 0.9
        return
    # Whether a text of either file has the other's labels, nobody has said.
    model = load_pipeline(str(new))
    for row in [*later, *ROWS]:
        answer = set(model(row["text"])["labels"]["kinds"]["label"])
        asked = {"new"} if row in later else {"x", "y"}
        assert answer & asked == set(row["kinds"])


def test_a_finished_models_labels_are_renamed_merged_and_dropped(run, tmp_path):
    topics = dict(zip("zxyvw", ("food", "paris", "ulm", "sea", "bus"), strict=True))
    rows = [
        {"text": f"{word} {word} the {other}", "topic": topic}
        for topic, word in topics.items()
        for other in ("sun", "play", "day", "car")
    ]
    topic = {**CLASSES["topic"], "labels": list(topics), "class_weights": "balanced"}
    keys = {"num_train_epochs": 20, "learning_rate": 2e-3, "do_eval": False}
    old = run(train_file=rows, tasks={"topic": topic}, **keys)
    before, new = load_pipeline(str(old)), tmp_path / "new"
    label_map = {"x": "new", "y": "both", "v": "both", "w": None}
    tasks = {"topic": {**CLASSES["topic"], "label_map": label_map}}
    texts = [{"text": row["text"]} for row in rows]
    run(model=str(old), encoder=None, output_dir=str(new), tasks=tasks, train_file=texts, **keys)
    after = load_pipeline(str(new))
    assert list(after.model.config.tasks["topic"]["labels"]) == ["z", "new", "both"]
    met = set()
    for row in rows:
        was, is_now = (model(row["text"])["labels"]["topic"]["label"] for model in (before, after))
        met.add(was)
        assert is_now == label_map.get(was, was) or was == "w"
    assert met == set(topics)


def test_a_dropped_type_leaves_no_entity_as_it_was(run, tmp_path):
    old = run(train_file=ROWS, validation_file=ROWS, tasks=TAGS)
    rows = [{**row, "slots": [{"start": 0, "end": 3, "label": "NEW"}]} for row in ROWS]
    tasks = {"slots": {**TAGS["slots"], "label_map": {"LOC": None}, "class_weights": {"B-NEW": 2}}}
    run(model=str(old), encoder=None, output_dir=str(tmp_path / "new"), tasks=tasks,
        train_file=rows, do_eval=False, learning_rate=1e-12)  # fmt: skip
    before, after = (load_pipeline(str(one)).model for one in (old, tmp_path / "new"))
    assert after.config.tasks["slots"]["labels"] == ["O", "B-NEW", "I-NEW"]
    weights = [one.heads["slots"].classifier.weight[0] for one in (before, after)]
    assert torch.allclose(*weights, atol=1e-5)


def test_a_config_that_renamed_is_evaluated_and_trained_again(run, tmp_path):
    old = run(train_file=ROWS, tasks=CLASSES)
    keys = {
        "tasks": {"topic": {**CLASSES["topic"], "label_map": {"x": "new"}}, **TAGS},
        "train_file": [{key: row[key] for key in ("text", "slots")} for row in ROWS],
        "validation_file": [{"text": "ulm is", "topic": "new", "slots": []}],
        "encoder": None,
    }
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    run(model=str(old), output_dir=first, **keys)
    run(model=first, output_dir=second, **keys)
    run(model=second, output_dir=second, do_train=False, **keys)
    assert "eval_topic_accuracy" in results(tmp_path / "second")


def test_a_task_that_only_a_teacher_has_can_be_trained_alone(run, saved, tmp_path):
    lines = [{"tokens": str(row["text"]).split(), "topic": row["topic"]} for row in ROWS]
    (tmp_path / "words.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in lines))
    slots = {**TAGS["slots"], "label_map": {"PER": None}}
    rows = {"train_file": str(tmp_path / "words.jsonl"), "columns": {"topic": "topic"}}
    folder = run(
        "--only_task", "slots", train_file=None, validation_file=None, do_eval=False,
        tasks={**CLASSES, "slots": slots}, teachers={"slots": saved(slots=SLOTS)},
        datasets={"rows": rows},
    )  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["tasks"]["slots"]["labels"] == ["O", "B-LOC", "I-LOC"]


def test_labels_that_are_swapped_are_refused(run, capsys):
    old = run(train_file=ROWS, tasks=CLASSES)
    tasks = {"topic": {**CLASSES["topic"], "label_map": {"x": "y", "y": "x"}}}
    with pytest.raises(SystemExit):
        run(model=str(old), encoder=None, tasks=tasks, output_dir=f"{old}-new")
    assert "label_map of task 'topic' should not rename to a label that it renames" in (
        capsys.readouterr().err
    )


def test_a_model_whose_rows_have_all_labels_is_not_its_own_teacher(run, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    old = run(train_file=ROWS, validation_file=ROWS, tasks=BOTH)
    run(model=str(old), encoder=None, output_dir=str(tmp_path / "new"), tasks=BOTH,
        train_file=ROWS, validation_file=ROWS)  # fmt: skip
    assert "is taught by" not in caplog.text


def labelled(teacher: str, name: str, task: dict, rows: dict[str, list]) -> list:
    """The labels that a teacher gives rows of one form."""
    rows = Dataset.from_dict({"source": ["row"] * len(SENTENCES), **rows})
    return label_rows(rows, name, task, [load_teacher(teacher, name, task)], "test")[name]


def test_rows_get_the_labels_that_the_teachers_pipeline_gives(saved):
    kinds = {**TOPIC, "problem_type": "multi_label_classification"}
    degree = {**TOPIC, "labels": ["degree"], "problem_type": "regression"}
    tasks = {"topic": TOPIC, "slots": SLOTS, "kinds": kinds, "degree": degree}
    limits = {"thresholds": {"f1": {"x": 0.2, "y": 0.8, "z": 0.45}}}
    folder = saved(**{**tasks, "kinds": {**kinds, **limits}})
    answers = load_pipeline(folder)(SENTENCES)
    text = {"text": SENTENCES}
    found = {name: labelled(folder, name, task, text) for name, task in tasks.items()}
    entities = [answer["entities"]["slots"] for answer in answers]
    assert any(entities)
    assert found["slots"] == [
        [{key: one[key] for key in ("start", "end", "label")} for one in of_text]
        for of_text in entities
    ]
    of_tasks = [answer["labels"] for answer in answers]
    assert found["topic"] == [one["topic"]["label"] for one in of_tasks]
    assert list(map(set, found["kinds"])) == [set(one["kinds"]["label"]) for one in of_tasks]
    expected = [one["degree"]["scores"]["degree"] for one in of_tasks]
    assert [number for (number,) in found["degree"]] == pytest.approx(expected, abs=1e-3)


def test_words_get_tags(saved):
    folder = saved(slots=SLOTS)
    words = [text.split() for text in SENTENCES]
    found = labelled(folder, "slots", SLOTS, {"tokens": words})
    spans = labelled(folder, "slots", SLOTS, {"text": SENTENCES})
    assert [len(tags) for tags in found] == [len(of_text) for of_text in words]
    for tags, of_text, expected in zip(found, words, spans, strict=True):
        ranges = join_words(of_text)[1]
        firsts = {span["start"]: f"B-{span['label']}" for span in expected}
        assert {s: tag for (s, _), tag in zip(ranges, tags, strict=True) if tag[0] == "B"} == {
            start: tag for start, tag in firsts.items() if start in dict(ranges)
        }


def test_a_stock_models_words_have_the_label_of_their_first_token(plain):
    folder = plain(AutoModelForTokenClassification, ["O", "B-PER", "B-LOC"])
    stock = pipeline("token-classification", folder, aggregation_strategy="first")(SENTENCES)
    found = labelled(folder, "slots", SLOTS, {"text": SENTENCES})
    assert [[(one["start"], one["end"], one["label"]) for one in of_text] for of_text in found] == [
        [(one["start"], one["end"], one["entity_group"]) for one in of_text] for of_text in stock
    ]


def test_teachers_label_the_rows_that_nobody_did(run, saved, plain, caplog):
    caplog.set_level(logging.INFO)
    topic = saved(topic=TOPIC)
    slots = plain(AutoModelForTokenClassification, ["O", "B-LOC", "I-LOC"])
    texts = [{"text": row["text"]} for row in ROWS]
    some = [{"text": "play the sun", "topic": "x"}, *texts]
    folder = run(train_file=texts, validation_file=texts, test_file=some, tasks=BOTH,
                 teachers={"topic": topic, "slots": slots})  # fmt: skip
    assert (
        f"No validation row has a label of topic: its metrics compare the model with {topic}"
        in (caplog.text)
    )
    assert "No test row has a label of topic" not in caplog.text
    assert {"eval_topic_accuracy", "eval_slots_f1", "test_slots_f1"} <= results(folder).keys()
    accuracy = results(folder)["test_topic_accuracy"]
    assert accuracy in (0, 1)  # of one row


def test_labels_may_come_from_the_teacher_alone(run, tmp_path, saved, plain, caplog):
    caplog.set_level(logging.INFO)
    topic = saved(topic=TOPIC)
    tags = plain(AutoModelForTokenClassification, ["O", "B-LOC", "I-LOC"])
    texts = [{"text": row["text"]} for row in ROWS]
    teachers = {"topic": topic, "slots": [tags, tags]}
    folder = run(train_file=texts, tasks=BOTH, teachers=teachers, do_eval=False)
    config = json.loads((folder / "config.json").read_text())
    assert config["tasks"]["topic"]["labels"] == ["x", "y", "z"]
    assert config["tasks"]["slots"]["labels"] == ["O", "B-LOC", "I-LOC"]
    assert f"slots is taught by {tags} and {tags} in 16 rows." in caplog.text
    assert "teachers:" in (folder / "config.yaml").read_text()


def test_a_student_learns_to_answer_as_its_teacher(run, saved):
    topic = saved(topic=TOPIC)
    rows = [{"text": row["text"]} for row in ROWS]
    folder = run(train_file=rows, tasks=CLASSES, teachers={"topic": topic}, do_eval=False,
                 num_train_epochs=80, learning_rate=3e-3, l2_sp=0, head_dropout=0)  # fmt: skip
    teacher, student = load_pipeline(topic), load_pipeline(str(folder))
    for row in rows:
        expected, found = (model(row["text"])["labels"]["topic"] for model in (teacher, student))
        assert found["label"] == expected["label"]
        assert found["scores"] == pytest.approx(expected["scores"], abs=0.1)


@pytest.mark.parametrize(
    "keys",
    [{"teachers": {"slots": "runs/slots"}}, {"model": "runs/mine"}],
    ids=["teacher", "model"],
)
def test_a_task_with_a_teacher_needs_no_data_set(keys):
    rows = {"train_file": "rows.jsonl", "columns": {"topic": "topic"}}
    given = {"tasks": BOTH, "datasets": {"rows": rows, "more": {**rows, "columns": {}}}}
    assert list(resolve({**given, **keys}).datasets) == ["rows", "more"]
    with pytest.raises(ValueError, match=r"Task 'slots' is labelled by none of the `datasets`\."):
        resolve({**given, "datasets": {"rows": rows}})


def test_a_resumed_run_is_taught_the_same(run, saved):
    keys = {"train_file": ROWS, "tasks": CLASSES, "teachers": {"topic": saved(topic=TOPIC)},
            "num_train_epochs": 2, "save_total_limit": 5}  # fmt: skip
    folder = run(**keys)
    whole = (folder / "model.safetensors").read_bytes()
    last = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    (last / "complete").unlink()
    run("--resume_from_checkpoint", **keys, overwrite_output_dir=False)
    assert (folder / "model.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    ("teachers", "line"),
    [
        ([], "`teachers` should map tasks to finished models. Found []."),
        ({"topik": "a"}, "A task in teachers should be one of topic. Found 'topik'."),
        ({"topic": 3}, "teachers.topic should be a folder or Hub id, or a list of them. Found 3."),
        ({"topic": []}, "teachers.topic should be a folder or Hub id, or a list of them. Found []"),
    ],
)
def test_teachers_that_make_no_sense_are_refused(teachers, line):
    with pytest.raises(ValueError, match="should") as error:
        resolve({"tasks": CLASSES, "teachers": teachers, "train_file": "rows.jsonl"})
    assert str(error.value).startswith(line)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"teacher_weight": 1.5}, "teacher_weight should be in 0 to 1. Found 1.5."),
        ({"teacher_temperature": 0}, "teacher_temperature should be above 0, and finite. Found 0"),
        ({"teachers": {"topic": "./none"}}, "There is no folder './none'."),
        ({"teachers": {"topic": "."}, "streaming": True, "max_steps": 1, "tasks": {"topic": {
            **CLASSES["topic"], "labels": ["x", "y"]}}},
         "`teachers` need all rows before training: set streaming to false."),
    ],
)  # fmt: skip
def test_a_run_with_other_teachers_is_refused(keys, line, run, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(**{"tasks": CLASSES, "train_file": TEXTS, "validation_file": TEXTS, **keys})
    assert capsys.readouterr().err.startswith(f"error: {line}")


def test_teachers_that_do_not_fit_are_refused(saved, plain, backbone, tmp_path):
    other = {**TOPIC, "labels": ["x", "q"]}
    for folder, task, line in [
        (saved("a", topic=other), TOPIC, "should have labels of the task: x, y, z. Found 'q'."),
        (saved("b", topic=TOPIC), SLOTS, "should have a task of that name, or a single one of its "
         "type and problem_type. Found topic (sequence_classification, single_label_"),
        (str(backbone()), TOPIC, "should be a finished model of type sequence_classification. Its "
         "weights lack classifier.bias."),
        (saved("c", topic={**TOPIC, "problem_type": "regression", "labels": ["a"]}),
         {**TOPIC, "problem_type": "regression"}, "should give 3 numbers. Found 1."),
        (plain(AutoModelForTokenClassification, ["O", "B-a"], "d"), {**TOPIC, "problem_type":
         "regression"}, "should have the problem_type regression. Found single_label_classific"),
    ]:  # fmt: skip
        with pytest.raises((ValueError, OSError)) as error:
            load_teacher(folder, "it", task)
        assert f"The teacher {folder!r} of task 'it' {line}" in str(error.value)


def test_a_stock_teacher_of_numbers_is_none_of_classes(run, plain, capsys):
    folder = plain(AutoModelForSequenceClassification, ["stars"])
    with pytest.raises(SystemExit, match="2"):
        run(tasks=CLASSES, train_file=TEXTS, validation_file=TEXTS, teachers={"topic": folder})
    line = "should have the problem_type single_label_classification. Found regression."
    assert line in capsys.readouterr().err


def test_a_pickle_is_no_teacher(plain, tmp_path):
    folder = plain(AutoModelForSequenceClassification, ["x", "y"])
    (tmp_path / "plain" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "plain" / "pytorch_model.bin")
    with pytest.raises(OSError, match="of task 'topic' can't be loaded: "):
        load_teacher(folder, "topic", TOPIC)


def test_a_teacher_is_not_replaced(run, saved, tmp_path, capsys):
    folder = saved("run", topic=TOPIC)
    with pytest.raises(SystemExit, match="2"):
        run(tasks=CLASSES, train_file=TEXTS, validation_file=TEXTS, teachers={"topic": folder})
    assert "output_dir should be another folder than that of `teachers`" in capsys.readouterr().err


def test_a_stream_can_not_leave_a_task_to_the_model(run, tmp_path, capsys):
    old = run(train_file=ROWS, validation_file=ROWS, tasks=CLASSES)
    rows = [{key: row[key] for key in ("text", "slots")} for row in ROWS]
    slots = {"slots": {**TAGS["slots"], "labels": ["O", "B-LOC", "I-LOC"]}}
    with pytest.raises(SystemExit, match="2"):
        run(model=str(old), encoder=None, output_dir=str(tmp_path / "new"), train_file=rows,
            validation_file=ROWS, tasks={**CLASSES, **slots}, streaming=True, max_steps=2,
            eval_strategy="no", save_strategy="no", load_best_model_at_end=False)  # fmt: skip
    assert "has no column 'topic'" in capsys.readouterr().err
