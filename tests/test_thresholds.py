"""Thresholds do on other rows what they were chosen for on validation rows."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import results
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from transformers import AutoTokenizer

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.data.task_kinds import tags_of
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel, MultiTaskPipeline
from multitask_encoder.training.scoring import SEVERAL, SINGLE, Scored
from multitask_encoder.training.thresholds import (
    Judged,
    choose_thresholds,
    for_coverage,
    for_precision,
    judge,
    with_effects,
)
from multitask_encoder.training.trainer import MultiTaskTrainer

TOPIC = {"type": "sequence_classification", "problem_type": SINGLE, "labels": ["a", "b", "c"]}
TAGS = {"type": "sequence_classification", "problem_type": SEVERAL, "labels": ["x", "y", "z"]}
SLOTS = {
    "type": "token_classification",
    "problem_type": SINGLE,
    "labels": ["O", *tags_of(["P", "Q"])],
    "labelling": "first",
}
SCORES = st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=60)


def judged(pairs: list[tuple[int, bool]]) -> Judged:
    """Answers to as many texts, whose scores may be equal."""
    scores = torch.tensor([score / 20 for score, _ in pairs], dtype=torch.double)
    right = torch.tensor([of for _, of in pairs])
    return Judged(scores, right, scores, torch.ones_like(scores), len(scores))


@given(SCORES, st.sampled_from([0.5, 0.75]))
def test_the_precision_is_had_by_as_many_answers_as_can_have_it(pairs, precision):
    def above(threshold: float) -> list[bool]:
        return [right for score, right in pairs if score / 20 > threshold]

    def enough(given: list[bool]) -> bool:
        return bool(given) and (given.count(False) + 1) / (len(given) + 1) <= 1 - precision

    found = for_precision(judged(pairs), precision)
    possible = [given for given in (above(k / 20) for k in range(21)) if enough(given)]
    assert (found is None) == (not possible)
    if found is not None:
        assert len(above(found)) == max(map(len, possible))


@given(SCORES, st.sampled_from([0.5, 0.75]))
def test_the_coverage_is_had_by_as_few_labels_as_can_have_it(pairs, coverage):
    def enough(threshold: float) -> bool:
        missed = sum(score / 20 <= threshold for score, _ in pairs)
        return (missed + 1) / (len(pairs) + 1) <= 1 - coverage

    found = for_coverage(judged(pairs), coverage)
    if found is None:
        assert not enough(0.0)
    else:
        assert enough(found)
        higher = [score / 20 for score, _ in pairs if score / 20 > found]
        assert higher and not enough(min(higher))


def test_sets_cover_as_often_as_was_asked_for():
    """The mean over many splits is within the bounds of a share of so many rows."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 3, generator=generator, dtype=torch.double)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    covered = []
    for _ in range(40):
        order = torch.randperm(len(logits), generator=generator)
        chosen, others = (
            Scored(TOPIC, logits[of], labels[of], list(range(len(of) + 1)))
            for of in (order[:500], order[500:])
        )
        threshold = for_coverage(judge(chosen), 0.9)
        assert threshold is not None
        covered.append((judge(others).true_scores > threshold).double().mean().item())
    assert np.mean(covered) == pytest.approx(0.9, abs=3 * (0.09 / 500 / 40) ** 0.5 + 1 / 500)


def test_too_few_answers_promise_nothing():
    assert for_precision(judged([(20, True)] * 18), 0.95) is None
    assert for_precision(judged([(20, True)] * 19), 0.95) == 0.0
    assert for_coverage(judged([(20, True)] * 18), 0.95) is None
    assert for_coverage(judged([(20, True)] * 19), 0.95) == 0.5
    assert for_coverage(judged([(0, True)] * 5 + [(20, True)] * 50), 0.95) is None  # not found


def logits_of(ids: list[int], sure: float) -> torch.Tensor:
    found = torch.zeros(len(ids), 5, dtype=torch.double)
    found[range(len(ids)), ids] = sure
    return found


def test_entities_are_judged_whole():
    # Two texts: an entity that is right, one that is too short; one that is not there; one missed.
    logits = torch.cat([logits_of([1, 2, 0, 3, 0], 3.0), logits_of([0, 1, 0], 1.0)])
    labels = torch.tensor([1, 2, 0, 3, 4, 0, 0, 3])
    found = judge(Scored(SLOTS, logits, labels, [0, 5, 8]))
    sure, unsure = (np.exp(x) / (np.exp(x) + 4) for x in (3.0, 1.0))
    assert found.right.tolist() == [True, False, False]
    np.testing.assert_allclose(found.scores, [sure, sure, unsure])
    np.testing.assert_allclose(found.true_scores, [sure, 0, 0])
    assert found.shares.tolist() == [0.5, 0.5, 1]
    assert found.num_rows == 2


def test_several_labels_have_the_threshold_with_the_best_f1():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(600, 3, generator=generator, dtype=torch.double) - 2
    labels = torch.bernoulli((logits + 2).sigmoid() ** 2, generator=generator)
    labels[9:, 2] = 0  # too few
    config = MultiTaskConfig(encoder_config={"model_type": "bert"}, tasks={"tags": TAGS})
    scored = Scored(TAGS, logits, labels, list(range(601)))
    choose_thresholds(config, {"tags": scored})
    found = config.tasks["tags"]["thresholds"]
    assert found["f1"]["z"] == 0.5
    for index, label in enumerate("xy"):
        own, truth = logits[:, index].sigmoid(), labels[:, index]
        best = f1_score(truth, own > found["f1"][label])
        assert best >= max(f1_score(truth, own > t) for t in np.linspace(0, 0.9, 50))
        assert best > f1_score(truth, own > 0.5)


def test_thresholds_of_f1_that_help_no_other_rows_are_not_kept():
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(200, 3, generator=generator, dtype=torch.double)
    config = MultiTaskConfig(encoder_config={"model_type": "bert"}, tasks={"tags": TAGS})
    rows = {"tags": Scored(TAGS, logits, (logits > 0).double(), list(range(201)))}
    choose_thresholds(config, rows)
    assert "f1" not in config.tasks["tags"]["thresholds"]


def test_effects_are_those_of_the_thresholds():
    logits = torch.tensor([[3.0, 0, 0], [0, 2, 0], [0, 0, 1], [0, 1, 0]], dtype=torch.double)
    rows = Scored(TOPIC, logits, torch.tensor([0, 1, 0, 0]), list(range(5)))
    chosen = {"precision": {"0.9": 0.7}, "coverage": {"0.9": 0.2}}
    tasks = {"topic": {**TOPIC, "thresholds": chosen}}
    config = MultiTaskConfig(encoder_config={"model_type": "bert"}, tasks=tasks)
    found = with_effects(config, {"test": {"topic": rows}})["topic"]
    assert found["thresholds"] == chosen
    assert found["test"]["precision"] == {"0.9": {"precision": 1.0, "answered": 0.5}}
    # Only the third and the fourth have labels besides the likeliest above 0.2.
    assert found["test"]["coverage"] == {"0.9": {"coverage": 1.0, "labels": 2.0}}
    assert found["test"]["curve"][9] == 1.0
    assert found["test"]["curve"][19] == 0.5


@pytest.fixture
def unsure(saved, run):
    """A run of all kinds of tasks whose model is often wrong, and its rows."""
    begun = saved("begun", topic=TOPIC, tags=TAGS, slots=SLOTS)
    draw, words = random.Random(0), ["play", "jazz", "in", "Paris", "book", "a", "table", "now"]
    texts = [" ".join(draw.sample(words, 5)) for _ in range(400)]
    model = MultiTaskModel.from_pretrained(begun)
    mean = torch.tensor([of["embedding"] for of in pipeline_of(begun)(texts)]).mean(0)
    for name, head in model.heads.items():
        head.classifier.weight.data *= 3 if name == "tags" else 12
        head.classifier.bias.data = -head.classifier.weight.data @ mean
    model.save_pretrained(begun)
    answer = pipeline_of(begun)
    rows: list[dict] = []
    for text, of in zip(texts, answer(texts), strict=True):
        words, labels = text.split(), of["labels"]
        slots = ["O"] * len(words)
        for one in of["entities"]["slots"]:
            first = text[: one["start"]].count(" ")
            inside = range(first, first + one["text"].count(" ") + 1)
            if draw.random() < one["score"]:
                for place in inside:
                    slots[place] = ("I-" if place > first else "B-") + one["label"]
        scores = labels["topic"]["scores"]
        rows.append(
            {
                "tokens": words,
                "topic": draw.choices([*scores], [*scores.values()])[0],
                "tags": [k for k, v in labels["tags"]["scores"].items() if v > draw.random() / 2],
                "slots": slots,
            }
        )
    keys = {"type", "problem_type"}
    tasks = {
        name: {key: of[key] for key in keys if of["type"] != SLOTS["type"] or key == "type"}
        for name, of in {"topic": TOPIC, "tags": TAGS, "slots": SLOTS}.items()
    }
    options = {"model": begun, "encoder": None, "tasks": tasks, "train_file": rows[:8]}
    options |= {"validation_file": rows[:250], "test_file": rows[250:], "l2_sp": 0}
    return run(**options, learning_rate=0, weight_decay=0), rows, options


def pipeline_of(folder, **kwargs) -> MultiTaskPipeline:
    model, tokenizer = MultiTaskModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    return MultiTaskPipeline(model=model, tokenizer=tokenizer, **kwargs)


def test_a_run_chooses_thresholds_that_calls_may_ask_for(capsys, unsure):
    folder, rows, _ = unsure
    found = results(folder)["thresholds"]
    tasks = MultiTaskConfig.from_pretrained(folder).tasks
    assert {name: task["thresholds"] for name, task in tasks.items()} == {
        name: of["thresholds"] for name, of in found.items()
    }
    assert found.keys() == {"topic", "tags", "slots"}
    answer = pipeline_of(folder)
    texts = [" ".join(row["tokens"]) for row in rows[250:]]

    # precision
    threshold = found["topic"]["thresholds"]["precision"]["0.98"]
    labels, same = (
        [of["labels"]["topic"]["label"] for of in answer(texts, tasks="topic", **asked)]
        for asked in ({"precision": 0.98}, {"thresholds": threshold})
    )
    assert labels == same
    given = [(label, row["topic"]) for label, row in zip(labels, rows[250:], strict=True) if label]
    effect = found["topic"]["test"]["precision"]["0.98"]
    assert 0 < len(given) < len(texts)
    assert effect["answered"] == len(given) / len(texts)
    assert effect["precision"] == sum(label == true for label, true in given) / len(given)

    # coverage
    answers = [of["labels"]["topic"] for of in answer(texts, tasks=["topic"], coverage=0.9)]
    threshold = found["topic"]["thresholds"]["coverage"]["0.9"]
    for of in answers:
        above = [label for label, score in of["scores"].items() if score > threshold]
        assert set(of["label_set"]) == set(above or [of["label"]])
        assert of["label_set"][0] == of["label"] == max(of["scores"], key=of["scores"].get)
    effect = found["topic"]["test"]["coverage"]["0.9"]
    pairs = zip(answers, rows[250:], strict=True)
    assert effect["coverage"] == np.mean([row["topic"] in of["label_set"] for of, row in pairs])
    assert effect["labels"] == pytest.approx(np.mean([len(of["label_set"]) for of in answers]))
    assert "label_set" not in answer(texts[0])["labels"]["topic"]

    # entities
    share = max(found["slots"]["thresholds"]["precision"])
    threshold = found["slots"]["thresholds"]["precision"][share]
    entities = [
        of["entities"]["slots"] for of in answer(texts, tasks="slots", precision=float(share))
    ]
    assert all(one["score"] > threshold for of in entities for one in of)
    kept = answer(texts, tasks=["slots"], precision=float(share), thresholds={"slots": 0.0})
    assert sum(map(len, entities)) < sum(len(of["entities"]["slots"]) for of in kept)

    # several labels
    by_label = found["tags"]["thresholds"]["f1"]
    for of in answer(texts, tasks=["tags"]):
        tags = of["labels"]["tags"]
        assert tags["label"] == [k for k, v in tags["scores"].items() if v > by_label[k]]
    true = [[tag in row["tags"] for tag in "xyz"] for row in rows[250:]]
    tagged = [of["labels"]["tags"]["label"] for of in answer(texts, tasks=["tags"])]
    chosen = [[tag in of for tag in "xyz"] for of in tagged]
    measured = results(folder)["test_tags_macro_f1"]
    assert measured == pytest.approx(f1_score(true, chosen, average="macro"))
    assert (
        "Thresholds. The score above which that share of answers is right"
        in capsys.readouterr().out
    )


def test_what_has_no_threshold_is_refused(unsure, saved):
    folder, _, _ = unsure
    answer = pipeline_of(folder)
    known = ", ".join(answer.model.config.tasks["topic"]["thresholds"]["precision"])
    line = f"precision of 'topic' should be one that validation rows gave a threshold for: {known}"
    with pytest.raises(ValueError, match=line):
        answer("text", tasks="topic", precision=0.5)
    with pytest.raises(ValueError, match="can't be asked for together"):
        answer("text", precision=0.9, coverage=0.9)
    begun = pipeline_of(saved("none", topic=TOPIC))
    with pytest.raises(ValueError, match=r"gave a threshold for: none\. Found 0\.9\."):
        begun("text", coverage=0.9)
    assert begun("text", tasks=[], precision=0.9)["labels"] == {}  # nothing to choose


def test_thresholds_hold_for_all_calls_until_one_says_otherwise(unsure):
    folder, rows, _ = unsure
    text = " ".join(rows[0]["tokens"])
    answer = pipeline_of(folder, coverage=0.9)
    assert "label_set" in answer(text, tasks="topic")["labels"]["topic"]
    assert "label_set" not in answer(text, tasks="topic", coverage=None)["labels"]["topic"]


def test_they_stay_where_nothing_is_trained_and_go_where_something_is(unsure, run):
    folder, _, options = unsure
    kept = json.loads((folder / "config.json").read_text())["tasks"]["tags"]["thresholds"]
    before = results(folder)["test_tags_macro_f1"]
    again = options | {"model": str(folder)}
    run(**again, do_train=False, output_dir=f"{folder}-measured")
    measured = results(Path(f"{folder}-measured"))
    assert measured["test_tags_macro_f1"] == pytest.approx(before)
    effects = [of["thresholds"]["topic"]["test"] for of in (measured, results(folder))]
    assert effects[0] == effects[1]
    run(
        **again | {"validation_file": None, "test_file": None},
        output_dir=f"{folder}-trained",
        do_eval=False,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
    )
    tasks = json.loads(Path(f"{folder}-trained", "config.json").read_text())["tasks"]
    assert kept and not any("thresholds" in task for task in tasks.values())


def test_a_split_that_no_such_task_labels_measures_nothing(unsure, run):
    folder, _, options = unsure
    path = folder.parent / "one.jsonl"
    path.write_text('{"text": "play jazz", "topic": "a"}\n' * 3)
    rows = {"rows": {"test_file": str(path), "columns": {"topic": "topic"}}}
    nothing = dict.fromkeys(("train_file", "validation_file", "test_file"))
    again = options | nothing | {"model": str(folder), "datasets": rows}
    run(**again, do_train=False, output_dir=f"{folder}-one", report=True)
    assert results(Path(f"{folder}-one"))["thresholds"].keys() == {"topic"}


def test_a_searched_model_is_without_what_was_fitted(unsure, tmp_path):
    folder, _, _ = unsure
    trainer = MultiTaskTrainer(
        model_init=lambda: MultiTaskModel.from_pretrained(folder),
        args=MultiTaskTrainingArguments(
            output_dir=str(tmp_path / "search"),
            report_to="none",
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
        ),
    )
    assert not any("thresholds" in task for task in trainer.model.config.tasks.values())


@pytest.mark.parametrize(
    ("thresholds", "line"),
    [
        ([0.5], "should be a mapping. Found"),
        ({"recall": {}}, "A key of `thresholds` of task 'tags' should be one of precision"),
        ({"precision": {"0.9": 2}}, "`precision` in `thresholds` of task 'tags' should map to"),
        ({"coverage": 0.5}, "`coverage` in `thresholds` of task 'tags' should map to scores"),
        ({"f1": {"x": 0.5}}, "`f1` in `thresholds` of task 'tags' should have its labels"),
    ],
)
def test_a_config_with_other_thresholds_is_refused(thresholds, line):
    tasks = {"tags": {**TAGS, "thresholds": thresholds}}
    with pytest.raises(ValueError, match=line):
        MultiTaskConfig(encoder_config={"model_type": "bert"}, tasks=tasks)
