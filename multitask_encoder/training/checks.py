"""Checks of a run before its texts are tokenized; most need its model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from datasets import Dataset
from transformers import Trainer, get_scheduler
from transformers.integrations import get_reporting_integration_callbacks

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments, RunArguments
from multitask_encoder.data.labels import has_labels
from multitask_encoder.inference.tables import Layout
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.library_errors import first_line

from .defaults import asks_for_fsdp
from .freezing import check_freezing
from .lora import check_lora
from .metrics import metric_names, metric_of
from .run_rows import Rows, labelled_tasks


def check_training(run: RunArguments, model: MultiTaskModel, rows: Rows) -> None:
    """Refuse a run that would fail only in training.

    Raises:
        ValueError: the metric or a part to freeze does not exist, columns of the answers would have
            the same name, or LoRA can't be used; FSDP is asked for, and accelerate would leave it
            out.
    """
    check_best_metric(run, model, rows)
    check_shards(run.training)
    if run.training.do_train and not run.training.do_inspect:
        Layout(model.config, list(model.config.tasks), kept={}, without=())  # answers have columns
        check_freezing(model, run.training, run.data.streaming)
        check_lora(model, run.training)
        check_trainer_keys(run.training, model)


def check_trainer_keys(training: MultiTaskTrainingArguments, model: MultiTaskModel) -> None:
    """Refuse an optimizer, a schedule or a tracker that can't be made: the Trainer would say so
    after the data is read, or with the first step."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter])
    schedule = {"num_warmup_steps": 0, "num_training_steps": 1}
    schedule["scheduler_specific_kwargs"] = training.lr_scheduler_kwargs
    checks: dict[str, Callable[[], Any]] = {
        "optim": lambda: Trainer.get_optimizer_cls_and_kwargs(training, model),
        "lr_scheduler_type": lambda: get_scheduler(
            training.lr_scheduler_type, optimizer, **schedule
        ),
        "report_to": lambda: [
            tracker() for tracker in get_reporting_integration_callbacks(training.report_to)
        ],
    }
    for key, check in checks.items():
        try:
            check()
        except (ValueError, TypeError, ImportError, RuntimeError) as error:
            raise ValueError(f"{key} {getattr(training, key)}: {first_line(error)}") from None


def check_measures_a_model(run: RunArguments) -> None:
    """Refuse to measure, and write down as a run's results, what new heads answer."""
    training = run.training
    measures = not (training.do_train or training.do_inspect or training.only_predicts)
    heads = any(not task.is_embedding for task in run.tasks.values())
    if measures and heads and run.model.model is None:
        folder = training.output_dir
        hint = f" Of {folder}: --model {folder}" if Path(folder, "config.json").is_file() else ""
        raise ValueError(f"do_train: false measures a finished `model`. Found none.{hint}")


def check_shards(training: MultiTaskTrainingArguments) -> None:
    """Refuse FSDP where accelerate would leave it out without a word, or can't do without an
    optimizer."""
    if not asks_for_fsdp(training):
        return
    if not training.do_train:
        raise ValueError("FSDP is for training: with do_train: false, start the run without it.")
    alone = (DistributedType.NO, DistributedType.MULTI_CPU)
    state = training.distributed_state
    if state.distributed_type in alone:
        raise ValueError(
            "FSDP needs several processes, each with a GPU or another accelerator. Found "
            f"{state.num_processes} on {state.device.type}."
        )


def check_best_metric(run: RunArguments, model: MultiTaskModel, rows: Rows) -> None:
    """Refuse a metric that the first evaluation, after a whole epoch, would lack."""
    everything = metric_names(model.config.tasks, labelled_tasks(run))
    twice = [name for name in everything if everything.count(name) > 1]
    if twice:
        raise ValueError(
            f"Tasks and data sets should give each metric its own name. Found {twice[0]} twice."
        )
    metric = run.training.metric_for_best_model
    chooses = run.training.do_train and run.training.do_eval and not run.training.do_inspect
    if not chooses or "validation" not in rows:
        return
    known = evaluated_metrics(model.config.tasks, labelled_tasks(run), rows["validation"])
    if metric is not None and metric.removeprefix("eval_") not in known:
        if run.given.get("metric_for_best_model") is None:
            raise ValueError(
                "The validation rows have no label of a task that counts in the score, which "
                "chooses the best epoch: add labels, set metric_for_best_model to one of "
                f"{', '.join(known)}, or do_eval: false."
            )
        raise ValueError(
            f"metric_for_best_model should be one of {', '.join(known)}. Found {metric!r}."
        )


def evaluated_metrics(
    tasks: dict[str, dict], labelled: dict[str, list[str]], validation: dict[str, Dataset]
) -> list[str]:
    """The metrics that an evaluation of these rows gives, without the prefix of the split."""
    seen = {
        name: [task for task in labelled[name] if has_labels(task, rows)]
        for name, rows in validation.items()
    }
    known = {task for names in seen.values() for task in names}
    tasks = {name: task for name, task in tasks.items() if name in known}
    of_tasks = metric_names(tasks, {})
    absent = [f"{name}_" for name in labelled if not seen.get(name)]
    # Ranked answers are never simply right, nor are answers without a label.
    judged = {name for name, task in tasks.items() if not metric_of(task).ranked}
    absent += [f"{name}_exact_match" for name in labelled if judged.isdisjoint(seen.get(name, ()))]
    scored = {name for name, task in tasks.items() if task["score_weight"]}
    absent += [f"{name}_score" for name in labelled if scored.isdisjoint(seen.get(name, ()))]
    without = (["exact_match"] if not judged else []) + (["score"] if not scored else [])
    return [
        name
        for name in metric_names(tasks, labelled)
        if (name in of_tasks or not name.startswith(tuple(absent))) and name not in without
    ]
