"""The keys of a data set: location, format, columns and splits."""

from dataclasses import dataclass, field

from .readers import FORMATS

SPLITS = ("train", "validation", "test")


@dataclass
class DatasetArguments:
    """Location, format, columns and splits of one data set."""

    dataset: str | None = field(
        default=None,
        metadata={"help": "`synthetic`, a Hub id, or a data set folder; instead of files."},
    )
    dataset_config: str | None = field(
        default=None,
        metadata={"help": "Configuration of the data set, for data sets that have several."},
    )
    dataset_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the data set's Hub id."}
    )
    data_dir: str | None = field(
        default=None, metadata={"help": "Folder that contains the files below."}
    )
    train_file: list[str] | None = field(
        default=None, metadata={"help": "Training files: names, folders or globs."}
    )
    validation_file: list[str] | None = field(
        default=None, metadata={"help": "Validation files, to choose the best checkpoint."}
    )
    test_file: list[str] | None = field(
        default=None, metadata={"help": "Test files, held out for the end."}
    )
    format: str | None = field(
        default=None,
        metadata={
            "help": "Format of the files. Default: detected from their names and first lines.",
            "choices": list(FORMATS),
        },
    )
    column_names: list[str] | None = field(
        default=None,
        metadata={"help": "Column names of conll files. Default: tokens, column_2, ..., tags."},
    )
    text_column: list[str] | None = field(
        default=None,
        metadata={
            "help": "Column of the text, or the columns of a pair or triplet of texts, for the "
            "losses of sentence_embedding. Default: text, or texts, which holds a list "
            "of texts."
        },
    )
    tokens_column: str | None = field(
        default=None, metadata={"help": "Column of the words. Default: tokens, if present."}
    )
    train_size: int | None = field(
        default=None,
        metadata={
            "help": "Training rows to use (the first ones); for `synthetic`, rows to generate. "
            "Default: all."
        },
    )
    validation_size: int | None = field(
        default=None, metadata={"help": "Validation rows, as in train_size."}
    )
    test_size: int | None = field(default=None, metadata={"help": "Test rows, as in train_size."})
    validation_fraction: float | None = field(
        default=None,
        metadata={
            "help": "Fraction of the training rows to split off for validation, if there is no "
            "validation split."
        },
    )
    test_fraction: float | None = field(
        default=None,
        metadata={
            "help": "Fraction of the training rows to split off for testing, if there is no test "
            "split."
        },
    )

    def files(self, split: str) -> list[str] | None:
        return getattr(self, f"{split}_file")

    def size(self, split: str) -> int | None:
        return getattr(self, f"{split}_size")

    def fraction(self, split: str) -> float | None:
        return None if split == "train" else getattr(self, f"{split}_fraction")
