"""On a GPU, a model learns and answers what it does on a processor: `make test-gpu`."""

import copy

import pytest
import torch
from conftest import ROWS, TOPIC, results
from test_trainer import step_gradients

from multitask_encoder.inference import Predictor
from multitask_encoder.modeling.pipeline_multitask import MultiTaskPipeline

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

TAGGED = [
    {
        "tokens": row["text"].split(),
        "tags": ["B-LETTER"] * len(row["text"].split()),
        "topic": row["topic"],
        "kinds": [row["topic"], "z"],
        "stars": float(index),
    }
    for index, row in enumerate(ROWS)
]
ALL_TASKS = {
    "topic": {"type": "sequence_classification", "class_weights": "balanced"},
    "kinds": {"type": "sequence_classification", "problem_type": "multi_label_classification"},
    "stars": {"type": "sequence_classification", "problem_type": "regression"},
    "tags": {"type": "token_classification"},
}
HELD = {**ALL_TASKS, "embedding": {"type": "sentence_embedding"}}


def test_a_step_has_the_gradients_of_a_processor(make_trainer, make_model, synthetic_splits):
    _, tasks = synthetic_splits
    model = make_model(tasks=tasks)
    found = []
    for use_cpu in (True, False):
        trainer = make_trainer(model=copy.deepcopy(model), use_cpu=use_cpu, max_grad_norm=0.0)
        loss, gradients = step_gradients(trainer)
        found.append((loss, {name: gradient.cpu() for name, gradient in gradients.items()}))
    (loss, expected), (loss_here, gradients) = found
    assert loss_here == pytest.approx(loss, rel=1e-4)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-4)


def test_a_step_waits_for_the_gpu_once(make_trainer):
    """transformers looks whether a batch has padding; nothing else may be read in a step."""
    trainer = make_trainer(use_cpu=False, max_steps=1, logging_steps=100)
    trainer.train()  # what a first step sets up is no matter
    batches = list(trainer.get_train_dataloader())
    inputs, counts = trainer.get_batch_samples(iter(batches), 1, trainer.args.device)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as waits:
            trainer.training_step(trainer.model_wrapped, inputs[0], counts)
            trainer.optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) == 1


@pytest.mark.parametrize("bf16", [False, True])
def test_answers_are_those_of_a_processor(bf16, make_model, tokenizer):
    model = make_model().eval()
    texts = ["play in paris", "the", "", "is " * 200]
    pipeline = MultiTaskPipeline(model=copy.deepcopy(model), tokenizer=tokenizer)
    expected = Predictor(pipeline)(texts)
    model = model.to(torch.bfloat16 if bf16 else torch.float32)
    found = Predictor(MultiTaskPipeline(model=model, tokenizer=tokenizer, device=0))(texts)
    tolerance = 0.03 if bf16 else 1e-3
    for one, other in zip(found, expected, strict=True):
        vectors = torch.tensor(one.embedding).float(), torch.tensor(other.embedding)
        assert torch.cosine_similarity(*vectors, dim=0) == pytest.approx(1, abs=tolerance)
        scores = one.labels["topic"].scores
        assert scores == pytest.approx(other.labels["topic"].scores, abs=tolerance)


@pytest.mark.parametrize(
    "keys",
    [
        {"tasks": ALL_TASKS},
        {"tasks": HELD, "max_batch_tokens": 40},
        {"tasks": HELD, "freeze_layers": 1, "cache_frozen_layers": True},
        {"tasks": ALL_TASKS, "activation_checkpointing": True, "gradient_accumulation_steps": 2},
        {"tasks": ALL_TASKS, "lora_rank": 2},
        {"tasks": ALL_TASKS, "learning_rate": None, "bf16": None, "max_steps": 3},
    ],
    ids=["all kinds", "held", "cached layers", "checkpointed", "lora", "defaults"],
)
def test_a_run_learns_saves_and_answers(keys, run, tmp_path):
    folder = run(use_cpu=False, train_file=TAGGED, validation_file=TAGGED, test_file=TAGGED, **keys)
    found = results(folder)
    assert 0 <= found["test_tags_f1"] <= 1
    answer = Predictor(folder, device=0)("a c")
    assert answer.labels["topic"].label in ("x", "y")


def test_a_model_is_taught_and_grows(run, tmp_path):
    first = run(use_cpu=False)
    teacher = tmp_path / "teacher"
    first.rename(teacher)
    taught = run(use_cpu=False, teachers={"topic": str(teacher)})
    assert results(taught)["eval_topic_accuracy"] >= 0
    tasks = {**TOPIC, "tags": {"type": "token_classification"}}
    rows = [{key: row[key] for key in ("tokens", "tags")} for row in TAGGED]
    files = {"train_file": rows, "validation_file": rows}
    grown = run(use_cpu=False, model=str(teacher), encoder=None, tasks=tasks, **files)
    assert Predictor(grown, device=0)("a c").labels.keys() == {"topic"}
