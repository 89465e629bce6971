"""Answering files of texts, with a finished model or with the one just trained."""

from functools import partial
from pathlib import Path

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.texts import read_texts
from multitask_encoder.files import check_may_be_folder
from multitask_encoder.inference import Predictor
from multitask_encoder.inference.files import answer_files
from multitask_encoder.inference.inputs import InputChanged, Inputs, scan_inputs
from multitask_encoder.inference.loading import load_pipeline, read_as
from multitask_encoder.inference.parts import OtherAnswers, parts_in
from multitask_encoder.inference.precision import print_precision
from multitask_encoder.inference.tables import Layout
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskPipeline
from multitask_encoder.terminal import visible

from .errors import refusing


def predict(run: RunArguments) -> None:
    """Answer with a finished model: no data sets, no Trainer."""
    name, is_torch = run.model.model or run.training.output_dir, run.model.backend == "torch"
    with refusing():
        if run.model.model is None and not Path(name, "config.json").is_file():
            raise ValueError(
                "do_predict without do_train needs `model`, or a finished one in output_dir. "
                f"Found none in {name}."
            )
        device = str(run.training.device) if is_torch else None
        bf16 = run.answers_in_bf16 if is_torch else None
        pipeline = load_pipeline(name, run.model.backend, device, bf16)
        read_as(pipeline, run.data.max_length, run.data.stride, run.data.sentence_windows)
        texts = texts_to_answer(run, pipeline.model.config)
    answer(run, pipeline, texts)


def texts_to_answer(
    run: RunArguments, config: MultiTaskConfig, checkpoint: str | None = None
) -> tuple[Inputs, Layout, Path] | None:
    """The input of do_predict, the columns of its answers, and their folder; None without it.

    Checked before training, so that a mistake costs no training.

    Raises:
        OSError, ValueError: a key, the input, or the folder is invalid.
    """
    if not run.training.do_predict or run.training.do_inspect:
        return None
    if run.data.predict_file is None:
        raise ValueError("do_predict needs predict_file.")
    if run.data.predict_output is None and "output_dir" not in run.given:
        raise ValueError("do_predict needs predict_output: the folder for the answers.")
    folder = Path(run.data.predict_output or Path(run.training.output_dir, "predictions"))
    check_may_be_folder("predict_output", folder)
    is_new = run.training.do_train and not checkpoint
    if is_new and not run.training.overwrite_output_dir and any(parts_in(folder)):
        raise ValueError(  # which are another model's than the one trained now
            f"{folder} holds answers of an earlier run. Replace them by --overwrite_output_dir, or "
            "name another predict_output."
        )
    tasks = [run.model.only_task] if run.model.only_task else list(run.tasks or config.tasks)
    for name in tasks:
        if name not in config.tasks:
            raise ValueError(f"The model has no task {name!r}. It has {', '.join(config.tasks)}.")
    inputs = scan_inputs(
        partial(read_texts, run.data.predict_file, run.data),
        run.data.predict_shard_size,
        run.data.predict_columns,
        run.data.on_bad_row,
        show=shows_progress(run),
    )
    layout = Layout(config, tasks, inputs.kept, run.data.predict_without or ())
    return inputs, layout, folder


def shows_progress(run: RunArguments) -> bool:
    """Whether this process shows bars: one per machine does."""
    return run.training.local_process_index == 0 and not run.training.disable_tqdm


def answer(
    run: RunArguments, pipeline: MultiTaskPipeline, texts: tuple[Inputs, Layout, Path] | None
) -> None:
    """Print the answers to `examples`, and write those to `predict_file`."""
    if run.training.process_index == 0:
        print_precision(pipeline)
    if run.data.examples and run.training.process_index == 0:
        for prediction in Predictor(pipeline)(run.data.examples):
            print(visible(f"\n{prediction}"))
    if texts is None:
        return
    with refusing((OtherAnswers, InputChanged, OSError)):
        answer_files(
            pipeline,
            *texts,
            run.data.predict_format,
            overwrite=run.training.overwrite_output_dir,
            rank=run.training.process_index,
            num_ranks=run.training.world_size,
            show=shows_progress(run),
        )
    if run.training.process_index == 0:
        share = "answers" if run.training.world_size == 1 else "the first process's answers"
        print(f"\nWrote {share} to {texts[2]}.")
