"""What `--do_inspect` shows of a run's data, and that it shows it safely."""

import json
import sys

import pytest
import yaml

from multitask_encoder.cli import run as run_multitask
from multitask_encoder.reporting.results import print_inspection

TASKS: dict[str, dict] = {
    "topic": {"type": "sequence_classification", "labels": ["sports", "tech"]},
    "entities": {"type": "token_classification"},
}
ANN = {
    "tokens": ["Ann", "plays", "in", "Paris"],
    "topic": "sports",
    "entities": ["B-PER", "O", "O", "B-LOC"],
}
THE = {"tokens": ["the", "play"], "topic": "tech", "entities": ["O", "O"]}


@pytest.fixture
def inspect(tmp_path, backbone, capsys):
    """Inspects rows; returns what was printed, in lines, and inspection.json."""

    def inspect(train: list[dict], validation: list[dict] | None = None, **config):
        config = {
            "encoder": str(backbone("bert")),
            "data_dir": str(tmp_path / "data"),
            "output_dir": str(tmp_path / "run"),
            "tasks": TASKS,
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            **config,
        }
        (tmp_path / "data").mkdir()
        for split, rows in {"train": train, "validation": validation}.items():
            if rows is not None:
                config[f"{split}_file"] = f"{split}.jsonl"
                lines = "".join(f"{json.dumps(row)}\n" for row in rows)
                (tmp_path / "data" / f"{split}.jsonl").write_text(lines)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        capsys.readouterr()
        run_multitask.main([str(tmp_path / "config.yaml"), "--do_inspect"])
        printed = capsys.readouterr().out.replace(f"{tmp_path}/", "")
        found = (tmp_path / "run" / "inspection.json").read_text().replace(f"{tmp_path}/", "")
        return printed.splitlines(), json.loads(found)

    return inspect


def counts(report: dict, split: str) -> dict:
    return {key: value for key, value in report["splits"][split].items() if key != "first_rows"}


def block(lines: list[str], first: str, number: int) -> list[str]:
    """So many lines from the one that is `first`."""
    start = lines.index(first)
    return lines[start : start + number]


NO_FINDINGS: dict = {
    "unseen_labels": {},
    "repaired_labels": 0,
    "widened_spans": 0,
    "lost_spans": 0,
    "cut_tokens": 0,
    "cut_entities": 0,
    "bad_rows": [],
    "repeated_rows": 0,
}
PROBLEM = (
    "data/train.jsonl, line 3: 'entities' should have one tag for each of the 1 words. Found 2."
)


@pytest.fixture
def inspected(inspect) -> tuple[list[str], dict]:
    """Printed lines and the report of rows with a long text, a bad row and a repeated text."""
    tags = ["B-LOC", *["O"] * 149, "I-PER", *["O"] * 49]
    long = {"tokens": ["the"] * 200, "topic": "tech", "entities": tags}
    again = {"tokens": ANN["tokens"]}
    wrong = {"tokens": ["the"], "topic": "tech", "entities": ["O", "O"]}
    return inspect([ANN, long, wrong, again], [THE, ANN], max_length=128)


def test_counts_are_those_of_the_rows(inspected):
    _, report = inspected
    assert counts(report, "train") == {
        **NO_FINDINGS,
        "rows": 3,
        "tokens": 9 + 202 + 9,
        "length_percentiles": {"50": 9, "90": 202, "99": 202, "100": 202},
        "windows": 4,
        "tasks": {
            "topic": {"labelled_share": 2 / 3, "labels": {"sports": 1, "tech": 1}},
            "entities": {"labelled_share": 2 / 3, "labels": {"PER": 2, "LOC": 2}},
        },
        "repaired_labels": 1,
        "bad_rows": [PROBLEM],
        "repeated_rows": 1,
    }
    assert counts(report, "validation") == {
        **NO_FINDINGS,
        "rows": 2,
        "tokens": 4 + 9,
        "length_percentiles": {"50": 9, "90": 9, "99": 9, "100": 9},
        "windows": 2,
        "tasks": {
            "topic": {"labelled_share": 1.0, "labels": {"tech": 1, "sports": 1}},
            "entities": {"labelled_share": 1.0, "labels": {"PER": 1, "LOC": 1}},
        },
    }
    assert report["leaks"] == {"train, validation": 1}


def test_counts_are_printed(inspected, tmp_path):
    lines, _ = inspected
    assert lines[:12] == [
        "",
        "train: 3 rows, 220 tokens, 4 windows",
        "  tokens of a row   50%: 9 90%: 202 99%: 202 100%: 202",
        "  topic: 66.7% of rows labelled",
        "    sports 1, tech 1",
        "  entities: 66.7% of rows labelled",
        "    PER 2, LOC 2",
        "  repaired labels: 1",
        "  rows that repeat a text: 1",
        "  bad rows: 1",
        f"    {PROBLEM}",
        "",
    ]
    assert lines[-5:] == [
        "1 validation rows have a text that is also in train",
        "",
        "As JSON: run/inspection.json",
        "To train on it: the command `train`, without do_inspect.",
        "Bad rows end that run, unless `on_bad_row: skip` leaves them out.",
    ]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["inspection.json"]


def test_nothing_is_trained(inspect, monkeypatch):
    monkeypatch.setattr(run_multitask, "make_trainer", None)
    _, report = inspect([ANN])
    assert list(report["splits"]) == ["train"]


def test_labels_of_every_kind_are_counted(inspect):
    tasks = {
        "genres": {
            "type": "sequence_classification",
            "problem_type": "multi_label_classification",
        },
        "stars": {"type": "sequence_classification", "problem_type": "regression"},
        "places": {"type": "token_classification", "overlap": "longest"},
        "embedding": {"type": "sentence_embedding"},
    }
    paris, inside, whole = (
        {"start": s, "end": e, "label": "L"} for s, e in [(3, 8), (4, 8), (0, 8)]
    )
    rows = [
        {"text": "in paris", "genres": ["a", "b"], "stars": 1.0, "places": [paris, inside]},
        {"text": "is paris", "genres": ["b"], "stars": 4.0, "places": [{**inside, "label": "M"}]},
        {"text": "in  paris", "genres": [], "places": [{**whole, "start": 2, "end": 4}]},
        {"text": "is it", "stars": None},
    ]
    lines, report = inspect(rows, tasks=tasks)
    found = counts(report, "train")
    assert found["tasks"] == {
        "genres": {"labelled_share": 0.75, "labels": {"b": 2, "a": 1}},
        "stars": {"labelled_share": 0.5, "labels": {"min": 1.0, "mean": 2.5, "max": 4.0}},
        "places": {"labelled_share": 0.75, "labels": {"L": 2, "M": 1}},
    }
    assert (found["repaired_labels"], found["widened_spans"]) == (1, 1)
    assert "    min 1, mean 2.5, max 4" in lines
    assert "  widened spans: 1" in lines


def test_labels_that_occur_once_may_be_typos(inspect):
    rows = [ANN, THE, ANN, {**THE, "topic": "sprots"}, {**ANN, "topic": "chess"}]
    rows.append({**THE, "entities": ["B-LOCC", "O"], "topic": None})
    tasks = {name: {"type": task["type"]} for name, task in TASKS.items()}
    lines, report = inspect(rows, [{**THE, "topic": "chess"}], tasks=tasks)
    found = [
        "topic: 'tech' occurs only once, in data/train.jsonl, line 2.",
        "topic: 'sprots' occurs only once, in data/train.jsonl, line 4. Is it 'sports'?",
        "topic: 'chess' occurs only once, in data/train.jsonl, line 5.",
        "entities: 'LOCC' occurs only once, in data/train.jsonl, line 6. Is it 'LOC'?",
    ]
    assert report["labels_met_once"] == found
    assert block(lines, found[0], 4) == found


def test_what_truncation_loses_is_counted(inspect):
    long = {"tokens": ["the"] * 20, "topic": "tech", "entities": ["B-LOC", *["O"] * 18, "B-LOC"]}
    _, report = inspect([ANN, long], max_length=12, long_texts="truncate")
    found = counts(report, "train")
    assert (found["windows"], found["cut_tokens"], found["cut_entities"]) == (2, 10, 1)
    assert found["length_percentiles"]["100"] == 22


def test_a_row_of_the_tokens_that_the_model_sees(inspect):
    lines, report = inspect([ANN], tasks={**TASKS, "embedding": {"type": "sentence_embedding"}})
    assert block(lines, "  data/train.jsonl, line 1", 5) == [
        "  data/train.jsonl, line 1",
        "    topic: sports",
        "    word      Ann           plays     in Paris",
        "    token     a     ##n ##n play  ##s in paris",
        "    entities  B-PER         O         O  B-LOC",
    ]
    (row,) = report["splits"]["train"]["first_rows"]
    assert row["labels"] == {"topic": "sports"}
    assert row["tokens"][:3] == [
        {"word": "Ann", "token": "a", "labels": {"entities": "B-PER"}},
        {"word": "", "token": "##n", "labels": {"entities": ""}},
        {"word": "", "token": "##n", "labels": {"entities": ""}},
    ]


def test_a_row_of_text_is_shown_by_the_words_that_are_found_in_it(inspect):
    entities = [{"start": 0, "end": 3, "label": "PER"}]
    lines, _ = inspect([{"text": "Ann, plays", "topic": None, "entities": entities}])
    assert block(lines, "  data/train.jsonl, line 1", 5) == [
        "  data/train.jsonl, line 1",
        "    topic: None",
        "    word      Ann           , plays",
        "    token     a     ##n ##n , play  ##s",
        "    entities  B-PER         O O",
    ]


def test_a_long_row_is_shown_from_its_beginning(inspect):
    words = ["in", "Paris", *["the"] * 20]
    long = {"tokens": words, "topic": "tech", "entities": ["O", "B-LOC", *["O"] * 20]}
    lines, report = inspect([long, ANN], max_length=12)
    assert report["splits"]["train"]["windows"] > 2
    shown, other = report["splits"]["train"]["first_rows"]
    assert [token["word"] for token in shown["tokens"]] == words[:10]
    # The first window answers for those of its tokens that no other has more context for.
    assert [token["labels"]["entities"] for token in shown["tokens"]] == [
        "O",
        "B-LOC",
        *"OOOOOOO",
        "",
    ]
    assert other["tokens"][0] == {"word": "Ann", "token": "a", "labels": {"entities": "B-PER"}}
    assert "    entities  O  B-LOC O   O   O   O   O   O   O" in lines


def test_long_lines_go_on_below(inspect):
    words = {"tokens": ["Paris"] * 40, "topic": "tech", "entities": ["B-LOC"] * 40}
    lines, _ = inspect([words])
    columns, rest = " ".join(["Paris"] * 14), " ".join(["Paris"] * 12)
    assert block(lines, "  data/train.jsonl, line 1", 13)[2:] == [
        f"    word      {columns}",
        f"    token     {columns.lower()}",
        f"    entities  {columns.replace('Paris', 'B-LOC')}",
        "",
        f"    word      {columns}",
        f"    token     {columns.lower()}",
        f"    entities  {columns.replace('Paris', 'B-LOC')}",
        "",
        f"    word      {rest}",
        f"    token     {rest.lower()}",
        f"    entities  {rest.replace('Paris', 'B-LOC')}",
    ]
    assert max(map(len, lines)) <= 100


def test_rows_that_only_the_model_cannot_take_are_listed_too(inspect):
    unknown = {**THE, "topic": "chess"}
    _, report = inspect([ANN, THE], [unknown, THE, ANN])
    found = report["splits"]["validation"]
    assert found["bad_rows"] == [
        "data/validation.jsonl, line 1: task 'topic': unknown label 'chess'. Expected one seen in "
        "training or given as `labels`: sports, tech."
    ]
    assert (found["rows"], found["windows"]) == (2, 2)
    assert found["tasks"]["topic"]["labels"] == {"tech": 1, "sports": 1}
    assert [row["source"] for row in found["first_rows"]] == [
        "data/validation.jsonl, line 2",
        "data/validation.jsonl, line 3",
    ]


def test_each_of_several_data_sets_is_shown(inspect, tmp_path):
    (tmp_path / "words.conll").write_text("Paris\tB-LOC\nis\tO\n")
    own = {"train_file": "../words.conll", "columns": {"entities": "tags"}}
    (tmp_path / "data.jsonl").write_text(f"{json.dumps(ANN)}\n")
    other = {"train_file": "../data.jsonl", "columns": {"topic": "topic"}}
    lines, report = inspect(None, datasets={"words": own, "topics": other})
    assert set(report["splits"]) == {"words train", "topics train"}
    assert report["splits"]["words train"]["tasks"] == {
        "entities": {"labelled_share": 1.0, "labels": {"LOC": 1}}
    }
    assert report["splits"]["topics train"]["tasks"] == {
        "topic": {"labelled_share": 1.0, "labels": {"sports": 1}}
    }
    assert lines.index("words train: 1 rows, 4 tokens, 1 windows") < lines.index(
        "topics train: 1 rows, 9 tokens, 1 windows"
    )


def test_rows_that_training_would_stream_are_shown_too(inspect):
    labels = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    tasks = {**TASKS, "entities": {**TASKS["entities"], "labels": labels}}
    _, report = inspect([ANN, THE], [THE], tasks=tasks, streaming=True, max_steps=5)
    assert counts(report, "train")["rows"] == 2
    assert report["leaks"] == {"train, validation": 1}


# Terminals


ESCAPE = "\x1b[31m"


def test_nothing_in_the_data_reaches_the_terminal_as_a_command(inspect):
    rows = [
        {
            "tokens": [f"the{ESCAPE}", "\x07the\r", "a\u202eb"],
            "topic": f"te{ESCAPE}ch\n",
            "entities": [f"B-L{ESCAPE}", "O", "O"],
        },
        {"tokens": ["the"], "topic": [ESCAPE, "\x9b"], "entities": ["O"]},
        {"tokens": ["the"], "topic": "tech", "entities": ["O"]},
    ]
    tasks = {name: {"type": task["type"]} for name, task in TASKS.items()}
    lines, report = inspect(rows, tasks=tasks)
    text = "\n".join(lines)
    assert {one for one in text if not one.isprintable()} == {"\n"}
    assert "    topic: te�[31mch�" in lines
    assert "    te�[31mch� 1, tech 1" in lines
    assert "    L�[31m 1" in lines
    assert "the�[31m" in text
    assert "�the�" in text
    assert "a�b" in text
    # The file has them as they are.
    row = report["splits"]["train"]["first_rows"][0]
    assert row["labels"]["topic"] == f"te{ESCAPE}ch\n"


def test_wide_and_combining_characters_keep_the_columns_aligned(inspect):
    words = ["日本語日本語", "किताबें", "e\u0301te\u0301", "\uff21", "\u200d", "Paris"]
    tags = ["O", "O", "O", "O", "O", "B-LOC"]
    lines, _ = inspect([{"tokens": words, "topic": "tech", "entities": tags}])
    assert block(lines, "  data/train.jsonl, line 1", 5)[2:] == [
        f"    word      日本語日本語 {' ' * 30}किताबें e\u0301te\u0301 {' ' * 8}Ａ    Paris",
        f"    token     [UNK]        {'[UNK] ' * 5}[UNK] e   ##t ##e [UNK] paris",
        f"    entities  O            {'O     ' * 5}O     O   {' ' * 8}O     B-LOC",
    ]


REPORT = {
    "splits": {
        "train": {
            "rows": 1,
            "tokens": 3,
            "length_percentiles": {"50": 3},
            "windows": 1,
            "tasks": {},
            **NO_FINDINGS,
            "first_rows": [
                {
                    "source": "rows, line 1",
                    "labels": {},
                    "tokens": [
                        {"word": "in", "token": "in", "labels": {"tags": "O"}},
                        {"word": "Paris", "token": "paris", "labels": {"tags": "B-LOC"}},
                        {"word": "Ann", "token": "a", "labels": {"tags": "B-PER"}},
                        {"word": "and", "token": "and", "labels": {"tags": "I-PER"}},
                    ],
                }
            ],
        }
    },
    "leaks": {},
    "labels_met_once": [],
}


@pytest.mark.parametrize(
    ("terminal", "variables", "coloured"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (False, {"NO_COLOR": "1"}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"FORCE_COLOR": "1"}, True),
    ],
)
def test_colours_are_for_terminals(terminal, variables, coloured, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    print_inspection(REPORT, tmp_path / "inspection.json")
    assert ("\x1b" in capsys.readouterr().out) == coloured
    assert json.loads((tmp_path / "inspection.json").read_text()) == REPORT


def test_an_entity_type_keeps_its_colour_and_the_columns_stay(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    print_inspection(REPORT, tmp_path / "inspection.json")
    plain = capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_inspection(REPORT, tmp_path / "inspection.json")
    coloured = capsys.readouterr().out
    cells = coloured.split("\x1b[")
    codes = [cell.split("m")[0] for cell in cells if cell[0] != "0"][1:]
    assert len(codes) == 3
    assert codes[0] != codes[1] == codes[2]
    for code in {*codes, "0"}:
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert [line.rstrip() for line in coloured.splitlines()] == plain.splitlines()


@pytest.mark.parametrize(("right", "warned"), [(18, True), (19, False)])
def test_many_spans_inside_words_are_a_warning(inspect, caplog, right, warned):
    inside = {"start": 3, "end": 5, "label": "L"}
    rows = [{"text": "in paris", "places": [inside]}, {"text": "it is", "places": []}]
    whole = {"text": "in paris", "places": [{**inside, "end": 8}]}
    inspect([*rows, *[whole] * right], tasks={"places": {"type": "token_classification"}})
    found = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(found) == warned
    for line in found:
        assert line.startswith("train: 1 of 19 spans (5%) begin or end inside a word.")
        assert "`labelling: all`" in line


@pytest.mark.parametrize(
    ("first", "last", "advice"),
    [
        (0, -1, "add 1 to each end: they are inclusive."),
        (1, 0, "take 1 from each start: they are counted from 1."),
        (1, 1, "take 1 from each start: they are counted from 1."),  # a blank at the end is gone
        (0, 0, None),
        (2, 0, None),
    ],
)
def test_offsets_that_are_all_wrong_alike_are_a_warning(first, last, advice, inspect, caplog):
    texts = ["in paris", "paris is big", "we saw paris (yes)"] * 5
    places = [text.index("paris") for text in texts]
    rows = [
        {"text": text, "places": [{"start": at + first, "end": at + 5 + last, "label": "L"}]}
        for text, at in zip(texts, places, strict=True)
        if at + 5 + last <= len(text)
    ]
    inspect(rows, tasks={"places": {"type": "token_classification"}})
    found = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert [line.partition("if you ")[2] for line in found if "if you " in line] == (
        [advice] if advice else []
    )
    assert bool(found) is ((first, last) != (0, 0))
