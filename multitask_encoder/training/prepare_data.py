"""The data of a run: read, checked, cut into splits and tokenized."""

import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedTokenizerBase

from multitask_encoder.arguments.run_arguments import DataSource, RunArguments
from multitask_encoder.arguments.tasks import BALANCED
from multitask_encoder.data.bad_rows import as_skipped, good_rows
from multitask_encoder.data.class_weights import balanced_weights
from multitask_encoder.data.dataset_arguments import SPLITS
from multitask_encoder.data.inspection import (
    find_leaks,
    inspect_split,
    labels_met_once,
    leak_lines,
    unseen_labels,
    unseen_lines,
)
from multitask_encoder.data.label_spellings import (
    combined_labels,
    merged,
    same_values,
    similar_labels,
)
from multitask_encoder.data.labels import (
    check_label_maps,
    distinct_labels,
    names_of,
    unify_labels,
)
from multitask_encoder.data.loading import read_splits, stream_rows
from multitask_encoder.data.preprocessing import preprocess, row_preprocessor
from multitask_encoder.data.random_texts import vocabulary_words, with_random_texts
from multitask_encoder.data.sampler import rows_per_epoch
from multitask_encoder.data.soft_labels import Taught
from multitask_encoder.data.splitting import cut_splits
from multitask_encoder.data.streaming import StreamedWindows
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.decoding import UNITS, cutting
from multitask_encoder.modeling.windows import tokenize

from .embedding_teacher import add_teachers_targets, load_embedding_teacher
from .findings import findings, many_widened
from .model_loading import finished_config
from .retention import add_targets
from .taught_rows import Lesson, held_tasks, label_unlabelled, plan_lessons, teach_rows
from .teachers import own_labels

logger = logging.getLogger("multitask_encoder.data")

# Split -> data set -> its rows.
Rows = dict[str, dict[str, Dataset]]


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
    taught: dict[str, Taught] = field(default_factory=dict)


def prepare_data(run: RunArguments) -> tuple[RunArguments, RunData]:
    """The run, reduced to its `only_task` if set, and its rows. Raises as `load_rows` and
    `keep_only_task`."""
    rows, bad = load_rows(run)
    run, rows = keep_only_task(run, rows)
    if run.training.should_log and not run.training.do_inspect:  # once, and not beside its report
        for line in leak_lines(find_leaks(rows)):
            logger.warning("%s: what a split measures should be new to the model.", line)
    return run, RunData(rows, bad)


def find_held(run: RunArguments, data: RunData, model: MultiTaskModel) -> None:
    """Which tasks a finished model has learned, and is held to while it is trained further."""
    finished = finished_config(run)
    if not finished or not run.training.do_train:
        return
    data.old_tasks = {name: finished.tasks[name] for name in run.tasks if name in finished.tasks}
    if "train" in data.rows:
        data.held = held_tasks(run, data.rows["train"], model, data.old_tasks)


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
    random texts. Raises as `plan_lessons`."""
    if not run.training.do_train or run.training.do_inspect or "train" not in data.rows:
        return []
    if data.held:
        words, seed, given = vocabulary_words(tokenizer), run.training.seed, data.rows["train"]
        data.rows["train"] = {
            title: with_random_texts(rows, words, seed) for title, rows in given.items()
        }
        added = sum(len(data.rows["train"][title]) - len(rows) for title, rows in given.items())
        if added:
            held = ", ".join(data.held)
            logger.info("%s random texts are added, which hold %s.", f"{added:,}", held)
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
    `balanced` class weights. Raises as `preprocess_rows` and `epoch_draws`."""
    rows = data.rows
    if lessons:
        rows = {**rows, "train": teach_rows(run, rows["train"], lessons)}
    data.windows, bad = preprocess_rows(run, rows, tokenizer, model, data.taught)
    data.bad = data.bad + bad
    data.splits = join_datasets(run, data.windows, tokenizer, model, data.rows)
    data.draws = epoch_draws(run, data.splits)
    if run.training.do_train:  # else a finished model's stay
        model.set_class_weights(
            {
                name: balanced_weights(data.splits["train"], name, model.config.tasks[name])
                for name, task in run.tasks.items()
                if task.class_weights == BALANCED
            }
        )
    measured = [split for split in data.rows if split != "train"]
    data.notes = {
        split: data.notes.get(split, []) + _unseen(run, data, split, model) for split in measured
    }
    for line in chain.from_iterable(data.notes.values()):
        logger.info("%s", line)


def _unseen(run: RunArguments, data: RunData, split: str, model: MultiTaskModel) -> list[str]:
    """A line for each data set and task with labels that training lacks."""
    return [
        f"{_title(run, split, name)}: {line}."
        for name, part in data.rows[split].items()
        for line in unseen_lines(unseen_labels(part, data.windows[split][name], model.config.tasks))
    ]


def load_rows(run: RunArguments) -> tuple[Rows, list[dict]]:
    """Every good row of every data set, and the skipped rows.

    Raises:
        BadRows: rows are invalid, and are not skipped.
        FileNotFoundError: a file or data set is missing.
        ValueError: data or settings are invalid.
    """
    check_streaming(run)
    streaming = run.data.streaming and not run.training.do_inspect  # which reads all rows
    loaded: dict[tuple[str, str], Dataset] = {}
    read = {
        name: read_splits(_tasks_of(run, source), source.arguments, run.training.seed, streaming)
        for name, source in run.datasets.items()
    }
    if not streaming:  # else the labels of most rows are not known yet
        parts = [rows for splits in read.values() for rows in splits.values()]
        tasks = {name: vars(task) for name, task in run.tasks.items()}
        check_label_maps(parts, tasks, _labels_of_models(run))
        run = _with_same_values(run, parts)
    for name, source in run.datasets.items():
        splits, notes = unify_labels(read[name], _tasks_of(run, source))
        _say(run, name, notes)
        loaded |= {(split, name): rows for split, rows in splits.items()}
    titles = [(_title(run, split, name), rows) for (split, name), rows in loaded.items()]
    good, skipped = _good_rows(run, titles)

    rows: Rows = {split: {} for split in SPLITS}
    for (split, name), kept in zip(loaded, good, strict=True):
        rows[split][name] = kept
    for name, source in run.datasets.items():
        splits = {split: rows[split][name] for split in SPLITS if name in rows[split]}
        tasks = _tasks_of(run, source)
        splits, notes = cut_splits(splits, tasks, source.arguments, run.training.seed)
        _say(run, name, notes)
        for split, kept in splits.items():
            rows[split][name] = kept
    _name_similar_labels(run, [part for parts in rows.values() for part in parts.values()])
    return _checked({split: parts for split, parts in rows.items() if parts}, run), skipped


def _labels_of_models(run: RunArguments) -> dict[str, list[str]]:
    """The labels that teachers and the finished model have of tasks with a `label_map`."""
    mapped = {name: vars(task) for name, task in run.tasks.items() if task.label_map}
    finished = finished_config(run) if mapped else None
    return {
        name: [
            *(finished.tasks.get(name, {}).get("labels", ()) if finished else ()),
            *chain.from_iterable(own_labels(one, name, task) for one in run.teachers.get(name, ())),
        ]
        for name, task in mapped.items()
    }


def _with_same_values(run: RunArguments, parts: list[Dataset]) -> RunArguments:
    """The run with the same name for labels that are the same number or boolean."""
    tasks = dict(run.tasks)
    for name, task in run.tasks.items():
        kind = kind_of(vars(task))
        if kind.numeric or kind.by_token:
            continue
        found = set().union(*(distinct_labels(rows, name) for rows in parts))
        if groups := same_values(found, task.labels or ()):
            tasks[name] = replace(task, label_map=merged(task.label_map, groups))
            shown = "; ".join(" = ".join(map(repr, group)) for group in groups)
            logger.info("Labels of %s that are one: %s.", name, shown)
    return replace(run, tasks=tasks)


def _name_similar_labels(run: RunArguments, parts: list[Dataset]) -> None:
    for name, task in run.tasks.items():
        if kind_of(vars(task)).numeric:
            continue
        labels = names_of(parts, name, vars(task))
        for group in similar_labels(labels):
            logger.warning(
                "Labels of %s that differ only in case, blanks or Unicode forms: %s. If they are "
                "one, merge them by its label_map.",
                *(name, ", ".join(map(repr, group))),
            )
        if kind_of(vars(task)).by_token or task.problem_type == "multi_label_classification":
            continue
        if several := combined_labels(labels):
            logger.warning(
                "Labels of %s that are several of its labels in one cell: %s. If a text may have "
                "several, set problem_type: multi_label_classification.",
                *(name, ", ".join(map(repr, several))),
            )


def row_counts(run: RunArguments, rows: Rows) -> dict[str, int]:
    """Rows per split that the run used, as `<prefix>_samples`; unknown for a streamed split."""
    asked = {
        "train": ("train", run.training.do_train),
        "validation": ("eval", run.training.do_eval),
        "test": ("test", run.training.do_test),
    }
    return {
        f"{prefix}_samples": sum(map(len, rows[split].values()))
        for split, (prefix, wanted) in asked.items()
        if wanted and split in rows
    }


def keep_only_task(run: RunArguments, rows: Rows) -> tuple[RunArguments, Rows]:
    """The run with its `only_task` alone, and the rows of the data sets that label it; without
    `only_task`, both unchanged.

    Rows are loaded and split for all tasks first, so that the splits are the same as theirs.

    Raises:
        ValueError: these data sets lack a split that the run needs.
    """
    task = run.model.only_task
    if task is None:
        return run, rows
    datasets = {
        name: replace(
            source, columns={key: of for key, of in source.columns.items() if key == task}
        )
        for name, source in run.datasets.items()
        if task in source.columns or task in run.teachers
    }
    # Weights say how much a task counts beside others.
    alone = replace(run.tasks[task], weight=1.0, score_weight=1.0)
    teachers = {name: folders for name, folders in run.teachers.items() if name == task}
    run = replace(run, tasks={task: alone}, datasets=datasets, teachers=teachers)
    rows = {
        split: {name: part for name, part in parts.items() if name in datasets}
        for split, parts in rows.items()
    }
    return run, _checked({split: parts for split, parts in rows.items() if parts}, run)


def _tasks_of(run: RunArguments, source: DataSource) -> dict[str, dict]:
    """The tasks that a data set labels, with their columns."""
    finished = finished_config(run)
    # Teachers label what the rows don't, but no stream. What is only measured needs labels.
    held = finished.tasks if finished else ()
    optional = dict.fromkeys(held, SPLITS if run.training.do_train else SPLITS[:1])
    optional |= dict.fromkeys(run.teachers, SPLITS)
    return {
        task: {
            **vars(run.tasks[task]),
            "column": column,
            # A column that is named should be there.
            "optional_in": optional.get(task, ())
            if column == task and not run.data.streaming
            else (),
        }
        for task, column in source.columns.items()
    }


def _title(run: RunArguments, split: str, name: str) -> str:
    return split if len(run.datasets) == 1 else f"{name} {split}"


def _say(run: RunArguments, name: str, notes: list[str]) -> None:
    for note in notes:
        logger.info("%s", note if len(run.datasets) == 1 else f"{name}: {note}")


def _checked(rows: Rows, run: RunArguments) -> Rows:
    """The rows, if they have every split and column that the run needs. A run that measures what
    there is needs no validation rows beside test rows."""
    unasked = run.given.get("do_eval") is None and not run.training.do_train
    if unasked and "test" in rows and "validation" not in rows:
        run.training.do_eval = run.training.load_best_model_at_end = False
        run.training.eval_strategy = "no"
    for split, wanted in {
        "train": run.training.do_train,
        "validation": run.training.do_eval and not run.training.do_inspect,
    }.items():
        streamed = split == "train" and run.data.streaming
        if wanted and split not in rows and not streamed:
            cut = "" if split == "train" else f" or {split}_fraction,"
            raise ValueError(
                f"There is no {split} data. Set {split}_file,{cut} or a dataset that has it."
            )
    train = rows.get("train", {}).values()
    for name, task in run.tasks.items() if run.training.do_train and train else ():
        if task.compares_texts and not any(name in part.column_names for part in train):
            raise ValueError(
                f"The {task.loss} loss of task {name!r} needs training rows of several texts: set "
                "text_column to the columns of a pair."
            )
    if (
        run.training.do_train
        and not run.teachers
        and all(
            task.is_embedding and task.loss in ("retention", "none") for task in run.tasks.values()
        )
    ):
        raise ValueError(
            "Training needs a task with labels, or a sentence_embedding with the loss cosent or "
            "in_batch_negatives. Found neither."
        )
    return rows


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
            name=_title(run, split, name),
            num_proc=run.data.num_proc,
            taught=tuple(taught) if split == "train" else (),
            **_settings(run, split, name, tokenizer, model),
        )
        for split, parts in rows.items()
        for name, part in parts.items()
    }
    titles = [(_title(run, split, name), part) for (split, name), part in prepared.items()]
    good, skipped = _good_rows(run, titles)
    windows: Rows = {split: {} for split in rows}
    for (split, name), part in zip(prepared, good, strict=True):
        of_split = rows[split][name]
        _say(run, name, findings(split, of_split, part))
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
        splits = add_targets(splits, model, tokenizer.pad_token_id, run.training.device, taught)
        for name in taught:
            (folder,) = run.teachers[name]
            teacher = load_embedding_teacher(folder, name, run.training.device)
            splits = add_teachers_targets(
                splits, rows, name, teacher, model, tokenizer.pad_token_id
            )
            logger.info("%s is taught by %s.", name, folder)
    return splits


def inspect(
    run: RunArguments, data: RunData, tokenizer: PreTrainedTokenizerBase, model: MultiTaskModel
) -> dict:
    """The contents of the data (see data/inspection.py): `splits` by title, `leaks`, and
    `labels_met_once`."""
    splits = {}
    for split, parts in data.rows.items():
        for name, part in parts.items():
            settings = _settings(run, split, name, tokenizer, model)
            read = partial(
                tokenize,
                tokenizer,
                **{key: settings[key] for key in ("prompt", "max_length", "stride")},
            )
            title = _title(run, split, name)
            splits[title] = inspect_split(
                part,
                data.windows[split][name],
                [row for row in data.bad if row["title"] == title],
                {task: model.config.tasks[task] for task in run.datasets[name].columns},
                tokenizer,
                read,
                _find_words(model.config.tasks),
            )
    return {
        "splits": splits,
        "leaks": find_leaks(data.rows),
        "labels_met_once": labels_met_once(
            list(data.rows.get("train", {}).values()), model.config.tasks
        ),
    }


def _find_words(tasks: dict[str, dict]) -> Callable:
    """The words of a text as the first task that goes by words has them."""
    for task in tasks.values():
        if task.get("labelling") == "first":
            _, begin_marks, inner_marks = cutting(task)
            return partial(UNITS["first"], begin_marks=begin_marks, inner_marks=inner_marks)
    return UNITS["first"]


def _settings(run, split, name, tokenizer, model) -> dict:
    """Arguments of `preprocess` besides the rows and the tokenizer."""
    return {
        "tasks": model.config.tasks,
        "tokenize": tokenize,
        "units": UNITS,
        "max_length": tokenizer.model_max_length,
        "stride": model.config.stride,
        "long_texts": run.data.long_texts,
        "all_windows": run.training.do_inspect
        or (split != "train" and model.config.sentence_windows == "mean"),
        "prompt": (model.config.prompts or {}).get("default", ""),
        "number": list(run.datasets).index(name),
        # `labels` in the YAML are all there are.
        "open_tasks": [
            task for task in run.tasks if split != "train" and run.tasks[task].labels is None
        ],
    }


def _stream(
    run: RunArguments, tokenizer: PreTrainedTokenizerBase, model: MultiTaskModel
) -> StreamedWindows:
    """The training rows of all data sets, read and tokenized on demand."""
    skips = run.data.on_bad_row == "skip"
    return StreamedWindows(
        [
            stream_rows(_tasks_of(run, source), source.arguments, run.training.seed)
            for source in run.datasets.values()
        ],
        [
            row_preprocessor(tokenizer, **_settings(run, "train", name, tokenizer, model))
            for name in run.datasets
        ],
        [_weight(run, source) for source in run.datasets.values()],
        seed=run.training.seed,
        on_bad_row=partial(_write_bad_row, run) if skips else None,
    )


def _weight(run: RunArguments, source: DataSource) -> float:
    return source.weight if run.data.mixing == "weights" else 1.0


def check_streaming(run: RunArguments) -> None:
    """Refuse settings that need all rows before the first is read."""
    if not run.data.streaming or not run.training.do_train:
        return
    if run.training.max_steps < 1:
        raise ValueError(f"streaming needs max_steps. Found {run.training.max_steps}.")
    if len(run.datasets) > 1 and run.data.mixing not in ("uniform", "weights"):
        raise ValueError(
            "streaming needs `mixing: uniform` or `weights`: the number of rows is unknown. "
            f"Found {run.data.mixing!r}."
        )
    if run.data.mixing == "weights":
        weights = [source.weight for source in run.datasets.values()]
        rows_per_epoch([1] * len(weights), "weights", weights=weights)
    for name, source in run.datasets.items():
        for split in ("validation", "test"):
            if source.arguments.fraction(split) is not None:
                raise ValueError(
                    f"streaming can't cut off a {split} split: set {split}_file. Found "
                    f"{split}_fraction{'' if len(run.datasets) == 1 else f' of {name}'}."
                )
    if run.teachers:
        raise ValueError("`teachers` need all rows before training: set streaming to false.")
    for name, task in run.tasks.items():
        if task.loss == "retention":
            raise ValueError(
                f"The retention loss of task {name!r} needs all rows before training: set its loss "
                "to none, or streaming to false."
            )
        if task.class_weights == BALANCED:
            raise ValueError(
                f"streaming can't balance the class_weights of task {name!r}, as the labels can't "
                "be counted before: map its labels to weights."
            )
        known = task.is_embedding or task.problem_type == "regression"
        if not known and task.labels is None and run.model.model is None:
            raise ValueError(
                f"streaming needs the `labels` of task {name!r}: they can't be collected in "
                "advance."
            )


def labelled_tasks(run: RunArguments) -> dict[str, list[str]]:
    """The data sets of a run, in order, and the tasks that each labels."""
    return {name: list(source.columns) for name, source in run.datasets.items()}


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


def _good_rows(
    run: RunArguments, titles: list[tuple[str, Dataset]]
) -> tuple[list[Dataset], list[dict]]:
    """Refuse or skip bad rows as the run says; inspection lists them."""
    return good_rows(titles, "skip" if run.training.do_inspect else run.data.on_bad_row)


def write_bad_rows(run: RunArguments, skipped: list[dict]) -> None:
    """Replace the file of bad rows with the rows skipped before training or evaluation, and log
    their number. Inspection leaves the file alone."""
    if not run.training.should_save or run.training.do_inspect:
        return
    path = _bad_rows_file(run)
    path.unlink(missing_ok=True)
    if skipped:
        _append_bad_rows(path, skipped)
        logger.warning("Skipped %d bad rows; they are in %s.", len(skipped), path)


def _bad_rows_file(run: RunArguments) -> Path:
    # Evaluating a finished model must not overwrite the rows that training skipped.
    name = "bad_rows.jsonl" if run.training.do_train else "bad_rows_of_evaluation.jsonl"
    return Path(run.training.output_dir) / name


def _append_bad_rows(path: Path, skipped: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in skipped)


def _write_bad_row(run: RunArguments, row: dict) -> None:
    if run.training.should_save:
        _append_bad_rows(_bad_rows_file(run), [as_skipped(row, "train")])
