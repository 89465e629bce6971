"""Texts like those that a model will read, by whose numbers int8 graphs are scaled."""

from pathlib import Path

import numpy as np
from torch.utils.data import ConcatDataset

from multitask_encoder.arguments.parsing import parse_arguments
from multitask_encoder.data.dataset_arguments import DatasetArguments
from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.data.texts import read_texts
from multitask_encoder.training.run_rows import load_rows

TEXTS = 300  # more change nothing that can be measured
# Keys of a run that reads nothing else.
ONLY_TRAINING_ROWS = (
    *("--do_eval", "false", "--do_test", "false"),
    *("--early_stopping_patience", "null"),
)


def typical_texts(folder: str, files: list[str] | None = None) -> list[str]:
    """Up to 300 texts from all over the files, or else the rows that the run in the folder learned
    from.

    Args:
        folder (`str`): a finished run, or a Hub id.
        files (`list[str]`, *optional*): paths or globs of texts, as `predict_file`.

    Raises:
        OSError, ValueError: they can't be read, or the folder doesn't say which rows it learned
            from.
    """
    if files is not None:
        rows = list(read_texts(files, DatasetArguments()))
        texts = [row.text for row in rows if row.text]
        if not texts:
            first = next((f" {row.source}: {row.problem}" for row in rows if row.problem), "")
            raise ValueError(f"--texts should have texts. Found none in {', '.join(files)}.{first}")
        return [texts[place] for place in _places(len(texts))]
    config = Path(folder, "config.yaml")
    if not config.is_file():
        raise ValueError(
            "Int8 needs texts like those that the model will read: --texts FILE. Found none, and "
            f"no config.yaml in {folder}, which names those that it learned from."
        )
    try:
        run = parse_arguments([str(config), *ONLY_TRAINING_ROWS])
        parts = load_rows(run)[1].get("train", {}).values()
        if run.data.streaming or not parts:
            raise ValueError("its rows are streamed" if run.data.streaming else "it names none")
    except (OSError, ValueError) as error:
        raise ValueError(
            "Int8 needs texts like those that the model will read: --texts FILE. Those that it "
            f"learned from are not at hand: {error}"
        ) from error
    trained_on: ConcatDataset = ConcatDataset(parts)
    return [text_and_words(trained_on[place])[0] for place in _places(len(trained_on))]


def _places(count: int) -> list[int]:
    return np.linspace(0, count - 1, min(count, TEXTS), dtype=int).tolist()
