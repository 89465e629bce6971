"""Runs on bad input: rows, files and configs to make them of, and what they tell the user."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

CLASSES: dict[str, dict] = {"topic": {"type": "sequence_classification"}}
CLOSED = {"topic": {**CLASSES["topic"], "labels": ["x", "y"]}}
MULTI = {"topic": {**CLASSES["topic"], "problem_type": "multi_label_classification"}}
REGRESSION = {"topic": {**CLASSES["topic"], "problem_type": "regression"}}
TAGS = {"slots": {"type": "token_classification"}}
TEXTS = [{"text": "a b", "topic": "x"}, {"text": "c d", "topic": "y"}]
WORDS = [{"tokens": ["a", "b"], "slots": ["O", "B-LOC"]}]
SPANS = [{"text": "a b", "slots": [{"start": 0, "end": 1, "label": "LOC"}]}]
BAD = {"text": " ", "topic": "x"}
HINT = "`on_bad_row: skip` leaves them out and writes them to a file."
UNKNOWN = (
    "task 'topic': unknown label 'z'. Expected one seen in training or given as `labels`: x, y."
)


def span(start, end, label="LOC") -> dict:
    return {"start": start, "end": end, "label": label}


def spans(*found, text="a b c") -> list[dict]:
    return [{"text": text, "slots": list(found)}]


def words(*tags) -> list[dict]:
    return [{"tokens": ["a"] * len(tags), "slots": list(tags)}]


def data_set(**keys) -> dict:
    return {"train_file": TEXTS, "validation_file": TEXTS, **keys}


def lines(rows: list) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def write(path: Path, content) -> None:
    """Write a text, bytes, rows (as JSON lines), a table, or a folder of these."""
    if isinstance(content, dict):
        path.mkdir()
        for name, inner in content.items():
            write(path / name, inner)
    elif isinstance(content, pa.Table) and path.suffix == ".parquet":
        pq.write_table(content, path)
    elif isinstance(content, pa.Table):
        with pa.ipc.new_file(str(path), content.schema) as file:
            file.write_table(content)
    else:
        text = lines(content) if isinstance(content, list) else content
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def bad_rows(folder: Path) -> list[tuple]:
    """Source, problem and row of each bad row of the run in a folder."""
    rows = (folder / "run" / "bad_rows.jsonl").read_text().splitlines()
    return [
        (row["source"].removeprefix(f"{folder}/"), row["problem"], row["row"])
        for row in map(json.loads, rows)
    ]


def stopped(*argv: str, capsys) -> str:
    """Runs what is refused, and returns what the user is told."""
    from multitask_encoder.cli import run as run_multitask

    capsys.readouterr()
    with pytest.raises(SystemExit) as raised:
        run_multitask.main(list(argv))
    assert raised.value.code == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    (message,) = told.split("error: ")[1:]
    return f"error: {message.strip()}"


@pytest.fixture
def configured(tmp_path, backbone):
    """Writes a config and returns its path.

    Keys that end in `_file` may hold rows or bytes instead of names of files.
    """

    def files(config: dict, prefix: str = "") -> dict:
        config = dict(config)
        for key, content in config.items():
            is_rows = isinstance(content, list) and isinstance(content[0], dict)
            if key.endswith("_file") and (is_rows or isinstance(content, bytes)):
                path = tmp_path / f"{prefix}{key.removesuffix('_file')}.jsonl"
                write(path, content)
                config[key] = str(path)
        return config

    def configured(**config) -> str:
        common = {
            "encoder": str(backbone("bert")),
            "output_dir": str(tmp_path / "run"),
            "tasks": CLASSES,
            "num_train_epochs": 1,
            "per_device_train_batch_size": 2,
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "report": False,
            "save_strategy": "no",
            "load_best_model_at_end": False,
        }
        if "datasets" not in config:
            common |= {"train_file": TEXTS, "validation_file": TEXTS}
        config = files({**common, **config})
        if isinstance(config.get("datasets"), dict):
            config["datasets"] = {
                name: files(source, f"{name}_") if isinstance(source, dict) else source
                for name, source in config["datasets"].items()
            }
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return str(path)

    return configured


@pytest.fixture
def refused(tmp_path, configured, capsys):
    """Runs a config that is refused, and returns what the user is told: one line, if not several
    rows are bad."""

    def refused(*argv: str, **config) -> str:
        path = configured(**config)
        before = sorted(tmp_path.rglob("*"))
        message = stopped(path, *argv, capsys=capsys)
        assert sorted(tmp_path.rglob("*")) == before
        assert "\n" not in message or message.split(maxsplit=2)[2].startswith("rows are")
        return message

    return refused


@pytest.fixture
def finished(make_model, tokenizer, tmp_path):
    """The folder of a finished model."""
    folder = tmp_path / "finished"
    make_model(tasks={"topic": {**CLASSES["topic"], "labels": ["x", "y"]}}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def encoder(backbone, tmp_path):
    """A folder of an encoder to break."""
    return shutil.copytree(backbone("bert"), tmp_path / "encoder")


@pytest.fixture
def skipping(tmp_path, configured):
    """Runs with bad rows skipped, and returns what bad_rows.jsonl holds: source, problem, row."""
    from multitask_encoder.cli import run as run_multitask

    def run(*argv: str, **config) -> list[tuple]:
        run_multitask.main([configured(on_bad_row="skip", **config), *argv])
        assert (tmp_path / "run" / "all_results.json").is_file()
        return bad_rows(tmp_path)

    return run
