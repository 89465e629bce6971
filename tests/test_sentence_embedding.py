"""The sentence embedding as a task: its losses, pairs of texts, and what holds it in place."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import ROWS, TOPIC, results
from datasets import Dataset
from safetensors.torch import load_file
from scipy.stats import spearmanr
from sentence_transformers.sentence_transformer.losses import (
    CoSENTLoss,
    MultipleNegativesRankingLoss,
)
from torch import nn

from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.modeling.losses import (
    RETENTION_SCALE,
    cosent,
    count_labels,
    in_batch_negatives,
    pair_cosines,
    retention,
)
from multitask_encoder.training.passes import encoded_batches
from multitask_encoder.training.retention import add_targets

NAN = math.nan
PAIRS: list[dict] = [
    {"one": "the a b", "two": "the a c", "score": 3.5},
    {"one": "play in paris", "two": "e f", "score": 0.0},
    {"one": "a", "two": "b", "score": None},
    {"one": "g h i", "two": "g h j", "score": 5},
]
VECTOR = {"vector": {"type": "sentence_embedding"}}


def groups_of(*sizes: int) -> torch.Tensor:
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


# Losses


def test_retention_is_the_squared_distance_of_directions():
    vectors, targets = torch.randn(3, 4), torch.randn(3, 4)
    targets[1] = NAN
    losses = retention(vectors, targets)
    assert losses.shape == targets.shape
    assert losses[1].eq(0).all()
    cosines = F.cosine_similarity(vectors, targets)[[0, 2]]
    mean = losses.sum() / count_labels(targets)[0]
    torch.testing.assert_close(mean, RETENTION_SCALE * (2 - 2 * cosines).mean())
    assert retention(7 * targets, targets)[0].abs().max() < 1e-6


def test_retention_of_the_first_dimensions_looks_at_no_others():
    vectors, targets = torch.randn(2, 6), torch.randn(2, 6)
    losses = retention(vectors[:, :4], targets)
    assert losses.shape == (2, 6)
    torch.testing.assert_close(losses[:, :4], retention(vectors[:, :4], targets[:, :4]))


def test_cosent_is_that_of_sentence_transformers():
    vectors = torch.randn(9, 8, requires_grad=True)
    groups = groups_of(2, 1, 2, 2, 2)
    scores = torch.tensor([3.0, NAN, NAN, 1.0, NAN, 3.0, NAN, 4.5, NAN])
    losses = cosent(vectors, scores, groups)
    assert losses.shape == (9,)
    assert losses[scores.isnan()].eq(0).all()
    firsts = [0, 3, 5, 7]
    sides = [vectors[firsts], vectors[[first + 1 for first in firsts]]]
    expected = CoSENTLoss(nn.Identity()).compute_loss_from_embeddings(sides, scores[firsts])
    torch.testing.assert_close(losses.sum() / count_labels(scores)[0], expected)
    losses.sum().backward()
    assert vectors.grad.isfinite().all()
    assert vectors.grad[2].eq(0).all()


@pytest.mark.parametrize("size", [2, 3])
def test_in_batch_negatives_are_those_of_sentence_transformers(size):
    vectors = torch.randn(4 * size, 8)
    labels = torch.full((4 * size,), NAN)
    labels[::size] = 1.0
    losses = in_batch_negatives(vectors, labels, groups_of(*[size] * 4))
    columns = [vectors[place::size] for place in range(size)]
    loss = MultipleNegativesRankingLoss(nn.Identity())
    expected = loss.compute_loss_from_embeddings(columns, None)
    torch.testing.assert_close(losses.sum() / count_labels(labels)[0], expected)


def test_texts_of_other_rows_are_no_negatives():
    vectors = torch.randn(6, 8)
    labels = torch.tensor([1.0, NAN, NAN, NAN, 1.0, NAN])
    losses = in_batch_negatives(vectors, labels, groups_of(2, 1, 1, 2))
    kept = [0, 1, 4, 5]
    alone = in_batch_negatives(vectors[kept], labels[kept], groups_of(2, 2))
    torch.testing.assert_close(losses[kept], alone)


@pytest.mark.parametrize("loss", [cosent, in_batch_negatives])
def test_a_batch_without_pairs_costs_nothing(loss):
    vectors = torch.randn(3, 4, requires_grad=True)
    losses = loss(vectors, torch.full((3,), NAN), torch.arange(3))
    losses.sum().backward()
    assert losses.eq(0).all()
    assert vectors.grad.eq(0).all()


def test_cosines_stand_at_the_first_of_several_texts():
    vectors = torch.randn(6, 4)
    found = pair_cosines(vectors, groups_of(2, 1, 3))
    expected = torch.zeros(6)
    for first in (0, 3):
        expected[first] = F.cosine_similarity(vectors[first], vectors[first + 1], dim=0)
    torch.testing.assert_close(found, expected)


def test_of_several_dimensions_the_model_takes_the_mean(make_model, batch):
    targets = torch.randn(4, 16)

    def loss(dimensions) -> torch.Tensor:
        task = {**VECTOR["vector"], "dimensions": dimensions, "weight": 3.0}
        model = make_model(tasks={"vector": task}).eval()
        outputs = model(**batch, labels={"vector": targets})
        torch.testing.assert_close(outputs.loss, 3 * outputs.losses["vector"])
        return outputs.losses["vector"]

    torch.testing.assert_close(loss([4, 16]), (loss([4]) + loss([16])) / 2)
    torch.testing.assert_close(loss(None), loss([16]))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"loss": "triplet"}, "`loss` of task 'vector' should be one of retention, cosent,"),
        ({"dimensions": [17]}, "should be whole numbers from 1 to 16, the encoder's width."),
        ({"dimensions": [0]}, "Found 0."),
        ({"dimensions": ["a"]}, "tasks.vector.dimensions should be whole numbers. Found ['a']."),
    ],
)
def test_settings_that_make_no_sense_are_refused(task, message, run, capsys):
    with pytest.raises(SystemExit):
        run(tasks={**TOPIC, "vector": {"type": "sentence_embedding", **task}})
    assert message in capsys.readouterr().err


def test_dimensions_are_a_list(make_model):
    task = {"type": "sentence_embedding", "dimensions": 5}
    with pytest.raises(ValueError, match=r"`dimensions` of task 'v' should be a list\. Found 5\."):
        make_model(tasks={"v": task})


def test_only_an_embedding_has_such_a_loss(run, capsys):
    with pytest.raises(SystemExit):
        run(tasks={"topic": {"type": "sequence_classification", "loss": "cosent"}})
    assert "`loss` is for sentence_embedding. Found it in task 'topic'" in capsys.readouterr().err


# Batches


def test_texts_of_a_row_become_rows_of_the_batch(tokenizer):
    tasks = {
        "topic": {"type": "sequence_classification", "problem_type": "single_label_classification"},
        "ner": {"type": "token_classification"},
        "similarity": {"type": "sentence_embedding", "loss": "cosent"},
        "vector": {"type": "sentence_embedding", "loss": "retention"},
    }
    rows = [
        {"input_ids": [2, 7, 3], "others": [[2, 8, 9, 3]], "topic": -100, "ner": [-100] * 3,
         "similarity": 2.5, "vector.target": [NAN, NAN]},
        {"input_ids": [2, 5, 3], "others": [], "topic": 1, "ner": [-100, 4, -100],
         "similarity": NAN, "vector.target": [0.6, 0.8]},
    ]  # fmt: skip
    batch = MultiTaskCollator(tokenizer, tasks)(rows)
    assert batch["input_ids"].tolist() == [[2, 7, 3, 0], [2, 8, 9, 3], [2, 5, 3, 0]]
    assert batch["groups"].tolist() == [0, 0, 1]
    labels = batch["labels"]
    assert labels["topic"].tolist() == [-100, -100, 1]
    assert labels["ner"].tolist() == [[-100] * 4, [-100] * 4, [-100, 4, -100, -100]]
    torch.testing.assert_close(labels["similarity"], torch.tensor([2.5, NAN, NAN]), equal_nan=True)
    assert labels["vector"].isnan().tolist() == [[True, True], [True, True], [False, False]]
    alone = MultiTaskCollator(tokenizer, tasks)(rows[1:])
    assert "groups" not in alone
    assert alone["labels"].keys() == labels.keys()


# Runs


def drift(before: MultiTaskModel, folder, tokenizer) -> float:
    """1 - the mean cosine between vectors before and after training."""
    texts = [row["text"] for row in ROWS]
    after = MultiTaskModel.from_pretrained(folder)
    sides = [
        torch.tensor([one["embedding"] for one in MultiTaskPipeline(model, tokenizer)(texts)])
        for model in (before, after)
    ]
    return 1 - F.cosine_similarity(*sides).mean().item()


def test_the_embedding_is_held_where_it_was(run, backbone, tokenizer):
    drifts = {}
    for loss in ("none", "retention"):
        tasks = {**TOPIC, "vector": {"type": "sentence_embedding", "loss": loss}}
        folder = run(
            tasks=tasks,
            num_train_epochs=8,
            learning_rate=5e-3,
            load_best_model_at_end=False,  # the first epoch's: the probe knows all labels
        )
        before = MultiTaskModel.from_backbone(str(backbone("bert")), tasks={})
        drifts[loss] = drift(before, folder, tokenizer)
        found = results(folder)
        assert ("eval_loss_vector" in found) == (loss == "retention")
    # The loss of an evaluation says how far the vectors of these texts went.
    assert found["eval_loss_vector"] == pytest.approx(
        2 * RETENTION_SCALE * drifts["retention"], rel=1e-3
    )
    assert drifts["retention"] < drifts["none"] / 3


def test_retention_is_the_default_and_its_targets_are_cached(run, tmp_path, monkeypatch):
    batched = []

    def counted(input_ids, *args):
        batched.append(len(input_ids))
        return encoded_batches(input_ids, *args)

    monkeypatch.setattr("multitask_encoder.training.retention.encoded_batches", counted)
    files = dict.fromkeys(["train_file", "validation_file"], rows_file(tmp_path, "rows", ROWS))
    folder = run(tasks={**TOPIC, **VECTOR}, **files)
    assert batched == [len(ROWS)] * 2
    state = load_file(folder / "model.safetensors")
    again = run(tasks={**TOPIC, **VECTOR}, **files)
    assert len(batched) == 2
    assert all(
        torch.equal(state[key], value)
        for key, value in load_file(again / "model.safetensors").items()
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["tasks"]["vector"]["loss"] == "retention"


@pytest.mark.parametrize("bf16", [False, True])
def test_the_vectors_that_are_held_are_computed_as_training_computes(bf16, make_model):
    model = make_model(tasks={"vector": {"type": "sentence_embedding", "loss": "retention"}})
    ids = [[2, 34, 59, 3], [2, 113, 3]]
    rows = Dataset.from_dict({"input_ids": ids})
    (found,) = add_targets({"train": rows}, model, 0, torch.device("cpu"), bf16=bf16).values()
    for row, target in zip(ids, found["vector.target"][:], strict=True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            vector = model(input_ids=torch.tensor([row])).sentence_embedding[0].float()
        torch.testing.assert_close(torch.tensor(target), F.normalize(vector, dim=0))


def test_texts_without_labels_hold_the_embedding_too(run, tmp_path):
    (tmp_path / "more.jsonl").write_text('{"text": "more of it"}\n{"text": "and the e f"}\n')
    folder = run(
        tasks={**TOPIC, **VECTOR},
        train_file=None,
        validation_file=None,
        datasets={
            "rows": labelled_rows(tmp_path),
            "more": {"train_file": str(tmp_path / "more.jsonl"), "columns": {}},
        },
    )
    assert results(folder)["train_samples_per_second"] > 0


def rows_file(tmp_path, name: str, rows: list[dict]) -> str:
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def labelled_rows(tmp_path) -> dict:
    """A data set of `ROWS` for `datasets`."""
    file = rows_file(tmp_path, "rows", ROWS)
    return {"train_file": file, "validation_file": file, "columns": {"topic": "topic"}}


@pytest.mark.parametrize("batch_size", [1, 8])
def test_scored_pairs_evaluate_any_embedding(run, backbone, tokenizer, batch_size):
    folder = run(
        tasks={"vector": {"type": "sentence_embedding", "column": "score"}},
        text_column=["one", "two"],
        train_file=None,
        validation_file=PAIRS,
        test_file=PAIRS[::-1],
        do_train=False,
        per_device_eval_batch_size=batch_size,
    )
    model = MultiTaskModel.from_backbone(str(backbone("bert")), tasks={})
    pipeline = MultiTaskPipeline(model, tokenizer)
    scored = [pair for pair in PAIRS if pair["score"] is not None]
    one, two = (
        torch.tensor([answer["embedding"] for answer in pipeline([pair[side] for pair in scored])])
        for side in ("one", "two")
    )
    cosines = F.cosine_similarity(one, two)
    expected = spearmanr(cosines, [pair["score"] for pair in scored]).statistic
    found = results(folder)
    for split in ("eval", "test"):
        assert found[f"{split}_vector_spearman"] == pytest.approx(expected)
        assert found[f"{split}_score"] == pytest.approx(expected)


def test_pairs_and_labelled_texts_train_together(run, tmp_path):
    folder = run(
        tasks={
            **TOPIC,
            **VECTOR,
            "similarity": {"type": "sentence_embedding", "loss": "cosent", "column": "score"},
            "ranking": {"type": "sentence_embedding", "loss": "in_batch_negatives", "weight": 0.5},
        },
        train_file=None,
        validation_file=None,
        datasets={
            "rows": labelled_rows(tmp_path),
            "pairs": {
                "train_file": rows_file(tmp_path, "pairs", PAIRS * 3),
                "validation_file": rows_file(tmp_path, "pairs", PAIRS * 3),
                "text_column": ["one", "two"],
                "columns": {"similarity": "score"},
            },
            "triplets": {
                "train_file": rows_file(
                    tmp_path, "triplets", [{"texts": ["a b", "a c", "e"]}, {"texts": ["f", "f g"]}]
                ),
                "columns": {"ranking": None},
            },
        },
        logging_steps=1,
        per_device_train_batch_size=8,
        max_batch_tokens=8,
    )
    found = results(folder)
    assert -1 <= found["eval_similarity_spearman"] <= 1
    # The data set that has the scores has the metric; where one data set has it, it's not repeated.
    assert "eval_topic_accuracy" in found
    state = json.loads((folder / "trainer_state.json").read_text())
    logged = {key for log in state["log_history"] for key in log}
    assert {"loss_topic", "loss_vector", "loss_similarity", "loss_ranking"} <= logged
    assert {"eval_loss_vector", "eval_loss_similarity"} <= logged


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"tasks": {**TOPIC, "s": {"type": "sentence_embedding", "loss": "cosent"}}},
            "The cosent loss of task 's' needs training rows of several texts: set text_column",
        ),
        (
            {"tasks": {"s": {"type": "sentence_embedding", "loss": "retention"}}},
            "Training needs a task with labels, or a sentence_embedding with the loss cosent or",
        ),
        (
            {"tasks": TOPIC, "train_file": PAIRS, "text_column": ["one", "two"]},
            "rows of several texts are for sentence_embedding tasks. Found 'topic', which is",
        ),
        (
            {
                "tasks": {"s": {"type": "sentence_embedding", "loss": "cosent", "column": "score"}},
                "train_file": [{"one": "a", "two": "b", "score": "high"}],
                "validation_file": PAIRS,
                "text_column": ["one", "two"],
            },
            "'score' should be a number. Found 'high'.",
        ),
        (
            {
                "tasks": {"s": {"type": "sentence_embedding", "loss": "in_batch_negatives"}},
                "train_file": [{"texts": ["a"]}],
            },
            "'texts' should be a list of at least 2 texts. Found ['a'].",
        ),
        (
            {
                "tasks": {"topic": {**TOPIC["topic"], "labels": ["x", "y"]}, **VECTOR},
                "streaming": True,
                "max_steps": 1,
            },
            "The retention loss of task 'vector' needs all rows before training",
        ),
    ],
)
def test_data_that_an_embedding_can_not_be_trained_on_is_refused(config, message, run, capsys):
    with pytest.raises(SystemExit):
        run(**config)
    assert message in capsys.readouterr().err
