"""Which checkpoints are complete, and which one a run resumes from.

A checkpoint is many files, and a run can be killed between any two of them. The marker is written
last; a folder without it is never resumed from.
"""

import logging
import os
import re
from pathlib import Path
from typing import Any

from transformers.trainer_callback import TrainerState

from multitask_encoder.arguments.parsing import read_yaml
from multitask_encoder.arguments.run_arguments import RunArguments

logger = logging.getLogger("multitask_encoder")

MARKER = "complete"
PARTS = ("freeze", "freeze_layers", "lora_rank")  # keys by which the optimizer's state differs


def mark_complete(folder: Path) -> None:
    """Write the marker, after everything else has reached the disk."""
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    (folder / MARKER).touch()


def unmark(folder: Path) -> None:
    """Remove the marker before the folder is rewritten."""
    (folder / MARKER).unlink(missing_ok=True)


def is_complete(folder: Path) -> bool:
    """Whether a checkpoint is complete."""
    return (folder / MARKER).exists()


def checkpoints(output_dir: Path) -> list[Path]:
    """All checkpoint folders of a run, complete or not, oldest first."""
    folders = [path for path in output_dir.glob("checkpoint-*") if re.search(r"-\d+$", path.name)]
    return sorted(folders, key=lambda path: int(path.name.rsplit("-", 1)[1]))


def newest_complete_checkpoint(output_dir: Path) -> Path | None:
    """The newest complete checkpoint, or None."""
    complete = [path for path in checkpoints(output_dir) if is_complete(path)]
    return complete[-1] if complete else None


def best_was_chosen_by(folder: Path, metric: str) -> bool:
    """Whether this metric, e.g. `score`, chose the best checkpoint, or there is none yet."""
    state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
    at_best = [log for log in state.log_history if log["step"] == state.best_global_step]
    values = [log.get(f"eval_{metric}") for log in at_best]
    return state.best_metric is None or state.best_metric in values


def find_checkpoint(run: RunArguments) -> str | None:
    """The checkpoint to resume from; None to start from the beginning.

    Raises:
        FileNotFoundError, ValueError: it is missing or incomplete, another metric chose its best
            checkpoint, or other parts were trained; or the run folder holds an earlier run's
            checkpoints.
    """
    asked, output_dir = run.training.resume_from_checkpoint, Path(run.training.output_dir)
    if output_dir.exists() and not output_dir.is_dir():
        raise ValueError(f"output_dir should be a folder. Found the file {output_dir}.")
    if not run.training.do_train or run.training.do_inspect:
        return None
    if asked in (None, "false", "False"):
        if checkpoints(output_dir) and not run.training.overwrite_output_dir:
            raise ValueError(
                f"{output_dir} holds checkpoints of an earlier run. Resume it with "
                "--resume_from_checkpoint, replace it with --overwrite_output_dir, or name another "
                "folder."
            )
        return None
    if asked in ("true", "True"):
        checkpoint = newest_complete_checkpoint(output_dir)
    else:
        checkpoint = Path(asked)
        if not checkpoint.is_dir():
            raise FileNotFoundError(f"No checkpoint {asked}.")
        if not is_complete(checkpoint):
            raise ValueError(f"Checkpoint {asked} should be complete. Found an interrupted one.")
    if checkpoint is None:
        logger.warning(
            "No complete checkpoint in %s: training starts from the beginning.", output_dir
        )
        return None
    metric = run.training.metric_for_best_model
    if metric is not None and not best_was_chosen_by(checkpoint, metric.removeprefix("eval_")):
        raise ValueError(
            "metric_for_best_model should match the metric of the run being resumed from "
            f"{checkpoint}. Found {metric!r}."
        )
    _keep_parts(run, checkpoint)
    return str(checkpoint)


def _keep_parts(run: RunArguments, checkpoint: Path) -> None:
    """Refuse to train other parts than the run being resumed did; heads keep the learning rate that
    they had, if they had one."""
    saved = config_beside(checkpoint)
    if saved is None:
        return
    for key in PARTS:
        before, now = (_as_list(keys.get(key)) for keys in (saved, run.given))
        if before != now:
            raise ValueError(
                f"{key} should be {saved.get(key)}, as in the run being resumed from {checkpoint}. "
                f"Found {run.given.get(key)}."
            )
    rate = saved.get("head_learning_rate")
    if run.given.get("head_learning_rate") is None and rate is not None:
        run.training.head_learning_rate = run.given["head_learning_rate"] = float(rate)


def config_beside(checkpoint: Path) -> dict[str, Any] | None:
    """The keys of the run that a checkpoint is of, if they are beside it."""
    path = checkpoint.parent / "config.yaml"
    return read_yaml(path) if path.is_file() else None


def _as_list(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(one) for one in values if one is not None]
