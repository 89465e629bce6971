"""Which checkpoints are whole, and which one a run resumes from.

A checkpoint is many files: a run can be killed between any two of them, and a disk can lose any.
The marker is written last and names all files with their sizes and hashes; a folder that differs
from its marker is never resumed from.
"""

import json
import logging
import math
import re
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerState

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.arguments.yaml_file import read_yaml
from multitask_encoder.files import (
    check_may_be_folder,
    difference,
    size_and_hash,
    to_disk,
    write_json,
)

logger = logging.getLogger("multitask_encoder")

MARKER = "complete"
OPTIMIZER = ("optimizer", "global_step")  # files of Trainer and FSDP, and DeepSpeed's folder
# Keys by which the optimizer's state differs, and numbers that it or the run so far depends on.
PARTS = ("freeze", "freeze_layers", "lora_rank", "layer_learning_rate_decay")
KEPT = ("learning_rate", "head_learning_rate", "weight_decay", "l2_sp", "seed")


def mark_complete(folder: Path) -> None:
    """Write the marker, after everything else has reached the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    for path in files:
        to_disk(path)
    write_json(
        {path.relative_to(folder).as_posix(): size_and_hash(path) for path in files},
        folder / MARKER,
    )


def unmark(folder: Path) -> None:
    """Remove the marker before the folder is rewritten."""
    (folder / MARKER).unlink(missing_ok=True)


def damage(folder: Path) -> str | None:
    """Why a checkpoint can't be resumed from, as a sentence; None if it is whole."""
    marker = folder / MARKER
    if not marker.is_file():
        return "It is an interrupted one."
    try:
        files = dict(json.loads(marker.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return f"Its file {MARKER} can't be read."
    for name, expected in files.items():
        if found := difference(folder / name, expected):
            return f"Its file {name} {found}"
    if not any(name.startswith(OPTIMIZER) for name in files):
        return "It has no optimizer state: the run had save_only_model."
    return None


def checkpoints(output_dir: Path) -> list[Path]:
    """All checkpoint folders of a run, complete or not, oldest first."""
    folders = [path for path in output_dir.glob("checkpoint-*") if re.search(r"-\d+$", path.name)]
    return sorted(folders, key=lambda path: int(path.name.rsplit("-", 1)[1]))


def best_of(folder: Path) -> Path | None:
    """The best checkpoint so far by a whole checkpoint's state, beside it wherever the run folder
    has been moved to; None if there is none yet."""
    best = TrainerState.load_from_json(str(folder / "trainer_state.json")).best_model_checkpoint
    return folder.parent / Path(best).name if best else None


class BestBeside(TrainerCallback):
    """Tells a resumed run where its best checkpoint is now.

    Args:
        checkpoint (`Path`): the one that the run resumes from.
    """

    def __init__(self, checkpoint: Path):
        self.best = best_of(checkpoint)

    def on_train_begin(self, args, state, control, **kwargs):
        if self.best is not None:
            state.best_model_checkpoint = str(self.best)


def best_was_chosen_by(folder: Path, metric: str) -> bool:
    """Whether this metric, e.g. `score`, chose the best checkpoint, or there is none yet."""
    state = TrainerState.load_from_json(str(folder / "trainer_state.json"))
    at_best = [log for log in state.log_history if log["step"] == state.best_global_step]
    values = [log.get(f"eval_{metric}") for log in at_best]
    nothing_yet = state.best_metric is None or math.isinf(state.best_metric)  # only NaN so far
    return nothing_yet or state.best_metric in values


def find_checkpoint(run: RunArguments) -> str | None:
    """The checkpoint to resume from; None to start from the beginning.

    Raises:
        FileNotFoundError, ValueError: it is missing or damaged, another metric chose its best
            checkpoint, or other parts were trained; or the run folder holds an earlier run's
            checkpoints.
    """
    asked, output_dir = run.training.resume_from_checkpoint, Path(run.training.output_dir)
    check_may_be_folder("output_dir", output_dir)
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
        checkpoint = _newest_whole(run)
    else:
        checkpoint = Path(asked)
        if not checkpoint.is_dir():
            raise FileNotFoundError(f"No checkpoint {asked}.")
        if found := _damage(run, checkpoint):
            raise ValueError(f"Checkpoint {asked} should be whole. {found}")
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


def _newest_whole(run: RunArguments) -> Path | None:
    """The newest checkpoint that is whole; None if no checkpoint was ever finished.

    Raises:
        ValueError: there are finished checkpoints, but all of them are damaged.
    """
    passed_over = []
    for folder in reversed(checkpoints(Path(run.training.output_dir))):
        found = _damage(run, folder)
        if found is None:
            return folder
        logger.warning("%s can't be resumed from, so it is passed over. %s", folder, found)
        if (folder / MARKER).exists():
            passed_over.append(f"{folder.name}: {found}")
    if passed_over:
        raise ValueError(
            f"No checkpoint in {run.training.output_dir} is whole. {passed_over[0]} To start "
            "again, replace it with --overwrite_output_dir."
        )
    return None


def _damage(run: RunArguments, checkpoint: Path) -> str | None:
    """Why a run can't go on from a checkpoint, whose best one it may end with."""
    if found := damage(checkpoint):
        return found
    best = best_of(checkpoint) if run.training.load_best_model_at_end else None
    if best is None or best == checkpoint or (found := damage(best)) is None:
        return None
    return f"The best checkpoint so far, {best.name}, is damaged. {found}"


def _keep_parts(run: RunArguments, checkpoint: Path) -> None:
    """Refuse to train other parts than the run being resumed did, or otherwise: the optimizer goes
    on as it was saved. What this run leaves open, such as heads that a finished model froze by
    default, stays as it was."""
    saved = config_beside(checkpoint)
    if saved is None:
        return
    if run.model.model and run.given.get("freeze") is None and saved.get("freeze"):
        run.training.freeze = run.given["freeze"] = saved["freeze"]
    for key in PARTS:
        before, now = (_as_list(keys.get(key)) for keys in (saved, run.given))
        if before != now:
            raise ValueError(
                f"{key} should be {saved.get(key)}, as in the run being resumed from {checkpoint}. "
                f"Found {run.given.get(key)}."
            )
    for key in [key for key in KEPT if saved.get(key) is not None]:
        number = int(saved[key]) if key == "seed" else float(saved[key])
        if run.given.get(key) is None:
            run.given[key] = number
            setattr(run.training, key, number)
        elif (found := getattr(run.training, key)) != number:
            raise ValueError(
                f"{key} should be {number}, as in the run being resumed from {checkpoint}. Found "
                f"{found}. To train its model otherwise: --model {checkpoint}"
            )


def check_epoch(checkpoint: Path, batches: int, accumulated: int) -> None:
    """Refuse to resume a run whose epochs had another number of batches: the data would go on
    somewhere else.

    Args:
        checkpoint (`Path`): of the run being resumed.
        batches (`int`): of an epoch, at least 1; of one process.
        accumulated (`int`): batches of a step; the last of an epoch may have fewer.

    Raises:
        ValueError: the number differs.
    """
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    epochs, steps = divmod(state.global_step, math.ceil(batches / accumulated))
    epoch = epochs + min(steps * accumulated, batches) / batches
    if state.epoch and not math.isclose(state.epoch, epoch, rel_tol=1e-6):
        raise ValueError(
            f"The rows and the batch size should be those of the run being resumed from "
            f"{checkpoint}, which is at epoch {state.epoch:.4g}. With these it would be at "
            f"{epoch:.4g}. To train its model on other rows: --model {checkpoint}"
        )


def config_beside(checkpoint: Path) -> dict[str, Any] | None:
    """The keys of the run that a checkpoint is of, if they are beside it."""
    path = checkpoint.parent / "config.yaml"
    return read_yaml(path) if path.is_file() else None


def _as_list(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(one) for one in values if one is not None]
