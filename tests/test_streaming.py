"""Training rows that are read while training: which, in what order, and to what end."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from multitask_encoder.cli import run as run_multitask
from multitask_encoder.data.bad_rows import BadRows
from multitask_encoder.data.dataset_arguments import DatasetArguments
from multitask_encoder.data.loading import load_splits, stream_rows
from multitask_encoder.data.preprocessing import preprocess, row_preprocessor
from multitask_encoder.data.streaming import StreamedBatches, StreamedWindows
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.windows import tokenize

ROOT = Path(__file__).parent.parent
TASKS = {
    "topic": {
        "type": "sequence_classification",
        "problem_type": "single_label_classification",
        "labels": ["sports", "tech"],
    },
    "entities": {
        "type": "token_classification",
        "labels": ["O", "B-LOC", "I-LOC"],
        "labelling": "first",
    },
}


class Rows:
    """Loaded rows with numbers; the lengths differ. Counts how often they are read."""

    def __init__(self, count: int, first: int = 0, bad: tuple[int, ...] = ()):
        self.numbers, self.bad = range(first, first + count), bad
        self.passes = 0

    def __call__(self):
        self.passes += 1
        for number in self.numbers:
            problem = "should be a text. Found 0." if number in self.bad else None
            yield {"source": f"rows, row {number}", "problem": problem, "number": number}


def numbered(rows: list[dict]) -> list[dict]:
    """In place of preprocessing."""
    return [{**row, "length": row["number"] * 7 % 11} for row in rows]


def windows(*sources: Rows, weights: list[float] | None = None, **kwargs) -> StreamedWindows:
    return StreamedWindows(
        sources, [numbered] * len(sources), weights or [1.0] * len(sources), **kwargs
    )


def numbers(rows) -> list[int]:
    return [row["number"] for row in rows]


def steps(count: int, size: int, accumulation: int = 1, num_ranks: int = 1) -> list[list[int]]:
    """The rows of the first optimizer steps, over all micro-batches and ranks."""
    per_rank = []
    for rank in range(num_ranks):
        batches = StreamedBatches(windows(Rows(300)), size, accumulation, num_ranks, rank)
        per_rank.append(list(islice(batches, count * accumulation)))
        assert {len(batch) for batch in per_rank[-1]} == {size}
    return [
        sorted(
            number
            for batches in per_rank
            for batch in batches[step * accumulation : (step + 1) * accumulation]
            for number in numbers(batch)
        )
        for step in range(count)
    ]


def test_a_step_has_the_same_rows_however_it_is_split():
    whole = steps(250, 8)  # more than are shuffled together, and more than the data has
    assert len({tuple(step) for step in whole}) > 200
    assert steps(250, 4, accumulation=2) == whole
    assert steps(250, 4, num_ranks=2) == whole
    assert steps(250, 2, accumulation=2, num_ranks=2) == whole


def test_rows_of_a_batch_are_alike_in_length():
    batches = islice(StreamedBatches(windows(Rows(3000)), 8), 300)
    spreads = [
        max(lengths) - min(lengths) for lengths in ([r["length"] for r in b] for b in batches)
    ]
    assert sum(spreads) / len(spreads) < 1


def test_the_order_follows_the_seed():
    def order(seed: int) -> list[list[int]]:
        batches = StreamedBatches(windows(Rows(300)), 8, seed=seed)
        return [numbers(batch) for batch in islice(batches, 40)]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_every_row_comes_once_before_any_comes_again():
    source = Rows(300)
    found = numbers(islice(windows(source), 1000))
    for start in range(0, 900, 300):
        assert sorted(found[start : start + 300]) == list(range(300))
    assert source.passes == 4


def test_batches_take_every_row_as_often_as_any_other():
    batches = StreamedBatches(windows(Rows(100)), 5)  # 1,000 rows are shuffled together
    counts = Counter(number for batch in islice(batches, 200) for number in numbers(batch))
    assert counts == dict.fromkeys(range(100), 10)


def test_a_pass_larger_than_what_is_shuffled_has_every_row_once():
    batches = StreamedBatches(windows(Rows(2000)), 5)
    found = [number for batch in islice(batches, 400) for number in numbers(batch)]
    assert sorted(found) == list(range(2000))


@pytest.mark.parametrize("weights", [[1.0, 1.0], [3.0, 1.0], [0.0, 2.0]])
def test_data_sets_come_as_often_as_their_weights_say(weights):
    found = numbers(islice(windows(Rows(50), Rows(700, first=1000), weights=weights), 4000))
    small = [number for number in found if number < 1000]
    assert len(small) / 4000 == pytest.approx(weights[0] / sum(weights), abs=0.03)
    large = [number for number in found if number >= 1000]
    # Each begins anew by itself, when it has come to its own end.
    assert small == [number % 50 for number in range(len(small))]
    assert large == [1000 + number % 700 for number in range(len(large))]


def test_data_sets_are_mixed_by_the_seed():
    def order(seed: int) -> list[int]:
        return numbers(islice(windows(Rows(50), Rows(50, first=1000), seed=seed), 100))

    assert order(0) == order(0)
    assert order(0) != order(1)


# Invalid rows


def test_bad_rows_end_it():
    stream = iter(windows(Rows(400, bad=(3, 5, 390))))
    with pytest.raises(BadRows) as raised:
        list(islice(stream, 400))
    assert raised.value.problems == [
        "rows, row 3: should be a text. Found 0.",
        "rows, row 5: should be a text. Found 0.",
    ]


def test_bad_rows_are_handed_over_once_and_left_out():
    bad: list[dict] = []
    source = Rows(300, bad=(3, 290))
    found = numbers(islice(windows(source, on_bad_row=bad.append), 298 * 3))
    assert numbers(bad) == [3, 290]
    assert source.passes == 3
    assert Counter(found) == {number: 3 for number in range(300) if number not in (3, 290)}


def test_rows_that_only_the_model_cannot_take_are_bad_too():
    def refuse(rows: list[dict]) -> list[dict]:
        problem = "should have at most 9 tokens. Found 10."
        return [{**row, "problem": problem if row["number"] == 7 else None} for row in rows]

    with pytest.raises(BadRows, match=r"rows, row 7: should have at most 9 tokens"):
        next(iter(StreamedWindows([Rows(20)], [refuse], [1.0])))
    bad: list[dict] = []
    stream = StreamedWindows([Rows(20)], [refuse], [1.0], on_bad_row=bad.append)
    assert 7 not in numbers(islice(stream, 60))
    assert numbers(bad) == [7]


def test_data_without_a_good_row_is_refused():
    stream = windows(Rows(3, bad=(0, 1, 2)), on_bad_row=lambda row: None)
    with pytest.raises(ValueError, match=r"should have valid rows\. Found none"):
        next(iter(stream))


# Windows


def test_a_long_row_comes_in_windows_that_hold_each_label_once(tokenizer):
    words = ["the"] * 30
    row = {
        "source": "rows, row 1",
        "tokens": words,
        "topic": "tech",
        "entities": ["B-LOC", *["O"] * 28, "B-LOC"],
        "repairs": 0,
        "problem": None,
        "raw": None,
    }
    convert = row_preprocessor(tokenizer, tokenize, UNITS, tasks=TASKS, max_length=12)
    stream = StreamedWindows([lambda: [row]], [convert], [1.0])
    found = list(islice(stream, 20))
    count = next(index for index, window in enumerate(found) if index and window["window"] == 0)
    assert count > 2
    one_pass = found[:count]
    assert [window["window"] for window in one_pass] == list(range(count))
    assert [window["topic"] for window in one_pass] == [1, *[-100] * (count - 1)]
    tokens = [label for window in one_pass for label in window["entities"] if label != -100]
    assert tokens == [1, *[0] * 28, 1]
    assert [tag for window in one_pass for tag in window["entities.tags"]] == tokens
    assert found[count]["input_ids"] == found[0]["input_ids"]


def test_streamed_rows_are_those_that_are_loaded(tokenizer, tmp_path):
    path = tmp_path / "train.conll"
    path.write_text("Paris\tLOC\nis\tO\n\nplay\tO\n\n# a comment\nin\tO\nNew\tLOC\nYork\tLOC\n")
    tasks = {"entities": {**TASKS["entities"], "column": "tags"}}
    source = DatasetArguments(train_file=[str(path)], train_size=3)
    splits, _ = load_splits(tasks, source)
    loaded = preprocess(splits["train"], tokenizer, tasks, tokenize, UNITS)
    convert = row_preprocessor(tokenizer, tokenize, UNITS, tasks=tasks)
    streamed = islice(StreamedWindows([stream_rows(tasks, source)], [convert], [1.0]), 3)
    assert list(streamed) == list(loaded)


# In a run


def order_of_batches(num_workers: int, rank: int = 0, num_ranks: int = 1) -> list[list[int]]:
    batches = StreamedBatches(windows(Rows(300)), 4, 2, num_ranks, rank)
    loader = DataLoader(batches, batch_size=None, num_workers=num_workers, collate_fn=numbers)
    return list(islice(loader, 500))


def apart(test: str, *arguments: str) -> subprocess.CompletedProcess:
    """What a function of this file does in a process of its own, as `run_apart`."""
    script = f"import sys, test_streaming; test_streaming.{test}(*sys.argv[1:])"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
    )


def workers_keep_the_order() -> None:
    assert order_of_batches(2) == order_of_batches(0)
    assert order_of_batches(2, rank=1, num_ranks=2) == order_of_batches(0, rank=1, num_ranks=2)


def test_workers_keep_the_order():
    done = apart("workers_keep_the_order")
    assert done.returncode == 0, done.stderr


def write_bad_row(path: Path, row: dict) -> None:
    with path.open("a") as file:
        file.write(f"{row['number']}\n")


def read_by_workers(path: str) -> None:
    stream = windows(Rows(300, bad=(3, 290)), on_bad_row=partial(write_bad_row, Path(path)))
    loader = DataLoader(
        StreamedBatches(stream, 8), batch_size=None, num_workers=2, collate_fn=numbers
    )
    found = list(islice(loader, 250))
    assert not {3, 290} & {number for batch in found for number in batch}


def test_workers_hand_over_bad_rows_once(tmp_path):
    path = tmp_path / "bad_rows.txt"
    done = apart("read_by_workers", str(path))
    assert done.returncode == 0, done.stderr
    assert path.read_text() == "3\n290\n"


def write_data(folder: Path) -> None:
    """40 rows in 2 data sets of different formats."""
    rows = []
    for number in range(24):
        text = "in paris " + "the " * (number % 9) + "play"
        spans = [{"start": 3, "end": 8, "label": "LOC"}]
        rows.append({"text": text, "topic": ["sports", "tech"][number % 2], "entities": spans})
    sentences = [
        "".join(f"{word}\tO\n" for word in ["is", *["the"] * (number % 7)]) + "Paris\tB-LOC\n"
        for number in range(16)
    ]
    write_rows(folder / "topics.jsonl", rows)
    write_rows(folder / "validation.jsonl", rows[:7])
    (folder / "tags.conll").write_text("\n".join(sentences))


@pytest.fixture
def config(backbone, tmp_path) -> Path:
    """8 steps over the data sets of `write_data`, with dropout; a checkpoint at 3."""
    write_data(tmp_path)
    run = {
        "encoder": str(backbone("bert")),
        "head_dropout": 0.3,
        "data_dir": str(tmp_path),
        "output_dir": str(tmp_path / "run"),
        "streaming": True,
        "mixing": "uniform",
        "datasets": {
            "topics": {
                "train_file": "topics.jsonl",
                "validation_file": "validation.jsonl",
                "columns": {"topic": "topic", "entities": "entities"},
            },
            "tags": {"train_file": "tags.conll", "columns": {"entities": "tags"}},
        },
        "tasks": {
            "topic": {"type": "sequence_classification", "labels": ["sports", "tech"]},
            "entities": {"type": "token_classification", "labels": ["O", "B-LOC", "I-LOC"]},
        },
        "max_steps": 8,
        "max_length": 12,
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 8,
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": 3,
        "save_steps": 3,
        "save_total_limit": 5,
        "logging_steps": 1,
        "load_best_model_at_end": False,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "report": False,
        "disable_tqdm": True,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(run))
    return path


def write_rows(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def run(config: Path, name: str, *argv: str) -> Path:
    folder = config.parent / name
    run_multitask.main([str(config), "--output_dir", str(folder), *argv])
    return folder


def run_apart(config: Path, name: str, *argv: str) -> subprocess.CompletedProcess:
    """A run in a process of its own: workers are forks, and this one may have the threads of other
    tests' runtimes."""
    command = [sys.executable, "run_multitask.py", str(config), "--output_dir"]
    return subprocess.run(
        [*command, str(config.parent / name), *argv], cwd=ROOT, capture_output=True, text=True
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_weights(one: Path, other: Path, tolerance: float = 0.0) -> None:
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    for key, value in left.items():
        torch.testing.assert_close(value, right[key], rtol=0, atol=tolerance, msg=key)


def test_a_streamed_run_trains_its_steps_and_leaves_the_usual_files(config):
    folder = run(config, "run")
    state = json.loads((folder / "trainer_state.json").read_text())
    assert state["global_step"] == 8
    assert [logs["step"] for logs in state["log_history"] if "loss" in logs] == list(range(1, 9))
    results = json.loads((folder / "all_results.json").read_text())
    # A split that is evaluated is read whole: 7 rows, of which some are windows.
    assert {"eval_topic_accuracy", "eval_entities_f1", "eval_score", "train_loss"} <= set(results)
    right = results["eval_topic_accuracy"] * 7
    assert right == pytest.approx(round(right))
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "config.json", "model.safetensors", "tokenizer.json"} <= names
    assert {"checkpoint-3", "checkpoint-6", "pipeline_multitask.py"} <= names
    assert "bad_rows.jsonl" not in names


@pytest.mark.parametrize("workers", ["0", "2"])
def test_an_interrupted_and_resumed_run_ends_with_the_same_weights(workers, config):
    whole, broken = run(config, "whole"), config.parent / "broken"
    shutil.copytree(whole / "checkpoint-3", broken / "checkpoint-3")
    done = run_apart(
        config, "broken", "--resume_from_checkpoint", "--dataloader_num_workers", workers
    )
    assert done.returncode == 0, done.stderr
    assert_same_weights(whole, broken)
    assert losses(broken) == losses(whole)


def losses(folder: Path) -> list[tuple]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [(logs["step"], logs["loss"]) for logs in history if "loss" in logs]


# Adam would make much of the rounding.
PLAIN = ("--head_dropout", "0", "--max_steps", "3", "--optim", "sgd", "--learning_rate", "0.1")


def test_a_streamed_step_is_the_same_however_it_is_accumulated(config):
    whole = run(config, "whole", *PLAIN)
    split = ("--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "4")
    assert_same_steps(whole, run(config, "split", *PLAIN, *split))


@pytest.mark.slow
def test_two_ranks_stream_what_one_does(config):
    path = config.parent / "topics.jsonl"
    path.write_text(path.read_text() + '{"text": 1}\n')
    whole = run(config, "whole", *PLAIN, "--on_bad_row", "skip")
    folder = config.parent / "two"
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(
                "--nproc_per_node",
                "2",
                "run_multitask.py",
                str(config),
                "--output_dir",
                str(folder),
            ),
            *(*PLAIN, "--on_bad_row", "skip", "--per_device_train_batch_size", "4"),
        ],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=300,
        capture_output=True,
    )
    assert_same_steps(whole, folder)
    (bad,) = (folder / "bad_rows.jsonl").read_text().splitlines()
    assert json.loads(bad)["source"] == f"{path}, line 25"


def assert_same_steps(one: Path, other: Path) -> None:
    assert_same_weights(one, other, 1e-6)
    assert [step for step, _ in losses(other)] == [1, 2, 3]
    for (_, expected), (_, found) in zip(losses(one), losses(other), strict=True):
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_bad_rows_end_a_streamed_run_with_one_line_for_each(workers, config):
    path = config.parent / "topics.jsonl"
    path.write_text(path.read_text() + '{"text": "", "topic": "tech"}\n{"text": 1}\n')
    done = run_apart(config, "run", "--dataloader_num_workers", workers)
    assert done.returncode == 2
    errors = done.stderr
    errors = errors[errors.index("error: ") :].splitlines()
    assert errors == [
        "error: 2 rows are invalid:",
        f"{path}, line 25: 'text' should be a text. Found ''.",
        f"{path}, line 26: 'text' should be a text. Found 1.",
        "`on_bad_row: skip` leaves them out and writes them to a file.",
    ]


@pytest.mark.parametrize("arguments", [(), ("--dataloader_num_workers", "2")])
def test_bad_rows_of_a_streamed_run_are_skipped_and_written_once(arguments, config):
    path = config.parent / "topics.jsonl"
    path.write_text(path.read_text() + '{"text": "in", "topic": "chess"}\n{"text": 1}\n')
    short = ("--max_steps", "2", "--do_eval", "false", "--on_bad_row", "skip")
    done = run_apart(config, "run", *short, *arguments)
    assert done.returncode == 0, done.stderr
    folder = config.parent / "run"
    rows = [json.loads(line) for line in (folder / "bad_rows.jsonl").read_text().splitlines()]
    assert sorted(row["source"] for row in rows) == [f"{path}, line 25", f"{path}, line 26"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--max_steps", "-1"), "streaming needs max_steps. Found -1."),
        (("--mixing", "proportional"), "streaming needs `mixing: uniform` or `weights`"),
        (("--datasets.tags.validation_fraction", "0.2"), "streaming can't cut off a validation"),
        (
            ("--tasks.topic.class_weights", "balanced"),
            "streaming can't balance the class_weights of task 'topic', as the labels can't be "
            "counted before: map its labels to weights.",
        ),
        (
            ("--tasks.topic.out_of_scope", "0.05"),
            "out_of_scope of task 'topic' needs all rows after training: leave it out, or set",
        ),
        (("--tasks.topic.labels", "null"), "streaming needs the `labels` of task 'topic'"),
    ],
)
def test_what_needs_all_rows_is_refused(argv, message, config, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(config, "run", *argv)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (config.parent / "run").exists()
