"""Files in, files of answers out: the same rows however the work is divided or breaks off."""

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import TASKS
from datasets import Dataset, load_dataset

from multitask_encoder.arguments import run_arguments as arguments
from multitask_encoder.cli import run as run_multitask
from multitask_encoder.data.texts import TextRow
from multitask_encoder.export import onnx
from multitask_encoder.inference import loading
from multitask_encoder.inference.files import answer_files
from multitask_encoder.inference.inputs import InputChanged, scan_inputs
from multitask_encoder.inference.tables import FORMATS, Layout
from multitask_encoder.modeling import MultiTaskConfig

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
TEXTS = [f"anna {'plays ' * (i * 7 % 11)}in paris {i}" for i in range(25)]
INPUT = [{"id": f"r{i}", "text": text} for i, text in enumerate(TEXTS)]
COLUMNS = [
    *("file", "index", "id", "text", "topic", "topic_score", "topic_scores", "entities"),
    "embedding",
]
ON_CPU = ("--use_cpu", "--bf16", "false", "--disable_tqdm", "--report_to", "none")


@pytest.fixture
def model(make_model, tokenizer, tmp_path) -> Path:
    """A folder of a model that does not give all texts one answer."""
    return save(make_model(), tokenizer, tmp_path / "model")


def save(model, tokenizer, folder: Path) -> Path:
    for head in model.heads.values():
        head.classifier.weight.data.normal_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def arguments_of(model, tmp_path):
    """(rows, further words) -> the command line that answers them into tmp_path / "out"."""

    def arguments_of(rows: list[dict] | None, *argv) -> list[str]:
        if rows is not None:
            write_rows(tmp_path / "in.jsonl", rows)
        words = ["--model", model, "--do_train", "false", "--do_predict"]
        words += ["--predict_file", tmp_path / "in.jsonl", "--predict_output", tmp_path / "out"]
        return [*map(str, words), *ON_CPU, *map(str, argv)]

    return arguments_of


@pytest.fixture
def predict(arguments_of, tmp_path):
    """Does it, and returns the answers."""

    def predict(rows: list[dict] | None, *argv) -> list[dict]:
        run_multitask.main(arguments_of(rows, *argv))
        return answers(tmp_path / "out")

    return predict


@pytest.fixture
def refused(arguments_of, capsys):
    """(rows, further words) -> the line with which they are refused."""

    def refused(rows: list[dict] | None, *argv) -> str:
        with pytest.raises(SystemExit) as stopped:
            run_multitask.main(arguments_of(rows, *argv))
        assert stopped.value.code == 2
        return capsys.readouterr().err.partition("error: ")[2].strip()

    return refused


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*"))


def answers(folder: Path) -> list[dict]:
    found = []
    for path in parts(folder):
        if path.suffix == ".parquet":
            found += pq.read_table(path).to_pylist()
        else:
            found += [json.loads(line) for line in path.read_text().splitlines()]
    return found


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def columns(rows: list[dict], *names: str) -> list[tuple]:
    return [tuple(row[name] for name in names) for row in rows]


# What goes in


def write_table(path: Path) -> None:
    pq.write_table(pa.table({"text": TEXTS[:3]}), path)


def write_arrow(path: Path) -> None:
    with pa.ipc.new_file(str(path), pa.schema({"text": pa.string()})) as file:
        file.write_table(pa.table({"text": TEXTS[:3]}))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.jsonl", lambda path: write_rows(path, [{"text": text} for text in TEXTS[:3]])),
        ("x.json", lambda path: path.write_text(json.dumps([{"text": t} for t in TEXTS[:3]]))),
        ("x.csv", lambda path: path.write_text("\n".join(["text", *TEXTS[:3]]))),
        ("x.tsv", lambda path: path.write_text("\n".join(["text", *TEXTS[:3]]))),
        ("x.txt", lambda path: path.write_text("\n".join(TEXTS[:3]))),
        ("x.parquet", write_table),
        ("x.arrow", write_arrow),
        ("folder", lambda path: Dataset.from_dict({"text": TEXTS[:3]}).save_to_disk(path)),
        (
            "x.conll",
            lambda path: path.write_text(
                "\n\n".join("\n".join(f"{word}\tO" for word in t.split()) for t in TEXTS[:3])
            ),
        ),
    ],
)
def test_files_of_every_format_are_answered(name, write, predict, model, tmp_path):
    write(tmp_path / name)
    found = predict(None, "--predict_file", tmp_path / name)
    assert columns(found, "file", "index", "text") == [
        (str(tmp_path / name), index, text) for index, text in enumerate(TEXTS[:3])
    ]
    pipeline = loading.load_pipeline(str(model), device="cpu")
    for row, expected in zip(found, pipeline(TEXTS[:3]), strict=True):
        assert row["topic"] == expected["labels"]["topic"]["label"]
        assert row["topic_score"] == pytest.approx(expected["labels"]["topic"]["score"], abs=1e-6)
        assert row["embedding"] == pytest.approx(expected["embedding"], abs=1e-5)
        spans = expected["entities"]["entities"]
        assert columns(row["entities"], "start", "end", "text", "label") == columns(
            spans, "start", "end", "text", "label"
        )


def test_several_files_are_one_input(predict, tmp_path):
    for name in ("b", "a"):
        write_rows(tmp_path / f"{name}.jsonl", [{"text": f"{name}{i}"} for i in range(3)])
    found = predict(None, "--predict_file", tmp_path / "[ab].jsonl", "--predict_shard_size", 2)
    assert columns(found, "index", "text") == [
        *((0, "a0"), (1, "a1"), (2, "a2"), (0, "b0"), (1, "b1"), (2, "b2"))
    ]
    assert {Path(row["file"]).name for row in found[:3]} == {"a.jsonl"}
    assert len(parts(tmp_path / "out")) == 3


def test_an_empty_text_is_answered(predict):
    (row,) = predict([{"text": ""}])
    assert (row["text"], row["entities"]) == ("", [])
    assert row["topic"] in TASKS["topic"]["labels"]


def test_columns_and_format_of_the_config_hold_for_the_files_too(predict, tmp_path):
    (tmp_path / "in.csv").write_text("key,words\n007,in paris\n")
    argv = ["--predict_file", "in.csv", "--data_dir", tmp_path, "--text_column", "words"]
    (row,) = predict(None, *argv, "--predict_columns", "key")
    assert (row["key"], row["text"]) == ("007", "in paris")


# What comes out


def test_both_formats_hold_the_same(predict, tmp_path):
    as_json = predict(INPUT, "--predict_shard_size", 10)
    assert list(as_json[0]) == COLUMNS
    shutil.rmtree(tmp_path / "out")
    as_table = predict(INPUT, "--predict_shard_size", 10, "--predict_format", "parquet")
    assert [path.name for path in parts(tmp_path / "out")] == [
        *("part-00000.parquet", "part-00001.parquet", "part-00002.parquet")
    ]
    schema = pq.read_schema(parts(tmp_path / "out")[0])
    assert as_table == pa.Table.from_pylist(as_json, schema=schema).to_pylist()


def test_pandas_and_datasets_read_the_folder(predict, tmp_path):
    predict([*INPUT, {"text": 1}], "--predict_format", "parquet", "--on_bad_row", "skip")
    frame = pd.read_parquet(tmp_path / "out")
    assert (len(frame), list(frame.columns)) == (25, COLUMNS)
    rows = load_dataset(str(tmp_path / "out"))["train"]
    assert rows["id"][:] == [row["id"] for row in INPUT]
    assert rows.features["embedding"].length == 16


def test_parts_have_so_many_rows_and_the_order_of_the_input(predict, tmp_path):
    found = predict(INPUT, "--predict_shard_size", 10)
    assert columns(found, "id", "text", "index") == [
        (row["id"], row["text"], index) for index, row in enumerate(INPUT)
    ]
    sizes = [len(path.read_text().splitlines()) for path in parts(tmp_path / "out")]
    assert sizes == [10, 10, 5]


def test_what_is_large_can_be_left_out(predict):
    (row,) = predict(INPUT[:1], "--predict_without", "embedding", "scores")
    assert list(row) == ["file", "index", "id", "text", "topic", "topic_score", "entities"]


def test_a_config_says_which_tasks_are_answered(predict, tmp_path):
    (tmp_path / "my.yaml").write_text("tasks: {topic: {type: sequence_classification}}")
    words = ["--predict_without", "embedding", "scores"]
    both = "{topic: {type: sequence_classification}, entities: {type: token_classification}}"
    (tmp_path / "both.yaml").write_text(f"tasks: {both}")

    def found(name: str, *more: str) -> list[str]:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        argv = ["--model", tmp_path / "model", "--do_train", "false", "--do_predict", *ON_CPU]
        argv += ["--predict_file", write_rows(tmp_path / "in.jsonl", INPUT[:1]), *words, *more]
        argv += ["--predict_output", tmp_path / "out"]
        run_multitask.main([str(tmp_path / name), *map(str, argv)])
        return list(answers(tmp_path / "out")[0])[4:]

    assert found("my.yaml") == ["topic", "topic_score"]
    assert found("both.yaml", "--only_task", "entities") == ["entities"]
    (tmp_path / "none.yaml").write_text("seed: 1")
    assert found("none.yaml", "--only_task", "entities") == ["entities"]


def config_of(**tasks) -> MultiTaskConfig:
    return MultiTaskConfig(
        tasks={
            name: {"type": "sequence_classification", "labels": ["a", "b"], **task}
            for name, task in tasks.items()
        }
    )


def test_every_kind_of_task_has_its_columns(tmp_path):
    config = config_of(
        several={"problem_type": "multi_label_classification"},
        value={"problem_type": "regression", "labels": ["value"]},
        two={"problem_type": "regression"},
    )
    layout = Layout(config, list(config.tasks), {}, ("embedding",))
    answer = {
        "labels": {
            "several": {"label": ["b"], "score": [0.75], "scores": {"a": 0.25, "b": 0.75}},
            "value": {"label": "value", "score": 0.5, "scores": {"value": 0.5}},
            "two": {"label": "a", "score": 2.0, "scores": {"a": 2.0, "b": -1.0}},
        }
    }
    row = layout.row(TextRow("f", 3, "f, line 4", "x", None, {}), {}, answer)
    assert row == {
        "file": "f",
        "index": 3,
        "text": "x",
        "several": ["b"],
        "several_score": [0.75],
        "several_scores": {"a": 0.25, "b": 0.75},
        "value": 0.5,
        "two": {"a": 2.0, "b": -1.0},
    }
    for form, table_file in FORMATS.items():
        file = table_file(tmp_path / f"part-00000.{form}", layout.schema)
        file.write(row)
        file.close()
        assert answers(tmp_path) == [row]
        (tmp_path / f"part-00000.{form}").unlink()


@pytest.mark.parametrize("name", ["index", "embedding", "topic_score"])
def test_columns_of_one_name_are_refused(name):
    config = config_of(topic={}, **{name: {}})
    with pytest.raises(ValueError, match=f"should have different names. Found '{name}' twice in"):
        Layout(config, list(config.tasks), {}, ())


# Columns that go along


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", None], ["a", None]),
        ([7, None], [7, None]),
        ([True, False], [True, False]),
        ([1, 2.5], [1.0, 2.5]),
        ([None, None], [None, None]),
        ([7, "a7"], ["7", "a7"]),
        ([2**63, 1], [str(2**63), "1"]),
        ([2**62, 7], [2**62, 7]),
        ([2**53, 2.5], [float(2**53), 2.5]),
        ([2**53 + 1, 2.5], [str(2**53 + 1), "2.5"]),
        ([{"a": [1]}, None], ['{"a": [1]}', None]),
    ],
)
def test_a_column_of_a_table_has_one_type(values, expected, predict, tmp_path):
    rows = [{"text": "a", "key": value} for value in values]
    argv = ["--predict_columns", "key", "--predict_shard_size", "1"]
    assert columns(predict(rows, *argv), "key") == [(value,) for value in values]
    shutil.rmtree(tmp_path / "out")
    found = predict(rows, *argv, "--predict_format", "parquet")
    assert columns(found, "key") == [(value,) for value in expected]
    schemas = [pq.read_schema(path) for path in parts(tmp_path / "out")]
    assert schemas[0] == schemas[1]


def test_what_json_does_not_know_goes_along_as_text(predict, tmp_path):
    table = {"text": ["a", "b"], "day": [date(2024, 5, 1), None], "number": [float("nan"), 1.5]}
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    argv = ["--predict_file", tmp_path / "in.parquet", "--predict_columns", "day", "number"]
    found = predict(None, *argv)
    assert columns(found, "day", "number") == [("2024-05-01", None), (None, 1.5)]


def test_infinite_numbers_are_null_in_json_lines(predict, tmp_path):
    table = {"text": ["a", "b"], "far": [float("inf"), 1.5], "list": [[float("-inf")], [2.5]]}
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    argv = ["--predict_file", tmp_path / "in.parquet", "--predict_columns", "far", "list"]
    assert columns(predict(None, *argv), "far", "list") == [(None, [None]), (1.5, [2.5])]
    assert "Infinity" not in parts(tmp_path / "out")[0].read_text()
    shutil.rmtree(tmp_path / "out")
    found = predict(None, *argv, "--predict_format", "parquet")
    assert columns(found, "far", "list") == [(float("inf"), "[null]"), (1.5, "[2.5]")]


def test_columns_that_are_not_there_are_refused(refused, predict, tmp_path):
    assert "no row of predict_file has a column 'key'" in refused(INPUT, "--predict_columns", "key")
    twice = refused(INPUT, "--predict_columns", "text")
    assert (
        "Found 'text' twice" in twice and "rename the column of the file, or leave it out" in twice
    )
    assert not (tmp_path / "out").exists()
    assert "id" not in predict([{"text": "a"}])[0]


# Going on


def test_a_killed_run_goes_on_to_the_same_files(arguments_of, predict, tmp_path):
    argv = ["--predict_shard_size", "4", "--on_bad_row", "skip"]
    rows = [*INPUT[:5], {"text": 1}, *INPUT[5:]]
    predict(rows, *argv)
    whole = content(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    killed = subprocess.run(
        [sys.executable, "tests/killed_prediction.py", "10", *arguments_of(rows, *argv)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        timeout=300,
    )
    assert killed.returncode == -signal.SIGKILL
    broken = content(tmp_path / "out")
    kept = ["part-00000.jsonl", "part-00001.jsonl"]
    assert [path.name for path in parts(tmp_path / "out")] == kept
    assert ".progress/part-00002.partial" in broken
    times = [(tmp_path / "out" / name).stat().st_mtime_ns for name in kept]
    predict(rows, *argv)
    assert content(tmp_path / "out") == whole
    assert [(tmp_path / "out" / name).stat().st_mtime_ns for name in kept] == times


@pytest.mark.parametrize("lost", ["part-00001.jsonl", ".progress/part-00001.json"])
def test_a_part_that_is_only_half_there_is_no_part(lost, predict, refused, tmp_path):
    argv = ["--predict_shard_size", "10"]
    predict(INPUT, *argv)
    whole = content(tmp_path / "out")
    (tmp_path / "out" / lost).unlink()
    if lost.startswith("."):  # it may as well be somebody's own file
        assert "part-00001.json is missing" in refused(INPUT, *argv)
        argv.append("--overwrite_output_dir")
    predict(INPUT, *argv)
    assert content(tmp_path / "out") == whole


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_damaged_part_is_made_again(form, predict, tmp_path, caplog):
    argv = ["--predict_shard_size", "10", "--on_bad_row", "skip", "--predict_format", form]
    rows = [{"text": 1}, *INPUT]
    predict(rows, *argv)
    whole = content(tmp_path / "out")
    assert "__bad_rows__/part-00000.jsonl" in whole
    for name in (f"part-00000.{form}", "__bad_rows__/part-00000.jsonl"):
        path = tmp_path / "out" / name
        middle = len(whole[name]) // 2
        other = bytes([whole[name][middle] ^ 1])
        for damaged in (
            b"",
            whole[name][:-1],
            whole[name][:middle] + other + whole[name][middle + 1 :],
        ):
            path.write_bytes(damaged)
            caplog.clear()
            predict(rows, *argv)
            assert content(tmp_path / "out") == whole
            assert f"part-00000.{form} is made again. {name} " in caplog.text
    path.unlink()
    predict(rows, *argv)
    assert content(tmp_path / "out") == whole


@pytest.mark.slow
def test_two_processes_make_what_one_makes(arguments_of, predict, tmp_path):
    argv = ["--predict_shard_size", "4"]
    predict(INPUT, *argv)
    whole = content(tmp_path / "out")
    for name in ("part-00001.jsonl", "part-00002.jsonl", "part-00005.jsonl"):
        (tmp_path / "out" / name).unlink()  # one process began; two go on
    launched = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch"),
            *("--config_file", "configs/accelerate/cpu_two_processes.yaml", "run_multitask.py"),
            *arguments_of(INPUT, *argv),
        ],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert launched.returncode == 0, launched.stderr[-2000:]
    assert launched.stdout.count("Writing the answers for 25 rows to 7 files in ") == 1
    assert launched.stdout.count(" of them already written") == 1
    assert launched.stdout.count("; 2 processes.") == 1
    assert content(tmp_path / "out") == whole


def test_every_row_belongs_to_one_process(model, tmp_path, caplog):
    pipeline = loading.load_pipeline(str(model), device="cpu")
    inputs = scan_inputs(lambda: iter(text_rows(range(10))), 3, show=False)
    layout = Layout(pipeline.model.config, ["topic"], inputs.kept, ())
    for rank in range(6):
        before = {path.name for path in parts(tmp_path)}
        answer_files(*(pipeline, inputs, layout, tmp_path), rank=rank, num_ranks=6, show=False)
        new = {path.name for path in parts(tmp_path)} - before
        assert new == ({f"part-0000{rank}.jsonl"} if rank < 4 else set())
    assert columns(answers(tmp_path), "index") == [(index,) for index in range(10)]
    assert "2 of 6 processes have nothing to do" in caplog.text


def text_rows(numbers, bad: tuple[int, ...] = ()) -> list[TextRow]:
    return [
        TextRow("f", n, f"f, line {n + 1}", None, "is bad.", {})
        if n in bad
        else TextRow("f", n, f"f, line {n + 1}", f"text {n}", None, {})
        for n in numbers
    ]


# What must not be mixed


@pytest.mark.parametrize(
    ("rows", "argv", "reason"),
    [
        ([{**INPUT[0], "text": "x"}, *INPUT[1:]], (), "rows 1 to 10 of predict_file have changed."),
        ([{**INPUT[0], "id": "x"}, *INPUT[1:]], (), "rows 1 to 10 of predict_file have changed."),
        ([*INPUT, {"id": "x", "text": "x"}], (), "rows 21 to 26 of predict_file have changed."),
        (INPUT[:10], (), "predict_file had rows for more files. Found rows for 1."),
        (INPUT, ("--predict_format", "parquet"), "predict_format was 'jsonl'. Found 'parquet'."),
        (INPUT, ("--predict_shard_size", "5"), "predict_shard_size was 10. Found 5."),
        (INPUT, ("--predict_without", "scores"), "predict_without was []. Found ['scores']."),
        (
            INPUT,
            ("--bf16", "true"),
            "bf16 was False. Found True; --bf16 false goes on with them.",
        ),
        (INPUT, ("--max_length", "20"), "the model or its windows have changed."),
    ],
)
def test_answers_for_something_else_are_refused(rows, argv, reason, predict, refused, tmp_path):
    size = ("--predict_shard_size", "10")
    predict(INPUT, *size)
    before = content(tmp_path / "out")
    line = refused(rows, *size, *argv)
    assert f" was made from something else: {reason} Replace these files with " in line
    assert content(tmp_path / "out") == before
    found = predict(rows, *size, *argv, "--overwrite_output_dir")
    assert columns(found, "id", "text") == columns(rows, "id", "text")
    assert len({path.suffix for path in parts(tmp_path / "out")}) == 1


def test_answers_of_another_model_are_refused(predict, refused, make_model, tokenizer, tmp_path):
    predict(INPUT)
    torch.manual_seed(1)
    other = save(make_model(), tokenizer, tmp_path / "other")
    assert "the model or its windows have changed." in refused(INPUT, "--model", other)


@pytest.mark.parametrize("rule", ["normalizer", "pre_tokenizer"])
def test_answers_of_another_tokenizer_are_refused(rule, predict, refused, model):
    settings, rules = model / "tokenizer_config.json", model / "tokenizer.json"
    generic = json.loads(settings.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    settings.write_text(json.dumps(generic))  # one that takes its rules from tokenizer.json
    predict(INPUT)
    predict(INPUT)
    rules.write_text(json.dumps(json.loads(rules.read_text()) | {rule: None}))
    assert "the model or its windows have changed." in refused(INPUT)


def test_answers_of_an_encoder_that_computes_otherwise_are_refused(predict, refused, model):
    predict(INPUT)
    config = json.loads((model / "config.json").read_text())
    config["encoder_config"]["hidden_act"] = "relu"
    (model / "config.json").write_text(json.dumps(config))
    assert "the model or its windows have changed." in refused(INPUT)


def test_a_model_that_was_moved_is_the_same(predict, model, tmp_path):
    predict(INPUT)
    before = content(tmp_path / "out")
    moved = model.rename(tmp_path / "moved")
    predict(INPUT, "--model", moved)
    assert content(tmp_path / "out") == before


def test_files_that_change_meanwhile_are_noticed(model, tmp_path):
    pipeline = loading.load_pipeline(str(model), device="cpu")
    inputs = scan_inputs(lambda: iter(text_rows(range(6))), 3, show=False)
    layout = Layout(pipeline.model.config, ["topic"], inputs.kept, ())

    def broken():
        yield from text_rows(range(5))
        raise ValueError("f: is no JSON.")

    for changed in (
        lambda: iter(text_rows([0, 1, 2, 3, 5, 4])),
        lambda: iter(text_rows(range(6), bad=(5,))),
        lambda: iter(text_rows(range(5))),
        broken,
    ):
        with pytest.raises(InputChanged, match="predict_file changed while it was answered"):
            answer_files(pipeline, inputs._replace(read=changed), layout, tmp_path, show=False)
        assert [path.name for path in parts(tmp_path)] == ["part-00000.jsonl"]
        assert not list(tmp_path.rglob("*.partial"))


# Invalid rows

BAD = [INPUT[0], {"id": "x"}, INPUT[1], {"id": "y", "text": 5}]


def test_bad_rows_end_it_before_anything_is_answered(refused, tmp_path):
    path = tmp_path / "in.jsonl"
    assert refused(BAD).splitlines() == [
        "2 rows are invalid:",
        f"{path}, line 2: has no 'text'. Found: id.",
        f"{path}, line 4: 'text' should be a text. Found 5.",
        "`on_bad_row: skip` leaves them out and writes them to a file.",
    ]
    assert not (tmp_path / "out").exists()


def test_bad_rows_are_skipped_and_kept(predict, tmp_path):
    skip = ("--on_bad_row", "skip", "--predict_shard_size", "3")
    found = predict(BAD, *skip)
    assert columns(found, "index", "id") == [(0, "r0"), (2, "r1")]
    bad = sorted((tmp_path / "out" / "__bad_rows__").iterdir())
    assert [path.name for path in bad] == ["part-00000.jsonl", "part-00001.jsonl"]
    assert json.loads(bad[1].read_text()) == {
        "title": "predict",
        "source": f"{tmp_path / 'in.jsonl'}, line 4",
        "problem": "'text' should be a text. Found 5.",
        "row": BAD[3],
    }
    # Once they are mended, only the files that they are of are made anew.
    times = [path.stat().st_mtime_ns for path in parts(tmp_path / "out")]
    found = predict([*BAD[:3], INPUT[3]], *skip, "--overwrite_output_dir")
    assert columns(found, "index", "id") == [(0, "r0"), (2, "r1"), (3, "r3")]
    assert parts(tmp_path / "out")[0].stat().st_mtime_ns == times[0]
    assert [path.name for path in (tmp_path / "out" / "__bad_rows__").iterdir()] == [bad[0].name]


def test_nothing_but_bad_rows_is_refused(refused, tmp_path):
    line = refused([{"text": 1}, {"text": 2}], "--on_bad_row", "skip")
    assert "all of its rows are bad. The first:" in line
    assert "line 1: 'text' should be a text. Found 1." in line


# Which model, on which runtime


def test_an_exported_model_answers_without_its_weights(
    model, predict, refused, tokenizer, tmp_path
):
    expected = predict(INPUT[:5])
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "graph").mkdir()
    onnx.export(*loading.load_finished(str(model)), tmp_path / "graph")
    assert not list((tmp_path / "graph").glob("*.safetensors"))
    argv = ("--model", tmp_path / "graph", "--backend", "onnx")
    found = predict(INPUT[:5], *argv, "--bf16", "true")  # which is torch's
    assert columns(found, "id", "topic") == columns(expected, "id", "topic")
    for row, other in zip(found, expected, strict=True):
        assert row["embedding"] == pytest.approx(other["embedding"], abs=1e-4)
    assert predict(INPUT[:5], *argv) == found
    assert "the model or its windows have changed." in refused(INPUT[:5])
    assert "model.onnx" in refused(INPUT[:5], "--backend", "onnx")


def test_the_model_that_was_just_trained_answers(run, tmp_path, capsys):
    (tmp_path / "new.txt").write_text("a b\n\nc\n")
    words = ["--do_predict", "--predict_file", str(tmp_path / "new.txt")]
    folder = run(*words, overwrite_output_dir=False)
    found = answers(folder / "predictions")
    assert [row["text"] for row in found] == ["a b", "", "c"]
    before = content(folder)
    # Its folder is where a run that only predicts finds the model; and these are its answers.
    capsys.readouterr()
    run("--do_train", "false", *words, overwrite_output_dir=False)
    assert content(folder) == before
    with pytest.raises(SystemExit):
        run(*words, overwrite_output_dir=False, save_strategy="no", load_best_model_at_end=False)
    # Here it is its checkpoints that are refused first.
    assert "holds checkpoints of an earlier run" in capsys.readouterr().err
    shutil.rmtree(next(folder.glob("checkpoint-*")))
    with pytest.raises(SystemExit):
        run(*words, overwrite_output_dir=False)
    assert "predictions holds answers of an earlier run." in capsys.readouterr().err


def test_only_what_is_asked_for_is_done(run, tmp_path, monkeypatch):
    folder = run()
    (tmp_path / "new.txt").write_text("a b\n")
    monkeypatch.setattr(run_multitask, "prepare_data", None)
    monkeypatch.setattr(run_multitask, "make_trainer", None)
    run("--do_train", "false", "--do_predict", "--predict_file", str(tmp_path / "new.txt"))
    assert len(answers(folder / "predictions")) == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--predict_file", "null"), "do_predict needs predict_file."),
        (("--predict_output", "null"), "do_predict needs predict_output"),
        (("--predict_file", "none.jsonl"), "No file none.jsonl."),
        (("--predict_shard_size", "0"), "predict_shard_size should be at least 1. Found 0."),
        (("--predict_format", "csv"), "predict_format"),
        (("--predict_without", "text"), "predict_without"),
        (("--backend", "tensorrt"), "backend"),
        (("--backend", "onnx", "--do_eval"), "`tasks` should map names to tasks."),
        (("--model", "no/such"), "no/such"),
        (("--max_length", "10000"), "max_length should be at most 128"),
        (("--stride", "500"), "stride"),
        (("--tasks.mood.type", "sequence_classification"), "The model has no task 'mood'."),
    ],
)
def test_what_can_not_be_is_refused(argv, message, refused, tmp_path):
    line = refused(INPUT, *argv)
    assert message in line
    assert "\n" not in line
    assert not (tmp_path / "out").exists()


def test_windows_have_room_for_the_prompt(model, refused):
    config = json.loads((model / "config.json").read_text())
    config["prompts"] = {"default": "a b c: "}
    (model / "config.json").write_text(json.dumps(config))
    line = refused(INPUT, "--max_length", "4")
    assert "max_length should be more than the 6 special and prompt tokens. Found 4." in line


def test_the_folder_must_not_be_a_file(refused, tmp_path):
    (tmp_path / "out").write_text("")
    assert f"predict_output should be a folder. Found the file {tmp_path / 'out'}" in refused(INPUT)


def test_a_model_is_needed(run, tmp_path, capsys):
    (tmp_path / "new.txt").write_text("a b\n")
    words = ["--do_train", "false", "--do_predict", "--predict_file", str(tmp_path / "new.txt")]
    with pytest.raises(SystemExit):
        run(*words)
    assert "do_predict without do_train needs `model`" in capsys.readouterr().err


def test_a_backend_is_for_prediction_alone(run, capsys):
    with pytest.raises(SystemExit):
        run("--backend", "onnx")
    assert "backend: onnx is for do_predict" in capsys.readouterr().err


def test_keys_and_code_know_the_same_choices():
    assert tuple(FORMATS) == arguments.PREDICT_FORMATS


# Memory

PEAK = """
import sys
sys.path.insert(0, sys.argv[1])
from multitask_encoder.cli import run as run_multitask
run_multitask.main(sys.argv[2:])
status = open("/proc/self/status").read()
print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_memory_does_not_grow_with_the_rows(form, arguments_of, tmp_path):
    peaks = []
    for count in (5_000, 20_000):
        # Much to hold, and little to compute: spaces are no tokens.
        rows = [{"id": i, "text": f"paris{' ' * 6000}"} for i in range(count)]
        argv = arguments_of(rows, "--predict_output", tmp_path / f"{count}")
        argv += ["--predict_shard_size", "5000"]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(ROOT), *argv, "--predict_format", form],
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        )
        peaks.append(float(done.stdout.splitlines()[-1]))
        assert len(parts(tmp_path / f"{count}")) == count // 5_000
    assert peaks[1] - peaks[0] < 40, peaks  # in MiB; 15,000 of the texts are twice that
