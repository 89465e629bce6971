"""What a training run prints: a line for each logged step, and a table for each evaluation."""

from collections.abc import Iterator
from typing import Any

from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerState

from .metrics import is_share, metric_of

TIMES = ("runtime", "samples_per_second", "steps_per_second")
ALL_TASKS = "all tasks"


def print_readably(trainer: Trainer) -> None:
    """Replace what prints a Trainer's logs as they are."""
    tasks = trainer.model.config.tasks
    if trainer.pop_callback(ProgressCallback) is not None:
        trainer.add_callback(_LinesAboveBar(tasks))
    elif trainer.pop_callback(PrinterCallback) is not None:
        trainer.add_callback(_Lines(tasks))


def print_no_more(trainer: Trainer) -> None:
    """Print nothing of what is logged from now on: the results follow in a table of their own."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, _Lines | _LinesAboveBar):
            callback.silent = True


class _Lines(PrinterCallback):  # so that whoever removes that one removes this
    def __init__(self, tasks: dict[str, dict]):
        self.tasks, self.silent = tasks, False

    def on_log(self, args, state, control, logs=None, **kwargs):
        if state.is_world_process_zero and not self.silent:
            for line in log_lines(logs or {}, state, self.tasks):
                print(line, flush=True)


class _LinesAboveBar(ProgressCallback):
    def __init__(self, tasks: dict[str, dict]):
        super().__init__()
        self.tasks, self.silent = tasks, False

    def on_log(self, args, state, control, logs=None, **kwargs):
        if state.is_world_process_zero and self.training_bar is not None and not self.silent:
            for line in log_lines(logs or {}, state, self.tasks):
                self.training_bar.write(line)


def log_lines(logs: dict[str, Any], state: TrainerState, tasks: dict[str, dict]) -> Iterator[str]:
    """The lines of one entry of a Trainer's log.

    Args:
        logs (`dict[str, Any]`): metrics by name; those of an evaluation begin with its split's
            prefix.
        state (`TrainerState`): says which step it is.
        tasks (`dict[str, dict]`): as in the model's config.
    """
    measured = [key for key in logs if key.endswith(f"_{TIMES[0]}")]
    prefix = measured[0].removesuffix(TIMES[0]) if measured else ""
    values = {
        key.removeprefix(prefix): value
        for key, value in logs.items()
        if key.removeprefix(prefix) not in (*TIMES, "epoch", "total_flos")
    }
    place = f"step {state.global_step:,}"
    if "epoch" in logs:
        place += f" of {state.max_steps:,}, epoch {logs['epoch']:.4g}"
    if prefix == "train_":
        yield f"{place}: done in {logs['train_runtime']:,.0f} s, mean loss {values['loss']:.4g}"
    elif prefix:
        yield f"{place}, {prefix.removesuffix('_')} (percent):"
        yield from _table(values, tasks)
    elif logs:
        yield f"{place}: {_cells(values)}"


def _table(values: dict[str, Any], tasks: dict[str, dict]) -> Iterator[str]:
    """A row for each task, for all of them, and for what else is measured."""
    rows: dict[str, dict[str, Any]] = {}
    for name, task in tasks.items():
        names = {f"{name}_{key}": key for key in metric_of(task).names} | {f"loss_{name}": "loss"}
        rows[name] = {short: values[key] for key, short in names.items() if key in values}
        values = {key: value for key, value in values.items() if key not in names}
    rows[ALL_TASKS] = values
    width = max(map(len, rows))
    for name, row in rows.items():
        if row:
            yield f"  {name:{width}}  {_cells(row, in_percent=True)}"


def _cells(values: dict[str, Any], in_percent: bool = False) -> str:
    cells = []
    for key, value in values.items():
        text = value if isinstance(value, str) else f"{value:.4g}"
        cells.append(
            f"{key} {100 * value:.2f}" if in_percent and is_share(key) else f"{key} {text}"
        )
    return ", ".join(cells)
