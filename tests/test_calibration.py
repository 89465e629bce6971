"""Scores are calibrated on validation rows, and labels stay."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import results
from sklearn.metrics import brier_score_loss
from transformers import AutoTokenizer

from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.training.calibration import errors, fit, loss
from multitask_encoder.training.scoring import SEVERAL, SINGLE

TOPIC = {"type": "sequence_classification", "labels": ["a", "b", "c"]}
TAGS = {"type": "sequence_classification", "labels": ["x", "y"], "problem_type": SEVERAL}
SLOTS = {"type": "token_classification", "labels": ["O", "B-P", "I-P"]}
SENTENCE = "play jazz in Paris book a table for two tonight and sing in the park"


def drawn(logits: torch.Tensor, problem_type: str) -> torch.Tensor:
    """Labels that are as likely as the logits say."""
    generator = torch.Generator().manual_seed(1)
    if problem_type == SEVERAL:
        return torch.bernoulli(logits.sigmoid(), generator=generator)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


def normal(*shape: int, spread: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return spread * torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_that_of_the_labels(temperature):
    logits = normal(20_000, 4, spread=2 * temperature)
    found = fit(logits, drawn(logits / temperature, SINGLE), SINGLE)
    assert found is not None and found.shape == (4,)
    torch.testing.assert_close(found, torch.full_like(found, temperature), rtol=0.03, atol=0)


def test_labels_that_are_several_have_a_temperature_each_where_they_have_the_rows():
    truth = torch.tensor([0.5, 2.0, 1.0])
    logits = normal(20_000, 3, spread=2)
    logits[:, 2] -= 12  # hardly ever there
    labels = drawn(logits / truth, SEVERAL)
    assert labels[:, 2].sum() < 50
    found = fit(logits, labels, SEVERAL)
    assert found is not None
    torch.testing.assert_close(found[:2], truth[:2].double(), rtol=0.05, atol=0)
    assert found[0] < found[2] < found[1]  # that of all


def test_the_fit_has_the_least_loss():
    logits = normal(500, 3, spread=3)
    labels = drawn(logits / 2, SINGLE)
    found = fit(logits, labels, SINGLE)
    assert found is not None
    least = loss(logits / found, labels, SINGLE)
    assert all(loss(logits / found * factor, labels, SINGLE) > least for factor in (0.98, 1.02))


@pytest.mark.parametrize("kind", [SINGLE, SEVERAL])
@pytest.mark.parametrize("right", [True, False])
def test_without_mistakes_or_right_answers_there_is_no_fit(right, kind):
    logits = normal(200, 3, spread=1) * (1 if right else -1)
    labels = (logits > 0).double() if kind == SEVERAL else logits.argmax(-1)
    assert fit(logits if right else -logits, labels, kind) is None


def test_errors_are_those_of_their_definitions():
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.96, 0.04]])
    labels = torch.tensor([0, 1, 1, 0])
    found = errors(probabilities.double().log(), labels, SINGLE)
    # Bins of a fifteenth: 0.9 is in (13, 14), 0.8 in (12, 13), 0.7 in (10, 11), 0.96 in (14, 15).
    assert found["calibration_error"] == pytest.approx((0.1 + 0.8 + 0.3 + 0.04) / 4)
    assert found["bins"] == [
        [pytest.approx(score), right, 1]
        for score, right in ((0.7, 1.0), (0.8, 0.0), (0.9, 1.0), (0.96, 1.0))
    ]
    assert found["brier"] == pytest.approx((0.02 + 1.28 + 0.18 + 0.0032) / 4)
    logits = normal(300, 2, spread=2)
    labels = drawn(logits, SEVERAL)
    expected = brier_score_loss(labels.flatten(), logits.sigmoid().flatten())
    assert errors(logits, labels, SEVERAL)["brier"] == pytest.approx(expected)


@pytest.fixture
def noisy(saved):
    """A model that is too sure of itself, and rows of which three quarters are labelled as it
    answers."""
    folder = saved("sure", topic=TOPIC, tags=TAGS, slots=SLOTS)
    model, draw = MultiTaskModel.from_pretrained(folder), random.Random(0)
    for name, factor in {"topic": 3, "tags": 3, "slots": 0.3}.items():
        model.heads[name].classifier.weight.data *= factor
    model.save_pretrained(folder)
    rows: list[dict] = []
    texts = [" ".join(draw.sample(SENTENCE.split(), 7)) for _ in range(240)]
    for text, answer in zip(texts, answers_of(folder, texts), strict=True):
        words = text.split()
        starts = [sum(map(len, words[:index])) + index for index in range(7)]
        slots = ["O"] * 7
        for one in answer["entities"]["slots"]:
            inside = [i for i, start in enumerate(starts) if one["start"] <= start < one["end"]]
            if draw.random() < 0.75:
                slots[inside[0] : inside[-1] + 1] = ["B-P"] + ["I-P"] * (len(inside) - 1)
        given = {name: of["label"] for name, of in answer["labels"].items()}
        rows.append(
            {
                "tokens": words,
                "topic": given["topic"] if draw.random() < 0.75 else draw.choice("abc"),
                "tags": given["tags"] if draw.random() < 0.75 else [draw.choice("xy")],
                "slots": slots,
            }
        )
    return folder, rows


def answers_of(folder, texts: list[str]) -> list[dict]:
    model, tokenizer = MultiTaskModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    thresholds = {"tags": 0.5} if "tags" in model.config.tasks else None
    return MultiTaskPipeline(model=model, tokenizer=tokenizer)(texts, thresholds=thresholds)


def calibrated(run, folder: str, rows: list[dict], **keys):
    """A run that trains nothing, and what it leaves."""
    tasks = {
        "topic": {"type": TOPIC["type"]},
        "tags": {"type": TAGS["type"], "problem_type": SEVERAL},
        "slots": {"type": SLOTS["type"]},
    }
    files = {"train_file": rows[:8], "validation_file": rows[:120], "test_file": rows[120:]}
    given = dict.fromkeys(files) if "datasets" in keys else files
    options = {"learning_rate": 0, "l2_sp": 0, "weight_decay": 0}
    return run(model=folder, encoder=None, tasks=tasks, **given, **options, **keys)


def test_a_run_calibrates_its_model_and_changes_no_label(noisy, run, capsys):
    folder, rows = noisy
    finished = calibrated(run, folder, rows)
    found = results(finished)["calibration"]
    assert found.keys() == {"topic", "tags", "slots"}
    assert found["topic"]["temperature"] > 1.2
    assert found["tags"]["temperature"].keys() == {"x", "y"}
    test = found["topic"]["test"]
    assert test["after"]["calibration_error"] < test["before"]["calibration_error"]
    assert all(of.keys() == {"temperature", "validation", "test"} for of in found.values())
    printed = capsys.readouterr().out
    assert "Calibration. The mean difference between a score and how often it is right" in printed
    # The weights of the heads, and nothing else.
    before, after = (MultiTaskModel.from_pretrained(one) for one in (folder, finished))
    for name, head in before.heads.items():
        given = found[name]["temperature"]
        factors = torch.tensor([*given.values()] if name == "tags" else given)
        torch.testing.assert_close(
            after.heads[name].classifier.weight, (head.classifier.weight.T / factors).T
        )
        torch.testing.assert_close(
            after.heads[name].classifier.bias, head.classifier.bias / factors
        )
    assert all(
        torch.equal(one, other)
        for one, other in zip(before.encoder.parameters(), after.encoder.parameters(), strict=True)
    )
    texts = [" ".join(row["tokens"]) for row in rows]
    changed = 0
    for one, other in zip(answers_of(folder, texts), answers_of(finished, texts), strict=True):
        for task, answer in one["labels"].items():
            assert other["labels"][task]["label"] == answer["label"]
            changed += other["labels"][task]["scores"] != answer["scores"]
        spans = [[(e["start"], e["label"]) for e in of["entities"]["slots"]] for of in (one, other)]
        assert spans[0] == spans[1]
    assert changed == 2 * len(texts)


def test_what_is_measured_is_what_the_pipeline_answers(noisy, run):
    folder, rows = noisy
    finished = calibrated(run, folder, rows, sentence_windows="mean")
    answers = answers_of(finished, [" ".join(row["tokens"]) for row in rows[120:]])
    scores = torch.tensor([list(one["labels"]["topic"]["scores"].values()) for one in answers])
    labels = torch.tensor(["abc".index(row["topic"]) for row in rows[120:]])
    expected = errors(scores.double().log(), labels, SINGLE)
    found = results(finished)["calibration"]["topic"]["test"]["after"]
    for key in ("calibration_error", "brier"):
        assert found[key] == pytest.approx(expected[key], abs=1e-5)
    assert [number for *_, number in found["bins"]] == [of[2] for of in expected["bins"]]


def test_a_split_without_labels_of_a_task_is_not_measured(noisy, run):
    folder, rows = noisy
    paths = {split: str(Path(folder).parent / f"{split}.jsonl") for split in ("all", "test")}
    for split, part in {"all": rows[:120], "test": rows[120:]}.items():
        Path(paths[split]).write_text("".join(f"{json.dumps(row)}\n" for row in part))
    sources = {
        "everything": {"train_file": paths["all"], "validation_file": paths["all"]},
        "slots_only": {"test_file": paths["test"], "columns": {"slots": "slots"}},
    }
    finished = calibrated(run, folder, rows, datasets=sources)
    found = results(finished)["calibration"]
    assert {name for name, of in found.items() if "test" in of} == {"slots"}


def test_few_or_no_validation_rows_calibrate_nothing(noisy, run, caplog):
    folder, rows = noisy
    caplog.set_level("INFO")
    kept = {"validation_file": rows[:99], "test_file": None}
    tasks = {"topic": {"type": TOPIC["type"]}}
    finished = run(model=folder, encoder=None, tasks=tasks, train_file=rows[:8], l2_sp=0, **kept)
    assert "calibration" not in results(finished)
    assert "topic are not calibrated, and it has no thresholds: 99 validation rows" in caplog.text
    run(
        model=folder, encoder=None, tasks=tasks, train_file=rows[:8], validation_file=None, l2_sp=0,
        do_eval=False, eval_strategy="no", save_strategy="no", load_best_model_at_end=False,
    )  # fmt: skip
    assert "Scores are not calibrated, and there are no thresholds and scopes: that" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        (4, "4 mistakes on validation rows are fewer than 5."),
        (100, "the mistakes on 120 validation rows calibrate them no better."),
    ],
)
def test_scores_that_are_no_better_for_it_stay(wrong, line, noisy, run, caplog):
    """Labels that are the model's own, but for some that it hardly gives."""
    folder, rows = noisy
    caplog.set_level("INFO")
    texts = [" ".join(row["tokens"]) for row in rows[:120]]
    given = [answer["labels"]["topic"]["label"] for answer in answers_of(folder, texts)]
    other = min("abc", key=given.count)
    places = [index for index, label in enumerate(given) if label != other][:wrong]
    labels = [other if index in places else label for index, label in enumerate(given)]
    own = [{"text": text, "topic": of} for text, of in zip(texts, labels, strict=True)]
    tasks = {"topic": {"type": TOPIC["type"]}}
    keys = {"train_file": own[:8], "validation_file": own, "learning_rate": 0, "l2_sp": 0}
    finished = run(model=folder, encoder=None, tasks=tasks, **keys)
    assert f"The scores of topic stay as they are: {line}" in caplog.text
    before, after = (MultiTaskModel.from_pretrained(one) for one in (folder, finished))
    for one, other in zip(before.parameters(), after.parameters(), strict=False):
        assert np.array_equal(one.detach(), other.detach())
    found = results(finished)["calibration"]["topic"]
    assert found["temperature"] == 1
    assert found["validation"]["before"] == found["validation"]["after"]
