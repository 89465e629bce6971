"""What is taught in the rows of a run, and by which models."""

from dataclasses import dataclass, replace
from functools import partial

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.labels import has_labels, names_of
from multitask_encoder.data.soft_labels import Taught
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.modeling import MultiTaskModel

from .teachers import Teacher, as_teacher, load_teacher


@dataclass(frozen=True)
class Lesson:
    """A task, and who teaches it.

    Args:
        name (`str`), task (`dict`): the task, as in the model's config, with its `label_map`.
        teachers (`list[Teacher]`): at least one.
        unlabelled_only (`bool`): whether they leave out the rows with a label.
        taught (`Taught`): what they know of it.
        grown (`bool`): whether the teacher is the model as it was before the task got new labels.
    """

    name: str
    task: dict
    teachers: list[Teacher]
    unlabelled_only: bool
    taught: Taught
    grown: bool = False

    @property
    def unknown(self) -> list[int]:
        """The classes of a sentence that the teachers don't know."""
        if self.taught.by_token or not self.taught.of_classes:
            return []
        return sorted({*range(self.taught.size)}.difference(self.taught.known))


def plan_lessons(
    run: RunArguments,
    rows: dict[str, Dataset],
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    held: dict[str, dict],
) -> list[Lesson]:
    """What is taught in the training rows: the tasks with `teachers`, and those that the finished
    model which the run starts from is held to. It teaches the rows that have no label of a task,
    and all rows of a task whose labels have changed.

    Args:
        run (`RunArguments`): its `teachers`.
        rows (`dict[str, Dataset]`): loaded training rows by data set.
        model (`MultiTaskModel`), tokenizer (`PreTrainedTokenizerBase`): before training.
        held (`dict[str, dict]`): from `held_tasks`.

    Raises:
        OSError, ValueError: as `load_teacher`.
    """
    lessons: list[Lesson] = []
    for name in [*(name for name in run.teachers if name in model.heads), *held]:
        task = with_label_map(run, name, model)
        grown = name in held and _has_grown(name, model, held)
        itself = name in held and not grown
        if itself:
            teachers = [as_teacher(str(run.model.model), model, tokenizer, name)]
        else:
            folders = run.teachers.get(name) or [str(run.model.model)]
            # The model itself has changed by now: its new labels are untrained.
            others = [
                one for lesson in lessons for one in lesson.teachers if one.model is not model
            ]
            teachers = [
                load_teacher(folder, name, task, others, partly=grown) for folder in folders
            ]
        taught = taught_by(teachers, task)
        if grown and _has_new_labels_only(name, task, rows, teachers[0].labels):
            taught = replace(taught, new_only=True)
        lessons.append(Lesson(name, task, teachers, itself, taught, grown))
    return lessons


def held_tasks(
    run: RunArguments,
    rows: dict[str, Dataset],
    model: MultiTaskModel,
    old_tasks: dict[str, dict],
) -> dict[str, dict]:
    """The tasks that a finished model is held to while it learns: those without other teachers
    that not all rows label, or whose labels have changed.

    Args:
        run (`RunArguments`): its `teachers`.
        rows (`dict[str, Dataset]`): loaded training rows by data set.
        model (`MultiTaskModel`): before training.
        old_tasks (`dict[str, dict]`): tasks that the model was trained for, as they were.
    """
    return {
        name: task
        for name, task in old_tasks.items()
        if name in model.heads and name not in run.teachers
        if _has_grown(name, model, old_tasks)
        or any(map(partial(_lacks_labels, name), rows.values()))
    }


def kept_heads(rows: dict[str, Dataset], model: MultiTaskModel, held: dict[str, dict]) -> list[str]:
    """The held tasks that keep their labels, and of which no row has one: nothing but what the
    model itself says would train their heads.

    Args:
        rows (`dict[str, Dataset]`): loaded training rows by data set.
        model (`MultiTaskModel`): before training.
        held (`dict[str, dict]`): from `held_tasks`.
    """
    return [
        name
        for name in held
        if not _has_grown(name, model, held)
        and not any(map(partial(has_labels, name), rows.values()))
    ]


def _has_grown(name: str, model: MultiTaskModel, old_tasks: dict[str, dict]) -> bool:
    return set(model.config.tasks[name]["labels"]) != set(old_tasks[name]["labels"])


def _has_new_labels_only(
    name: str, task: dict, rows: dict[str, Dataset], old_labels: list[str | None]
) -> bool:
    """Whether the rows have no label that the teacher knows: then they say nothing of these."""
    kind = kind_of(task)
    if kind.numeric:  # every row has all numbers
        return False
    return not any(kind.knows(label, old_labels) for label in names_of(rows.values(), name, task))


def _lacks_labels(name: str, rows: Dataset) -> bool:
    return name not in rows.column_names or any(label is None for label in rows[name])


def taught_by(teachers: list[Teacher], task: dict) -> Taught:
    """A task as these teachers know it: the labels of all of them."""
    labels = {label for teacher in teachers for label in teacher.labels}
    return Taught(
        known=[i for i, label in enumerate(task["labels"]) if label in labels],
        size=len(task["labels"]),
        by_token=kind_of(task).by_token,
        of_classes=task["problem_type"] == "single_label_classification" or kind_of(task).by_token,
        none=task["labels"].index("O") if kind_of(task).by_token else None,
    )


def with_label_map(run: RunArguments, name: str, model: MultiTaskModel) -> dict:
    """A task as in the model's config, with the run's `label_map`."""
    return {**model.config.tasks[name], "label_map": run.tasks[name].label_map}
