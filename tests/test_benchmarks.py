"""The benchmarks run, and write what they say they write. No test looks at a time."""

import contextlib
import io
import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks import (
    forgetting,
    fusing,
    growth,
    inference,
    latency,
    machine,
    measuring,
    memory,
    new_labels,
    parity,
    recipes,
    runs,
    training,
    unsure,
)
from benchmarks.measuring import (
    Seconds,
    Spread,
    exponent,
    in_fresh_process,
    percentiles,
    rate,
    ratio,
    run_all,
    summed,
    turns,
)
from benchmarks.profiling import group_of
from benchmarks.quality.data import write_rows
from benchmarks.reporting import Table, as_json
from multitask_encoder.cli import run as run_multitask

SCRIPTS = {module.__name__.split(".")[1]: module for module in (growth, memory, training)}


def test_contestants_take_turns():
    assert list(turns("AB", 3)) == [("A", 0), ("B", 0), ("B", 1), ("A", 1), ("A", 2), ("B", 2)]


def test_warm_up_runs_once_and_contestants_in_every_round():
    calls: list[str] = []
    contestants = {name: partial(calls.append, name) for name in "ab"}
    warm_up = {name: partial(calls.append, name.upper()) for name in "ab"}
    times = run_all(contestants, warm_up, rounds=2)
    assert "".join(calls) == "ABabba"
    assert [len(times[name]) for name in "ab"] == [2, 2]


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    # Of the medians it would be 20 / 4 = 5.
    assert ratio([10.0, 20.0, 60.0], [5.0, 2.0, 4.0]) == Spread(10.0, 2.0, 15.0)
    assert rate(12.0, [3.0, 4.0]) == Spread(3.5, 3.0, 4.0)
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(median=2.0, min=1.0, max=3.0)


def test_times_are_summed_round_by_round():
    times = {"a": [Seconds(1.0, 2.0), Seconds(3.0, 4.0)], "b": [Seconds(5.0, 6.0)] * 2, "c": []}
    assert summed(times, ["a", "b"]) == [Seconds(6.0, 8.0), Seconds(8.0, 10.0)]


def test_percentiles_of_101_values():
    assert percentiles([float(value) for value in range(101)]) == {50: 50.0, 95: 95.0, 99: 99.0}


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_is_that_power(power):
    sizes = [1.0, 10.0, 100.0]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power, abs=1e-12)


def test_sizes_grow_tenfold_up_to_the_greatest():
    assert growth.powers(10_000) == [1000, 10_000]
    assert growth.powers(50_000) == [1000, 10_000, 50_000]
    assert growth.powers(40) == [4, 40]


@pytest.mark.parametrize(
    ("operator", "group"),
    [
        ("aten::addmm", "matrix products"),
        ("autograd::engine::evaluate_function: AddmmBackward0", "matrix products"),
        ("aten::add_", "element-wise"),
        ("aten::bernoulli_", "dropout's random numbers"),
        ("aten::_fused_adamw_", "optimizer"),
        ("aten::copy_", "copies"),
        ("enumerate(DataLoader)", "other"),
    ],
)
def test_operators_have_a_kind(operator, group):
    assert group_of(operator) == group


def test_a_table_is_markdown():
    table = Table("Speed", ("", "n"), [["a|b", 1234.5], ["c", Spread(0.12345, 0.1, 1.0)]])
    assert table.markdown().splitlines() == [
        "## Speed",
        "",
        "|  | n |",
        "| --- | ---: |",
        "| a\\|b | 1,234 |",
        "| c | 0.1235 (0.1 to 1) |",
    ]
    assert as_json({1: [Spread(1.0, 0.5, 2.0)]}) == {"1": [{"median": 1.0, "min": 0.5, "max": 2.0}]}


def test_a_fresh_process_gives_back_its_last_line(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import json, os, sys\n"
        "print('a line')\n"
        "print(json.dumps({'arguments': sys.argv[1:], 'seen': os.environ['SEEN']}))\n"
    )
    found = in_fresh_process(str(script), "a", "b", SEEN="yes")
    assert found == {"arguments": ["a", "b"], "seen": "yes"}


# Every benchmark, tiny


@pytest.fixture
def tiny(backbone, tmp_path, monkeypatch) -> list[str]:
    """Options for as little as possible; what would be a process of its own runs in this one."""
    monkeypatch.setattr(machine, "SAMPLE_SECONDS", 1e-5)
    monkeypatch.setattr(machine, "BANDWIDTH_BYTES", 2**12)
    for module in (growth, memory):
        monkeypatch.setattr(module, "LOOK_EVERY", 1e6)  # a thread that would never end
    for module in SCRIPTS.values():
        monkeypatch.setattr(module, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(measuring, "in_fresh_process", in_this_process)
    options = {"encoder": backbone("bert"), "rows": 20, "rounds": 1, "output": tmp_path / "out"}
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def in_this_process(script: str, *arguments: str) -> dict:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        SCRIPTS[Path(script).stem].main(list(arguments))
    return json.loads(printed.getvalue().splitlines()[-1])


@pytest.fixture
def slots_and_intents(tmp_path) -> str:
    """A folder of rows as configs/snips.yaml has them."""
    rows = [
        {"tokens": ["play", "jazz"], "slots": ["O", "B-genre"], "intent": "PlayMusic"},
        {"tokens": ["rain", "in", "new", "york", "?"], "slots": ["O", "O", "B-city", "I-city", "O"],
         "intent": "GetWeather"},
    ]  # fmt: skip
    for split in ("train", "validation", "test"):
        lines = [json.dumps(row) + "\n" for row in rows * 20]
        (tmp_path / f"{split}.jsonl").write_text("".join(lines))
    return str(tmp_path)


def results_of(options: list[str], *plots: str) -> dict:
    """The JSON of a run that is whole."""
    folder = Path(options[options.index("--output") + 1])
    assert {path.name for path in folder.glob("*.png")} == {f"{plot}.png" for plot in plots}
    found = json.loads((folder / "results.json").read_text())
    text = (folder / "results.md").read_text()
    assert found["command"] in text
    assert found["machine"]["processor"] in text
    return found


def test_training(tiny, slots_and_intents):
    training.main([*tiny, "--data_dir", slots_and_intents, "--epochs", "1", "--profile"])
    found = results_of(tiny, "speed")
    contestants = {training.OURS, training.PLAIN, training.BARE, training.STOCK}
    for key in ("times", "sentences_per_second", "matrix_flops", "quality", "padded_share"):
        assert found[key].keys() == contestants
    assert found["sentences"] == 20
    assert found["matrix_flops"][training.OURS] == found["matrix_flops"][training.BARE] > 0
    assert found["quality"][training.OURS].keys() == {"intent_accuracy", "slots_f1"}
    # The bare loop does the same arithmetic.
    assert found["quality"][training.OURS] == found["quality"][training.BARE]
    assert found["limits"]["fp32"]["peak"] > 0
    assert "matrix products" in Path(slots_and_intents, "out", "profile.md").read_text()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_inference(dtype, tiny):
    inference.main([*tiny, "--dtype", dtype])
    found = results_of(tiny, "speed")
    shown = {inference.OURS, inference.FORWARD, *inference.STOCK.values()}
    assert shown <= found["times"].keys()
    assert found["share_of_matrix_peak"].keys() == shown
    assert (inference.OURS_WIDE in found["times"]) == (dtype == "bfloat16")
    assert sum(rows for rows, _ in found["batches"]) == found["texts"] == 20
    # One after the other, there is nothing to pad.
    assert found["padded_share"][inference.STOCK[1]] == 0


def test_latency(tiny):
    latency.main([*tiny, "--threads", "1"])
    found = results_of(tiny, "threads_1")
    assert [one["length"] for one in found["found"]] == ["short", "median", "long"]
    tokens = [one["tokens"] for one in found["found"]]
    assert tokens == sorted(tokens)
    assert found["found"][0]["milliseconds"][latency.OURS].keys() == {
        "p50", "p95", "p99", "cpu_median",
    }  # fmt: skip


def test_parity(tiny, monkeypatch):
    # A graph takes many seconds to make; tests/test_export.py makes one.
    monkeypatch.setattr(parity, "GRAPHS", {})
    monkeypatch.setattr(parity, "SERVED", {})  # nor does Ray start in less; see test_serving.py
    parity.main(tiny)
    found = results_of(tiny)
    stock = {"stock pipeline, topic", "stock pipeline, entities"}
    ours = {parity.OURS, parity.TYPED, parity.BF16}
    assert found["found"].keys() == {*ours, "sentence-transformers", *stock}
    assert found["found"].keys() == found["sentences_per_second"].keys()
    assert found["found"]["sentence-transformers"]["embedding"] < 1e-4
    typed = found["found"][parity.TYPED]
    assert typed["embedding"] < 1e-6 and typed["scores"] < 1e-6
    assert typed["labels"] == typed["entities"] == 0
    assert 0 < found["found"][parity.BF16]["embedding"] < 0.05
    assert found["found"]["stock pipeline, topic"]["labels"] == 0
    assert all(one["megabytes"] > 0 for one in found["found"].values())


def test_quality_is_that_of_the_whole_answers():
    tasks = {
        "intent": {"type": "sequence_classification"},
        "slots": {"type": "token_classification"},
    }
    rows = [
        {
            "tokens": ["play", "cool", "jazz"],
            "intent": "play",
            "slots": ["O", "B-genre", "I-genre"],
        },
        {"tokens": ["rain", "?"], "intent": "ask", "slots": ["B-sky", "O"]},
    ]
    answers = {
        "play cool jazz": ("play", [(5, 14, "genre")]),
        "rain ?": ("play", [(0, 6, "sky")]),  # one wrong intent, one wrong border
    }

    def answer(texts):
        keys = ("start", "end", "label")
        return [
            {
                "labels": {"intent": {"label": answers[text][0]}},
                "entities": {
                    "slots": [dict(zip(keys, one, strict=True)) for one in answers[text][1]]
                },
            }
            for text in texts
        ]

    assert parity.quality(answer, rows, tasks) == {"intent, test": 50, "slots, test": 50}


def test_the_embedding_is_measured_by_pairs():
    vectors = {"a": [1.0, 0.0], "b": [3.0, 0.1], "c": [1.0, 1.0], "d": [-1.0, 0.0]}
    pairs = [
        {"sentence1": "a", "sentence2": other, "score": score}
        for other, score in (("b", 5), ("c", 3), ("d", 0))
    ]

    def answer(texts):
        return [{"embedding": vectors[text]} for text in texts]

    assert parity.of_pairs(answer, pairs) == {"embedding, test": pytest.approx(100)}
    assert parity.of_pairs(answer, []) == {}


def test_memory(tiny, slots_and_intents):
    memory.main([*tiny, "--data_dir", slots_and_intents])
    found = results_of(tiny, "memory")
    assert found["mebibytes"].keys() == {
        "our model", "three stock models", "our answers", "stock answers", "our training",
        "stock training, intent", "stock training, slots", "stock training, peak",
        "stock training, sum",
    }  # fmt: skip


def test_growth(tiny, monkeypatch):
    monkeypatch.setattr(growth, "HEADS", (1, 3))
    monkeypatch.setattr(growth, "LENGTHS", (8, 200))
    monkeypatch.setattr(
        measuring, "in_fresh_process", lambda *arguments: {"before": 0, "peak": len(arguments)}
    )
    growth.main([*tiny, "--parts", "heads", "length"])
    found = results_of(tiny, "heads_wall", "heads_mib", "length_wall", "length_mib")
    heads = found["found"]["heads"]["wall seconds"]
    assert heads["token heads"]["sizes"] == [1, 3]
    assert {"values", "exponent"} <= heads["sentence heads"].keys()
    assert found["found"]["length"]["MiB"].keys() == {"at once", "in windows"}


@pytest.mark.slow
def test_growth_with_rows_and_processes(tiny, monkeypatch):
    monkeypatch.setattr(measuring, "in_fresh_process", in_fresh_process)
    growth.main(
        [*tiny, "--parts", "rows", "processes", "--max_rows", "20", "--max_data_rows", "400"]
    )
    found = results_of(tiny, "rows_wall", "rows_mib", "processes_wall")["found"]
    assert found["processes"]["wall seconds"]["an epoch"]["sizes"] == [1, 2]
    assert found["rows"]["MiB"]["reading and tokenizing"]["sizes"] == [40, 400]


@pytest.mark.parametrize("module", [training, inference, latency, memory, growth, parity])
def test_a_missing_encoder_is_one_line(module, capsys):
    with pytest.raises(SystemExit) as stop:
        module.main(["--encoder", "backbones/none", "--rows", "2"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: No encoder backbones/none.")


def test_a_missing_data_dir_is_one_line(tiny, capsys):
    with pytest.raises(SystemExit) as stop:
        training.main([*tiny, "--data_dir", "nowhere"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.slow
def test_recipes_are_compared(backbone, tmp_path, capsys):
    rows = [{"text": f"{word} play", "topic": word} for word in ("a", "b")] * 4
    pairs: list[dict] = [
        {"sentence1": "a", "sentence2": text, "score": len(text)} for text in ("b", "a b")
    ]
    for name, content in {"train": rows, "validation": rows, "test": rows, "sts": pairs}.items():
        folder = tmp_path / "sts" if name == "sts" else tmp_path
        folder.mkdir(exist_ok=True)
        lines = "".join(f"{json.dumps(row)}\n" for row in content)
        (folder / ("test.jsonl" if name == "sts" else f"{name}.jsonl")).write_text(lines)
    run = {
        "encoder": str(backbone("bert")),
        "data_dir": str(tmp_path),
        **{f"{split}_file": f"{split}.jsonl" for split in ("train", "validation", "test")},
        "tasks": {
            "topic": {"type": "sequence_classification"},
            "embedding": {"type": "sentence_embedding"},
        },
        "use_cpu": True,
    }
    (tmp_path / "run.yaml").write_text(json.dumps(run))
    options = ["--config", str(tmp_path / "run.yaml"), "--epochs", "1", "--output"]
    chosen = ["--recipes", "the encoder", "--sts_dir", str(tmp_path / "sts")]
    recipes.main([*options, str(tmp_path / "out"), *chosen])
    found = json.loads((tmp_path / "out" / "results.json").read_text())["outcomes"]
    assert list(found) == ["everything", "the encoder"]
    assert found["everything"]["trained"] == 0
    assert found["the encoder"]["trained"] == 2 * 16 + 2
    # Nothing that gives the embedding was trained.
    assert found["the encoder"]["spearman"] == found["everything"]["spearman"]
    table = (tmp_path / "out" / "results.md").read_text()
    assert "| frozen | topic accuracy | exact match | STS (before: " in table


def test_what_is_forgotten_is_measured_on_every_step(backbone, tmp_path, monkeypatch):
    rows = [
        {"tokens": ["play", word], "intent": word, "slots": ["O", "B-genre"]} for word in "abab"
    ]
    (tmp_path / "snips").mkdir()
    for split in ("train", "validation", "test"):
        write_rows(tmp_path / "snips" / f"{split}.jsonl", rows * 4)
    monkeypatch.setattr(forgetting, "STEPS", forgetting.STEPS[:2])
    types = dict(list(forgetting.TYPES.items())[:2])
    monkeypatch.setattr(forgetting, "TYPES", types)
    monkeypatch.setattr(runs, "start_run", lambda path: run_multitask.main([str(path)]))
    options = ["--data_dir", str(tmp_path), "--encoder", str(backbone("bert")), "--rows", "8"]
    options += ["--epochs", "1", "--seeds", "0", "--output", str(tmp_path / "out")]
    forgetting.main(options)
    found = json.loads((tmp_path / "out" / "results.json").read_text())["seeds"]["0"]
    assert {step: list(of) for step, of in found.items()} == {
        "intent": ["intent"],
        "slots": ["intent", "slots"],
        "all at once": ["intent", "slots"],
    }
    assert 0 <= found["slots"]["intent"] <= 100
    monkeypatch.setattr(runs, "start_run", None)
    forgetting.main([*options, "--without_reference"])  # which finds the seed
    table = (tmp_path / "out" / "results.md").read_text()
    assert f"| mean | {found['intent']['intent'] - found['slots']['intent']:.4g} |" in table


def test_a_fused_model_is_beside_its_teachers(backbone, tmp_path, monkeypatch):
    tags = ["O", "B-genre"]
    words = [
        {"tokens": [f"play{n}", word], "intent": word, "slots": tags}
        for n in range(16)
        for word in "ab"
    ]
    texts = [
        {"text": f"{word} is {n}", "topic": word, "sentiment": word}
        for n in range(16)
        for word in "ab"
    ]
    pairs = [{"sentence1": "a", "sentence2": text, "score": len(text)} for text in ("b", "a b")]
    for name, rows in (("snips", words), ("uci_sentences", texts), ("sts", pairs)):
        (tmp_path / name).mkdir()
        for split in ("train", "validation", "test"):
            write_rows(tmp_path / name / f"{split}.jsonl", rows)
    monkeypatch.setattr(runs, "start_run", lambda path: run_multitask.main([str(path)]))
    options = ["--data_dir", str(tmp_path), "--encoder", str(backbone("bert")), "--rows", "8"]
    options += ["--pile", "20", "--epochs", "1", "--seeds", "0", "--output", str(tmp_path / "out")]
    fusing.main(options)
    (found,) = json.loads((tmp_path / "out" / "results.json").read_text())["seeds"].values()
    assert list(found) == ["intent", "slots", "sentiment", "STS"]
    assert all(0 <= of["teacher"] <= 100 for name, of in found.items() if name != "STS")
    table = (tmp_path / "out" / "results.md").read_text()
    assert "| task | teacher | fused | difference | agreement |" in table


def test_scores_are_measured_with_texts_out_of_scope(backbone, tmp_path, monkeypatch):
    rows = [{"text": f"{word} {n}", "intent": word} for n in range(60) for word in ("play", "book")]
    (tmp_path / "clinc150").mkdir()
    for split in ("train", "validation", "test", "oos_test"):
        part = [{**row, "intent": None} for row in rows] if split == "oos_test" else rows
        write_rows(tmp_path / "clinc150" / f"{split}.jsonl", part)
    monkeypatch.setattr(runs, "start_run", lambda path: run_multitask.main([str(path)]))
    options = ["--data_dir", str(tmp_path), "--encoder", str(backbone("bert")), "--epochs", "1"]
    options += ["--seeds", "0", "--runs", "clinc150", "--output", str(tmp_path / "out")]
    unsure.main(options)
    (found,) = json.loads((tmp_path / "out" / "results.json").read_text())["seeds"].values()
    scope = found["clinc150"]["out_of_scope"]["intent"]["test"]
    assert 0 <= scope["auroc"] <= 1
    table = (tmp_path / "out" / "results.md").read_text()
    assert f"| clinc150 | intent | {100 * scope['refused']:.4g} |" in table
    assert "| run | task | asked | covered |" in table
    assert "| clinc150 | intent | 0.9 |" in table.rpartition("Coverage in 20 resplits")[2]


def test_promises_are_measured_on_other_texts(backbone, tmp_path, monkeypatch):
    words = [
        {"tokens": ["play", f"song{n}"], "intent": intent, "slots": ["O", "B-genre"]}
        for n in range(60)
        for intent in ("PlayMusic", "GetWeather")
    ]
    other: list[dict] = [
        {"text": f"{intent} {n}", "intent": intent, "scenario": "x", "slots": []}
        for n in range(3)
        for intent in ("play_music", "alarm_set")
    ]
    for name, rows in (("snips", words), ("hwu64", other)):
        (tmp_path / name).mkdir()
        for split in ("train", "validation", "test"):
            write_rows(tmp_path / name / f"{split}.jsonl", rows)
    monkeypatch.setattr(runs, "start_run", lambda path: run_multitask.main([str(path)]))
    options = ["--data_dir", str(tmp_path), "--encoder", str(backbone("bert")), "--epochs", "1"]
    options += ["--seeds", "0", "--runs", "snips", "--output", str(tmp_path / "out")]
    unsure.main(options)
    (found,) = json.loads((tmp_path / "out" / "results.json").read_text())["seeds"].values()
    shift = found["snips"]["shift"]
    assert {name: list(of) for name, of in shift.items()} == {
        "own": ["refused", "covered"],
        "the same": ["refused", "covered"],
        "others": ["refused"],
    }
    assert (
        f"| others | {100 * shift['others']['refused']:.4g} |"
        in (tmp_path / "out" / "results.md").read_text()
    )


def test_new_labels_are_measured_beside_the_old_ones(backbone, tmp_path, monkeypatch):
    rows = [
        {
            "text": f"{word} {other}",
            "scenario": "a",
            "intent": word,
            "slots": [{"start": 2, "end": 3, "label": other}],
        }
        for word in "abcd"
        for other in "wxyz"
    ]
    (tmp_path / "hwu64").mkdir()
    for split in ("train", "validation", "test"):
        write_rows(tmp_path / "hwu64" / f"{split}.jsonl", rows)
    monkeypatch.setattr(runs, "start_run", lambda path: run_multitask.main([str(path)]))
    options = ["--data_dir", str(tmp_path), "--encoder", str(backbone("bert")), "--rows", "6"]
    options += ["--epochs", "1", "--seeds", "0", "--output", str(tmp_path / "out")]
    new_labels.main(options)
    found = json.loads((tmp_path / "out" / "results.json").read_text())["seeds"]["0"]
    assert list(found) == ["intent", "slots"]
    both = {"slots": ["old", "new"]}
    both["intent"] = ["old", "old, among its own", "new", "new, among its own"]
    for task, models in found.items():
        known = both[task][: len(both[task]) // 2], both[task], both[task]
        assert [list(of) for of in models.values()] == [*known]
        assert all(0 <= value <= 100 for of in models.values() for value in of.values())
    table = (tmp_path / "out" / "results.md").read_text()
    assert "| slots, new |  |" in table  # which the first model doesn't know


def test_halves_of_labels_share_no_row():
    rows = [{"intent": label, "slots": [f"B-{label}", "B-a"]} for label in "abab"]
    splits, halves = {"train": rows, "validation": rows}, [{"a"}, {"b"}]
    of_tags = new_labels.splits_of(splits, "slots", "token_classification", halves, 1)
    assert of_tags["before"]["train"] == [{"intent": "a", "slots": ["B-a", "B-a"]}]
    assert of_tags["grown"]["train"] == [{"intent": "b", "slots": ["B-b", "O"]}]
    assert of_tags["at once"]["train"] == rows[:2]
    of_classes = new_labels.splits_of(splits, "intent", "sequence_classification", halves, 2)
    assert of_classes["grown"]["train"] == rows[1::2]
    assert of_classes["at once"]["train"] == [*rows[::2], *rows[1::2]]
