"""With few rows, texts of one label come together before training; elsewhere nothing changes."""

import numpy as np
import pytest
import torch
from conftest import results

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.modeling.batching import pad
from multitask_encoder.training.contrastive_start import (
    Classes,
    agreement,
    begin_contrastively,
    steps_of,
)


@pytest.fixture
def arguments(tmp_path):
    def arguments(**keys) -> MultiTaskTrainingArguments:
        given = {"learning_rate": 1e-2, "num_train_epochs": 50, "use_cpu": True, "bf16": False}
        return MultiTaskTrainingArguments(**{"output_dir": str(tmp_path), **given, **keys})

    return arguments


def test_pairs_agree_or_do_not_and_are_of_known_labels():
    classes = Classes.of(np.array([0, 0, 1, -100, 2, 2, 2]))
    assert classes.alike.tolist() == [0, 1, 4, 5, 6]
    assert classes.unlike.tolist() == [0, 1, 2, 4, 5, 6]
    random = np.random.default_rng(0)
    for agree in (True, False):
        pairs = classes.pairs(agree, 200, random)
        assert ((classes.ids[pairs[:, 0]] == classes.ids[pairs[:, 1]]) == agree).all()
        assert (classes.ids[pairs] != -100).all()
        assert (pairs[:, 0] != pairs[:, 1]).all()
        assert len(np.unique(pairs, axis=0)) > (4 if agree else 10)


@pytest.mark.parametrize("ids", [[1, 1, 1], [0, 1, 2], [-100, -100], [0, -100, 1]])
def test_labels_without_pairs_of_both_kinds_leave_no_rows_to_draw(ids):
    assert 0 in map(len, Classes.of(np.array(ids))[1:])


def test_a_pair_aims_at_the_share_of_tasks_on_which_it_agrees():
    topic, mood = Classes.of(np.array([0, 0, 1, 1])), Classes.of(np.array([0, 1, 0, -100]))
    pairs = np.array([[0, 0], [0, 1], [0, 2], [1, 2], [2, 3], [0, 3]])
    assert agreement(pairs, [topic, mood]).tolist() == [1, 0.5, 0.5, 0, 1, 0]
    assert agreement(pairs, [topic]).tolist() == [1, 1, 0, 0, 1, 0]


def test_a_run_of_few_steps_begins_with_few(arguments):
    assert steps_of(arguments(per_device_train_batch_size=8), 10) == 63
    keys = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    assert steps_of(arguments(**keys), 10) == 63
    assert steps_of(arguments(max_steps=7), 10) == 7


def separation(model, rows, padding_id) -> float:
    """By how much texts of one topic are closer than others, in the vectors' cosines."""
    model.eval()
    ids, mask = pad(rows["input_ids"][:], padding_id)
    with torch.no_grad():
        vectors = model(input_ids=ids, attention_mask=mask).sentence_embedding
    vectors = torch.nn.functional.normalize(vectors)
    same = torch.tensor(rows["topic"][:])[:, None] == torch.tensor(rows["topic"][:])
    cosines = vectors @ vectors.T
    return (cosines[same].mean() - cosines[~same].mean()).item()


def test_texts_of_one_label_come_together(
    make_model, synthetic_splits, tokenizer, arguments, monkeypatch
):
    monkeypatch.setattr("multitask_encoder.training.contrastive_start.RATE", 10)  # a random encoder
    splits, tasks = synthetic_splits
    rows, padding_id = splits["train"], tokenizer.pad_token_id
    start = make_model(tasks=tasks).state_dict()
    ends = []
    for _ in range(2):
        model = make_model(tasks=tasks)
        model.load_state_dict(start)
        before = separation(model, rows, padding_id)
        torch.manual_seed(5)
        begin_contrastively(model, rows, padding_id, arguments())
        after_it = torch.rand(1)
        torch.manual_seed(5)
        assert after_it == torch.rand(1)  # training draws what it would have drawn
        assert separation(model, rows, padding_id) > before + 0.05
        assert all(parameter.grad is None for parameter in model.parameters())
        ends.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in start)
    heads = [name for name in start if name.startswith("heads.")]
    assert all(torch.equal(ends[0][name], start[name]) for name in heads)


@pytest.mark.parametrize(
    "keys",
    [{"freeze_layers": 1}, {"freeze": ["encoder"]}, {"lora_rank": 2}, {"num_train_epochs": 0}],
    ids=str,
)
def test_what_is_frozen_or_not_trained_stays(
    keys, make_model, synthetic_splits, tokenizer, arguments
):
    splits, tasks = synthetic_splits
    model = make_model(tasks=tasks)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    given = arguments()
    for key, value in keys.items():
        setattr(given, key, value)
    begin_contrastively(model, splits["train"], tokenizer.pad_token_id, given)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_an_embedding_stays(make_model, synthetic_splits, tokenizer, arguments):
    splits, tasks = synthetic_splits
    model = make_model(tasks=tasks | {"embedding": {"type": "sentence_embedding"}})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    begin_contrastively(model, splits["train"], tokenizer.pad_token_id, arguments())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_run_says_that_it_begins_so(run, caplog):
    folder = run(num_train_epochs=3)
    assert "The encoder begins with 3 contrastive steps on the labels of topic." in caplog.text
    assert "begin as linear probes" in caplog.text
    assert "test_topic_accuracy" not in results(folder)
