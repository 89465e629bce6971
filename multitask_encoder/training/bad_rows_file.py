"""The bad rows of a run: refused, or skipped and written to a file."""

import json
import logging
from pathlib import Path

from datasets import Dataset

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.bad_rows import as_skipped, good_rows

logger = logging.getLogger("multitask_encoder.data")


def good_rows_of(
    run: RunArguments, titles: list[tuple[str, Dataset]]
) -> tuple[list[Dataset], list[dict]]:
    """Refuse or skip bad rows as the run says; inspection lists them."""
    return good_rows(titles, "skip" if run.training.do_inspect else run.data.on_bad_row)


def write_bad_rows(run: RunArguments, skipped: list[dict]) -> None:
    """Replace the file of bad rows with the rows skipped before training or evaluation, and log
    their number. Inspection leaves the file alone."""
    if not run.training.should_save or run.training.do_inspect:
        return
    path = _bad_rows_file(run)
    path.unlink(missing_ok=True)
    if skipped:
        _append_bad_rows(path, skipped)
        logger.warning("Skipped %d bad rows; they are in %s.", len(skipped), path)


def write_bad_row(run: RunArguments, row: dict) -> None:
    """Add a row of a stream to the file of bad rows."""
    if run.training.should_save:
        _append_bad_rows(_bad_rows_file(run), [as_skipped(row, "train")])


def _bad_rows_file(run: RunArguments) -> Path:
    # Evaluating a finished model must not overwrite the rows that training skipped.
    name = "bad_rows.jsonl" if run.training.do_train else "bad_rows_of_evaluation.jsonl"
    return Path(run.training.output_dir) / name


def _append_bad_rows(path: Path, skipped: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in skipped)
