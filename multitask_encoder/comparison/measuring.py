"""Measurements on the finished models of a comparison, beyond the results of their runs.

The rows that both kinds of models get right, the size and speed of the models, and how far the
embeddings have moved.
"""

import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedTokenizerBase

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.data.preprocessing import texts_of
from multitask_encoder.inference.loading import load_finished_model, load_tokenizer
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.training.model_loading import load_model
from multitask_encoder.training.prepare_data import preprocess_rows
from multitask_encoder.training.row_answers import RowAnswers
from multitask_encoder.training.row_scores import metrics_of
from multitask_encoder.training.run_rows import Rows, load_rows
from multitask_encoder.training.teacher_labels import label_unlabelled
from multitask_encoder.training.trainer import MultiTaskTrainer

from .differences import difference_intervals
from .report import make_report
from .runs import MULTI, Comparison, compared_split

SPEED_ROUNDS, MOST_TEXTS = 5, 500


def measure(comparison: Comparison) -> dict[str, Any]:
    """The whole report, see report.py. Every rank must call it: they share the predictions. Only
    the first measures the rest, which other ranks' reports lack."""
    first = comparison.multi(comparison.seeds[0])
    multi_answers, single_answers, similarity = [], [], []
    for seed in comparison.seeds:
        multi = comparison.multi(seed)
        with multi.training.main_process_first(desc="loading"):
            multi, rows, _ = load_rows(multi)
            if multi.teachers:
                rows, _ = label_unlabelled(multi, rows, load_finished(multi)[1])
        split = compared_split(multi, rows)
        ours, theirs = paired_answers(comparison, seed, rows, split)
        multi_answers.append(ours)
        single_answers.append(theirs)
        if multi.training.process_index == 0:
            texts = texts_of(rows[split].values())
            similarity.append(similarity_to_start(multi, rows, texts))
        gc.collect()  # trainers and their models hold each other in memory
    tasks = load_finished(first)[1].config.tasks
    with_models = {name: tasks[name] for name in comparison.tasks}
    report = make_report(
        {name: _read(run) for name, run in comparison.runs.items()},
        tasks,
        comparison.seeds,
        split,
        [metrics_of(answers, with_models).get("exact_match") for answers in single_answers],
        difference_intervals(multi_answers, single_answers, with_models),
    )
    if first.training.process_index == 0:
        report["similarity_to_start"] = similarity
        report["models"] = models(comparison)
        report["speed"] = speed(comparison, texts)
    return report


def load_finished(run: RunArguments) -> tuple[PreTrainedTokenizerBase, MultiTaskModel]:
    """The tokenizer and the model of a finished run, in float32."""
    folder = run.training.output_dir
    return load_tokenizer(folder), load_finished_model(folder)


def _read(run: RunArguments, name: str = "all_results.json") -> dict[str, Any]:
    return json.loads(Path(run.training.output_dir, name).read_text(encoding="utf-8"))


# Rows


def paired_answers(
    comparison: Comparison, seed: int, rows: Rows, split: str
) -> tuple[RowAnswers, RowAnswers]:
    """The answers to the same rows of the multi-task model, and of all single-task models together:
    each gives those of its task."""
    run = comparison.multi(seed)
    tokenizer, model = load_finished(run)
    with run.training.main_process_first(desc="tokenizing"):
        windows, _ = preprocess_rows(run, {split: rows[split]}, tokenizer, model)
    joined = concatenate_datasets(list(windows[split].values()))
    multi = _answers(run, joined, model.config.tasks)
    singles = {
        name: _answers(comparison.single(name, seed), joined, {name: model.config.tasks[name]})
        for name in comparison.tasks
    }
    by_task = {name: answers.by_task[name] for name, answers in singles.items()}
    return multi, multi._replace(by_task=by_task)


def _answers(run: RunArguments, windows: Dataset, tasks: dict[str, dict]) -> RowAnswers:
    """A finished run's answers. Every task should have the labels that it has in `tasks`."""
    tokenizer, model = load_finished(run)
    for name, task in tasks.items():
        wanted, labels = task.get("labels"), model.config.tasks[name].get("labels")
        if labels != wanted:
            raise ValueError(
                f"{run.training.output_dir} should have the labels {', '.join(wanted)} for task "
                f"{name!r}. Found {', '.join(labels)}."
            )
    trainer = MultiTaskTrainer(
        model=model,
        args=run.training,
        data_collator=MultiTaskCollator(tokenizer, model.config.tasks),
        eval_dataset=windows,
        processing_class=tokenizer,
    )
    trainer.predict(windows)
    return trainer.answers


# Size and time


def models(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Each model's `parameters`, `bytes` of weights on disk, and, as means over the seeds,
    optimizer `steps` and `seconds` of training (None if a run was resumed: only its last part
    was timed)."""
    described = {}
    for name in (MULTI, *comparison.tasks):
        runs = [
            comparison.multi(seed) if name == MULTI else comparison.single(name, seed)
            for seed in comparison.seeds
        ]
        folder = Path(runs[0].training.output_dir)
        results = [_read(run) for run in runs]
        steps = [_read(run, "trainer_state.json")["global_step"] for run in runs]
        resumed = any(result.get("train_resumed") for result in results)
        seconds = None if resumed else statistics.mean(one["train_runtime"] for one in results)
        described[name] = {
            "parameters": load_finished(runs[0])[1].num_parameters(),
            "bytes": sum(path.stat().st_size for path in folder.glob("model*.safetensors")),
            "steps": statistics.mean(steps),
            "seconds": seconds,
        }
    return described


def speed(comparison: Comparison, texts: list[str]) -> dict[str, Any]:
    """Sentences per second with all answers: by the multi-task model (`multi`), and by the
    single-task models one after the other (`single`), a value per round. They take turns, so that
    drift affects both alike."""
    seed, texts = comparison.seeds[0], texts[:MOST_TEXTS]
    multi = _pipeline(comparison.multi(seed))
    singles = [_pipeline(comparison.single(task, seed)) for task in comparison.tasks]

    def all_singles(texts: list[str]) -> None:
        for single in singles:
            single(texts)

    contestants: dict[str, Callable[[list[str]], Any]] = {"multi": multi, "single": all_singles}
    for answer in contestants.values():
        answer(texts[:32])  # the first calls are slower
    rates: dict[str, Any] = {"texts": len(texts), "multi": [], "single": []}
    for number in range(SPEED_ROUNDS):
        for name in sorted(contestants, reverse=bool(number % 2)):
            start = time.perf_counter()
            contestants[name](texts)
            rates[name].append(len(texts) / (time.perf_counter() - start))
    return rates


def _pipeline(run: RunArguments) -> MultiTaskPipeline:
    tokenizer, model = load_finished(run)
    if run.training.bf16:
        model = model.to(torch.bfloat16)  # as in predictions
    return MultiTaskPipeline(model=model.eval(), tokenizer=tokenizer, device=run.training.device)


# Embeddings


def similarity_to_start(run: RunArguments, rows: Rows, texts: list[str]) -> float:
    """The mean cosine similarity, in -1..1, between each text's embedding by the trained model and
    by the encoder that the run started from. Needs no labels, and doesn't say which is better."""

    def vectors(tokenizer: PreTrainedTokenizerBase, model: MultiTaskModel) -> torch.Tensor:
        device = run.training.device
        pipeline = MultiTaskPipeline(model=model.eval(), tokenizer=tokenizer, device=device)
        answers = pipeline(texts[:MOST_TEXTS], tasks=[])
        return torch.tensor([answer["embedding"] for answer in answers])

    before, after = vectors(*load_model(run, rows)), vectors(*load_finished(run))
    return float(torch.cosine_similarity(before, after).mean())
