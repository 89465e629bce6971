"""The keys of a data set: location, format, columns and splits."""

from dataclasses import dataclass, field
from typing import Any

from .readers import FORMATS
from .records import FileOptions

SPLITS = ("train", "validation", "test")


def key(says: str, choices: list[str] | None = None) -> Any:
    """A key that is not set by default: its help, and the values it may have."""
    return field(default=None, metadata={"help": says, **({"choices": choices} if choices else {})})


@dataclass
class DatasetArguments:
    """Location, format, columns and splits of one data set."""

    dataset: str | None = key("`synthetic`, a Hub id, or a data set folder; instead of files.")
    dataset_config: str | None = key(
        "Configuration of the data set, for data sets that have several."
    )
    dataset_revision: str | None = key("Branch, tag or commit of the data set's Hub id.")
    data_dir: str | None = key("Folder that contains the files below.")
    train_file: list[str] | None = key("Training files: names, folders or globs.")
    validation_file: list[str] | None = key("Validation files, to choose the best checkpoint.")
    test_file: list[str] | None = key("Test files, held out for the end.")
    format: str | None = key(
        "Format of the files. Default: detected from their names and first lines.",
        choices=list(FORMATS),
    )
    column_names: list[str] | None = key(
        "Column names of conll files (default: tokens, column_2, ..., tags), and of csv and tsv "
        "files without a header."
    )
    delimiter: str | None = key(
        "What parts the columns of CSV files. Default: a comma, semicolon or tab, as the file says."
    )
    encoding: str | None = key(
        "Encoding of files of text, such as cp1252. Default: UTF-8, or UTF-16 by its mark."
    )
    text_column: list[str] | None = key(
        "Column of the text, or the columns of a pair or triplet of texts, for the losses of "
        "sentence_embedding. Default: text, or texts, which holds a list of texts."
    )
    tokens_column: str | None = key("Column of the words. Default: tokens, if present.")
    train_size: int | None = key(
        "Training rows to use (the first ones); for `synthetic`, rows to generate. Default: all."
    )
    validation_size: int | None = key("Validation rows, as in train_size.")
    test_size: int | None = key("Test rows, as in train_size.")
    validation_fraction: float | None = key(
        "Fraction of the training rows to split off for validation, if there is no validation "
        "split."
    )
    test_fraction: float | None = key(
        "Fraction of the training rows to split off for testing, if there is no test split."
    )

    def file_options(self) -> FileOptions:
        """What is known of the files besides their format."""
        return FileOptions(self.column_names, self.delimiter, self.encoding)

    def files(self, split: str) -> list[str] | None:
        return getattr(self, f"{split}_file")

    def size(self, split: str) -> int | None:
        return getattr(self, f"{split}_size")

    def fraction(self, split: str) -> float | None:
        return None if split == "train" else getattr(self, f"{split}_fraction")
