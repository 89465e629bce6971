"""A search: which values are tried, what is left of them, and that it goes on where it stopped."""

import json
import sys

import pytest
import yaml
from conftest import ROWS, results
from safetensors.torch import load_file

from multitask_encoder.arguments.parsing import parse_arguments, resolve
from multitask_encoder.arguments.search_space import Choices, Range, parse_space
from multitask_encoder.cli import run as run_multitask
from multitask_encoder.comparison.trials import Search, Trial

TASKS = {"topic": {"type": "sequence_classification"}}


def searched(space: dict, **keys) -> Search:
    return Search(resolve({"tasks": TASKS, "search": space, **keys}))


def drawn(search: Search, score) -> list[dict]:
    """The values of all trials, whose results `score` gives."""
    while len(search.trials) < search.total:
        keys, _ = search.next()
        search.trials.append(Trial(keys, {search.metric: score(keys)}))
    return [trial.keys for trial in search.trials]


def test_two_numbers_with_a_point_are_a_range_and_other_lists_are_choices():
    space = parse_space(
        {
            "learning_rate": ["1e-3", "1e-5"],  # as PyYAML and the command line read them
            "weight_decay": [0.0, 0.1],
            "per_device_train_batch_size": [16, 32],
            "pooling": ["cls", "mean"],
            "lora_rank": [None, 8],
            "head_dropout": [0.1, 0.2, 0.3],
        }
    )
    assert space == {
        "learning_rate": Range(1e-5, 1e-3),
        "weight_decay": Range(0.0, 0.1),
        "per_device_train_batch_size": Choices([16, 32]),
        "pooling": Choices(["cls", "mean"]),
        "lora_rank": Choices([None, 8]),
        "head_dropout": Choices([0.1, 0.2, 0.3]),
    }
    assert [one.log for one in space.values() if isinstance(one, Range)] == [True, False]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"learning_rate": 1e-3}, "search.learning_rate should be a list of at least two"),
        ({"seed": [1]}, r"different values. Found \[1\]"),
        ({"seed": [1, 1]}, r"different values. Found \[1, 1\]"),
        (
            {"learning_rate": [float("nan"), 1.0]},
            "should be a range of finite numbers",
        ),
        ({"tasks": {"topic": {"weight": 1}}}, "search.tasks.topic.weight should be a list"),
        ([], r"`search` should map keys to lists of values. Found \[\]"),
        ({"learnin_rate": [1e-5, 1e-3]}, "Unknown key learnin_rate. Did you mean learning_rate?"),
        ({"mixing": ["uniform", "evenly"]}, "mixing.*evenly"),
        ({"tasks.topic.weigth": [1, 2]}, "Unknown key tasks.topic.weigth. Did you mean"),
        ({"learning_rate": [0.1, 0.2], "lora_rank": [0, 8]}, "lora_rank should be at least 1"),
    ],
)
def test_what_can_not_be_searched_is_refused_before_anything_runs(space, message):
    with pytest.raises(ValueError, match=message):
        resolve({"tasks": TASKS, "search": space})


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("tasks.topic.score_weight", {}),
        ("tasks.topic.labels", {}),
        ("tasks.topic.weight", {"metric_for_best_model": "loss"}),
        ("tasks.topic.weight", {"metric_for_best_model": "eval_loss_topic"}),
        ("seed", {"validation_fraction": 0.2}),
        ("on_bad_row", {}),
    ],
)
def test_keys_that_move_the_measure_are_not_searched(key, keys):
    values = {"tasks.topic.labels": [["x", "y"], ["y", "x"]], "on_bad_row": ["skip", "refuse"]}
    with pytest.raises(ValueError, match=f"search can't try values of {key}: its trials could not"):
        searched({key: values.get(key, [1, 2, 3])}, **keys)


def test_values_are_within_their_space_and_better_ones_are_drawn_more_often():
    space = {"learning_rate": [1e-5, 1e-1], "tasks.topic.weight": [1, 2, 4], "seed": [1, 2]}

    def score(keys):
        return 1.0 / (1 + abs(keys["learning_rate"] - 1e-3) * 1e3) + keys["tasks.topic.weight"]

    keys = drawn(searched(space, search_trials=40), score)
    assert all(1e-5 <= one["learning_rate"] <= 1e-1 for one in keys)
    assert {one["seed"] for one in keys} == {1, 2}
    weights = [one["tasks.topic.weight"] for one in keys]
    assert set(weights) == {1, 2, 4} and weights[20:].count(4) > 20 / 3


def test_numbers_stay_in_their_range_when_they_are_rounded():
    space = {"learning_rate": [1.23456e-5, 1.23457e-5], "weight_decay": [0.0, 0.3333333]}
    keys = drawn(searched(space, search_trials=14), lambda keys: keys["weight_decay"])
    assert all(1.23456e-5 <= one["learning_rate"] <= 1.23457e-5 for one in keys)
    assert all(0 <= one["weight_decay"] <= 0.3333333 for one in keys)
    early = sorted(one["weight_decay"] for one in keys[:10])
    assert early[0] < 0.07 and early[-1] > 0.26  # spread over the range


def test_a_search_draws_what_it_drew_before():
    space = {"learning_rate": [1e-5, 1e-1], "seed": [1, 2, 3]}
    whole = drawn(searched(space, search_trials=15), lambda keys: keys["learning_rate"])
    again = searched(space, search_trials=15)
    for keys in whole[:12]:
        again.trials.append(Trial(keys, {again.metric: keys["learning_rate"]}))
    assert drawn(again, lambda keys: keys["learning_rate"]) == whole
    assert len({str(keys) for keys in whole}) == 15
    other = drawn(searched(space, search_trials=15, seed=7), lambda keys: keys["learning_rate"])
    assert other != whole


def test_few_combinations_are_tried_once_each():
    search = searched({"pooling": ["cls", "mean"], "seed": [1, 2]}, search_trials=9)
    assert drawn(search, lambda keys: 1.0) == [
        {"pooling": pooling, "seed": seed} for pooling in ("cls", "mean") for seed in (1, 2)
    ]


def test_losses_are_better_when_smaller_and_undefined_values_are_last():
    search = searched({"seed": [1, 2, 3]}, metric_for_best_model="loss")
    values = {1: 2.0, 2: None, 3: 1.0}
    drawn(search, lambda keys: values[keys["seed"]])
    assert search.ranked() == [2, 0, 1]
    assert search.best_run().training.seed == 3
    assert search.tell(1) == "loss –; best so far 1, of trial 2"


# Whole runs

SPACE = {"learning_rate": ["1e-4", "1e-1"], "head_dropout": [0.0, 0.5, 0.9]}


@pytest.fixture
def searching(run, tmp_path):
    def searching(*argv, **keys):
        keys = {"search": SPACE, "search_trials": 3, "test_file": ROWS, **keys}
        return run(*argv, **keys)

    return searching


def test_a_search_leaves_its_best_run_and_a_table(searching, capsys, no_progress_bars):
    folder = searching()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["best", "search.json", "search.md", "trial-0", "trial-1", "trial-2"]
    kept = {path.name for path in (folder / "trial-0").iterdir()}
    assert {"all_results.json", "config.yaml", "trainer_state.json"} <= kept
    assert "model.safetensors" not in kept and "checkpoint-2" not in kept
    scores = [results(folder / f"trial-{number}")["eval_score"] for number in range(3)]
    assert not any(key.startswith("test_") for key in results(folder / "trial-0"))

    best = results(folder / "best")
    assert best["eval_score"] == max(scores) and "test_topic_accuracy" in best
    config = yaml.safe_load((folder / "best" / "config.yaml").read_text())
    assert "search" not in config and parse_arguments([str(folder / "best" / "config.yaml")])
    said = json.loads((folder / "search.json").read_text())
    assert said["metric"] == "eval_score"
    assert [trial["results"]["eval_score"] for trial in said["trials"]] == scores
    winner = said["trials"][scores.index(max(scores))]["keys"]
    assert {key: config[key] for key in SPACE} == winner
    assert load_file(folder / "best" / "model.safetensors")
    table = (folder / "search.md").read_text()
    assert "| trial | head_dropout | learning_rate | score | topic_accuracy |" in table
    assert table.count("\n| ") == 5
    out = capsys.readouterr().out
    assert table.split("\n\n")[1].strip() in out
    assert out.count(f"Try it: multitask-encoder demo --model {folder}/best") == 1


def test_a_search_that_was_stopped_goes_on(searching, monkeypatch, tmp_path):
    whole = searching()
    expected = json.loads((whole / "search.json").read_text())
    whole.rename(tmp_path / "whole")

    class Stopped(Exception):
        pass

    once, started = run_multitask.run_once, []

    def stopping(run):
        started.append(run.training.output_dir.rpartition("/")[2])
        if started == ["trial-0", "trial-1"]:
            raise Stopped
        once(run)

    monkeypatch.setattr(run_multitask, "run_once", stopping)
    with pytest.raises(Stopped):
        searching()
    folder = searching()
    assert started == ["trial-0", "trial-1", "trial-1", "trial-2", "best"]
    found = json.loads((folder / "search.json").read_text())
    assert [one["keys"] for one in found["trials"]] == [one["keys"] for one in expected["trials"]]
    scores = [[t["results"]["eval_score"] for t in one["trials"]] for one in (found, expected)]
    assert scores[0] == scores[1]
    searching()  # all is there
    assert len(started) == 5
    searching(search_trials=4)
    assert started[5] == "trial-3"


def test_files_of_others_stay(searching, tmp_path):
    (tmp_path / "run" / "trial-0" / "mine").mkdir(parents=True)
    (tmp_path / "run" / "trial-0" / "mine" / "notes.txt").write_text("mine")
    folder = searching()
    assert (folder / "trial-0" / "mine" / "notes.txt").read_text() == "mine"


def test_a_shorter_search_keeps_the_trials_that_are_there(searching):
    whole = (searching() / "search.md").read_text()
    assert (searching(search_trials=1) / "search.md").read_text() == whole


def test_a_new_search_in_an_old_folder_has_as_many_trials_as_it_asks_for(searching):
    searching(search_trials=3)
    folder = searching(search={"learning_rate": ["1e-5", "1e-4"]}, search_trials=1)
    assert len(json.loads((folder / "search.json").read_text())["trials"]) == 1


LOST = {"max_steps": 24, "max_grad_norm": 0, "logging_steps": 1}


def test_a_trial_that_diverges_has_no_result(searching, caplog):
    folder = searching(search={"learning_rate": [1e-4, 1e9, 1e-3]}, **LOST)
    trials = json.loads((folder / "search.json").read_text())["trials"]
    values = [trial["results"]["eval_score"] for trial in trials]
    assert [value is None for value in values] == [False, True, False]
    assert "Trial 1 has no result: The loss has not been finite" in caplog.text
    assert results(folder / "best")["eval_score"] == max(values[0], values[2])


def test_a_search_of_which_no_trial_ends_well_says_so(searching, capsys):
    with pytest.raises(SystemExit, match="2"):
        searching(search={"seed": [0, 1]}, learning_rate=1e9, **LOST)
    assert "No trial has a value of eval_score." in capsys.readouterr().err


def test_what_only_the_end_of_the_best_run_does_is_not_dropped(searching, capsys, tmp_path):
    searching()
    (tmp_path / "texts.txt").write_text("a")
    with pytest.raises(SystemExit, match="2"):
        searching("--do_predict", "--predict_file", str(tmp_path / "texts.txt"))
    said = capsys.readouterr().err
    assert f"Use: multitask-encoder predict --model {tmp_path}/run/best --predict_file F" in said
    with pytest.raises(SystemExit, match="2"):
        searching("--push_to_hub")
    said = capsys.readouterr().err
    assert f"Use: multitask-encoder export {tmp_path}/run/best --to hub --repo_id ID" in said


def test_a_deleted_model_is_trained_again(searching):
    folder = searching()
    (folder / "best" / "model.safetensors").unlink()
    assert (searching() / "best" / "model.safetensors").is_file()


def test_keys_of_tasks_may_be_nested_or_dotted(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"tasks": TASKS}))
    line = ["--search.tasks.topic.weight", "0.5", "1.0", "2.0"]
    run = parse_arguments([str(tmp_path / "run.yaml"), *line])
    dotted = {"tasks.topic.weight": Choices([0.5, 1.0, 2.0])}
    assert run.search == dotted
    assert parse_space({"tasks": {"topic": {"weight": [0.5, 1.0, 2.0]}}}) == dotted


def test_other_trials_in_the_folder_are_not_taken_for_those_of_this_search(searching, capsys):
    searching()
    with pytest.raises(SystemExit, match="2"):
        searching(
            head_dropout=0.3, search={"learning_rate": [1e-4, 1e-1]}, overwrite_output_dir=False
        )
    assert "trial-0 holds a run of another config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"do_eval": False}, "search needs do_eval and a metric_for_best_model"),
        ({"search": {"output_dir": ["a", "b"]}}, "search can't try values of output_dir"),
        ({"search": {"do_eval": [True, False]}}, "search can't try values of do_eval"),
        ({"search_trials": 0}, "search_trials should be at least 1. Found 0."),
        (
            {"resume_from_checkpoint": "true"},
            "search can't be combined with resume_from_checkpoint",
        ),
        ({"compare_single_task": True}, "compare_single_task can't be combined with search"),
    ],
)
def test_what_does_not_go_with_a_search_is_refused(keys, message, searching, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        searching(**keys)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_optuna_the_extra_is_named(searching, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit, match="2"):
        searching()
    assert "optuna is not installed: pip install 'multitask-encoder[search]'" in (
        capsys.readouterr().err
    )


def test_an_inspection_searches_nothing(searching):
    folder = searching("--do_inspect")
    assert [path.name for path in folder.iterdir()] == ["inspection.json"]
