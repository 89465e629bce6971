"""Reads the `tasks` of a config, and checks each of their keys."""

from typing import Any

from multitask_encoder.data.task_kinds import kind_of
from multitask_encoder.modeling.configuration_multitask import WEIGHTS

from .key_groups import check_choice, check_key, to_number
from .tasks import BALANCED, CHOSEN_BEFORE_LOADING, EMBEDDING, TASK_FIELDS, TaskArguments

UNQUOTED = (
    "YAML reads yes, no, true and false as booleans, and null as none, unless they are in quotes"
)


def parse_tasks(tasks: Any) -> dict[str, TaskArguments]:
    """The tasks of a run's YAML. Raises a ValueError for what is none."""
    if not isinstance(tasks, dict) or not tasks:
        raise ValueError(f"`tasks` should map names to tasks. Found {tasks!r}.")
    parsed = {}
    for name, task in tasks.items():
        if not isinstance(task, dict) or "type" not in task:
            raise ValueError(f"tasks.{name} should be a mapping with a `type`. Found {task!r}.")
        for key in task:
            check_key(key, list(TASK_FIELDS), prefix=f"tasks.{name}.")
        for key in CHOSEN_BEFORE_LOADING:
            if key == "type" or task.get(key) is not None:
                check_choice(f"tasks.{name}.{key}", task[key], TASK_FIELDS[key].metadata["choices"])
        if task.get("column") is not None:
            check_column(f"tasks.{name}.column", task["column"], task)
        if not isinstance(task.get("separator"), str | None):
            raise ValueError(
                f"tasks.{name}.separator should be a text. Found {task['separator']!r}."
            )
        task = {key: value for key, value in task.items() if value is not None}
        if "label_map" in task:
            task["label_map"] = _label_map(name, task["label_map"])
        _check_keys_of_kind(name, task)
        if task["type"] == EMBEDDING:
            task.setdefault("loss", "retention")
        if task["type"] == "token_classification" and "label_map" in task:  # O is no type
            task["label_map"] = {
                label: None if new == "O" else new for label, new in task["label_map"].items()
            }
        for key in WEIGHTS:
            task[key] = to_number(f"tasks.{name}.{key}", task.get(key, 1.0))
        if "out_of_scope" in task:
            task["out_of_scope"] = _share(f"tasks.{name}.out_of_scope", task)
        if "unlabelled_tag" in task:
            tag = task["unlabelled_tag"]
            if isinstance(tag, bool | list | dict):
                raise ValueError(
                    f"tasks.{name}.unlabelled_tag should be a text; {UNQUOTED}. Found {tag!r}."
                )
            task["unlabelled_tag"] = str(tag)
        if "class_weights" in task:
            task["class_weights"] = _class_weights(f"tasks.{name}.class_weights", task)
        if task.get("dimensions") is not None:
            task["dimensions"] = _whole_numbers(f"tasks.{name}.dimensions", task["dimensions"])
        if task.get("problem_type") == "regression" and isinstance(task.get("column"), list):
            task.setdefault("labels", task["column"])
        if "labels" in task:
            labels = task["labels"] if isinstance(task["labels"], list) else [task["labels"]]
            if any(isinstance(label, bool | list | dict | None) for label in labels):
                raise ValueError(
                    f"tasks.{name}.labels should be texts; {UNQUOTED}. Found {labels!r}."
                )
            task["labels"] = [str(label) for label in labels]
        parsed[str(name)] = TaskArguments(**task)
    return parsed


def _check_keys_of_kind(name: str, task: dict) -> None:
    """Refuse keys that tasks of this kind don't read: they would be ignored unnoticed."""
    kind = kind_of(task)
    for key in ("label_map", "class_weights"):
        if task.get(key) and kind.numeric:
            found = task.get("problem_type") or task["type"]
            raise ValueError(f"tasks.{name}.{key} is for labels. Found a {found} task.")
    for key in task:
        of_types = TASK_FIELDS[key].metadata["of_types"]
        if task["type"] not in of_types:
            raise ValueError(
                f"`{key}` is for {' and '.join(of_types)}. Found it in task {name!r}, which is "
                f"{task['type']}."
            )
    if "separator" in task and not kind.separable:
        raise ValueError(
            f"tasks.{name}.separator is for multi_label_classification. Found "
            f"{task.get('problem_type', 'single_label_classification')}."
        )


def check_column(key: str, column: Any, task: dict) -> None:
    """A column, or a list of columns for labels or numbers that have one each."""
    several = task.get("problem_type") in ("multi_label_classification", "regression")
    columns = column if several and isinstance(column, list) else [column]
    if not columns or not all(isinstance(one, str) for one in columns):
        also = ", or a list of texts"
        if isinstance(column, list) and not several:
            also += " where problem_type is regression or multi_label_classification"
        elif not several:
            also = ""
        raise ValueError(f"{key} should be a text{also}. Found {column!r}.")


def _label_map(name: str, label_map: Any) -> dict[str, str | None]:
    """A checked map, whose numbers are texts, as `labels` may be numbers, too."""
    if not isinstance(label_map, dict) or not all(
        isinstance(label, str | int | float)
        and isinstance(new, str | int | float | None)
        and new != ""
        for label, new in label_map.items()
    ):
        raise ValueError(
            f"tasks.{name}.label_map should map labels to new names, or to null to drop them. "
            f"Found {label_map!r}."
        )
    if any(isinstance(one, bool) for pair in label_map.items() for one in pair):
        raise ValueError(
            f"tasks.{name}.label_map should map labels to new names; {UNQUOTED}. "
            f"Found {label_map!r}."
        )
    return {str(label): None if new is None else str(new) for label, new in label_map.items()}


def _share(key: str, task: dict) -> float:
    if task.get("problem_type", "single_label_classification") != "single_label_classification":
        raise ValueError(f"{key} is for one label a text. Found {task['problem_type']}.")
    share = to_number(key, task["out_of_scope"])
    if not 0 < share < 1:
        raise ValueError(f"{key} should be in (0, 1): 0.05, say. Found {share}.")
    return share


def _class_weights(key: str, task: dict) -> str | dict[str, float]:
    weights = task["class_weights"]
    if weights == BALANCED:
        return BALANCED
    if not isinstance(weights, dict) or any(isinstance(label, bool | None) for label in weights):
        raise ValueError(
            f"{key} should be {BALANCED}, or map labels to numbers; {UNQUOTED}. Found {weights!r}."
        )
    return {str(label): to_number(f"{key}.{label}", weight) for label, weight in weights.items()}


def _whole_numbers(key: str, value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    try:
        return [int(str(one)) for one in values]
    except ValueError:
        raise ValueError(f"{key} should be whole numbers. Found {value!r}.") from None
