"""What a run's tasks take over from models that know them, and from the rows."""

import logging
from dataclasses import replace

from datasets import Dataset

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.arguments.task_keys import parse_tasks
from multitask_encoder.data.label_spellings import (
    combined_labels,
    merged,
    other_spellings,
    same_values,
    similar_labels,
)
from multitask_encoder.data.labels import (
    distinct_labels,
    names_of,
)
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.modeling import MultiTaskConfig

from .teacher_config import own_labels

logger = logging.getLogger("multitask_encoder.data")


def with_known_kinds(run: RunArguments, finished: MultiTaskConfig | None) -> RunArguments:
    """The run, in which the tasks of a finished model have the problem type that they have there.

    Raises:
        ValueError: the run has another type or problem type for such a task, or a key that is not
            for it.
    """
    tasks = dict(run.tasks)
    given = {str(name): task for name, task in (run.given.get("tasks") or {}).items()}
    for name, old in (finished.tasks if finished else {}).items():
        task = run.tasks.get(name)
        if task is None:
            continue
        kind = old.get("problem_type")
        if task.type != old["type"] or task.problem_type not in (None, kind):
            known = ", ".join(filter(None, (old["type"], kind)))
            found = ", ".join(filter(None, (task.type, task.problem_type)))
            raise ValueError(
                f"Task {name!r} of {run.model.model} is {known}. Found {found}: give a new task "
                "another name."
            )
        if kind != task.problem_type:
            tasks |= parse_tasks({name: {**given[name], "problem_type": kind}})
    return replace(run, tasks=tasks)


def labels_of_models(
    run: RunArguments, finished: MultiTaskConfig | None
) -> dict[str, list[list[str]]]:
    """By task the labels that each teacher and the finished model have of it."""
    own = finished.tasks if finished else {}
    labels = {
        name: [list(own[name].get("labels") or ())] if name in own else [] for name in run.tasks
    }
    for name, teacher in [(name, one) for name, all_of in run.teachers.items() for one in all_of]:
        task = run.tasks[name]
        if task.is_embedding:
            continue
        try:
            labels[name].append(own_labels(teacher, name, vars(task)))
        except (OSError, ValueError):
            if task.label_map:
                raise  # else a run that asks no teacher does without, and another will say it
    return labels


def with_same_values(
    run: RunArguments, parts: list[Dataset], known: dict[str, list[list[str]]]
) -> RunArguments:
    """The run, whose `label_map` merges labels that are the same number or boolean, as the task or
    else the models that know it spell them. Where all rows are streamed, and `parts` is empty, that
    is any way to write the labels which these know."""
    tasks = dict(run.tasks)
    for name, task in run.tasks.items():
        kind = kind_of(vars(task))
        if kind.numeric or kind.by_token:
            continue
        found = set().union(*(distinct_labels(rows, name) for rows in parts))
        if not parts:
            found = other_spellings(task.labels or set().union(*known[name]))
        if groups := same_values(found, [task.labels] if task.labels else known[name]):
            tasks[name] = replace(task, label_map=merged(task.label_map, groups))
            shown = "; ".join(" = ".join(map(repr, group)) for group in groups)
            logger.info("Labels of %s that are one: %s.", name, shown)
    return replace(run, tasks=tasks)


def name_similar_labels(run: RunArguments, parts: list[Dataset]) -> None:
    """Warn of labels that may be one, and of cells that may hold several."""
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
