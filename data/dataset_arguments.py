"""Location and form of the rows of a data set."""

from dataclasses import dataclass, field

from .readers import FORMATS

SPLITS = ("train", "validation", "test")


@dataclass
class DatasetArguments:
    """Location and form of the rows of one data set."""

    dataset: str | None = field(
        default=None,
        metadata={"help": "`synthetic`, a Hub id, or a data set folder; instead of files."},
    )
    dataset_config: str | None = field(
        default=None, metadata={"help": "Which of the data set's configurations."}
    )
    dataset_revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the data set's Hub id."}
    )
    data_dir: str | None = field(
        default=None, metadata={"help": "The folder that the files below are in."}
    )
    train_file: list[str] | None = field(
        default=None, metadata={"help": "Files to train on; names, folders or globs."}
    )
    validation_file: list[str] | None = field(
        default=None, metadata={"help": "Files to choose the best epoch by."}
    )
    test_file: list[str] | None = field(
        default=None, metadata={"help": "Held-out files for the end."}
    )
    format: str | None = field(
        default=None,
        metadata={
            "help": "Of the files. Default: found out from their names and beginnings.",
            "choices": list(FORMATS),
        },
    )
    column_names: list[str] | None = field(
        default=None, metadata={"help": "Of conll files. Default: tokens, column_2, ..., tags."}
    )
    text_column: list[str] | None = field(
        default=None,
        metadata={
            "help": "Column of the text; or those of a pair or triplet of texts, for the losses of "
            "sentence_embedding. Default: text, or texts, which are lists of them."
        },
    )
    tokens_column: str | None = field(
        default=None, metadata={"help": "Column of the words. Default: tokens, where there is one."}
    )
    train_size: int | None = field(
        default=None,
        metadata={"help": "How many rows to take (the first ones) or to make. Default: all."},
    )
    validation_size: int | None = field(default=None, metadata={"help": "As train_size."})
    test_size: int | None = field(default=None, metadata={"help": "As train_size."})
    validation_fraction: float | None = field(
        default=None,
        metadata={"help": "Cut so much off the training rows where there is no validation split."},
    )
    test_fraction: float | None = field(
        default=None, metadata={"help": "As validation_fraction, for the test split."}
    )

    def files(self, split: str) -> list[str] | None:
        return getattr(self, f"{split}_file")

    def size(self, split: str) -> int | None:
        return getattr(self, f"{split}_size")

    def fraction(self, split: str) -> float | None:
        return None if split == "train" else getattr(self, f"{split}_fraction")
