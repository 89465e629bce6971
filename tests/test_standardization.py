"""Regressions: numbers in any unit are learned alike, and answered in their own."""

import json
import math

import numpy as np
import pytest
import torch
from conftest import ROWS, TASKS, TOPIC, results
from datasets import Dataset
from transformers import AutoModelForSequenceClassification

from multitask_encoder.data.soft_labels import Taught
from multitask_encoder.data.standardization import standardization
from multitask_encoder.export import plain_heads
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.losses import squared_error

NAN = math.nan
PRICE = {"type": "sequence_classification", "problem_type": "regression"}
NUMBERS = [float(number % 7) for number in range(len(ROWS))]


def rows_with(numbers: list, name: str = "price") -> list[dict]:
    return [{**row, name: number} for row, number in zip(ROWS, numbers, strict=True)]


def standardized(folder) -> dict:
    return json.loads((folder / "config.json").read_text())["tasks"]["price"]["standardization"]


def test_mean_and_standard_deviation_of_each_number():
    rows = Dataset.from_dict({"price": [[2.0, 0.1, NAN], [NAN, 0.1, NAN], [6.0, 0.1, NAN]]})
    found = standardization(rows, "price", ["one", "same", "absent"])
    assert found["one"] == {"mean": 4.0, "std": 2.0}
    assert found["same"] == {"mean": pytest.approx(0.1), "std": 1.0} and "absent" not in found
    assert standardization(rows.select([]), "price", ["one", "same", "absent"]) == {}


def test_teachers_numbers_count_where_a_row_has_none():
    soft = {"price.soft": [[5.0], [7.0], []], "price.soft_ids": [[0], [0], []]}
    rows = Dataset.from_dict({"price": [[1.0], [NAN], [NAN]], **soft})
    taught = Taught(known=[0], size=1, by_token=False, of_classes=False)
    assert standardization(rows, "price", ["price"], taught) == {"price": {"mean": 4, "std": 3}}


def test_the_loss_is_of_standardised_numbers(make_model, batch):
    labels = {"price": torch.tensor([[10.0], [NAN], [40.0], [20.0]])}
    moments = {"price": {"mean": 20.0, "std": 8.0}}
    model = make_model(tasks={"price": {**PRICE, "labels": ["price"]}}).eval()
    plain = model(**batch).logits["price"]
    model.set_of_labels("standardization", {"price": moments})
    output = model(**batch, labels=labels)
    torch.testing.assert_close(output.logits["price"], 20 + 8 * plain)
    errors = (plain - (labels["price"] - 20) / 8)[[0, 2, 3]]
    torch.testing.assert_close(output.loss, errors.square().mean())
    found = squared_error(torch.tensor([[1.0, 2.0]]), torch.zeros(1, 2), torch.tensor([2.0, 4.0]))
    assert found.tolist() == [[0.25, 0.25]]


def test_the_unit_changes_nothing_but_the_unit(run, tmp_path):
    answers, accuracies = [], []
    for index, (mean, unit) in enumerate([(0.0, 1.0), (2000.0, 512.0), (0.03, 2.0**-10)]):
        rows = rows_with([mean + unit * number for number in NUMBERS])
        keys = {"learning_rate": 1e-3, "num_train_epochs": 2, "tasks": {**TOPIC, "price": PRICE}}
        run(train_file=rows, validation_file=rows, output_dir=str(tmp_path / f"{index}"), **keys)
        folder = tmp_path / f"{index}"
        assert standardized(folder)["price"] == {
            "mean": pytest.approx(mean + unit * np.mean(NUMBERS)),
            "std": pytest.approx(unit * np.std(NUMBERS)),
        }
        found = results(folder)
        answers.append((found["eval_price_rmse"] / unit, found["eval_loss_topic"]))
        accuracies.append(found["eval_topic_accuracy"])
    assert answers[1] == pytest.approx(answers[0], rel=1e-3)
    assert answers[2] == pytest.approx(answers[0], rel=1e-3)
    assert len({*accuracies}) == 1


def test_what_a_finished_model_has_learned_keeps_its_unit(run, tmp_path):
    rows = rows_with(NUMBERS)
    run(tasks={"price": PRICE}, train_file=rows, validation_file=rows)
    first = (tmp_path / "run").rename(tmp_path / "first")
    before = standardized(first)
    rows = rows_with([[100 + number, 50 * number] for number in NUMBERS])
    task = {**PRICE, "labels": ["price", "tax"]}
    keys = {"model": str(first), "encoder": None, "tasks": {"price": task}}
    after = standardized(run(**keys, train_file=rows, validation_file=rows))
    assert after["price"] == before["price"]
    assert after["tax"]["std"] == pytest.approx(50 * np.std(NUMBERS))


def test_an_older_models_numbers_stay_as_they_are(run, make_model, tokenizer, tmp_path):
    folder = tmp_path / "old"
    make_model(tasks={"price": {**PRICE, "labels": ["price"]}}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    keys = {"model": str(folder), "encoder": None, "tasks": {"price": PRICE}}
    found = run(**keys, train_file=rows_with(NUMBERS), validation_file=rows_with(NUMBERS))
    assert standardized(found) == {"price": {"mean": 0.0, "std": 1.0}}


def test_a_stream_is_standardised_by_its_first_rows(run):
    skipped = [{"text": "a", "topic": "x", "price": "dear"}]
    folder = run(
        tasks={"price": PRICE},
        train_file=[*rows_with([30.0, *NUMBERS[1:]]), *skipped],
        validation_file=rows_with(NUMBERS),
        streaming=True,
        on_bad_row="skip",
        max_steps=1,
        eval_strategy="no",
        save_strategy="no",
        load_best_model_at_end=False,
    )
    assert standardized(folder)["price"] == {
        "mean": pytest.approx(np.mean([30.0, *NUMBERS[1:]])),
        "std": pytest.approx(np.std([30.0, *NUMBERS[1:]])),
    }
    assert len((folder / "bad_rows.jsonl").read_text().splitlines()) == 1


def test_bad_rows_of_a_stream_are_listed(run, capsys):
    rows = [*rows_with(NUMBERS), {"text": "a", "price": "dear"}, {"text": "b", "price": "low"}]
    run(tasks={"price": PRICE}, train_file=rows, validation_file=None, streaming=True,
        max_steps=1, do_inspect=True)  # fmt: skip
    assert "bad rows: 2" in " ".join(capsys.readouterr().out.lower().split())


def test_a_saved_model_answers_the_same(make_model, batch, tmp_path):
    moments = {"price": {"mean": 2003.0, "std": 8.0}}
    task = {**PRICE, "labels": ["price"], "standardization": moments}
    model = make_model(tasks={"price": task}).eval()
    model.save_pretrained(tmp_path)
    expected = model(**batch).logits["price"]
    assert torch.equal(MultiTaskModel.from_pretrained(tmp_path)(**batch).logits["price"], expected)
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(stock(**batch).logits, expected)
    keys = {"num_labels": 3, "ignore_mismatched_sizes": True}
    other = AutoModelForSequenceClassification.from_pretrained(tmp_path, **keys)
    assert "standardization" not in other.config.tasks["price"]


def test_heads_that_stay_keep_their_units(make_model, batch, tmp_path):
    moments = {"v": {"mean": 10.0, "std": 5.0}, "a": {"mean": -3.0, "std": 2.0}}
    task = {**PRICE, "labels": ["v", "a"]}
    model = make_model(tasks={"va": {**task, "standardization": moments}}).eval()
    model.save_pretrained(tmp_path)
    expected = model(**batch).logits["va"].flip(-1)
    tasks = {"va": {**task, "labels": ["a", "v"]}, "new": {**TASKS["topic"]}}
    grown = MultiTaskModel.from_pretrained(tmp_path, tasks=tasks)
    torch.testing.assert_close(grown.eval()(**batch).logits["va"], expected)
    assert grown.config.tasks["va"]["standardization"] == moments
    names = {"id2label": {0: "a", 1: "v"}, "label2id": {"a": 0, "v": 1}}
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path, **names)
    torch.testing.assert_close(stock(**batch).logits, expected)


def test_whole_numbers_are_numbers_also_below_zero(make_model, batch):
    model = make_model(tasks={"price": {**PRICE, "labels": ["price"]}}).eval()
    whole = torch.tensor([-2, -100, 3, 0])  # -100 is absent
    floats = torch.tensor([[-2.0], [NAN], [3.0], [0.0]])
    losses = [model(**batch, labels={"price": labels}).loss for labels in (whole, floats)]
    assert losses[0] == losses[1] > 0


@pytest.mark.parametrize(("family", "pooling"), [("bert", "cls"), ("modernbert", "mean")])
def test_one_head_of_the_familys_own_answers_in_units(
    family, pooling, make_model, tokenizer, tmp_path
):
    moments = {"price": {"mean": 2003.0, "std": 8.0}}
    task = {**PRICE, "labels": ["price"], "standardization": moments}
    model = make_model(family, pooling=pooling, tasks={"price": task}).eval()
    assert plain_heads.export(model, tokenizer, "price", tmp_path)["price"] < 1e-3
