"""The trials of a search, and its table: runs of one config with other values of some keys.

Each is an ordinary run in a folder of its own. The first are spread over the space by a Halton
sequence; then Optuna draws a trial's values from the results of those before it, by TPE (Bergstra
et al. 2011, "Algorithms for Hyper-Parameter Optimization"), with a seed for each trial: a search
that is started again draws what it drew before, and so goes on.
"""

import itertools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from scipy.stats import qmc

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.arguments.search_space import Choices, Space
from multitask_encoder.files import write_json, write_text
from multitask_encoder.training.checkpoints import checkpoints
from multitask_encoder.training.metrics import is_share, metric_of

from .markdown import table
from .runs import WITHOUT_EFFECT, is_finished, part_of, task_type

BEST = "best"  # the folder of the run with the best values
REPORT, NUMBERS = "search.md", "search.json"
# Keys that no run of a search gets, and those that only the best one gets.
OF_THE_SEARCH = ("search", "search_trials", "overwrite_output_dir")
OF_THE_BEST = (
    *("do_predict", "predict_file", "predict_output", "examples"),
    *("push_to_hub", "hub_model_id", "hub_token"),
)
# Keys by which trials could not be compared, or whose values would be other folders and files.
NOT_SEARCHED = {
    *WITHOUT_EFFECT,
    *("metric_for_best_model", "greater_is_better", "do_train", "do_eval", "do_test"),
    *("data_dir", "dataset", "train_file", "validation_file", "test_file", "validation_size"),
    *("validation_fraction", "test_size", "test_fraction", "tasks", "datasets", *OF_THE_SEARCH),
    *("on_bad_row", "column_names"),
}
# Keys of a task that change how it is trained, not what its metrics are of; of a loss, those below
# change that.
OF_TASKS = ("weight", "class_weights", "pooling", "loss", "dimensions")
OF_LOSSES = ("weight", "class_weights", "loss", "dimensions")
SPREAD = 10  # trials that are spread over the space before results count
DRAWS = 20  # before a trial may repeat one


@dataclass
class Trial:
    """A finished trial: the values of its keys, and what came of it."""

    keys: dict[str, Any]
    results: dict[str, Any]


class Search:
    """The runs that a config with `search` stands for.

    Args:
        run (`RunArguments`): that config.

    Attributes:
        trials (`list[Trial]`): the finished trials, in order.
        total (`int`): the number of trials: `search_trials`, or fewer where fewer combinations
            exist, which then are all tried.

    Raises:
        ModuleNotFoundError: `optuna` is not installed.
        ValueError: a key that does not go with a search.
    """

    def __init__(self, run: RunArguments):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        _check(run)
        self.run, self.folder = run, Path(run.training.output_dir)
        self.trials: list[Trial] = []
        self.metric = f"eval_{run.training.metric_for_best_model.removeprefix('eval_')}"
        grid = _grid(run.search)
        self.total = run.training.search_trials
        self._grid = grid if grid and len(grid) <= self.total else None
        if self._grid:
            self.total = len(self._grid)

    def is_complete(self) -> bool:
        """Whether all trials are in: `total`, and further ones that a longer search has finished.

        Raises:
            ValueError: as `is_finished`.
        """
        number = len(self.trials)
        known = (self.folder / f"trial-{number}" / "all_results.json").is_file()
        longer = known and not self._grid
        return number >= self.total and not (longer and is_finished(self.next()[1]))

    def next(self) -> tuple[dict[str, Any], RunArguments]:
        """The values of the next trial, and its run."""
        number = len(self.trials)
        keys = self._grid[number] if self._grid else self._draw(number)
        return keys, self._run(f"trial-{number}", keys, do_test=False, report=False)

    def add(self, keys: dict[str, Any], run: RunArguments) -> None:
        """Take in a finished trial.

        Raises:
            ValueError: it has no value of the metric, as there are no validation rows.
        """
        results = json.loads(Path(run.training.output_dir, "all_results.json").read_text("utf-8"))
        if self.metric not in results:
            raise ValueError("search needs a validation split. Found none.")
        self.trials.append(Trial(keys, results))

    def ranked(self) -> list[int]:
        """The numbers of the trials, from the best to the worst; those without a value last."""
        known = [number for number in range(len(self.trials)) if self._value(number) is not None]
        best_first = sorted(known, key=self._value, reverse=self._higher_is_better)
        return best_first + [number for number in range(len(self.trials)) if number not in known]

    def add_lost(self, keys: dict[str, Any], run: RunArguments) -> None:
        """Take in a trial whose training has diverged: it has no value of the metric."""
        self.trials.append(Trial(keys, {self.metric: None}))
        if run.training.process_index == 0:
            write_json(self.trials[-1].results, Path(run.training.output_dir, "all_results.json"))

    def best_run(self) -> RunArguments:
        """The run with the best trial's values and all that the config asks for.

        Raises:
            ValueError: no trial has a value of the metric.
        """
        number = self.ranked()[0]
        if self._value(number) is None:
            raise ValueError(f"No trial has a value of {self.metric}.")
        best = self._run(BEST, self.trials[number].keys)
        best.training.overwrite_output_dir = True  # further trials may have found a better one
        if best.training.hub_model_id is None:  # else all searches would publish to one name
            best.training.hub_model_id = self.folder.name
        return best

    def write(self) -> None:
        """Write the table of all finished trials."""
        trials = [vars(trial) for trial in self.trials]
        write_json({"metric": self.metric, "trials": trials}, self.folder / NUMBERS)
        write_text(f"# Search by {self.metric}\n\n{self.table()}\n", self.folder / REPORT)

    def table(self) -> str:
        """The trials in Markdown, the best first."""
        mains = [
            f"eval_{name}_{metric_of(task_type(self.run, name)).main}"
            for name, task in self.run.tasks.items()
            if not task.is_embedding
        ]
        metrics = list(dict.fromkeys([self.metric, *mains]))
        rows = []
        for number in self.ranked():
            trial = self.trials[number]
            values = [_shown(value) for value in trial.keys.values()]
            measured = [_number(metric, trial.results.get(metric)) for metric in metrics]
            rows.append([str(number), *values, *measured])
        names = [metric.removeprefix("eval_") for metric in metrics]
        return table(["trial", *self.run.search, *names], rows)

    def tell(self, number: int) -> str:
        """A line on a finished trial."""
        best = self.ranked()[0]
        value = {place: _number(self.metric, self._value(place)) for place in (number, best)}
        name = self.metric.removeprefix("eval_")
        return f"{name} {value[number]}; best so far {value[best]}, of trial {best}"

    @property
    def _higher_is_better(self) -> bool:
        return bool(self.run.training.greater_is_better)

    def _value(self, number: int) -> Any:
        return self.trials[number].results[self.metric]

    def _run(self, name: str, keys: dict[str, Any], **fixed: Any) -> RunArguments:
        left_out = OF_THE_SEARCH if name == BEST else (*OF_THE_SEARCH, *OF_THE_BEST)
        return part_of(self.run, name, left_out, {**fixed, **keys})

    def _draw(self, number: int) -> dict[str, Any]:
        """Values that no trial had yet, if they are found in a few draws."""
        keys: dict[str, Any] = {}
        for attempt in range(DRAWS):
            keys = self._spread(number + 1000 * attempt)
            if number >= SPREAD:
                keys = self._suggested([self.run.training.seed, number, attempt])
            if keys not in [trial.keys for trial in self.trials]:
                break
        return keys

    def _spread(self, number: int) -> dict[str, Any]:
        """A point of a sequence that covers the space evenly."""
        sequence = qmc.Halton(len(self.run.search), rng=self.run.training.seed)
        sequence.fast_forward(number)
        (point,) = sequence.random(1).tolist()
        return {
            key: one.at(place)
            for (key, one), place in zip(self.run.search.items(), point, strict=True)
        }

    def _suggested(self, seeds: list[int]) -> dict[str, Any]:
        import optuna

        (seed,) = np.random.SeedSequence(seeds).generate_state(1).tolist()
        space = _distributions(self.run.search)
        study = optuna.create_study(
            direction="maximize" if self._higher_is_better else "minimize",
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=0),
        )
        for number, trial in enumerate(self.trials):
            if self._value(number) is not None:
                places = {
                    key: one.values.index(trial.keys[key])
                    for key, one in self.run.search.items()
                    if isinstance(one, Choices)
                }
                study.add_trial(
                    optuna.trial.create_trial(
                        params=trial.keys | places, distributions=space, value=self._value(number)
                    )
                )
        drawn = study.ask(space).params
        return {
            key: one.values[drawn[key]] if isinstance(one, Choices) else one.rounded(drawn[key])
            for key, one in self.run.search.items()
        }


def tidy(run: RunArguments) -> None:
    """Delete the weights and checkpoints of a finished trial."""
    folder = Path(run.training.output_dir)
    for checkpoint in checkpoints(folder):
        shutil.rmtree(checkpoint)
    for weights in folder.glob("model*.safetensors*"):
        weights.unlink()


def has_weights(run: RunArguments) -> bool:
    """Whether the model of a finished run is still in its folder."""
    return any(Path(run.training.output_dir).glob("model*.safetensors"))


def check_nothing_is_left(best: RunArguments) -> None:
    """Refuse what only the end of the best run would do, where that run is finished."""
    folder = quote(best.training.output_dir)
    commands = {
        "do_predict": f"multitask-encoder predict --model {folder} --predict_file FILE "
        "--predict_output FOLDER",
        "push_to_hub": f"multitask-encoder export {folder} --to hub --repo_id ID",
    }
    for key, command in commands.items():
        if getattr(best.training, key):
            raise ValueError(f"{key} belongs to the best run, which is finished. Use: {command}")


def _check(run: RunArguments) -> None:
    if run.training.search_trials < 1:
        raise ValueError(f"search_trials should be at least 1. Found {run.training.search_trials}.")
    if not run.training.do_eval or run.training.metric_for_best_model is None:
        raise ValueError("search needs do_eval and a metric_for_best_model, to choose by.")
    for key in run.search:
        if key in NOT_SEARCHED or _moves_the_metric(key, run):
            raise ValueError(f"search can't try values of {key}: its trials could not be compared.")
    if run.training.resume_from_checkpoint not in (None, "false", "False"):
        raise ValueError(
            "search can't be combined with resume_from_checkpoint. Leave it out: a search goes on "
            "when it is started again."
        )


def _moves_the_metric(key: str, run: RunArguments) -> bool:
    """Whether a key changes the measure or the rows by which trials are compared."""
    if key == "seed":
        sources = [source.arguments for source in run.datasets.values()]
        return any(one.fraction("validation") is not None for one in sources)
    group, _, part, *_ = (*key.split("."), "", "")
    if group == "datasets":
        return part == "columns" or part in NOT_SEARCHED
    if group != "tasks":
        return False
    metric = run.training.metric_for_best_model or ""
    of_a_loss = metric.removeprefix("eval_").startswith("loss")
    return part not in OF_TASKS or (of_a_loss and part in OF_LOSSES)


def _grid(space: Space) -> list[dict[str, Any]] | None:
    """All combinations of values; None where a range has no end of them."""
    lists = [one.values for one in space.values() if isinstance(one, Choices)]
    if len(lists) < len(space):
        return None
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]


def _distributions(space: Space) -> dict[str, Any]:
    """The space in Optuna's terms: values are drawn by their places in the list."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return {
        key: CategoricalDistribution(range(len(one.values)))
        if isinstance(one, Choices)
        else FloatDistribution(one.low, one.high, log=one.log)
        for key, one in space.items()
    }


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(metric: str, value: float | None) -> str:
    """In percent, but errors and losses as they are."""
    if value is None:
        return "–"
    share = is_share(metric.removeprefix("eval_"))
    return f"{100 * value:.2f}" if share else f"{value:.4g}"
