"""The rows of a run: read, checked and cut into splits; those that are bad are kept apart."""

import logging
from dataclasses import replace

from datasets import Dataset

from multitask_encoder.arguments.run_arguments import DataSource, RunArguments
from multitask_encoder.data.dataset_arguments import SPLITS
from multitask_encoder.data.labels import (
    check_label_maps,
    has_labels,
    unify_labels,
)
from multitask_encoder.data.loading import read_splits
from multitask_encoder.data.splitting import cut_splits
from multitask_encoder.modeling import MultiTaskConfig

from .bad_rows_file import good_rows_of
from .known_labels import labels_of_models, name_similar_labels, with_known_kinds, with_same_values
from .model_loading import finished_config
from .stream_checks import check_streaming

logger = logging.getLogger("multitask_encoder.data")

# Split -> data set -> its rows.
Rows = dict[str, dict[str, Dataset]]


def load_rows(run: RunArguments) -> tuple[RunArguments, Rows, list[dict]]:
    """The run, with what its tasks take over from the rows and from a finished model, every good
    row of every data set, and the skipped rows.

    Raises:
        BadRows: rows are invalid, and are not skipped.
        FileNotFoundError: a file or data set is missing.
        ValueError: data or settings are invalid.
    """
    finished = finished_config(run)
    run = with_known_kinds(run, finished)
    check_streaming(run)
    streaming = run.data.streaming and not run.training.do_inspect  # which reads all rows
    loaded: dict[tuple[str, str], Dataset] = {}
    read = {
        name: read_splits(
            tasks_of(run, source, finished), source.arguments, run.training.seed, streaming
        )
        for name, source in run.datasets.items()
    }
    known = labels_of_models(run, finished)
    if streaming:  # the labels of most rows are not known yet
        run = with_same_values(run, [], known)
    else:
        parts = [rows for splits in read.values() for rows in splits.values()]
        tasks = {name: vars(task) for name, task in run.tasks.items()}
        check_label_maps(parts, tasks, {name: set().union(*of) for name, of in known.items()})
        run = with_same_values(run, parts, known)
    for name, source in run.datasets.items():
        splits, notes = unify_labels(read[name], tasks_of(run, source, finished))
        say(run, name, notes)
        loaded |= {(split, name): rows for split, rows in splits.items()}
    titles = [(title_of(run, split, name), rows) for (split, name), rows in loaded.items()]
    good, skipped = good_rows_of(run, titles)

    rows: Rows = {split: {} for split in SPLITS}
    for (split, name), kept in zip(loaded, good, strict=True):
        rows[split][name] = kept
    for name, source in run.datasets.items():
        splits = {split: rows[split][name] for split in SPLITS if name in rows[split]}
        tasks = tasks_of(run, source, finished)
        try:
            splits, notes = cut_splits(splits, tasks, source.arguments, run.training.seed)
        except ValueError as error:
            title = f"datasets.{name}: " if len(run.datasets) > 1 else ""
            raise ValueError(f"{title}{error}") from None
        say(run, name, notes)
        for split, kept in splits.items():
            rows[split][name] = kept
    name_similar_labels(run, [part for parts in rows.values() for part in parts.values()])
    rows = {
        split: {name: parts[name] for name in run.datasets if name in parts}
        for split, parts in rows.items()
        if parts
    }
    return run, _checked(rows, run), skipped


def tasks_of(
    run: RunArguments, source: DataSource, finished: MultiTaskConfig | None
) -> dict[str, dict]:
    """The tasks that a data set labels, with their columns; `finished` is the config of the model
    that the run starts from, if it is a finished one."""
    # Teachers label what the rows don't, but no stream. What is only measured needs labels, but for
    # configs that train, too: the rows by which a model grew may lack those of old tasks.
    held = finished.tasks if finished else ()
    sources = [one.arguments for one in run.datasets.values()]
    trains = any(one.train_file or one.dataset for one in sources)
    optional = dict.fromkeys(held, SPLITS if run.training.do_train or trains else SPLITS[:1])
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


def _labelled_by_rows(run: RunArguments) -> list[str]:
    """The tasks whose labels rows should have: no teacher gives them."""
    return [
        name
        for name, task in run.tasks.items()
        if task.default_column(name) is not None and name not in run.teachers
    ]


def _without_labels(tasks: list[str], parts: dict[str, Dataset]) -> list[str]:
    """Those of the tasks of which no row of a split has a label."""
    return [name for name in tasks if not any(has_labels(name, one) for one in parts.values())]


def _say_unmeasured(rows: Rows, run: RunArguments) -> None:
    """Log the tasks that have no label in a split that is measured. Raises a ValueError where none
    has one, and nothing is trained."""
    asked = {"validation": run.training.do_eval, "test": run.training.do_test}
    tasks = _labelled_by_rows(run)
    for split in [split for split, wanted in asked.items() if wanted and split in rows]:
        missing = _without_labels(tasks, rows[split])
        if missing and missing == tasks and not run.teachers and not run.training.do_train:
            raise ValueError(f"No {split} row has a label of {', '.join(missing)}.")
        if missing:
            logger.warning("No %s row has a label of %s.", split, ", ".join(missing))


def _check_taught(rows: Rows, run: RunArguments) -> None:
    """Warn of tasks that no training row labels: their heads stay as they begin. Raises a
    ValueError where there are no others. A finished model holds those that it has."""
    if not run.training.do_train or run.training.do_inspect or run.model.model is not None:
        return
    missing = _without_labels(_labelled_by_rows(run), rows["train"]) if "train" in rows else []
    if missing and len(missing) == len(run.tasks):
        raise ValueError(f"No row of the training data has a label of task {missing[0]!r}.")
    if missing:
        logger.warning(
            "No row of the training data has a label of %s: nothing is learned of it.",
            ", ".join(missing),
        )


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
    _check_taught(rows, run)
    _say_unmeasured(rows, run)
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


def labelled_tasks(run: RunArguments) -> dict[str, list[str]]:
    """The data sets of a run, in order, and the tasks that each labels."""
    return {name: list(source.columns) for name, source in run.datasets.items()}


def title_of(run: RunArguments, split: str, name: str) -> str:
    """What a split of a data set is called in messages."""
    return split if len(run.datasets) == 1 else f"{name} {split}"


def say(run: RunArguments, name: str, notes: list[str]) -> None:
    """Log what was found in a data set."""
    for note in notes:
        logger.info("%s", note if len(run.datasets) == 1 else f"{name}: {note}")
