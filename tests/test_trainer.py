"""The combined loss: the same under any split of the step."""

import copy
import json

import pytest
import torch
from datasets import Dataset
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PrinterCallback,
    TrainingArguments,
)

from multitask_encoder.training.trainer import MultiTaskTrainer


def partly_labelled(rows: Dataset) -> Dataset:
    """Every third row loses its topic, every fourth its entities, every fifth its sentiment; every
    seventh has nowhere that its embedding should be."""

    def drop(row: dict, index: int) -> dict:
        if index % 3 == 0:
            row["topic"] = -100
        if index % 4 == 0:
            row["entities"] = [-100] * len(row["entities"])
            row["entities.tags"] = [-100] * len(row["entities.tags"])
        if index % 5 == 0:
            row["sentiment"] = -100
        vector = torch.full((16,), torch.nan) if index % 7 == 0 else torch.randn(16)
        return {**row, "embedding.target": vector.numpy()}

    return rows.map(drop, with_indices=True)


def step_gradients(trainer: MultiTaskTrainer) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of the first optimizer step, as the Trainer's own loop computes them."""
    trainer.args.max_steps = 1
    gradients = {}

    def keep(*args, **kwargs):
        gradients.update(
            {name: weight.grad.clone() for name, weight in trainer.model.named_parameters()}
        )
        return trainer.control

    trainer.callback_handler.on_pre_optimizer_step = keep
    trainer.train()
    return trainer.state.log_history[0]["loss"], gradients


def assert_same_gradients(found: dict, expected: dict, tolerance: float) -> None:
    """Equal relative to each parameter's norm. The bias of attention's keys has a gradient of
    exactly zero but for rounding, since a softmax ignores shifts; hence the floor."""
    total = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        scale = max(expected[name].norm(), 1e-6 * total)
        assert (gradient - expected[name]).norm() <= tolerance * scale, name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("rows", [24, 21])
def test_step_is_the_same_however_it_is_accumulated(
    rows, dtype, tolerance, make_trainer, make_model, synthetic_splits
):
    splits, tasks = synthetic_splits
    train = partly_labelled(splits["train"].select(range(rows)))
    tasks = {**tasks, "embedding": {"type": "sentence_embedding", "loss": "retention"}}
    for name, weight in (("topic", 3.0), ("entities", 0.2)):
        tasks[name] = {**tasks[name], "class_weights": {tasks[name]["labels"][0]: weight}}
    model = make_model(tasks=tasks, attn_implementation="eager").to(dtype)
    expected = None
    in_passes = [(24, 1, 300), (8, 3, 1)]
    for batch_size, accumulation, *tokens in [
        (24, 1),
        (12, 2),
        (8, 3),
        (6, 4),
        (2, 12),
        *in_passes,
    ]:
        trainer = make_trainer(
            model=copy.deepcopy(model),
            train=train,
            tasks=tasks,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            max_grad_norm=0.0,
            **({"max_batch_tokens": tokens[0]} if tokens else {}),
        )
        loss, gradients = step_gradients(trainer)
        if expected is None:
            expected = loss, gradients
            continue
        assert loss == pytest.approx(expected[0], rel=max(tolerance, 1e-6))
        assert_same_gradients(gradients, expected[1], tolerance)


class Waits(TorchDispatchMode):
    """Counts the operations that make the host wait for the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += operation in (
            torch.ops.aten._local_scalar_dense.default,
            torch.ops.aten.nonzero.default,
        )
        return operation(*args, **(kwargs or {}))


def test_steps_between_logs_do_not_wait_for_the_device(make_trainer, make_model, synthetic_splits):
    _, tasks = synthetic_splits
    counts = []
    for steps in (3, 13):
        trainer = make_trainer(
            model=make_model(tasks=tasks),
            max_steps=steps,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=1,
            logging_steps=100,
        )
        with Waits() as waits:
            trainer.train()
        counts.append(waits.count)
    # transformers looks whether a batch has padding, once in each forward pass.
    epochs = 1  # and once more as each epoch begins
    assert counts[1] - counts[0] <= 10 + epochs


def test_loss_is_the_sum_over_tasks_of_means_over_the_whole_step(
    make_trainer, make_model, synthetic_splits
):
    splits, tasks = synthetic_splits
    tasks = copy.deepcopy(tasks)
    tasks["sentiment"]["weight"] = 0.5
    tasks["topic"]["class_weights"] = {tasks["topic"]["labels"][0]: 3.0}
    train = partly_labelled(splits["train"].select(range(24)))
    model = make_model(tasks=tasks)
    trainer = make_trainer(
        model=copy.deepcopy(model),
        train=train,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=6,
    )
    trainer.train()
    logged = trainer.state.log_history[0]
    output = model(**trainer.data_collator(list(train)))
    assert logged["loss"] == pytest.approx(output.loss.item(), rel=1e-5)
    for name in tasks:
        assert logged[f"loss_{name}"] == pytest.approx(output.losses[name].item(), rel=1e-5)
    tokens = [sum(label != -100 for label in row) for row in train["entities"]]
    length = sum(tokens) / sum(map(bool, tokens))
    assert logged["loss"] == pytest.approx(
        logged["loss_topic"] + 0.5 * logged["loss_sentiment"] + length * logged["loss_entities"],
        rel=1e-5,
    )


def test_evaluation_does_not_depend_on_the_batch_size(make_trainer, make_model, synthetic_splits):
    splits, tasks = synthetic_splits
    model = make_model(tasks=tasks)
    results = []
    for batch_size in (1, 4, 32):
        trainer = make_trainer(model=model, per_device_eval_batch_size=batch_size)
        metrics = trainer.evaluate(partly_labelled(splits["validation"]))
        results.append(
            {
                key: value
                for key, value in metrics.items()
                if "second" not in key and "time" not in key
            }
        )
    for result in results[1:]:
        for key, value in result.items():
            assert value == pytest.approx(results[0][key], rel=1e-5), key
    assert {"eval_topic_accuracy", "eval_entities_f1", "eval_exact_match", "eval_score"} <= set(
        results[0]
    )


def test_evaluation_loss_is_the_mean_over_all_labels(make_trainer, make_model, synthetic_splits):
    splits, tasks = synthetic_splits
    entities = {**tasks["entities"], "class_weights": {"O": 0.2}}
    model = make_model(tasks={**tasks, "entities": entities}).eval()
    trainer = make_trainer(model=model, per_device_eval_batch_size=4)
    rows = partly_labelled(splits["test"])
    metrics = trainer.evaluate(rows, metric_key_prefix="test")
    output = model(**trainer.data_collator(list(rows)))
    assert metrics["test_loss"] == pytest.approx(output.loss.item(), rel=1e-5)
    for name in tasks:
        assert metrics[f"test_loss_{name}"] == pytest.approx(output.losses[name].item(), rel=1e-5)


def test_compute_metrics_adds_metrics_to_ours(make_trainer, synthetic_splits):
    splits, tasks = synthetic_splits
    rows = partly_labelled(splits["test"])
    seen = []

    def compute_metrics(output: EvalPrediction) -> dict[str, float]:
        seen.append(output)
        predictions, labels = output
        known = labels["topic"] >= 0
        right = predictions["topic"].argmax(-1) == labels["topic"]
        return {"topic_share": right[known].mean(), "score": 0.5}

    trainer = make_trainer(compute_metrics=compute_metrics, per_device_eval_batch_size=4)
    metrics = trainer.evaluate(rows, metric_key_prefix="held")
    assert metrics["held_topic_share"] == pytest.approx(metrics["held_topic_accuracy"])
    assert metrics["held_score"] == 0.5  # in place of ours
    assert "held_entities_f1" in metrics
    (output,) = seen
    order = sorted(range(len(rows)), key=lambda row: -rows["length"][row])  # as they are evaluated
    for name in ("topic", "sentiment"):
        assert output.predictions[name].shape == (len(rows), len(tasks[name]["labels"]))
        assert output.label_ids[name].tolist() == [rows[name][row] for row in order]
    assert output.predictions["entities"].shape == output.label_ids["entities"].shape
    for row, labels in zip(order, output.label_ids["entities"].tolist(), strict=True):
        own = rows["entities"][row]
        assert labels == own + [-100] * (len(labels) - len(own))


def test_rows_without_labels_are_predicted(make_trainer, synthetic_splits):
    splits, tasks = synthetic_splits
    rows = splits["test"]
    trainer = make_trainer()
    whole = trainer.predict(rows)
    assert set(whole.label_ids) == set(tasks)

    unlabelled = trainer.predict(
        rows.remove_columns([name for name in rows.column_names if name.split(".")[0] in tasks])
    )
    assert unlabelled.label_ids is None
    assert set(unlabelled.predictions) == set(tasks)
    assert "test_score" not in unlabelled.metrics
    torch.testing.assert_close(unlabelled.predictions["topic"], whole.predictions["topic"])
    assert unlabelled.predictions["entities"].shape == whole.predictions["entities"].shape

    partly = trainer.predict(rows.remove_columns(["topic", "topic.unseen"]))
    assert set(partly.label_ids) == {"sentiment", "entities"}
    assert "test_topic_accuracy" not in partly.metrics
    for name in ("test_sentiment_accuracy", "test_loss_entities", "test_entities_f1"):
        assert partly.metrics[name] == whole.metrics[name]


def test_arguments_of_the_stock_trainer_are_refused(make_model, tmp_path):
    with pytest.raises(TypeError, match=r"MultiTaskTrainingArguments. Found TrainingArguments\.$"):
        MultiTaskTrainer(make_model(), TrainingArguments(str(tmp_path), use_cpu=True))


def test_early_stopping_stops_on_score(make_trainer):
    trainer = make_trainer(
        num_train_epochs=8,
        learning_rate=0.0,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
    )
    trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=2))
    trainer.train()
    assert trainer.state.epoch == 3.0
    assert trainer.state.best_metric == pytest.approx(trainer.evaluate()["eval_score"])


def test_saved_folder_holds_the_pipeline(make_trainer, tmp_path):
    trainer = make_trainer()
    trainer.save_model()
    folder = tmp_path / "run"
    assert {"pipeline_multitask.py", "decoding.py", "modeling_multitask.py"} <= {
        path.name for path in folder.iterdir()
    }
    config = json.loads((folder / "config.json").read_text())
    assert config["custom_pipelines"]["multitask"]["impl"] == "pipeline_multitask.MultiTaskPipeline"


def test_training_learns_what_can_be_learned(make_trainer, make_model, synthetic_splits):
    splits, tasks = synthetic_splits
    train = splits["train"].select(range(8))
    trainer = make_trainer(
        model=make_model(tasks=tasks),
        train=train,
        num_train_epochs=80,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        logging_steps=80,
    )
    trainer.train()
    results = trainer.evaluate(train)
    assert results["eval_topic_accuracy"] == 1.0
    assert results["eval_sentiment_accuracy"] == 1.0
    assert results["eval_entities_f1"] > 0.5


def test_each_trial_of_a_search_trains_a_model_of_its_own(make_trainer, make_model):
    trainer = make_trainer(num_train_epochs=1)
    tasks = trainer.model.config.tasks
    trainer.model_init = lambda: make_model(tasks=tasks)
    losses = []
    for _ in range(2):
        trainer.model = None  # as `hyperparameter_search` leaves it between trials
        losses.append(trainer.train().training_loss)
    assert losses[0] == pytest.approx(losses[1])
    assert trainer.evaluate()["eval_score"] >= 0


def test_optuna_searches_through_the_trainers_own_method(make_trainer, make_model):
    trainer = make_trainer(num_train_epochs=1, eval_strategy="epoch")
    tasks = trainer.model.config.tasks
    trainer.model_init = lambda: make_model(tasks=tasks)
    rates = []

    def space(trial):
        rates.append(trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True))
        return {"learning_rate": rates[-1]}

    best = trainer.hyperparameter_search(
        hp_space=space,
        backend="optuna",
        n_trials=3,
        direction="maximize",
        compute_objective=lambda metrics: metrics["eval_score"],
    )
    assert len({*rates}) == 3 and best.hyperparameters["learning_rate"] in rates
    assert 0 < best.objective <= 1


def test_what_prints_is_removed_like_that_of_any_trainer(make_trainer, capsys):
    trainer = make_trainer(max_steps=2)
    trainer.train()
    assert "step 1 of 2" in capsys.readouterr().out
    trainer = make_trainer(max_steps=2)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    assert capsys.readouterr().out == ""


# Training that has no way back


@pytest.mark.parametrize("steps", [3, 40])
def test_a_run_that_diverges_ends_with_a_line_and_saves_no_model(steps, run, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("--max_steps", str(steps), learning_rate=1e9, max_grad_norm=0, logging_steps=1)
    error = capsys.readouterr().err
    assert "lower learning_rate." in error
    assert ("The loss has not been finite for 10 steps" in error) == (steps == 40)
    assert not (tmp_path / "run" / "model.safetensors").exists()
