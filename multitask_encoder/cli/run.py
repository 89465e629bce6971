"""Train, evaluate and use a multi-task encoder.

    python run_multitask.py                                   # configs/quickstart.yaml
    python run_multitask.py configs/snips.yaml --data_dir DIR --output_dir runs/snips
    python run_multitask.py configs/snips.yaml --tasks.intent.weight 2 --learning_rate 1e-4
    accelerate launch --config_file configs/accelerate/cpu_two_processes.yaml run_multitask.py
    python run_multitask.py runs/snips/config.yaml --resume_from_checkpoint
    python run_multitask.py my.yaml --do_inspect              # what is in the data
    python run_multitask.py --model runs/snips --do_train false --do_predict \\
        --predict_file new/*.jsonl --predict_output answers   # answer files
    python run_multitask.py my.yaml --compare_single_task     # one model beside one per task
    python run_multitask.py --help                            # every key

The run folder gets the model with its tokenizer and code, config.yaml with the keys that were set,
all_results.json and report.html. Exit code 2: the config, the data or a file is not as it should
be; one line says what. Anything else that ends the run is a defect and keeps its traceback.
"""

import copy
import logging
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

import torch
import transformers
from datasets import Dataset
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, set_seed

from multitask_encoder.arguments.parsing import parse_arguments
from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.cli.errors import fail, fail_without
from multitask_encoder.comparison.measuring import measure
from multitask_encoder.comparison.report import PREFIXES, can_plot, write_report
from multitask_encoder.comparison.runs import Comparison, is_finished, mark_finished
from multitask_encoder.data.bad_rows import BadRows
from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.data.texts import read_texts
from multitask_encoder.export.finished_run import finished_run
from multitask_encoder.export.publish import publish
from multitask_encoder.inference import Predictor
from multitask_encoder.inference.files import answer_files
from multitask_encoder.inference.inputs import InputChanged, Inputs, look_through
from multitask_encoder.inference.loading import load_pipeline, read_as
from multitask_encoder.inference.parts import OtherAnswers, parts_in
from multitask_encoder.inference.tables import Layout
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel, MultiTaskPipeline
from multitask_encoder.processor import keep_freed_memory
from multitask_encoder.reporting.report_page import PAGE, PICTURES, write_comparison_page
from multitask_encoder.reporting.results import (
    print_inspection,
    print_results,
    print_written,
    training_results,
    write_json,
)
from multitask_encoder.reporting.run_report import RunReport
from multitask_encoder.training.checkpoints import (
    best_was_chosen_by,
    checkpoints,
    is_complete,
    newest_complete_checkpoint,
)
from multitask_encoder.training.freezing import check_freezing, parameter_counts
from multitask_encoder.training.metrics import metric_names
from multitask_encoder.training.model_loading import load_model
from multitask_encoder.training.prepare_data import (
    epoch_draws,
    evaluated_metrics,
    inspect,
    join_datasets,
    keep_only_task,
    labelled_tasks,
    load_rows,
    preprocess_rows,
    row_counts,
    write_bad_rows,
)
from multitask_encoder.training.trainer import MultiTaskTrainer

logger = logging.getLogger("run_multitask")


def main(argv: list[str] | None = None) -> None:
    try:
        run_command(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        sys.exit(
            "Interrupted. --resume_from_checkpoint goes on from the last checkpoint; a comparison "
            "and a prediction go on when they are started again."
        )


def run_command(argv: list[str]) -> None:
    """Read the arguments, and train, compare or predict."""
    try:
        run = parse_arguments(argv)
        set_up_logging(run)
    except (ValueError, OSError) as error:
        refuse(error)
    keep_freed_memory()
    if run.training.compare_single_task:
        compare(run)
    elif run.training.only_predicts:
        predict(run)
    else:
        run_once(run)


def run_once(run: RunArguments) -> None:
    """Do all that one run is asked for."""
    try:
        checkpoint = find_checkpoint(run)
        set_seed(run.training.seed)
        with run.training.main_process_first(desc="loading"):
            rows, bad = load_rows(run)
            run, rows = keep_only_task(run, rows)
            tokenizer, model = load_model(run, rows)
            check_best_metric(run, model, rows)
            texts = look_at_texts(run, model.config, checkpoint)
            if run.training.do_train and not run.training.do_inspect:
                check_freezing(model, run.training, run.data.streaming)
            windows, more_bad = preprocess_rows(run, rows, tokenizer, model)
            splits = join_datasets(run, windows, tokenizer, model)
            draws = epoch_draws(run, splits)
        if not run.training.do_inspect:
            write_bad_rows(run, bad + more_bad)
    except (ValueError, OSError) as error:
        refuse(error)

    if run.training.do_inspect:
        if run.training.should_log:
            found = inspect(run, rows, windows, bad + more_bad, tokenizer, model)
            print_inspection(found, Path(run.training.output_dir) / "inspection.json")
        return
    # Publishing is ours, from a clean folder: the Trainer would push its pickles along, and write
    # the token into them.
    publishes, run.training.push_to_hub = run.training.push_to_hub, False
    token, run.training.hub_token = run.training.hub_token, None
    trainer = make_trainer(run, model, tokenizer, splits, draws)
    measured = measured_splits(run, splits)
    wanted = trainer.is_world_process_zero() and wants_report(run)
    page = RunReport(rows, list(run.datasets), splits, tokenizer, list(measured), wanted)
    results: dict[str, float] = {}
    if run.training.do_train:
        page.see_embeddings(model, "before")
        try:
            results |= train(run, trainer, checkpoint)
        except BadRows as error:  # met in data that is streamed
            refuse(error)
        page.see_history(trainer.state.log_history)
    else:
        page.read_history(run.model.model)
    for split, prefix in measured.items():
        results |= trainer.evaluate(splits[split], metric_key_prefix=prefix)
        page.see_answers(trainer.answers, split)
    if results:
        results |= row_counts(run, rows)
    if trainer.is_world_process_zero():
        output_dir = Path(run.training.output_dir)
        if results:  # else those of an earlier run stay
            write_json(training_results(run) | results, output_dir / "all_results.json")
        print_results(results, model.config.tasks)
        if results:
            page.see_embeddings(model, "after")
            page.write(model.config, results, output_dir)
    if run.data.examples or run.training.do_predict:
        if run.training.bf16:
            model = copy.deepcopy(model).to(torch.bfloat16)  # half the traffic of autocasting
        pipeline = MultiTaskPipeline(model=model.eval(), tokenizer=tokenizer, device=model.device)
        answer(run, pipeline, texts)
    if trainer.is_world_process_zero():
        trained = ["model", "config.yaml"] if run.training.do_train else []
        measures = ["all_results.json", PAGE] if results else []
        next_command = f"python app.py --model {output_dir}" if trained else ""
        print_written(output_dir, [*trained, *measures], next_command)
        if publishes:
            push(run, model, tokenizer, results, token)


def predict(run: RunArguments) -> None:
    """Answer with a finished model: no data sets, no Trainer."""
    name, is_torch = run.model.model or run.training.output_dir, run.model.backend == "torch"
    try:
        if run.model.model is None and not Path(name, "config.json").is_file():
            raise ValueError(
                "do_predict without do_train needs `model`, or a finished one in output_dir. "
                f"Found none in {name}."
            )
        pipeline = load_pipeline(
            name, run.model.backend, str(run.training.device), run.training.bf16 and is_torch
        )
        read_as(pipeline, run.data.max_length, run.data.stride, run.data.sentence_windows)
        texts = look_at_texts(run, pipeline.model.config)
    except ModuleNotFoundError as error:
        fail_without(error)
    except (ValueError, OSError) as error:
        refuse(error)
    answer(run, pipeline, texts)


def compare(run: RunArguments) -> None:
    """Train the model of all tasks and one of each task alone, with every seed, and report."""
    try:
        with run.training.main_process_first(desc="looking at what is there"):
            comparison = Comparison.of(run)
            finished = [name for name, one in comparison.runs.items() if is_finished(one)]
            comparison.check_data()
    except (ValueError, OSError) as error:
        refuse(error)
    if not can_plot():
        logger.warning(
            "report.png and report.html are left out without matplotlib: "
            "pip install 'multitask-encoder[report]'"
        )
        for one in comparison.runs.values():
            one.training.report = False
    run.training.distributed_state.wait_for_everyone()  # nobody writes while another still looks
    for number, (name, one) in enumerate(comparison.runs.items(), start=1):
        state = "is finished" if name in finished else f"in {one.training.output_dir}"
        logger.info("Run %d of %d: %s, %s.", number, len(comparison.runs), name, state)
        if name not in finished:
            run_once(one)
            mark_finished(one)
    logger.info("Comparing the finished models.")
    report = measure(comparison)
    if run.training.process_index == 0:
        output_dir = Path(run.training.output_dir)
        write_report(report, output_dir)
        if run.training.report and can_plot():
            write_comparison_page(report, list(comparison.runs), output_dir)
        print_written(output_dir, ["report.md", "report.json", "report.png", PAGE])


def set_up_logging(run: RunArguments) -> None:
    logging.basicConfig(
        format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S", stream=sys.stdout
    )
    level = run.training.get_process_log_level() if run.training.process_index else logging.INFO
    logger.setLevel(level)
    transformers.utils.logging.set_verbosity(max(level, logging.WARNING))


def find_checkpoint(run: RunArguments) -> str | None:
    """The checkpoint to resume from; refuses to mix a new run with an earlier one's checkpoints."""
    asked, output_dir = run.training.resume_from_checkpoint, Path(run.training.output_dir)
    if output_dir.exists() and not output_dir.is_dir():
        raise ValueError(f"output_dir should be a folder. Found the file {output_dir}.")
    if not run.training.do_train or run.training.do_inspect:
        return None
    if asked in (None, "false", "False"):
        if checkpoints(output_dir) and not run.training.overwrite_output_dir:
            raise ValueError(
                f"{output_dir} holds checkpoints of an earlier run. Go on with it by "
                "--resume_from_checkpoint, replace it by --overwrite_output_dir, or name another."
            )
        return None
    if asked in ("true", "True"):
        found = newest_complete_checkpoint(output_dir)
    else:
        found = Path(asked)
        if not found.is_dir():
            raise FileNotFoundError(f"No checkpoint {asked}.")
        if not is_complete(found):
            raise ValueError(f"Checkpoint {asked} should be whole. Found one that broke off.")
    if found is None:
        logger.warning(
            "No complete checkpoint in %s: training starts from the beginning.", output_dir
        )
        return None
    metric = run.training.metric_for_best_model
    if metric is not None and not best_was_chosen_by(found, metric.removeprefix("eval_")):
        raise ValueError(
            f"metric_for_best_model should be that of the run which {found} belongs to, whose best "
            f"checkpoint was chosen by it. Found {metric!r}."
        )
    return str(found)


def check_best_metric(
    run: RunArguments, model: MultiTaskModel, rows: dict[str, dict[str, Dataset]]
) -> None:
    """Refuse a name that the first evaluation would not find, after a whole epoch."""
    everything = metric_names(model.config.tasks, labelled_tasks(run))
    twice = [name for name in everything if everything.count(name) > 1]
    if twice:
        raise ValueError(
            f"Names of tasks and data sets should not give one metric twice: {twice[0]}."
        )
    metric = run.training.metric_for_best_model
    if not run.training.do_train or run.training.do_inspect or "validation" not in rows:
        return
    known = evaluated_metrics(model.config.tasks, labelled_tasks(run), rows["validation"])
    if metric is not None and metric.removeprefix("eval_") not in known:
        raise ValueError(
            f"metric_for_best_model should be one of {', '.join(known)}. Found {metric!r}."
        )


def make_trainer(
    run: RunArguments,
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    splits: dict[str, Dataset],
    draws: list[int] | None,
) -> MultiTaskTrainer:
    callbacks = []
    if run.training.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(run.training.early_stopping_patience))
    return MultiTaskTrainer(
        model=model,
        args=run.training,
        data_collator=MultiTaskCollator(tokenizer, model.config.tasks),
        train_dataset=splits.get("train"),
        eval_dataset=splits.get("validation"),
        processing_class=tokenizer,
        callbacks=callbacks,
        datasets=labelled_tasks(run),
        draws=draws,
    )


def measured_splits(run: RunArguments, splits: dict[str, Dataset]) -> dict[str, str]:
    """The splits that the run is measured on, and what their metrics begin with."""
    asked = {"validation": run.training.do_eval, "test": run.training.do_test}
    return {name: PREFIXES[name] for name, wanted in asked.items() if wanted and name in splits}


def wants_report(run: RunArguments) -> bool:
    """Whether report.html is to be written, and can be."""
    if run.training.report and not can_plot():
        logger.warning(
            "report.html is left out without matplotlib: pip install 'multitask-encoder[report]'"
        )
    return run.training.report and can_plot()


def train(run: RunArguments, trainer: MultiTaskTrainer, checkpoint: str | None) -> dict[str, float]:
    """Train, leave the best model in the run folder, and return how the training went."""
    output_dir = Path(run.training.output_dir)
    if trainer.is_world_process_zero():
        output_dir.mkdir(parents=True, exist_ok=True)
        run.save(output_dir / "config.yaml")
        if checkpoint is None:
            for old in checkpoints(output_dir):
                shutil.rmtree(old)
        # Beside the config of this run, those of an earlier one would be taken for its own.
        for name in ("all_results.json", PAGE, *PICTURES):
            (output_dir / name).unlink(missing_ok=True)
    trainer.accelerator.wait_for_everyone()
    trained, parameters = parameter_counts(trainer.model, run.training)
    if trained == 0:
        logger.info("All of %s parameters are frozen: nothing is trained.", f"{parameters:,}")
        trainer.save_model()
        return {}
    logger.info(
        "Training on %s with %s; %d processes, %s.",
        "streamed rows" if run.data.streaming else f"{len(trainer.train_dataset)} rows",
        ", ".join(run.tasks),
        run.training.world_size,
        "bfloat16" if run.training.bf16 else "float32",
    )
    logger.info("%s of %s parameters are trained.", f"{trained:,}", f"{parameters:,}")
    metrics = trainer.train(resume_from_checkpoint=checkpoint).metrics
    if checkpoint is not None:
        metrics["train_resumed"] = True  # train_runtime is that of the last part
    trainer.save_model()
    trainer.save_state()
    return metrics


def look_at_texts(
    run: RunArguments, config: MultiTaskConfig, checkpoint: str | None = None
) -> tuple[Inputs, Layout, Path] | None:
    """What do_predict is to answer, in which columns and where; None where it is not asked for.

    Looked at before training: a mistake there must not cost one.
    """
    if not run.training.do_predict or run.training.do_inspect:
        return None
    if run.data.predict_file is None:
        raise ValueError("do_predict needs predict_file.")
    if run.data.predict_output is None and "output_dir" not in run.given:
        raise ValueError("do_predict needs predict_output: the folder for the answers.")
    folder = Path(run.data.predict_output or Path(run.training.output_dir, "predictions"))
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"predict_output should be a folder. Found the file {folder}.")
    is_new = run.training.do_train and not checkpoint
    if is_new and not run.training.overwrite_output_dir and any(parts_in(folder)):
        raise ValueError(  # the model that is trained now would find them to be another's
            f"{folder} holds answers of an earlier run. Replace them by --overwrite_output_dir, or "
            "name another predict_output."
        )
    tasks = [run.model.only_task] if run.model.only_task else list(run.tasks or config.tasks)
    for name in tasks:
        if name not in config.tasks:
            raise ValueError(f"The model has no task {name!r}. It has {', '.join(config.tasks)}.")
    inputs = look_through(
        partial(read_texts, run.data.predict_file, run.data),
        run.data.predict_shard_size,
        run.data.predict_columns,
        run.data.on_bad_row,
        show=shows_progress(run),
    )
    layout = Layout(config, tasks, inputs.kept, run.data.predict_without or ())
    return inputs, layout, folder


def shows_progress(run: RunArguments) -> bool:
    """One bar a machine is enough."""
    return run.training.local_process_index == 0 and not run.training.disable_tqdm


def answer(
    run: RunArguments,
    pipeline: MultiTaskPipeline,
    texts: tuple[Inputs, Layout, Path] | None,
) -> None:
    """Show the answers for `examples`, and write those for `predict_file`."""
    if run.data.examples and run.training.process_index == 0:
        for one in Predictor(pipeline)(run.data.examples):
            print(f"\n{one}")
    if texts is None:
        return
    try:
        answer_files(
            pipeline,
            *texts,
            run.data.predict_format,
            overwrite=run.training.overwrite_output_dir,
            rank=run.training.process_index,
            num_ranks=run.training.world_size,
            show=shows_progress(run),
        )
    except (OtherAnswers, InputChanged, OSError) as error:
        refuse(error)
    if run.training.process_index == 0:
        share = "answers" if run.training.world_size == 1 else "the first process's answers"
        print(f"\nWrote {share} to {texts[2]}.")


def push(
    run: RunArguments,
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    results: dict[str, float],
    token: str | None,
) -> None:
    """Publish the model on the Hub. Where that fails, one line says so; the run folder is whole."""
    output_dir = Path(run.training.output_dir)
    try:
        url = publish(
            model,
            tokenizer,
            run.training.hub_model_id or output_dir.name,
            finished_run(run.set_keys(), results, output_dir),
            revision=run.training.hub_revision,
            private=run.training.hub_private_repo,
            token=token,
        )
    except (ValueError, OSError) as error:
        refuse(error)
    logger.info("Published: %s", url)


def refuse(error: Exception) -> NoReturn:
    """End the run by an error of the user's input; of bad rows each has a line."""
    fail(*(str(error).split("\n") if isinstance(error, BadRows) else [error]))
