"""Whether a run may write to its folders: never over what it reads."""

import logging
from itertools import combinations
from pathlib import Path

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.data.dataset_arguments import SPLITS, DatasetArguments
from multitask_encoder.data.readers import find_files

logger = logging.getLogger("multitask_encoder")


def check_output_folders(run: RunArguments) -> None:
    """Refuse a run whose output would replace its input, and log files that are of several splits.

    Raises:
        FileNotFoundError: a file of the data is missing.
        ValueError: output_dir is the folder of the encoder, a model or the data, or
            predict_output holds files of predict_file.
    """
    if run.training.do_inspect:
        return
    if run.training.do_train:
        _check_output_dir(run)
    if run.training.do_predict and run.data.predict_file:
        folder = Path(run.data.predict_output or Path(run.training.output_dir, "predictions"))
        for path in find_files(run.data.predict_file, run.data.data_dir):
            if folder.resolve() in path.resolve().parents:  # a second start would answer answers
                raise ValueError(
                    "predict_output should be another folder than that of predict_file. Found "
                    f"{path} in {folder}."
                )


def _check_output_dir(run: RunArguments) -> None:
    output_dir = Path(run.training.output_dir)
    start = "encoder" if run.model.model is None else "model"
    sources = [(start, getattr(run.model, start))]
    sources += [("teachers", folder) for folders in run.teachers.values() for folder in folders]
    for key, name in sources:
        source = Path(name)
        # A checkpoint is in the folder of its run, which deletes it when it starts again.
        held = source.parent if source.name.startswith("checkpoint-") else source
        if source.is_dir() and held.resolve() == output_dir.resolve():
            raise ValueError(
                f"output_dir should be another folder than that of `{key}`, which training would "
                f"replace. Found {output_dir} for {source}."
            )
    for data in run.datasets.values():
        files = _files_of(data.arguments)
        folders = {path.parent: path.name for paths in files.values() for path in paths}
        folders[Path(data.arguments.dataset or "synthetic").resolve()] = "the data set"
        if output_dir.resolve() in folders:
            raise ValueError(
                f"output_dir should be another folder than that of the data. Found {output_dir}, "
                f"which holds {folders[output_dir.resolve()]}."
            )
        for one, other in combinations(files, 2):
            for path in sorted(set(files[one]) & set(files[other])):
                logger.warning(
                    "%s is in both %s_file and %s_file: a model scores too high on rows that it "
                    "was trained or chosen on.",
                    *(path, one, other),
                )


def _files_of(data: DatasetArguments) -> dict[str, list[Path]]:
    """The files of each split of a data set, as absolute paths without links."""
    return {
        split: [path.resolve() for path in find_files(names, data.data_dir)]
        for split in SPLITS
        if (names := data.files(split))
    }
