"""Sentences of the evaluated split, as examples of mistakes on the page."""

import re
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from multitask_encoder.data.label_alignment import word_ranges
from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.modeling import MultiTaskConfig
from multitask_encoder.modeling.decoding import UNITS, cutting
from multitask_encoder.modeling.windows import tokenize
from multitask_encoder.training.row_answers import RowAnswers

from .figures import printable
from .report_page import marked

SHOWN = 20  # examples of each kind of mistake


class Examples:
    """Finds the sentence behind an answer.

    Args:
        rows (`dict[int, Dataset]`): loaded rows by the number of their data set.
        answers (`RowAnswers`): of the same split; a `place` is an index of its rows.
    """

    def __init__(
        self, rows: dict[int, Dataset], answers: RowAnswers, tokenizer: PreTrainedTokenizerBase
    ):
        self.rows = rows
        self.answers = answers
        self.tokenizer = tokenizer

    def _row(self, place: int) -> dict:
        return self.rows[self.answers.datasets[place]][int(self.answers.rows[place])]

    def text(self, place: int) -> str:
        """The text of a row."""
        return text_and_words(self._row(place))[0]

    def example(self, place: int, marks: list[tuple[int, int, str]], says: str) -> dict[str, Any]:
        """A row as the page shows it: its text with marks, a remark, and its source."""
        parts = marked(self.text(place), marks)
        # The file's name and the line: a page may be passed on, the folders are this machine's.
        source = re.split(r"[/\\]", self._row(place)["source"])[-1]
        return {"parts": parts, "says": printable(says), "source": source}

    def unit_ranges(self, place: int, task: dict, config: MultiTaskConfig) -> list[tuple[int, int]]:
        """The character ranges of a row's units, as data/preprocessing.py found them."""
        text, words = text_and_words(self._row(place))
        if words is not None:
            return words
        (tokenized,) = tokenize(self.tokenizer, [text], config.default_prompt, stride=config.stride)
        labelling, *marks = cutting(task)
        units = UNITS[labelling](text, tokenized.offsets, *marks)
        return word_ranges(units, tokenized.offsets)
