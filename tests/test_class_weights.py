"""Class weights: balanced by the training rows, kept in the config, and of no effect on answers."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROWS, TASKS, results
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from multitask_encoder.data.class_weights import balanced_weights
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.losses import cross_entropy

LABELS = ["a", "b", "c", "d"]
NAN = math.nan
RARE = {"topic": {"type": "sequence_classification"}}
TWELVE_TO_FOUR = {"x": 12, "y": 4}  # rows of ROWS_OF_RARE
ROWS_OF_RARE = [
    {"text": f"text {number}", "topic": label}
    for label, count in TWELVE_TO_FOUR.items()
    for number in range(count)
]


def task(problem_type: str = "single_label_classification") -> dict:
    return {"labels": LABELS, "problem_type": problem_type}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([-100, 0, 1, 2, 3]), min_size=1, max_size=40))
def test_balanced_as_in_scikit_learn(ids):
    weights = balanced_weights(Dataset.from_dict({"topic": ids}), "topic", task())
    known = [number for number in ids if number >= 0]
    present = np.unique(known)
    expected = dict.fromkeys(LABELS, 1.0)
    if known:
        of_present = compute_class_weight("balanced", classes=present, y=known)
        expected |= {LABELS[number]: w for number, w in zip(present, of_present, strict=True)}
        assert np.mean([weights[LABELS[number]] for number in known]) == pytest.approx(1)
    assert weights == pytest.approx(expected)


def test_token_tasks_count_the_tokens_that_the_loss_sees():
    rows = Dataset.from_dict({"tags": [[-100, 0, 0, -100, 1], [-100, 0, -100], []]})
    weights = balanced_weights(rows.select([2, 1, 0]), "tags", task())
    assert weights == pytest.approx({"a": 4 / (2 * 3), "b": 4 / 2, "c": 1.0, "d": 1.0})


def test_of_several_labels_the_texts_without_are_divided_by_those_with():
    rows = Dataset.from_dict(
        # Three of four have a, one has b, none has c, all have d; the last has no labels.
        {"tags": [[1, 0, 0, 1], [1, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 1.0], [NAN] * 4]}
    )
    weights = balanced_weights(rows, "tags", task("multi_label_classification"))
    assert weights == pytest.approx({"a": 1 / 3, "b": 3.0, "c": 1.0, "d": 1.0})


def test_the_divisor_stays_the_number_of_labels(make_model, batch):
    labels = {"topic": torch.tensor([0, 2, -100, 2])}
    model = make_model().eval()
    plain = model(**batch, labels=labels)
    model.set_of_labels("class_weights", {"topic": {"health": 5.0}})
    weighted = model(**batch, labels=labels)
    expected = F.cross_entropy(
        plain.logits["topic"], labels["topic"], weight=torch.tensor([1.0, 1, 5]), reduction="sum"
    )
    torch.testing.assert_close(weighted.losses["topic"], expected / 3)
    assert torch.equal(weighted.logits["topic"], plain.logits["topic"])


def test_a_step_of_several_labels_per_text_is_the_sum_of_its_parts(make_model, batch):
    tags = {**TASKS["topic"], "problem_type": "multi_label_classification"}
    model = make_model(tasks={"tags": {**tags, "class_weights": {"tech": 7.0}}}).double().eval()
    labels = torch.tensor([[1.0, 1, 0], [0, 0, 1], [NAN] * 3, [1, 1, 1]]).double()
    count = {"tags": torch.tensor([9, 3])}  # labels, and rows with any
    whole = model(**batch, labels={"tags": labels}).loss
    parts = [
        model(
            **{key: value[rows] for key, value in batch.items()},
            labels={"tags": labels[rows]},
            num_items_in_batch=count,
        ).loss
        for rows in (slice(0, 1), slice(1, 3), slice(3, 4))
    ]
    torch.testing.assert_close(sum(parts), whole)


def test_weights_are_saved_and_loaded(make_model, batch, tmp_path):
    model = make_model().eval()
    model.set_of_labels("class_weights", {"entities": {"B-PER": 4.0}})
    model.save_pretrained(tmp_path)
    loaded = MultiTaskModel.from_pretrained(tmp_path)
    assert loaded.heads["entities"].class_weights == [1.0, 1.0, 1.0, 4.0, 1.0]
    assert loaded.heads["topic"].class_weights is None
    labels = {"entities": torch.full((4, 9), 3)}
    assert torch.equal(model(**batch, labels=labels).loss, loaded(**batch, labels=labels).loss)


def test_unknown_labels_are_refused(make_model):
    with pytest.raises(ValueError, match=r"one of sports, tech, health\. Found 'chess'"):
        make_model().set_of_labels("class_weights", {"topic": {"chess": 2.0}})


def saved(folder) -> dict:
    return json.loads((folder / "config.json").read_text())["tasks"]["topic"]


def test_a_run_balances_by_its_training_rows_and_goes_on_with_the_weights(run, tmp_path):
    tasks = {"topic": {**RARE["topic"], "class_weights": "balanced"}}
    # The validation rows have other shares.
    folder = run(tasks=tasks, train_file=ROWS_OF_RARE, validation_file=ROWS)
    expected = {"x": 16 / (2 * 12), "y": 16 / (2 * 4)}
    assert saved(folder)["class_weights"] == pytest.approx(expected)
    loss = results(folder)["eval_loss_topic"]
    again = {"model": str(folder), "encoder": None, "validation_file": ROWS}
    plain = {"topic": {**RARE["topic"], "class_weights": {"x": 1.0, "y": 1.0}}}
    measured = []
    for of_run in (RARE, tasks, plain):  # the model's weights stay where the run sets none
        run(**again, tasks=of_run, do_train=False, output_dir=str(tmp_path / "measured"))
        measured.append(results(tmp_path / "measured"))
    assert [one["eval_loss_topic"] for one in measured[:2]] == pytest.approx([loss, loss])
    assert abs(measured[2]["eval_loss_topic"] - loss) > 1e-4
    assert len({one["eval_topic_accuracy"] for one in measured}) == 1
    run(**again, tasks=RARE, train_file=ROWS, output_dir=str(tmp_path / "after"))
    assert saved(tmp_path / "after")["class_weights"] == pytest.approx(expected)


def test_a_task_alone_counts_in_the_score(run):
    mood = {"type": "sequence_classification", "column": "topic"}
    tasks = {"topic": {**RARE["topic"], "weight": 0, "score_weight": 0}, "mood": mood}
    both = results(run(tasks=tasks))
    assert both["eval_score"] == both["eval_mood_accuracy"]
    alone = results(run("--only_task", "topic", tasks=tasks))
    assert alone["eval_score"] == alone["eval_topic_accuracy"]
    assert alone["eval_loss"] == alone["eval_loss_topic"] > 0


def test_evaluation_weights_the_loss(make_trainer, make_model, synthetic_splits):
    splits, tasks = synthetic_splits
    model = make_model(tasks=tasks).eval()
    first = tasks["topic"]["labels"][0]
    model.set_of_labels("class_weights", {"topic": {first: 3.0}})
    trainer = make_trainer(model=model, per_device_eval_batch_size=4)
    found = trainer.evaluate()["eval_loss_topic"]
    batch = trainer.data_collator(list(splits["validation"]))
    labels = batch["labels"]["topic"]
    weights = torch.ones(len(tasks["topic"]["labels"]))
    weights[0] = 3.0
    losses = cross_entropy(model(**batch).logits["topic"], labels, weights)
    assert found == pytest.approx(losses.sum().item() / len(labels), rel=1e-5)
