"""The quality benchmark: data sets, draws, scores, contestants and the report, tiny."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.quality import __main__ as quality
from benchmarks.quality import contestants, data
from multitask_encoder.cli import run

WORDS = {"play": "music", "rain": "weather", "book": "trip"}


def rows_of(number: int) -> list[dict]:
    """Of each intent in turn; the second word is an entity."""
    return [
        {"text": f"{word} w{index} now", "scenario": word, "intent": intent, "slots": [
            {"start": 5, "end": 6 + len(str(index)), "label": "what"}
        ]}
        for index, (word, intent) in enumerate([*WORDS.items()] * number)
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> Path:
    """hwu64, wnut17 and sts in their formats."""
    for name in ("hwu64", "wnut17", "sts"):
        (tmp_path / name).mkdir()
    for split, number in {"train": 30, "validation": 5, "test": 4}.items():
        data.write_rows(tmp_path / "hwu64" / f"{split}.jsonl", rows_of(number))
        lines = ["we\tO\nsaw\tO\nParis\tB-location\n\n", "hello\tO\n\t\n"] * number
        (tmp_path / "wnut17" / f"{split}.conll").write_text("".join(lines))
    pairs = [{"sentence1": "set an alarm", "sentence2": x, "score": len(x)} for x in ("a", "no")]
    data.write_rows(tmp_path / "sts" / "test.jsonl", pairs)
    return tmp_path


def test_a_conll_file_is_read_whatever_its_blank_lines_hold(folder):
    splits = data.read(folder, "wnut17")
    assert {split: len(rows) for split, rows in splits.items()} == {
        "train": 60, "validation": 10, "test": 8,
    }  # fmt: skip
    assert splits["test"][:2] == [
        {"tokens": ["we", "saw", "Paris"], "tags": ["O", "O", "B-location"]},
        {"tokens": ["hello"], "tags": ["O"]},
    ]


def test_character_spans_become_tags_of_the_words_they_touch():
    spans = [
        {"start": 1, "end": 6, "label": "a"},
        {"start": 8, "end": 9, "label": "a"},
        {"start": 11, "end": 12, "label": "b"},
    ]
    row = {"text": "one two x yes", "scenario": "s", "intent": "i", "slots": spans}
    assert data._in_words(row, "hwu64") == {
        "tokens": ["one", "two", "x", "yes"],
        "scenario": "s",
        "intent": "i",
        "slots": ["B-a", "I-a", "B-a", "B-b"],
    }


def test_few_rows_are_ten_of_each_class(folder):
    splits = data.read(folder, "hwu64")
    sample = data.draw("hwu64", splits, "few", seed=0)
    intents = [row["intent"] for row in sample.splits["train"]]
    assert {intent: intents.count(intent) for intent in WORDS.values()} == dict.fromkeys(
        WORDS.values(), 10
    )
    assert len(sample.splits["validation"]) == 15
    assert sample.splits["test"] == splits["test"]
    assert sample.labels == {
        "scenario": ["book", "play", "rain"],
        "intent": ["music", "trip", "weather"],
        "slots": ["O", "B-what", "I-what"],
    }


def test_draws_depend_on_the_seed_alone_and_are_nested():
    splits = {
        split: [data._in_words(row, "hwu64") for row in rows_of(300)] for split in data.SPLITS
    }
    assert data.budgets(splits) == ["few", "500", "all"]
    one, again, other = (
        data.draw("hwu64", splits, "500", seed).splits["train"] for seed in (1, 1, 2)
    )
    assert one == again != other
    whole = data.draw("hwu64", splits, "all", 1)
    assert whole.splits["train"][:500] == one
    assert len(whole.splits["validation"]) == 900
    assert len(data.draw("hwu64", splits, "500", 1).splits["validation"]) == 500


def test_scores_are_of_whole_entities_and_whole_rows():
    rows = [
        {"tokens": ["play", "jazz"], "intent": "play", "slots": ["O", "B-genre"]},
        {"tokens": ["new", "york"], "intent": "ask", "slots": ["B-city", "I-city"]},
    ]
    tasks = {"intent": data.SENTENCE, "slots": data.TOKENS}
    labels = {"intent": ["ask", "play"], "slots": ["O", "B-city", "I-city", "B-genre", "I-genre"]}
    sample = data.Sample(tasks, labels, {"test": rows})
    answers: dict[str, list] = {
        "intent": ["play", "play"],
        "slots": [["O", "B-genre"], ["B-city", "O"]],
    }
    assert data.score(sample, "test", answers) == {
        "intent_accuracy": 0.5,
        "slots_f1": 0.5,
        "intent_macro_f1": pytest.approx((0 + 2 / 3) / 2),
        "exact_match": 0.5,
    }
    assert "exact_match" not in data.score(sample, "test", {"intent": ["ask", "ask"]})


@pytest.mark.parametrize(
    ("rows", "epochs"), [(30, 30), (100, 30), (500, 16), (2000, 4), (13_084, 3)]
)
def test_stock_trains_for_500_steps_within_limits(rows, epochs):
    assert contestants.epochs(rows) == epochs


def test_setfit_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setattr(contestants, "SETFIT", Path("none"))
    with pytest.raises(ValueError, match="Not installed"):
        contestants.setfit(data.Sample({}, {}, {}), "", 0)


def test_a_failed_command_is_its_last_line(tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('first\\nerror: last')"]
    with pytest.raises(ValueError, match=r"^error: last$"):
        contestants.run_script(command, tmp_path)


def result(contestant: str, seed: int, value: float, budget: str = "few") -> dict:
    cell = {"dataset": "snips", "budget": budget, "contestant": contestant, "seed": seed}
    return {**cell, "metrics": {"intent_accuracy": value, "intent_macro_f1": 0.0}}


def test_differences_are_paired_with_the_best_other_and_the_worst_comes_first():
    values = [("ours", 0.9, 0.8), ("stock", 0.5, 0.4), ("frozen", 0.7, 0.7)]
    results = [
        result(name, seed, value) for name, *both in values for seed, value in enumerate(both)
    ]
    # With all rows, one seed stands for all.
    results += [result("ours", 0, 0.9, "all"), result("ours", 1, 0.7, "all")]
    results += [result("stock", 0, 0.9, "all"), result("tfidf", 1, 0.1, "500")]
    worst, best = quality.differences(quality.by_row(results))
    assert worst["row"] == ("snips", "all", "intent_accuracy")
    assert (worst["other"], worst["differences"]) == ("stock", [0, -20])
    assert (best["other"], best["differences"]) == ("frozen", [20, 10])
    assert (best["difference"], best["standard_error"]) == (15, pytest.approx(5))


def test_stock_keeps_the_rate_of_the_first_seed_and_of_2000_rows(tmp_path, monkeypatch):
    asked = []

    def stock(sample, encoder, seed, rates=None):
        asked.append((len(sample.splits["train"]), seed, rates))
        return {}, {"intent": 1e-4}

    monkeypatch.setitem(quality.RUN, "stock", stock)
    rows = {split: [data._in_words(row, "hwu64") for row in rows_of(900)] for split in data.SPLITS}
    for budget, seed in (("all", 1), ("2000", 2), ("2000", 2)):
        cell = quality.Cell("bert", "hwu64", budget, "stock", seed)
        quality.measure(cell, rows, [], tmp_path / "cells.jsonl")
    monkeypatch.setitem(quality.VERSIONS, "stock", 2)
    assert not quality.finished(tmp_path / "cells.jsonl")  # measured before its settings changed
    assert asked == [(2000, 0, None), (2700, 1, {"intent": 1e-4}), (2000, 2, {"intent": 1e-4})]


def test_cells_are_those_that_say_something(folder):
    def cells(*words: str) -> list[tuple]:
        options = quality.options_parser().parse_args(
            ["--data_dir", str(folder), "--datasets", *words]
        )
        rows = {name: data.read(folder, name) for name in options.datasets}
        return [tuple(cell[1:]) for cell in quality.cells_of(options, rows)]

    found = cells("hwu64", "wnut17", "--contestants", "ours", "setfit", "frozen")
    assert found[0] == ("hwu64", "few", "ours", 0)
    assert [cell[3] for cell in found] == sorted(cell[3] for cell in found)
    assert {cell[:3] for cell in found} == {
        *(("hwu64", "few", name) for name in ("ours", "setfit", "frozen")),
        *(("hwu64", "all", name) for name in ("ours", "frozen")),
        *(("wnut17", budget, "ours") for budget in ("few", "all")),
    }
    assert [cell[3] for cell in found if cell[:3] == ("hwu64", "all", "ours")] == [0, 1, 2, 3, 4]
    assert [cell[3] for cell in found if cell[:3] == ("hwu64", "all", "frozen")] == [0]
    assert cells("hwu64", "--contestants", "tfidf", "--seeds", "7", "--budgets", "few") == [
        ("hwu64", "few", "tfidf", 7)
    ]


@pytest.fixture
def in_this_process(monkeypatch):
    """Nothing starts a process or changes this one."""
    monkeypatch.setattr(quality, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(contestants, "SETFIT", Path("none"))
    monkeypatch.setattr(contestants, "run_script", lambda command, _: run.main(command[2:]))
    monkeypatch.setattr(contestants, "RATES", (1e-4, 1e-3))
    monkeypatch.setattr(contestants, "MAX_EPOCHS", 1)
    monkeypatch.setattr(contestants, "MIN_EPOCHS", 1)


@pytest.mark.slow  # half a minute, of seven models
def test_every_contestant_is_measured_once(backbone, folder, in_this_process, capsys):
    output = folder / "out"
    options = ["--data_dir", str(folder), "--encoder", str(backbone("bert"))]
    options += ["--output", str(output), "--seeds", "0"]
    options += ["--datasets", "hwu64", "wnut17", "--budgets", "few"]
    quality.main(options)
    lines = (output / "cells.jsonl").read_text().splitlines()
    sentences = {
        f"{task}_{metric}" for task in ("scenario", "intent") for metric in ("accuracy", "macro_f1")
    }
    every = {
        "ours": {*sentences, "slots_f1", "exact_match"},
        "held": {*sentences, "slots_f1", "exact_match"},
        "stock": {*sentences, "slots_f1", "exact_match"},
        "frozen": sentences,
        "tfidf": sentences,
    }
    trained = ("ours", "held", "stock")
    found = [json.loads(line) for line in lines]
    assert {(one["dataset"], one["contestant"]) for one in found} == {
        *(("hwu64", name) for name in every),
        *(("wnut17", name) for name in trained),
    }
    assert {(one["budget"], one["seed"]) for one in found} == {("few", 0)}
    for one in found:
        kept = every[one["contestant"]] if one["dataset"] == "hwu64" else {"tags_f1"}
        of_pairs = {"sts_spearman"} if one["contestant"] in quality.OURS else set()
        assert one["metrics"].keys() == kept | of_pairs
        assert all(-1 <= value <= 1 for value in one["metrics"].values())
    assert len(lines) == 8
    written = json.loads((output / "results.json").read_text())
    assert [note for note in written["notes"] if note.startswith("Not measured: setfit.")]
    assert (output / "differences.png").exists()
    table = (output / "results.md").read_text()
    assert "| hwu64 | few | 30 | exact match |" in table
    capsys.readouterr()
    quality.main([*options[:-4], "--contestants"])
    assert (output / "cells.jsonl").read_text().splitlines() == lines
    assert "Ours less the best other" in capsys.readouterr().out


def test_a_missing_data_set_is_one_line(tmp_path, in_this_process, capsys):
    with pytest.raises(SystemExit) as stop:
        quality.main(["--data_dir", str(tmp_path), "--datasets", "snips"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
