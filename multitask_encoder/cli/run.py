"""Train, evaluate and use a multi-task encoder.

    multitask-encoder train                                   # configs/quickstart.yaml
    multitask-encoder train configs/snips.yaml --data_dir DIR --output_dir runs/snips
    multitask-encoder train configs/snips.yaml --tasks.intent.weight 2 --learning_rate 1e-4
    multitask-encoder train runs/snips/config.yaml --resume_from_checkpoint
    multitask-encoder inspect my.yaml                         # what is in the data
    multitask-encoder predict --model runs/snips --predict_file new/*.jsonl --predict_output answers
    multitask-encoder compare my.yaml                         # one model beside one per task
    accelerate launch -m multitask_encoder train my.yaml      # several processes
    multitask-encoder train --help                            # every key

The run folder gets the model with its tokenizer and code, config.yaml with the keys that were set,
all_results.json and report.html. Exit code 2: the config, the data or a file is invalid, and one
line says why. Anything else that ends the run is a defect and keeps its traceback.
"""

import copy
import gc
import logging
import shutil
import sys
import time
from pathlib import Path
from shlex import quote
from typing import Any

import datasets
import torch
import transformers
from datasets import Dataset
from safetensors import SafetensorError
from transformers import PreTrainedTokenizerBase, set_seed

from multitask_encoder.arguments.parsing import parse_arguments
from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.bad_rows import BadRows
from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.export.sentence_transformers import describe
from multitask_encoder.files import write_json
from multitask_encoder.inference.precision import answers_in_bf16, computes
from multitask_encoder.inference.sample_texts import write_sample_texts
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.processor import keep_freed_memory
from multitask_encoder.reporting.advice import advice
from multitask_encoder.reporting.beside_teachers import beside_teachers
from multitask_encoder.reporting.figures import can_plot
from multitask_encoder.reporting.report_page import PAGE, PICTURES
from multitask_encoder.reporting.results import (
    PREFIXES,
    print_inspection,
    print_results,
    print_written,
    time_line,
    training_results,
)
from multitask_encoder.reporting.run_report import RunReport
from multitask_encoder.terminal import VisibleFormatter
from multitask_encoder.training.bad_rows_file import write_bad_rows
from multitask_encoder.training.checkpoints import (
    BestBeside,
    check_epoch,
    checkpoints,
    find_checkpoint,
)
from multitask_encoder.training.checks import check_measures_a_model, check_training
from multitask_encoder.training.contrastive_start import begin_contrastively
from multitask_encoder.training.defaults import choose_precision, fill_defaults, in_shards
from multitask_encoder.training.early_stopping import EarlyStopping
from multitask_encoder.training.fitting import fit_scores, measure_fitted
from multitask_encoder.training.freezing import parameter_counts
from multitask_encoder.training.intervals import intervals
from multitask_encoder.training.linear_probe import begin_as_probes
from multitask_encoder.training.log_lines import print_no_more
from multitask_encoder.training.model_loading import load_model
from multitask_encoder.training.output_folders import check_output_folders
from multitask_encoder.training.prepare_data import (
    RunData,
    find_held,
    label_measured,
    plan_teaching,
    prepare_data,
    tokenize_data,
)
from multitask_encoder.training.run_inspection import inspect
from multitask_encoder.training.run_rows import labelled_tasks, row_counts
from multitask_encoder.training.run_time import StepTime
from multitask_encoder.training.taught_rows import ask_own_share
from multitask_encoder.training.trainer import Diverged, MultiTaskTrainer

from .compare import compare
from .errors import fail_without_disk, refusing
from .predict import answer, predict, texts_to_answer
from .publish import publish_run
from .search import search

logger = logging.getLogger("multitask_encoder")


def main(argv: list[str] | None = None, keys: dict[str, Any] | None = None) -> None:
    """Run a command line, whose keys go before `keys`, which stand for a config."""
    try:
        run_command(sys.argv[1:] if argv is None else argv, keys)
    except KeyboardInterrupt:
        sys.exit(
            "Interrupted. --resume_from_checkpoint goes on from the last checkpoint; a comparison, "
            "a search and a prediction go on when they are started again."
        )
    except (OSError, RuntimeError, SafetensorError) as error:
        fail_without_disk(error)
    leave_process_group()


def leave_process_group() -> None:
    """Part from the other processes of the run, if there are any.

    Gloo's threads free the tensors of a collective after it has returned: a Python that ends just
    then is aborted. They end with the group, once nothing refers to it.
    """
    if torch.distributed.is_initialized():
        gc.collect()  # models and trainers refer to each other
        torch.distributed.destroy_process_group()


def run_command(argv: list[str], keys: dict[str, Any] | None = None) -> None:
    """Read the arguments, and train, search, compare or predict."""
    with refusing():
        run = parse_arguments(argv, keys)
        set_up_logging(run)
        check_output_folders(run)
    keep_freed_memory()
    if run.training.compare_single_task:
        compare(run, run_once)
    elif run.search and run.training.do_train and not run.training.do_inspect:
        search(run, run_once)
    elif run.training.only_predicts:
        predict(run)
    else:
        with refusing():
            check_measures_a_model(run)
        with refusing(Diverged):
            run_once(run)


def run_once(run: RunArguments) -> None:
    """Load, train, evaluate, report, predict and publish, as far as the run asks for it.

    Raises:
        Diverged: the loss or a weight has become infinite or NaN.
    """
    began = time.perf_counter()
    with refusing():
        checkpoint = find_checkpoint(run)
        set_seed(run.training.seed)
        with run.training.main_process_first(desc="loading"):
            run, data = prepare_data(run)
            tokenizer, model = _load_model(run, data)
            find_held(run, data, model)
            label_measured(run, data, model)
            choose_precision(run, model)
            held, kept = data.held, data.kept_heads
            fill_defaults(run, data.rows, model, checkpoint, data.old_tasks, held, kept)
            check_training(run, model, data.rows)
            texts = texts_to_answer(run, model.config, checkpoint)
            counts = row_counts(run, data.rows)  # before rehearsal texts are among them
            lessons = plan_teaching(run, data, tokenizer, model)
        ask_own_share(run, data.rows.get("train", {}), lessons)
        with run.training.main_process_first(desc="tokenizing"):
            tokenize_data(run, data, tokenizer, model, lessons)
        write_bad_rows(run, data.bad)
    if run.training.do_inspect:
        show_inspection(run, data, tokenizer, model)
        return

    trainer = make_trainer(run, model, tokenizer, data)
    if checkpoint is not None and isinstance(trainer.train_dataset, Dataset):
        with refusing():
            batches = max(1, len(trainer.get_train_dataloader()))
            check_epoch(Path(checkpoint), batches, run.training.gradient_accumulation_steps)
    trainer.add_callback(report := make_report(run, trainer, data))
    trainer.add_callback(steps := StepTime())
    results: dict[str, Any] = {}
    if run.training.do_train:
        results |= train(run, trainer, data, checkpoint)
    print_no_more(trainer)
    for split, prefix in measured_splits(run, data).items():
        results |= evaluate(trainer, data.splits[split], prefix)
        if split == "validation" and run.training.do_train:
            advise(run, trainer)
    if not run.training.do_train:
        results |= measure_fitted(run, trainer, data, list(measured_splits(run, data)))
    if results:  # otherwise those of an earlier run stay
        results |= counts
    if steps.seconds:
        results["train_steps_runtime"] = steps.seconds
        results["run_runtime"] = time.perf_counter() - began
    if trainer.is_world_process_zero():
        if run.training.do_train and run.teachers and not in_shards(run.training):
            results |= compare_with_teachers(run, trainer, data)
        write_results(run, results, trainer, report)
        if run.training.do_train:
            folder = Path(run.training.output_dir)
            measured, learned = (data.rows.get(split, {}) for split in ("validation", "train"))
            write_sample_texts(measured, learned, model.config.tasks, folder, data.samples)
    if run.data.examples or run.training.do_predict:
        answer(run, pipeline_of(run, model, tokenizer), texts)
    if trainer.is_world_process_zero():
        if steps.seconds:
            print(time_line(time.perf_counter() - began, steps.seconds))
        say_written(run, bool(results))
        if run.training.push_to_hub:
            publish_run(run, model, tokenizer, results)


def _load_model(run: RunArguments, data: RunData) -> tuple[PreTrainedTokenizerBase, MultiTaskModel]:
    """The run's model; where labels are missing, perhaps because rows are bad, it says so."""
    try:
        return load_model(run, data.rows)
    except ValueError as error:
        if not data.bad:
            raise
        first, count = data.bad[0], len(data.bad)
        many = "1 row is" if count == 1 else f"{count} rows are"
        raise ValueError(
            f"{error} {many} bad, the first: {first['source']}: {first['problem']}"
        ) from error


def set_up_logging(run: RunArguments) -> None:
    lines = logging.StreamHandler(sys.stdout)
    lines.setFormatter(VisibleFormatter("%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(handlers=[lines])
    level = run.training.get_process_log_level() if run.training.process_index else logging.INFO
    logger.setLevel(level)
    transformers.utils.logging.set_verbosity(max(level, logging.WARNING))
    if not sys.stderr.isatty():  # bars would fill a file with escape codes
        transformers.utils.logging.disable_progress_bar()
        datasets.disable_progress_bars()
        if run.given.get("disable_tqdm") is None:
            run.training.disable_tqdm = True


def show_inspection(
    run: RunArguments, data: RunData, tokenizer: PreTrainedTokenizerBase, model: MultiTaskModel
) -> None:
    """Print what is in the data, and write it to the run folder; in one process."""
    if run.training.should_log:
        inspection = inspect(run, data, tokenizer, model)
        print_inspection(inspection, Path(run.training.output_dir) / "inspection.json")


def make_trainer(
    run: RunArguments, model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase, data: RunData
) -> MultiTaskTrainer:
    """The run's Trainer. It doesn't publish: it would push its pickles too, with the token in
    them. `publish_run` does, from a clean folder."""
    arguments = copy.copy(run.training)
    arguments.push_to_hub, arguments.hub_token = False, None
    callbacks = []
    if run.training.early_stopping_patience is not None:
        callbacks.append(EarlyStopping(run.training.early_stopping_patience))
    return MultiTaskTrainer(
        model=model,
        args=arguments,
        data_collator=MultiTaskCollator(tokenizer, model.config.tasks, data.taught),
        train_dataset=data.splits.get("train"),
        eval_dataset=data.splits.get("validation"),
        processing_class=tokenizer,
        callbacks=callbacks,
        datasets=labelled_tasks(run),
        draws=data.draws,
        held=list(data.held),
    )


def measured_splits(run: RunArguments, data: RunData) -> dict[str, str]:
    """The splits that the run is evaluated on, and the prefixes of their metrics."""
    asked = {"validation": run.training.do_eval, "test": run.training.do_test}
    return {
        name: PREFIXES[name] for name, wanted in asked.items() if wanted and name in data.splits
    }


def make_report(run: RunArguments, trainer: MultiTaskTrainer, data: RunData) -> RunReport:
    """The report of the run, written by its first process."""
    windows = {name: data.splits[name] for name in measured_splits(run, data)}
    wanted = trainer.is_world_process_zero() and wants_report(run)
    notes = [note for split in windows for note in data.notes[split]]
    return RunReport(trainer, data.rows, windows, run.model.model, notes, wanted)


def wants_report(run: RunArguments) -> bool:
    """Whether to write report.html: the run wants it, and matplotlib is installed."""
    if run.training.report and not can_plot():
        logger.warning(
            "report.html is left out without matplotlib: pip install 'multitask-encoder[report]'"
        )
    return run.training.report and can_plot()


def train(
    run: RunArguments, trainer: MultiTaskTrainer, data: RunData, checkpoint: str | None
) -> dict[str, Any]:
    """Train and calibrate, save the best model to the run folder, and return what was measured."""
    output_dir = Path(run.training.output_dir)
    if trainer.is_world_process_zero():
        output_dir.mkdir(parents=True, exist_ok=True)
        run.save(output_dir / "config.yaml")
        if checkpoint is None:
            for old in checkpoints(output_dir):
                shutil.rmtree(old)
        # Results of an earlier run would be taken for those of this config.
        for name in ("all_results.json", PAGE, *PICTURES):
            (output_dir / name).unlink(missing_ok=True)
    trainer.accelerator.wait_for_everyone()
    trained, parameters = parameter_counts(trainer.model, run.training)
    if trained == 0:
        logger.info("All of %s parameters are frozen: nothing is trained.", f"{parameters:,}")
        save_model(trainer)
        return {}
    logger.info(
        "Training on %s with %s; %d processes, %s.",
        "streamed rows" if run.data.streaming else f"{len(trainer.train_dataset)} rows",
        ", ".join(run.tasks),
        run.training.world_size,
        "bfloat16" if run.training.bf16 else "float32",
    )
    logger.info("%s of %s parameters are trained.", f"{trained:,}", f"{parameters:,}")
    if isinstance(trainer.train_dataset, Dataset):
        start = (trainer.model, trainer.train_dataset, trainer.processing_class.pad_token_id)
        autocast = trainer.accelerator.autocast
        # Where l2_sp pulls a resumed run back to.
        again = checkpoint is None or run.training.l2_sp
        if run.model.model is None and again and not in_shards(run.training):
            begin_contrastively(*start, run.training, autocast)
        if checkpoint is None:
            begin_as_probes(*start, run.training.seed, autocast, data.taught, data.old_tasks)
    if checkpoint is not None:
        trainer.add_callback(BestBeside(Path(checkpoint)))
    with refusing(BadRows):  # which are met in streamed data
        metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
        trainer.check_weights()
    metrics |= fit_scores(run, trainer, data)
    if checkpoint is not None:
        metrics["train_resumed"] = True  # train_runtime covers the last part only
    save_model(trainer)
    trainer.save_state()
    return metrics


def save_model(trainer: MultiTaskTrainer) -> None:
    """Save the model to the run folder; sentence-transformers loads the embedding from it."""
    trainer.save_model()
    if trainer.is_world_process_zero():
        config, folder = trainer.model.config, Path(trainer.args.output_dir)
        describe(config, trainer.processing_class, folder)


def evaluate(trainer: MultiTaskTrainer, windows: Dataset, prefix: str) -> dict[str, Any]:
    """A split's metrics, which are also logged, and their intervals, which are not."""
    metrics = trainer.evaluate(windows, metric_key_prefix=prefix)
    spreads = intervals(trainer.answers, trainer.model.config.tasks)
    return metrics | {f"{prefix}_{key}": value for key, value in spreads.items()}


def advise(run: RunArguments, trainer: MultiTaskTrainer) -> None:
    """Log what the results of a training run say about its settings."""
    history = trainer.state.log_history[:-1]  # the last measures the best checkpoint once more
    answers = trainer.answers.by_task if trainer.answers else {}
    metric, tasks = run.training.metric_for_best_model, trainer.model.config.tasks
    higher_is_better = bool(run.training.greater_is_better)
    for line in advice(history, metric, tasks, answers, higher_is_better):
        logger.warning("%s", line)


def compare_with_teachers(
    run: RunArguments, trainer: MultiTaskTrainer, data: RunData
) -> dict[str, Any]:
    """The result `teachers` (see `beside_teachers`): on the test rows if there are some."""
    if not (splits := list(measured_splits(run, data))):
        return {}
    split = splits[-1]
    found = beside_teachers(
        run,
        data.rows[split],
        data.splits[split],
        data.labelled_by_teachers.get(split, []),
        trainer.model,
        trainer.processing_class,
    )
    return {"teachers": found}


def write_results(
    run: RunArguments, results: dict[str, Any], trainer: MultiTaskTrainer, report: RunReport
) -> None:
    """Write all_results.json and report.html, and print the metrics."""
    output_dir = Path(run.training.output_dir)
    if results:
        write_json(training_results(run) | results, output_dir / "all_results.json")
        print_results(results, trainer.model.config.tasks)
        report.write(results, output_dir)


def pipeline_of(
    run: RunArguments, model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase
) -> MultiTaskPipeline:
    """The model of this run, ready to answer."""
    model.eval()
    asked = run.answers_in_bf16
    if answers_in_bf16(model, asked, run.training.use_cpu) and not in_shards(run.training):
        cast = copy.deepcopy(model).bfloat16()  # half the memory traffic of autocasting
        model = cast if asked or computes(cast) else model
    return MultiTaskPipeline(model=model, tokenizer=tokenizer, device=model.device)


def say_written(run: RunArguments, measured: bool) -> None:
    """Print which files the run wrote, and what to do with the model."""
    output_dir = Path(run.training.output_dir)
    trained = ["model", "config.yaml"] if run.training.do_train else []
    measures = ["all_results.json", PAGE] if measured else []
    next_command = f"multitask-encoder demo --model {quote(str(output_dir))}" if trained else ""
    print_written(output_dir, [*trained, *measures], next_command)
