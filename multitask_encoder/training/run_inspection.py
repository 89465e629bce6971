"""What is in a run's data, as `do_inspect` shows it."""

from collections.abc import Callable
from functools import partial

from transformers import PreTrainedTokenizerBase

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.inspection import (
    find_leaks,
    inspect_split,
    labels_met_once,
)
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.decoding import UNITS, cutting
from multitask_encoder.modeling.windows import tokenize

from .prepare_data import RunData, preprocessing_settings
from .run_rows import title_of


def inspect(
    run: RunArguments, data: RunData, tokenizer: PreTrainedTokenizerBase, model: MultiTaskModel
) -> dict:
    """The contents of the data (see data/inspection.py): `splits` by title, `leaks`, and
    `labels_met_once`."""
    splits = {}
    for split, parts in data.rows.items():
        for name, part in parts.items():
            settings = preprocessing_settings(run, split, name, tokenizer, model)
            read = partial(
                tokenize,
                tokenizer,
                **{key: settings[key] for key in ("prompt", "max_length", "stride")},
            )
            title = title_of(run, split, name)
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
