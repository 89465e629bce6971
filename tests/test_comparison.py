"""A model of all tasks beside one of each: which runs there are, and what they leave."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file
from transformers.trainer_callback import TrainerState

from multitask_encoder.arguments.parsing import parse_arguments, resolve
from multitask_encoder.cli import run as run_multitask
from multitask_encoder.comparison.differences import difference_intervals
from multitask_encoder.comparison.measuring import paired_answers
from multitask_encoder.comparison.runs import Comparison, folder_name, is_finished
from multitask_encoder.training.checkpoints import find_checkpoint, mark_complete
from multitask_encoder.training.row_scores import metrics_of
from multitask_encoder.training.run_rows import keep_only_task, load_rows

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.usefixtures("no_progress_bars")  # one line of errors is one line
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
TWO_RANKS = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
TASKS: dict[str, dict] = {
    "topic": {"type": "sequence_classification"},
    "entities": {"type": "token_classification", "weight": 2.0},
}
RUNS = [f"{model}-seed{seed}" for seed in (3, 4) for model in ("multi", "topic", "entities")]


@pytest.fixture
def config(backbone, tmp_path):
    """Writes a run of two tasks and returns its path."""

    def config(**keys) -> str:
        run = {
            "encoder": str(backbone("bert")),
            "dataset": "synthetic",
            "train_size": 24,
            "validation_size": 6,
            "test_size": 11,
            "tasks": TASKS,
            "output_dir": str(tmp_path / "runs"),
            "num_train_epochs": 1,
            "per_device_train_batch_size": 8,
            "learning_rate": 1e-3,
            "seed": 3,
            "max_length": 128,
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "disable_tqdm": True,
            "examples": ["nobody would call it boring"],
            **keys,
        }
        path = tmp_path / "config.yaml"
        run = {key: value for key, value in run.items() if value is not None}
        path.write_text(yaml.safe_dump(run, sort_keys=False))
        return str(path)

    return config


@pytest.fixture
def plan(config):
    """The runs of a comparison."""
    return lambda *argv, **keys: Comparison.of(parse_arguments([config(**keys), *argv]))


def compare(path: str, *argv: str) -> None:
    run_multitask.main([path, "--compare_single_task", *argv])


def read(path: Path) -> dict:
    return json.loads(path.read_text())


# Which runs there are


def test_a_model_of_all_tasks_and_one_of_each_is_made_with_every_seed(plan, tmp_path):
    runs = plan("--compare_seeds", "3", "4").runs
    assert list(runs) == RUNS
    assert {name: run.training.output_dir for name, run in runs.items()} == {
        name: str(tmp_path / "runs" / name) for name in RUNS
    }
    assert [run.training.seed for run in runs.values()] == [3, 3, 3, 4, 4, 4]
    assert [run.model.only_task for run in runs.values()] == [None, "topic", "entities"] * 2
    assert list(plan().runs) == RUNS[:3]


def test_the_runs_differ_in_task_seed_and_folder_only(plan):
    comparison = plan(metric_for_best_model="topic_accuracy", early_stopping_patience=2)
    multi, *singles = [run.training.to_dict() for run in comparison.runs.values()]
    for single in singles:
        assert {key for key in multi if multi[key] != single[key]} <= {
            "output_dir",
            "metric_for_best_model",
        }
    best = [run.training.metric_for_best_model for run in comparison.runs.values()]
    assert best == ["topic_accuracy", "topic_accuracy", "score"]
    assert {str(run.data) for run in comparison.runs.values()} == {str(comparison.multi(3).data)}


def test_each_model_is_chosen_by_the_metric_of_all_where_it_has_it(plan):
    tasks = TASKS | {
        "entities_size": {"type": "sequence_classification", "problem_type": "regression"}
    }
    for metric, expected in [
        ("exact_match", ["exact_match"] * 3 + ["score"]),
        ("eval_loss_topic", ["eval_loss_topic", "eval_loss_topic", "score", "score"]),
        (
            "entities_size_spearman",
            ["entities_size_spearman", "score", "score", "entities_size_spearman"],
        ),
    ]:
        runs = plan(tasks=tasks, metric_for_best_model=metric).runs.values()
        assert [run.training.metric_for_best_model for run in runs] == expected
        better = [metric_.startswith("eval_loss") for metric_ in expected]
        assert [not run.training.greater_is_better for run in runs] == better


def test_a_single_task_model_has_no_frozen_heads_of_others(plan):
    runs = plan(freeze=["embeddings", "heads.topic"]).runs.values()
    frozen = [["embeddings", "heads.topic"], ["embeddings", "heads.topic"], ["embeddings"]]
    assert [run.training.freeze for run in runs] == frozen
    assert [run.training.freeze for run in plan(freeze=["heads.topic"]).runs.values()][-1] is None


def test_sentence_embeddings_have_no_model_of_their_own(plan):
    tasks = {"vector": {"type": "sentence_embedding"}, "topic": TASKS["topic"]}
    comparison = plan(tasks=tasks)
    assert list(comparison.runs) == ["multi-seed3", "topic-seed3", "untrained"]
    assert not comparison.runs["untrained"].training.do_train


def test_of_several_data_sets_a_single_task_model_gets_those_that_label_it(
    config, tmp_path, backbone
):
    rows = [{"text": f"a {number}", "kind": "xy"[number % 2]} for number in range(8)]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text(lines)
    files = {f"{split}_file": str(tmp_path / "rows.jsonl") for split in ("train", "validation")}
    tasks = {name: {"type": "sequence_classification"} for name in ("one", "both", "other")}
    path = config(
        tasks={**tasks, "vector": {"type": "sentence_embedding"}},
        datasets={
            "first": {**files, "columns": {"one": "kind", "both": "kind"}},
            "second": {**files, "columns": {"both": "kind", "other": "kind"}},
        },
        per_device_train_batch_size=4,
        mixing="temperature",
        report=False,
        **dict.fromkeys(("dataset", "train_size", "validation_size", "test_size")),
    )
    compare(path)
    folder = tmp_path / "runs"
    found = {
        name: read(folder / f"{name}-seed3" / "trainer_state.json")["global_step"]
        for name in ("multi", "one", "both", "other")
    }
    assert found == {"multi": 4, "one": 2, "both": 4, "other": 2}
    report = read(folder / "report.json")
    assert report["split"] == "validation"
    assert list(report["tasks"]) == ["both", "one", "other"]
    untrained = folder / "untrained"
    assert sorted(path.name for path in untrained.iterdir()) == ["all_results.json", "config.yaml"]
    assert "eval_one_accuracy" in read(untrained / "all_results.json")
    assert "There is no test split." in (folder / "report.md").read_text()

    # As if each task's own model were the one of all: together they answer as that one does.
    multi = Comparison.of(parse_arguments([path])).multi(3)
    same = {folder_name(model, 3): multi for model in ("multi", *tasks)}
    _, splits, _ = load_rows(multi)
    ours, theirs = paired_answers(Comparison(list(tasks), [3], same), 3, splits, "validation")
    of_model = read(folder / "multi-seed3" / "config.json")["tasks"]
    labelled = {name: of_model[name] for name in tasks}
    results = read(folder / "multi-seed3" / "all_results.json")
    for side in (ours, theirs):
        assert metrics_of(side, of_model)["exact_match"] == results["eval_exact_match"] > 0
    spreads = difference_intervals([ours], [theirs], labelled)
    keys = ("one_accuracy", "both_accuracy", "other_accuracy", "exact_match")
    assert spreads == {key: [0.0, 0.0] for key in keys}


def test_rows_are_cut_as_for_all_tasks(config, tmp_path):
    """By a model of one task alone, whose label would otherwise decide on the cut."""
    rows = [{"text": f"a {i}", "one": "xy"[i % 2], "other": "uvw"[i % 3]} for i in range(30)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    path = config(
        train_file=str(tmp_path / "rows.jsonl"),
        test_fraction=0.3,
        tasks={name: {"type": "sequence_classification"} for name in ("one", "other")},
        **dict.fromkeys(("dataset", "train_size", "validation_size", "test_size")),
    )
    texts = []
    for task in (None, "one", "other"):
        run = parse_arguments([path, "--do_eval", "false", "--only_task", task or "null"])
        run, splits = keep_only_task(run, load_rows(run)[1])
        assert list(run.tasks) == ([task] if task else ["one", "other"])
        texts.append(splits["test"]["data"]["text"])
    assert texts[0] == texts[1] == texts[2]


# Whole comparisons


def assert_report_is_of_the_runs(report: dict, folder: Path) -> None:
    results = {name: read(folder / name / "all_results.json") for name in RUNS}
    for task, metric in {"topic": "accuracy", "entities": "f1"}.items():
        found = report["tasks"][task]["metrics"][metric]
        multi, single = (
            [results[f"{model}-seed{seed}"][f"test_{task}_{metric}"] for seed in (3, 4)]
            for model in ("multi", task)
        )
        assert found["multi"] == pytest.approx(sum(multi) / 2)
        assert found["single"] == pytest.approx(sum(single) / 2)
        assert found["differences"] == pytest.approx(
            [100 * (left - right) for left, right in zip(multi, single, strict=True)]
        )
        low, high = found["interval"]
        assert -100 <= low <= found["difference"] <= high <= 100
    low, high = report["exact_match"]["interval"]
    assert low <= report["exact_match"]["difference"] <= high
    for model, found in report["models"].items():
        file = folder / f"{model}-seed3" / "model.safetensors"
        assert found["parameters"] == sum(weight.numel() for weight in load_file(file).values())
        assert found["bytes"] == file.stat().st_size
        states = [read(folder / f"{model}-seed{seed}" / "trainer_state.json") for seed in (3, 4)]
        assert found["steps"] == sum(state["global_step"] for state in states) / 2 >= 3
        assert found["seconds"] > 0


def test_labels_may_be_numbers_that_the_rows_spell_otherwise(tmp_path, backbone):
    rows = [{"text": text, "topic": f"{place % 2}.0"} for place, text in enumerate("abcd" * 3)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    task = {"type": "sequence_classification", "labels": ["0", "1"]}
    keys = {
        "encoder": str(backbone("bert")),
        "tasks": {"topic": task, "other": {**task, "column": "topic"}},
        "train_file": str(tmp_path / "rows.jsonl"),
        "validation_file": str(tmp_path / "rows.jsonl"),
        "output_dir": str(tmp_path / "out"),
        "compare_single_task": True,
    }
    comparison = Comparison.of(resolve(keys))
    comparison.check_data()
    run, found, _ = load_rows(comparison.multi(comparison.seeds[0]))  # the second time
    assert run.tasks["topic"].label_map == {"0": "0", "0.0": "0", "1": "1", "1.0": "1"}
    assert {*found["train"]["data"]["topic"]} == {"0", "1"}


def test_a_comparison_is_made_gone_on_with_and_reported(config, tmp_path, caplog):
    path, folder = config(), tmp_path / "runs"
    compare(path, "--compare_seeds", "3", "4")
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(
        [*RUNS, "report.html", "report.json", "report.md", "report.png"]
    )
    report = read(folder / "report.json")
    assert (report["split"], report["seeds"]) == ("test", [3, 4])
    assert_report_is_of_the_runs(report, folder)
    assert (len(report["speed"]["multi"]), len(report["speed"]["single"])) == (5, 5)
    assert all(-1 <= value < 1 for value in report["similarity_to_start"])
    heads = read(folder / "entities-seed3" / "config.json")["tasks"]
    assert list(heads) == ["entities"]
    assert heads["entities"]["weight"] == 1

    # One broke off before its end: the others stay as they are.
    (folder / "topic-seed4" / "all_results.json").unlink()
    times = {name: (folder / name / "model.safetensors").stat().st_mtime_ns for name in RUNS}
    before = report["tasks"]["topic"]["metrics"]["accuracy"]["differences"]
    caplog.clear()
    with caplog.at_level("INFO"):
        compare(path, "--compare_seeds", "4")
    told = [line for line in caplog.messages if line.startswith("Run ")]
    assert [line.endswith("is finished.") for line in told] == [True, False, True]
    assert told[1].startswith("Run 2 of 3: topic-seed4, in ")
    changed = {
        name
        for name, time in times.items()
        if (folder / name / "model.safetensors").stat().st_mtime_ns != time
    }
    assert changed == {"topic-seed4"}
    report = read(folder / "report.json")
    assert report["tasks"]["topic"]["metrics"]["accuracy"]["differences"] == before[1:]
    assert report["models"]["topic"]["seconds"] is None
    assert report["models"]["multi"]["seconds"] > 0
    assert "No training time is shown for a resumed run" in (folder / "report.md").read_text()


def test_a_run_started_by_itself_is_one_of_them(config, plan, tmp_path):
    folder = tmp_path / "runs" / "topic-seed4"
    argv = ["--only_task", "topic", "--seed", "4", "--output_dir", str(folder)]
    run_multitask.main([config(), *argv])
    runs = plan("--compare_seeds", "4").runs
    assert {name: is_finished(run) for name, run in runs.items()} == {
        "multi-seed4": False,
        "topic-seed4": True,
        "entities-seed4": False,
    }


def test_without_matplotlib_the_report_has_no_picture(config, tmp_path, caplog, monkeypatch):
    made = []
    monkeypatch.setattr("multitask_encoder.comparison.report.can_plot", lambda: False)
    monkeypatch.setattr("multitask_encoder.cli.compare.can_plot", lambda: False)
    monkeypatch.setattr("multitask_encoder.cli.run.run_once", lambda run: made.append(caplog.text))
    report = {"split": "test", "seeds": [3], "summary": [], "tasks": {}, "exact_match": None}
    monkeypatch.setattr(
        "multitask_encoder.cli.compare.measure", lambda comparison: {**report, "embedding": {}}
    )
    compare(config())
    assert len(made) == 3
    assert "pip install 'multitask-encoder[report]'" in made[0]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "report.json",
        "report.md",
    ]
    assert "report.png" not in (tmp_path / "runs" / "report.md").read_text()


# What is refused


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"tasks": {"topic": TASKS["topic"]}},
            "needs several tasks, at least one with labels. ",
        ),
        ({"only_task": "topic"}, "needs several tasks, at least one with labels. Found topic."),
        ({"only_task": "mood"}, "only_task should be one of topic, entities. Found 'mood'."),
        ({"do_train": False}, "needs do_train. Found False."),
        ({"do_inspect": True}, "can't be combined with do_inspect."),
        ({"resume_from_checkpoint": "x"}, "can't be combined with resume_from_checkpoint."),
        ({"compare_seeds": [1, 2, 1]}, "compare_seeds should be distinct. Found [1, 2, 1]."),
        (
            {"do_eval": False, "do_test": False},
            "needs a test split with do_test, or a validation split with do_eval. Found neither.",
        ),
        (
            {"tasks": {"multi": {**TASKS["topic"], "column": "topic"}, **TASKS}},
            "A compared task can't be named 'multi'",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(keys, message, config, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        compare(config(**keys))
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "runs").exists()


def test_a_run_of_another_config_is_refused_or_replaced(plan, tmp_path):
    run = plan().multi(3)
    folder = tmp_path / "runs" / "multi-seed3"
    folder.mkdir(parents=True)
    (folder / "all_results.json").touch()
    assert not is_finished(run)  # nobody knows what of
    run.save(folder / "config.yaml")
    assert is_finished(plan().multi(3))
    assert is_finished(plan(logging_steps=1, dataloader_num_workers=1, examples=None).multi(3))
    with pytest.raises(ValueError, match=r"learning_rate should be 1e-05\. Found 0\.001\. "):
        is_finished(plan("--learning_rate", "1e-5").multi(3))
    with pytest.raises(ValueError, match=r"tasks\.entities\.weight should be 3\.0"):
        is_finished(plan("--tasks.entities.weight", "3").multi(3))
    before = plan(lr_scheduler_kwargs={"num_cycles": 2}).multi(3)
    before.save(folder / "config.yaml")
    with pytest.raises(ValueError, match=r"num_cycles should be None\. Found 2\. "):
        is_finished(plan(lr_scheduler_kwargs={}).multi(3))
    run.save(folder / "config.yaml")
    teacher = plan(teachers={"topic": ["runs/big"]}).multi(3)
    with pytest.raises(ValueError, match=r"teachers\.topic should be \['runs/big'\]\. Found None"):
        is_finished(teacher)
    # What a run chose may be open in the other, what its user set may not.
    freed = plan(learning_rate=None).multi(3)
    run.chosen = ["learning_rate"]
    run.save(folder / "config.yaml")
    assert is_finished(freed)
    run.chosen = []
    run.save(folder / "config.yaml")
    with pytest.raises(ValueError, match=r"learning_rate should be 5e-05\. Found 0\.001\. "):
        is_finished(freed)
    replacing = plan("--learning_rate", "1e-5", "--overwrite_output_dir").multi(3)
    assert not is_finished(replacing)
    assert replacing.training.resume_from_checkpoint is None


def test_a_run_that_broke_off_goes_on_from_its_newest_whole_checkpoint(plan, tmp_path):
    run = plan("--overwrite_output_dir").multi(3)
    folder = tmp_path / "runs" / "multi-seed3"
    for step in (5, 10):
        (folder / f"checkpoint-{step}").mkdir(parents=True)
    TrainerState().save_to_json(str(folder / "checkpoint-5" / "trainer_state.json"))
    (folder / "checkpoint-5" / "optimizer.pt").touch()
    mark_complete(folder / "checkpoint-5")
    run.save(folder / "config.yaml")
    assert not is_finished(run)
    assert find_checkpoint(run) == str(folder / "checkpoint-5")


@pytest.mark.slow
def test_two_ranks_make_a_comparison(config, tmp_path):
    path = config(per_device_train_batch_size=4)
    arguments = ["run_multitask.py", path, "--compare_single_task"]
    for _ in range(2):  # made, and looked at again
        done = subprocess.run(
            [sys.executable, *TWO_RANKS, *arguments],
            cwd=ROOT,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs"
    assert "3 of 3: entities-seed3, is finished." in done.stdout
    two = read(folder / "report.json")
    compare(config(), "--output_dir", str(tmp_path / "one"))
    one = read(tmp_path / "one" / "report.json")
    # 2 ranks x 4 rows are 8 rows: as many steps.
    steps = [{name: model["steps"] for name, model in run["models"].items()} for run in (one, two)]
    assert steps[0] == steps[1]
    assert two["exact_match"]["single"] == pytest.approx(one["exact_match"]["single"], abs=0.1)
