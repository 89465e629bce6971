"""What a teacher's config says of it, without its weights."""

from typing import Any

from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
)

from multitask_encoder.data.labels import renamed_labels
from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.inference.loading import check_folder
from multitask_encoder.modeling import MultiTaskConfig
from multitask_encoder.modeling.library_errors import first_line

UNIT_KEYS = ("labelling", "begin_marks", "inner_marks")  # how a task cuts texts into units
PLAIN = {
    "sequence_classification": AutoModelForSequenceClassification,
    "token_classification": AutoModelForTokenClassification,
}


def config_of(name: str, where: str) -> Any:
    """The config of a teacher, which messages call `where`. Raises an OSError if there is none."""
    check_folder(name)
    try:
        return AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # damaged files raise all kinds of errors
        raise OSError(f"{where} can't be loaded: {first_line(error)}") from error


def labels_of_teacher(name: str, task_name: str, task: dict) -> list[str]:
    """The labels of a task that a teacher knows, by its config alone and under their new names.
    Raises as `load_teacher`."""
    labels = own_labels(name, task_name, task)
    renamed = new_names(labels, task, f"The teacher {name!r} of task {task_name!r}")
    return [label for label in dict.fromkeys(renamed) if label is not None]


def own_labels(name: str, task_name: str, task: dict) -> list[str]:
    """The labels of a task that a teacher knows, as it calls them. Raises as `load_teacher`."""
    return _settings_in(name, task_name, task)["labels"]


def new_names(labels: list[str], task: dict, where: str) -> list[str | None]:
    """A teacher's labels under their new names. Raises a ValueError for tags that are no IOB2."""
    for label in labels if kind_of(task).by_token else ():
        if label != "O" and (label[:2] not in ("B-", "I-") or f"B-{label[2:]}" not in labels):
            raise ValueError(
                f"{where} should have the labels O, B-... and I-... of each type. Found {label!r}."
            )
    return renamed_labels(labels, task)


def units_of_teacher(name: str, task_name: str, task: dict) -> dict[str, str]:
    """How a finished model of this package cuts texts into units; of others, nothing. Raises as
    `load_teacher`."""
    settings = _settings_in(name, task_name, task)
    return {key: settings[key] for key in UNIT_KEYS if key in settings}


def _settings_in(name: str, task_name: str, task: dict) -> dict[str, Any]:
    """The task of a teacher as its config has it; of a stock model the labels alone."""
    where = f"The teacher {name!r} of task {task_name!r}"
    config = config_of(name, where)
    if config.model_type != MultiTaskConfig.model_type:
        check_problem_type(config, task, where)
        return {"labels": labels_in(config, where)}
    return config.tasks[task_in(config, task_name, task, where)]


def task_of_teacher(name: str, task_name: str) -> dict[str, Any]:
    """A task of a run that this teacher can teach, as its YAML has it.

    Args:
        name (`str`): a folder or Hub id.
        task_name (`str`): the run's task; `embedding` is the sentence vectors of any model.

    Raises:
        OSError: there is no such model, or its config can't be read.
        ValueError: its config doesn't say which task it has.
    """
    where = f"The teacher {name!r} of task {task_name!r}"
    config = config_of(name, where)
    if config.model_type == MultiTaskConfig.model_type:
        known = config.tasks.get(task_name)
        if known is None and task_name != "embedding":
            if len(config.tasks) != 1:
                found = ", ".join(config.tasks)
                raise ValueError(f"{where} should have a task of that name. Found {found}.")
            (known,) = config.tasks.values()
        task = known or {"type": "sentence_embedding"}
        labels = task.get("labels")
    else:
        architecture = next(iter(config.architectures or []), "")
        types = {form.__name__.removeprefix("AutoModel"): kind for kind, form in PLAIN.items()}
        kind = next((kind for ends, kind in types.items() if architecture.endswith(ends)), None)
        if task_name == "embedding":
            kind = "sentence_embedding"
        elif kind is None:
            raise ValueError(
                f"{where} should be a model {' or '.join(types)}, or the task be named embedding. "
                f"Found {architecture or 'no architecture'}."
            )
        task = {"type": kind, "problem_type": problem_type_of(config)}
        labels = labels_in(config, where)
    if task["type"] != "sequence_classification":
        return {"type": task["type"]}
    problem_type = task.get("problem_type") or "single_label_classification"
    numeric = problem_type == "regression"
    return {
        "type": task["type"],
        "problem_type": problem_type,
        **({"labels": labels} if numeric else {}),
    }


def problem_type_of(config: PreTrainedConfig) -> str:
    """Of a stock model of sequences: as transformers takes a config that doesn't say."""
    default = "regression" if config.num_labels == 1 else "single_label_classification"
    return getattr(config, "problem_type", None) or default


def check_problem_type(config: PreTrainedConfig, task: dict, where: str) -> str:
    """The task's problem type. Raises a ValueError for a stock model of sequences that has another;
    messages call it `where`."""
    kind = problem_type_of(config)
    wanted = task.get("problem_type") or "single_label_classification"
    if task["type"] == "sequence_classification" and kind != wanted:
        raise ValueError(f"{where} should have the problem_type {wanted}. Found {kind}.")
    return wanted


def labels_in(config: PreTrainedConfig, where: str) -> list[str]:
    """The labels of a stock model, which messages call `where`, in order."""
    if sorted(config.id2label) != list(range(config.num_labels)):
        raise ValueError(
            f"{where} should number its labels from 0 to {config.num_labels - 1}. Found "
            f"{', '.join(map(str, sorted(config.id2label)))}."
        )
    return [config.id2label[index] for index in range(config.num_labels)]


def task_in(config: MultiTaskConfig, name: str, task: dict, where: str) -> str:
    """The name of the task that teaches: the same, or that of the only one of its kind."""

    def kind(task: dict) -> tuple[str, str]:
        return task["type"], task.get("problem_type") or "single_label_classification"

    same = [one for one, known in config.tasks.items() if kind(known) == kind(task)]
    if name not in same and len(same) != 1:
        found = ", ".join(
            f"{one} ({', '.join(kind(known))})" for one, known in config.tasks.items()
        )
        raise ValueError(
            f"{where} should have a task of that name, or a single one of its type and "
            f"problem_type. Found {found}."
        )
    return name if name in same else same[0]
