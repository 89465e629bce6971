"""The runs that a comparison of multi-task with single-task models consists of, and their state.

Each is an ordinary run in a folder of its own, so any of them can also be started alone, even on
another machine: `multitask-encoder train my.yaml --seed 1 --only_task intent --output_dir
runs/mine/intent-seed1`.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from multitask_encoder.arguments.parsing import parse_arguments, resolve, with_keys
from multitask_encoder.arguments.run_arguments import RunArguments, chosen_keys
from multitask_encoder.training.metrics import metric_names, metric_of
from multitask_encoder.training.run_rows import Rows, keep_only_task, load_rows

MULTI, UNTRAINED = "multi", "untrained"

# Keys that a comparison can't be combined with.
OF_ONE_START = ("do_inspect", "do_predict", "push_to_hub", "resume_from_checkpoint")
# Keys that are not passed on to the runs of a comparison.
LEFT_OUT = {
    *OF_ONE_START,
    *("compare_single_task", "compare_seeds", "examples", "overwrite_output_dir"),
    *("predict_file", "predict_output", "predict_format", "predict_shard_size"),
    *("predict_columns", "predict_without"),
}
# Keys that may differ between a finished run and the same run asked for again.
WITHOUT_EFFECT = {
    *LEFT_OUT,
    *("disable_tqdm", "num_proc", "output_dir", "project", "report", "report_to", "run_name"),
    *("save_total_limit", "log_level", "log_level_replica", "log_on_each_node", "logging_dir"),
    *("logging_first_step", "logging_steps", "logging_strategy", "trackio_space_id"),
    *("dataloader_num_workers", "dataloader_persistent_workers", "dataloader_pin_memory"),
    *("dataloader_prefetch_factor", "hub_model_id", "hub_private_repo", "hub_revision"),
}


@dataclass
class Comparison:
    """The runs by the names of their folders, in training order.

    Attributes:
        tasks (`list[str]`): the tasks with a single-task model.
        seeds (`list[int]`): each model is trained once per seed.
        runs (`dict[str, RunArguments]`): `multi-seed0`, `<task>-seed0`, ..., and `untrained`, with
            the first seed, if a task's embeddings are compared with the untrained encoder's.
    """

    tasks: list[str]
    seeds: list[int]
    runs: dict[str, RunArguments]

    @classmethod
    def of(cls, run: RunArguments) -> "Comparison":
        """All runs of the comparison that `run` asks for, each with its own `RunArguments`.

        Raises:
            ValueError: `run` can't be compared with single-task models.
        """
        tasks = [name for name, task in run.tasks.items() if not task.is_embedding]
        seeds = run.training.compare_seeds or [run.training.seed]
        _check(run, tasks, seeds)

        def make(name: str, **keys: Any) -> RunArguments:
            return part_of(run, name, LEFT_OUT, keys)

        runs = {}
        for seed in seeds:
            runs[folder_name(MULTI, seed)] = make(folder_name(MULTI, seed), seed=seed)
            for task in tasks:
                name = folder_name(task, seed)
                keys = {**_best_metric(run, task), **_own_freezing(run, task)}
                runs[name] = make(name, seed=seed, only_task=task, **keys)
        if len(tasks) < len(run.tasks):  # the others are sentence embeddings
            runs[UNTRAINED] = make(UNTRAINED, seed=seeds[0], do_train=False, report=False)
        return cls(tasks, seeds, runs)

    def multi(self, seed: int) -> RunArguments:
        """The multi-task run."""
        return self.runs[folder_name(MULTI, seed)]

    def single(self, task: str, seed: int) -> RunArguments:
        """The run of a single task."""
        return self.runs[folder_name(task, seed)]

    def check_data(self) -> None:
        """Refuse, before any run, data that would end one of them later.

        Raises:
            BadRows, FileNotFoundError, ValueError: as `load_rows`; also if a task's data sets lack
                a split, or there is no split to compare on.
        """
        multi = self.multi(self.seeds[0])
        multi, rows, _ = load_rows(multi)
        compared_split(multi, rows)
        for task in self.tasks:
            keep_only_task(self.single(task, self.seeds[0]), rows)


def part_of(
    run: RunArguments, name: str, left_out: Collection[str], keys: dict[str, Any]
) -> RunArguments:
    """A run in the folder `name` of this one's, without the keys left out and with others, which
    are dotted where they are nested."""
    given = {key: value for key, value in run.given.items() if key not in left_out}
    folder = str(Path(run.training.output_dir, name))
    made = resolve(with_keys({**given, "output_dir": folder}, keys))
    for key in ("overwrite_output_dir", "disable_tqdm"):
        setattr(made.training, key, getattr(run.training, key))
    return made


def folder_name(model: str, seed: int) -> str:
    """The folder of a run; `model` is a task or `multi`."""
    return f"{model}-seed{seed}"


def compared_split(run: RunArguments, rows: Rows) -> str:
    """The split to compare models on: `test`, or else `validation`.

    Raises:
        ValueError: the run evaluates neither.
    """
    if run.training.do_test and "test" in rows:
        return "test"
    if run.training.do_eval and "validation" in rows:
        return "validation"
    raise ValueError(
        "compare_single_task needs a test split with do_test, or a validation split with do_eval. "
        "Found neither."
    )


def _check(run: RunArguments, tasks: list[str], seeds: list[int]) -> None:
    if not run.training.do_train:
        raise ValueError("compare_single_task needs do_train. Found False.")
    for key in OF_ONE_START:
        if getattr(run.training, key) not in (None, False, "false", "False"):
            raise ValueError(
                f"compare_single_task can't be combined with {key}. Leave it out: a comparison "
                "resumes by itself, and its runs are ordinary run folders."
            )
    if run.search:
        raise ValueError(
            "compare_single_task can't be combined with search. Compare the config of its best run."
        )
    if run.model.only_task is not None or len(run.tasks) < 2 or not tasks:
        found = run.model.only_task or ", ".join(run.tasks)
        raise ValueError(
            f"compare_single_task needs several tasks, at least one with labels. Found {found}."
        )
    if MULTI in tasks:
        raise ValueError(
            f"A compared task can't be named {MULTI!r}: the multi-task runs use that name."
        )
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"compare_seeds should be distinct. Found {seeds}.")


def _best_metric(run: RunArguments, task: str) -> dict[str, Any]:
    """The best metric of a single-task run: the multi-task run's, or `score` if it has none."""
    metric = (run.training.metric_for_best_model or "score").removeprefix("eval_")
    alone = task_type(run, task)
    own = metric_names({task: alone}, {})
    if metric in own and not (metric == "exact_match" and metric_of(alone).ranked):
        return {}
    return {"metric_for_best_model": "score", "greater_is_better": None}


def task_type(run: RunArguments, task: str) -> dict[str, str]:
    """The keys of a task by which its metrics are known."""
    problem_type = run.tasks[task].problem_type or "single_label_classification"
    return {"type": run.tasks[task].type, "problem_type": problem_type}


def _own_freezing(run: RunArguments, task: str) -> dict[str, Any]:
    """`freeze` of a single-task run: without the heads of other tasks."""
    if run.training.freeze is None:
        return {}
    others = {f"heads.{name}" for name in run.tasks if name != task}
    return {"freeze": [part for part in run.training.freeze if part not in others] or None}


def is_finished(run: RunArguments) -> bool:
    """Whether a run is finished. An interrupted run is set to resume from its checkpoint.

    Raises:
        ValueError: the folder holds a run of another config, and may not be overwritten.
    """
    folder = Path(run.training.output_dir)
    if not (folder / "config.yaml").is_file():
        return False
    settings = _settings(parse_arguments([str(folder / "config.yaml")]))
    chosen = chosen_keys(folder / "config.yaml")
    for key, wanted in _settings(run).items():
        if settings.get(key) == wanted or (key in chosen and run.given.get(key) is None):
            continue
        if run.training.overwrite_output_dir:
            return False
        found = settings.get(key)
        if isinstance(wanted, dict) and isinstance(found, dict):
            keys = wanted | found  # either may lack some
            part = next(name for name in keys if wanted.get(name, ...) != found.get(name, ...))
            key, wanted, found = f"{key}.{part}", wanted.get(part), found.get(part)
        raise ValueError(
            f"{folder} holds a run of another config: {key} should be {wanted!r}. Found "
            f"{found!r}. Replace it by --overwrite_output_dir, or name another "
            "output_dir."
        )
    if (folder / "all_results.json").is_file():
        return True
    run.training.resume_from_checkpoint = "true"
    return False


def mark_finished(run: RunArguments) -> None:
    """Write the config of a run that was only evaluated, since only training writes it."""
    if not run.training.do_train and run.training.process_index == 0:
        run.save(Path(run.training.output_dir) / "config.yaml")


def _settings(run: RunArguments) -> dict[str, Any]:
    """All settings that affect the results of a run."""
    settings = {
        **asdict(run.model),
        **asdict(run.data),
        **run.training.to_dict(),
        **{f"tasks.{name}": asdict(task) for name, task in run.tasks.items()},
        # Their order matters: that of the heads, and of the rows in an epoch.
        "tasks": list(run.tasks),
        "datasets": list(run.datasets),
        "teachers": run.teachers,
    }
    if run.given.get("datasets"):  # else the only one is `run.data`
        for name, source in run.datasets.items():
            settings[f"datasets.{name}"] = asdict(source)
    return {key: value for key, value in settings.items() if key not in WITHOUT_EFFECT}
