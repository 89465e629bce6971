"""The data of a run: its rows, taught and tokenized."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedTokenizerBase

from multitask_encoder.arguments.run_arguments import DataSource, RunArguments
from multitask_encoder.arguments.tasks import BALANCED
from multitask_encoder.data.class_weights import balanced_weights
from multitask_encoder.data.inspection import (
    find_leaks,
    leak_lines,
    unseen_labels,
    unseen_lines,
)
from multitask_encoder.data.loading import stream_rows
from multitask_encoder.data.preprocessing import preprocess, row_preprocessor
from multitask_encoder.data.rehearsal_texts import vocabulary_words, with_rehearsal_texts
from multitask_encoder.data.sampler import rows_per_epoch
from multitask_encoder.data.soft_labels import Taught
from multitask_encoder.data.standardization import standardization
from multitask_encoder.data.streaming import StreamedWindows
from multitask_encoder.inference.sample_texts import read_sample_texts
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.configuration_multitask import AS_THEY_ARE
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.windows import tokenize

from .bad_rows_file import good_rows_of, write_bad_row
from .dropout import leave_out_dropout
from .embedding_teacher import add_teachers_targets, load_embedding_teacher
from .findings import findings, many_widened
from .lessons import Lesson, held_tasks, kept_heads, plan_lessons
from .model_loading import finished_config
from .retention import add_targets
from .run_rows import Rows, keep_only_task, load_rows, say, tasks_of, title_of
from .taught_rows import teach_rows
from .teacher_labels import label_unlabelled

STREAMED_ROWS = 2000  # that say how numbers are spread

logger = logging.getLogger("multitask_encoder.data")


@dataclass
class RunData:
    """A run's data: `prepare_data` fills the first two fields, `tokenize_data` the rest.

    Args:
        rows (`dict[str, dict[str, Dataset]]`): good rows by split and data set.
        bad (`list[dict]`): skipped rows, as `as_skipped` gives them.
        windows (`dict[str, dict[str, Dataset]]`): model inputs by split and data set.
        splits (`dict[str, Dataset | StreamedWindows]`): model inputs of all data sets together.
        draws (`list[int]`, *optional*): training rows of each data set in an epoch; None for every
            row once.
        notes (`dict[str, list[str]]`): by split, lines on its labels: those that training lacks, or
            that teachers gave.
        labelled_by_teachers (`dict[str, list[str]]`): by split, tasks whose labels are teachers'.
        old_tasks (`dict[str, dict]`): those of the run's tasks that the finished model which it
            starts from has, as they are there.
        held (`dict[str, dict]`): those of them that the model is held to (see `held_tasks`).
        kept_heads (`list[str]`): those of these whose heads stay (see `kept_heads`).
        samples (`list[str]`): texts that the runs of a held model left, see sample_texts.py.
        taught (`dict[str, Taught]`): tasks of which training rows have soft labels.
    """

    rows: Rows
    bad: list[dict]
    windows: Rows = field(default_factory=dict)
    splits: dict[str, Dataset | StreamedWindows] = field(default_factory=dict)
    draws: list[int] | None = None
    notes: dict[str, list[str]] = field(default_factory=dict)
    labelled_by_teachers: dict[str, list[str]] = field(default_factory=dict)
    old_tasks: dict[str, dict] = field(default_factory=dict)
    held: dict[str, dict] = field(default_factory=dict)
    kept_heads: list[str] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    taught: dict[str, Taught] = field(default_factory=dict)


def prepare_data(run: RunArguments) -> tuple[RunArguments, RunData]:
    """The run, reduced to its `only_task` if set, and its rows. Raises as `load_rows` and
    `keep_only_task`."""
    run, rows, bad = load_rows(run)
    run, rows = keep_only_task(run, rows)
    if run.training.should_log and not run.training.do_inspect:  # once, and not beside its report
        for line in leak_lines(find_leaks(rows)):
            logger.warning("%s: what a split measures should be new to the model.", line)
    return run, RunData(rows, bad)


def find_held(run: RunArguments, data: RunData, model: MultiTaskModel) -> None:
    """Which tasks a finished model has learned, and is held to while it is trained further: without
    dropout, unless the run sets it."""
    finished = finished_config(run)
    if not finished or not run.training.do_train:
        return
    data.old_tasks = {name: finished.tasks[name] for name in run.tasks if name in finished.tasks}
    if "train" in data.rows:
        data.held = held_tasks(run, data.rows["train"], model, data.old_tasks)
    if not data.held:
        return
    data.kept_heads = kept_heads(data.rows["train"], model, data.held)
    data.samples = read_sample_texts(Path(run.model.model)) or []
    if run.model.encoder_dropout is None:
        leave_out_dropout(model.encoder)
    if run.given.get("head_dropout") is None:
        leave_out_dropout(model.heads)


def label_measured(run: RunArguments, data: RunData, model: MultiTaskModel) -> None:
    """Let the run's teachers label what no row of a measured split does. Raises as
    `label_unlabelled`."""
    data.rows, data.labelled_by_teachers = label_unlabelled(run, data.rows, model)
    for split, names in data.labelled_by_teachers.items():
        data.notes[split] = [
            f"No {split} row has a label of {name}: its metrics compare the model with "
            f"{' and '.join(run.teachers[name])}."
            for name in names
        ]


def plan_teaching(
    run: RunArguments, data: RunData, tokenizer: PreTrainedTokenizerBase, model: MultiTaskModel
) -> list[Lesson]:
    """What is taught in the run's training rows; where a model is held to what it says, they get
    rehearsal texts. Raises as `plan_lessons`."""
    if not run.training.do_train or run.training.do_inspect or "train" not in data.rows:
        return []
    if data.held:
        words, seed, given = vocabulary_words(tokenizer), run.training.seed, data.rows["train"]
        vectors = model.encoder.get_input_embeddings().weight.detach().float().cpu().numpy()
        data.rows["train"] = {
            title: with_rehearsal_texts(rows, words, vectors, seed, data.samples, number)
            for number, (title, rows) in enumerate(given.items())
        }
        added = sum(len(data.rows["train"][title]) - len(rows) for title, rows in given.items())
        if added:
            held = ", ".join(data.held)
            logger.info("Added %s rehearsal texts, which hold %s.", f"{added:,}", held)
    lessons = plan_lessons(run, data.rows["train"], model, tokenizer, data.held)
    data.taught = {lesson.name: lesson.taught for lesson in lessons}
    return lessons


def tokenize_data(
    run: RunArguments,
    data: RunData,
    tokenizer: PreTrainedTokenizerBase,
    model: MultiTaskModel,
    lessons: Sequence[Lesson] = (),
) -> None:
    """Add model inputs to the data, with the soft labels of `lessons`, and give the model its
    `balanced` class weights and what its new numbers are standardised by. Raises as
    `preprocess_rows` and `epoch_draws`."""
    rows = data.rows
    if lessons:
        rows = {**rows, "train": teach_rows(run, rows["train"], lessons)}
    data.windows, bad = preprocess_rows(run, rows, tokenizer, model, data.taught)
    data.bad = data.bad + bad
    data.splits = join_datasets(run, data.windows, tokenizer, model, data.rows)
    data.draws = epoch_draws(run, data.splits)
    if run.training.do_train:  # else a finished model's stay
        model.set_of_labels(
            "class_weights",
            {
                name: balanced_weights(data.splits["train"], name, model.config.tasks[name])
                for name, task in run.tasks.items()
                if task.class_weights == BALANCED
            },
        )
        if not run.training.do_inspect:
            _standardize(data, model)
    measured = [split for split in data.rows if split != "train"]
    data.notes = {
        split: data.notes.get(split, []) + _unseen(run, data, split, model) for split in measured
    }
    for line in chain.from_iterable(data.notes.values()):
        logger.info("%s", line)


def _standardize(data: RunData, model: MultiTaskModel) -> None:
    """Standardise the numbers that the model has not learned yet: by the training rows, or the
    first of a stream."""
    numeric = {
        name: task["labels"]
        for name, task in model.config.tasks.items()
        if task.get("problem_type") == "regression"
    }
    if not numeric:
        return
    rows = data.splits["train"]
    if isinstance(rows, StreamedWindows):
        first = rows.first(STREAMED_ROWS)
        rows = Dataset.from_list([{name: row[name] for name in numeric} for row in first])
    for name, labels in numeric.items():
        found = standardization(rows, name, labels, data.taught.get(name))
        if old := data.old_tasks.get(name):
            found |= old.get("standardization") or dict.fromkeys(old["labels"], AS_THEY_ARE)
        model.set_of_labels("standardization", {name: found})


def _unseen(run: RunArguments, data: RunData, split: str, model: MultiTaskModel) -> list[str]:
    """A line for each data set and task with labels that training lacks."""
    return [
        f"{title_of(run, split, name)}: {line}."
        for name, part in data.rows[split].items()
        for line in unseen_lines(unseen_labels(part, data.windows[split][name], model.config.tasks))
    ]


def preprocess_rows(
    run: RunArguments,
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    model: MultiTaskModel,
    taught: Collection[str] = (),
) -> tuple[dict[str, dict[str, Dataset]], list[dict]]:
    """The model inputs of each split and data set, and the skipped rows.

    Raises:
        BadRows: the model can't be trained or scored on some rows, and they are not skipped.
        ValueError: settings that don't fit the tokenizer.
    """
    prepared = {
        (split, name): preprocess(
            part,
            tokenizer,
            name=title_of(run, split, name),
            num_proc=run.data.num_proc,
            taught=tuple(taught) if split == "train" else (),
            **preprocessing_settings(run, split, name, tokenizer, model),
        )
        for split, parts in rows.items()
        for name, part in parts.items()
    }
    titles = [(title_of(run, split, name), part) for (split, name), part in prepared.items()]
    good, skipped = good_rows_of(run, titles)
    windows: Rows = {split: {} for split in rows}
    for (split, name), part in zip(prepared, good, strict=True):
        of_split = rows[split][name]
        say(run, name, findings(split, of_split, part))
        if alarm := many_widened(split, of_split, part):
            logger.warning("%s", alarm)
        windows[split][name] = part
    return windows, skipped


def join_datasets(
    run: RunArguments,
    windows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    model: MultiTaskModel,
    rows: Rows | None = None,
) -> dict[str, Dataset | StreamedWindows]:
    """Each split of the run, all data sets together; `rows` for the teachers of embeddings."""
    splits: dict[str, Dataset | StreamedWindows] = {
        split: concatenate_datasets(list(parts.values())) for split, parts in windows.items()
    }
    if run.data.streaming and run.training.do_train:
        splits["train"] = _stream(run, tokenizer, model)
    elif run.training.do_train and not run.training.do_inspect:
        taught = [name for name in run.teachers if name not in model.heads and rows]
        splits = add_targets(
            splits,
            model,
            tokenizer.pad_token_id,
            run.training.device,
            taught,
            bf16=run.training.bf16,
        )
        for name in taught:
            (folder,) = run.teachers[name]
            teacher = load_embedding_teacher(folder, name, run.training.device)
            splits = add_teachers_targets(
                splits, rows, name, teacher, model, tokenizer.pad_token_id
            )
            logger.info("%s is taught by %s.", name, folder)
    return splits


def preprocessing_settings(
    run: RunArguments,
    split: str,
    name: str,
    tokenizer: PreTrainedTokenizerBase,
    model: MultiTaskModel,
) -> dict:
    """Arguments of `preprocess` for a split of a data set, besides the rows and the tokenizer."""
    return {
        "tasks": model.config.tasks,
        "tokenize": tokenize,
        "units": UNITS,
        "max_length": tokenizer.model_max_length,
        "stride": model.config.stride,
        "long_texts": run.data.long_texts,
        "all_windows": run.training.do_inspect
        or (split != "train" and model.config.sentence_windows == "mean"),
        "prompt": model.config.default_prompt,
        "number": list(run.datasets).index(name),
        # `labels` in the YAML are all there are.
        "open_tasks": [
            task
            for task in run.tasks
            if run.tasks[task].labels is None and (split != "train" or not run.training.do_train)
        ],
    }


def _stream(
    run: RunArguments, tokenizer: PreTrainedTokenizerBase, model: MultiTaskModel
) -> StreamedWindows:
    """The training rows of all data sets, read and tokenized on demand."""
    skips, finished = run.data.on_bad_row == "skip", finished_config(run)
    return StreamedWindows(
        [
            stream_rows(tasks_of(run, source, finished), source.arguments, run.training.seed)
            for source in run.datasets.values()
        ],
        [
            row_preprocessor(
                tokenizer, **preprocessing_settings(run, "train", name, tokenizer, model)
            )
            for name in run.datasets
        ],
        [_weight(run, source) for source in run.datasets.values()],
        seed=run.training.seed,
        on_bad_row=partial(write_bad_row, run) if skips else None,
    )


def _weight(run: RunArguments, source: DataSource) -> float:
    return source.weight if run.data.mixing == "weights" else 1.0


def epoch_draws(run: RunArguments, splits: dict[str, Dataset]) -> list[int] | None:
    """Training rows of each data set in an epoch; None for every row once.

    Raises:
        ValueError: weights or a temperature are out of range.
    """
    if "train" not in splits or run.data.streaming or run.data.mixing == "proportional":
        return None
    numbers = np.asarray(splits["train"]["dataset"][:])
    return rows_per_epoch(
        np.bincount(numbers, minlength=len(run.datasets)).tolist(),
        run.data.mixing,
        run.data.mixing_temperature,
        [source.weight for source in run.datasets.values()],
    )
