"""report.html of runs: what it shows, that it shows texts as texts, and that it costs no run."""

import json
import random
import re

import numpy as np
import pytest
import torch
from browser import browser_page, needs_chromium
from conftest import ROWS, results
from safetensors.torch import load_file, save_file

from multitask_encoder.cli import run as run_multitask
from multitask_encoder.reporting import run_report
from multitask_encoder.reporting.confusions import (
    confusion_matrices,
    confusion_of,
    sentence_section,
)
from multitask_encoder.reporting.curves import series
from multitask_encoder.reporting.examples import Examples
from multitask_encoder.reporting.figures import printable
from multitask_encoder.reporting.maps import make_map
from multitask_encoder.reporting.report_page import render
from multitask_encoder.training.row_answers import Answers

EVIL = '<script>document.title="taken"</script>'
LABELS = [EVIL, r"$\frac{x}", "a&amp;\"'</script>"]
TASKS = {
    "kind": {"type": "sequence_classification"},
    "parts": {"type": "token_classification"},
    "tags": {"type": "sequence_classification", "problem_type": "multi_label_classification"},
}
DATA = [
    {
        "text": f"{EVIL} and </script> <img src=x onerror=alert({number})> {number}",
        "kind": LABELS[number % 3],
        "parts": [{"start": 1, "end": 7, "label": LABELS[number % 2]}],
        "tags": LABELS[: number % 3],
    }
    for number in range(24)
]


@pytest.fixture
def shown(monkeypatch) -> list[dict]:
    """The content of each page that is written."""
    contents: list[dict] = []

    def kept(content):
        contents.append(content)
        return render(content)

    monkeypatch.setattr(run_report, "render", kept)
    return contents


# Whole runs


def assert_shows_everything(page) -> None:
    assert page.title() == "run"
    headings = page.locator("h2").all_inner_texts()
    assert headings == ["Results", "Training", "Labels of sentences", "Entities", "Embeddings"]
    assert all(page.locator("svg").evaluate_all("all => all.map(svg => svg.ariaLabel)"))
    for details in page.locator("summary").all():
        details.click()
    quoted = page.locator("q").first.inner_text()
    assert quoted.startswith(EVIL) and "<img src=x" in quoted
    points = page.locator("#maps [data-text]")
    assert points.count() == 2 * 12
    hovered = points.first.locator("title").text_content()
    assert hovered in {row["text"] for row in DATA[:12]}
    points.first.dispatch_event("pointerenter")
    assert page.locator(".under").inner_text() == hovered
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    assert page.locator("svg text", has_text="script").count() > 0


@needs_chromium
def test_the_page_of_a_run_shows_everything_and_runs_nothing(run, shown):
    folder = run(
        tasks=TASKS,
        train_file=DATA,
        validation_file=DATA[:12],
        test_file=DATA[12:],
        report=True,
        logging_steps=1,
        num_train_epochs=2,
    )
    text = (folder / "report.html").read_text(encoding="utf-8")
    addresses = set(re.findall(r"https?:[^\s\"']*", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, which nothing asks for
    assert not re.search(r"<(link|img|iframe|object|embed)|@import|url\((?!#)", text)
    assert str(folder.parent) not in text
    assert len(text) < 300_000
    (content,) = shown
    found = results(folder)
    counts = map(int, content["entities"][0]["rows"][-1][1:])
    right, missed, spurious, *wrong = counts
    assert right / (right + missed + sum(wrong)) == pytest.approx(found["eval_parts_recall"])
    predicted = max(1, right + spurious + sum(wrong))
    assert right / predicted == pytest.approx(found["eval_parts_precision"])
    sentences = re.match(r"(\d+) of (\d+) ", content["sentences"][0]["says"])
    assert 1 - int(sentences[1]) / int(sentences[2]) == pytest.approx(found["eval_kind_accuracy"])

    for width, dark in ((1280, False), (360, True)):
        with browser_page(width=width, dark=dark) as page:
            page.on("dialog", lambda dialog: pytest.fail("a text of the data was run"))
            page.goto((folder / "report.html").as_uri())
            assert_shows_everything(page)
    for name in ("curves.png", "confusion.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
        assert str(folder.parent).encode() not in (folder / name).read_bytes()


def test_scores_are_shown_with_how_often_they_are_right(run, shown):
    draw = random.Random(0)
    rows = [{"text": f"{draw.choice('abcd')} {n}", "kind": draw.choice(LABELS)} for n in range(240)]
    kind = {"type": "sequence_classification", "out_of_scope": 0.05}
    files = {"train_file": rows[:120], "validation_file": rows[120:], "test_file": rows[:110]}
    folder = run(tasks={"kind": kind}, report=True, **files)
    (content,) = shown
    found = results(folder)
    assert [row[0] for row in content["calibration"]["rows"]] == ["kind"]
    errors = found["calibration"]["kind"]["test"]
    cell = " → ".join(f"{100 * errors[when]['calibration_error']:.2f}" for when in errors)
    assert content["calibration"]["rows"][0][3] == cell
    plots = content["calibration"]["plots"]
    assert ["kind, validation, right" in plots[0], "kind, test, right" in plots[1]] == [True, True]
    assert [row[:2] for row in content["out_of_scope"]["rows"]] == [
        ["kind", "validation"],
        ["kind", "test"],
    ]
    assert {row[1] for row in content["coverage"]["rows"]} == {"90", "95", "98", "99"}
    page = (folder / "report.html").read_text()
    assert '<h2 id="calibration-title">Calibration</h2>' in page
    assert '<h2 id="out_of_scope-title">Out of scope</h2>' in page
    assert (folder / "reliability.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("test_rows", "split"), [(13, "test"), (12, "validation"), (3, "validation")]
)
def test_mistakes_are_of_the_larger_split(test_rows, split, run, shown):
    rows = {"train_file": DATA, "validation_file": DATA[:12], "test_file": DATA[:test_rows]}
    run(tasks=TASKS, report=True, **rows)
    (content,) = shown
    assert content["split"] == split
    (_, said) = re.match(r"(\d+) of (\d+) ", content["sentences"][0]["says"]).groups()
    assert int(said) == max(test_rows, 12)


def test_a_resumed_run_shows_all_its_steps_and_an_evaluation_those_of_its_model(
    run, shown, tmp_path
):
    run(report=True, logging_steps=1)
    folder = run(
        "--resume_from_checkpoint",
        report=True,
        logging_steps=1,
        num_train_epochs=2,
        overwrite_output_dir=False,
    )
    run(
        report=True,
        do_train=False,
        model=str(folder),
        output_dir=str(tmp_path / "measured"),
    )
    first, resumed, measured = shown
    (steps,) = (
        [point[0] for point in series(json.loads(file.read_text())["log_history"], "loss")]
        for file in [folder / "trainer_state.json"]
    )
    assert steps == [1, 2, 3, 4]
    assert [one["title"] for one in resumed["curves"]] == ["all tasks", "topic"]
    assert "at step 4." in resumed["curves"][0]["plots"][0]
    assert measured["curves"] == resumed["curves"]
    assert [len(one["maps"]["tasks"][0]["plots"]) for one in shown] == [2, 2, 1]
    assert (tmp_path / "measured" / "report.html").is_file()
    assert not (tmp_path / "measured" / "config.yaml").exists()
    assert first["curves"] != resumed["curves"]


def test_sentences_are_those_of_their_own_data_set(run, shown, tmp_path):
    for name in ("one", "two"):
        lines = [{"text": f"{name} {row['text']}", "topic": row["topic"]} for row in ROWS]
        text = "".join(f"{json.dumps(row)}\n" for row in lines)
        (tmp_path / f"{name}.jsonl").write_text(text)
    topics = [row["topic"] for row in ROWS]  # each a row late, so that some are mistakes
    lines = [
        {"text": f"two {row['text']}", "topic": topic}
        for row, topic in zip(ROWS, [*topics[-1:], *topics], strict=False)
    ]
    (tmp_path / "late.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in lines))
    one, two = ({"train_file": str(tmp_path / f"{name}.jsonl")} for name in ("one", "two"))
    run(
        report=True,
        train_file=None,
        validation_file=None,
        # The first has no validation split.
        datasets={"first": one, "second": {**two, "validation_file": str(tmp_path / "late.jsonl")}},
    )
    assert {text.split()[0] for text in shown[0]["texts"]} == {"two"}
    quoted = [
        "".join(text for text, _ in example["parts"])
        for group in shown[0]["sentences"][0]["mistakes"]
        for example in group["examples"]
    ]
    assert quoted
    assert all(text.startswith("two ") for text in quoted)


def test_without_matplotlib_or_when_it_fails_the_run_is_whole(run, monkeypatch, caplog, capsys):
    monkeypatch.setattr(run_report, "render", lambda content: 1 / 0)
    folder = run(report=True)
    assert "Could not make report.html;" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "eval_topic_accuracy" in results(folder)
    said = capsys.readouterr().out
    assert f"Wrote {folder}: model, config.yaml, all_results.json.\n" in said
    assert f"Try it: multitask-encoder demo --model {folder}\n" in said

    (folder / "report.html").write_text("of an earlier run")
    monkeypatch.setattr(run_multitask, "can_plot", lambda: False)
    caplog.clear()
    run(report=True)
    assert caplog.text.count("pip install 'multitask-encoder[report]'") == 1
    assert not (folder / "report.html").exists()
    assert "eval_topic_accuracy" in results(folder)


def test_a_model_without_finite_weights_shows_its_curves_and_no_map(run, shown, tmp_path):
    folder = run(logging_steps=1, num_train_epochs=2)
    path = folder / "model.safetensors"
    lost = {name: tensor * torch.nan for name, tensor in load_file(path).items()}
    save_file(lost, path, {"format": "pt"})
    run(report=True, do_train=False, model=str(folder), output_dir=str(tmp_path / "measured"))
    assert shown[0]["curves"]
    assert shown[0]["maps"] is None


def test_tasks_without_a_label_in_the_split_cost_no_page(run, shown):
    other = {"tags": ["p", "q"], "kind": "p", "parts": [{"start": 0, "end": 1, "label": "A"}]}
    run(
        report=True,
        tasks={**TASKS, "topic": {"type": "sequence_classification"}},
        train_file=[{**row, **other, "kind": "pq"[number % 2]} for number, row in enumerate(ROWS)],
        validation_file=[{**row, **dict.fromkeys(other)} for row in ROWS],
    )
    assert [one["title"] for one in shown[0]["sentences"]] == ["topic"]
    assert not shown[0]["entities"]


def test_a_history_that_cannot_be_read_costs_no_evaluation(run, tmp_path, caplog):
    folder = run()
    (folder / "trainer_state.json").write_text("{")
    measured = tmp_path / "measured"
    run(report=True, do_train=False, model=str(folder), output_dir=str(measured))
    assert "Could not make report.html" in caplog.text
    assert "eval_topic_accuracy" in results(measured)


# Parts


def test_letters_stay_joined_and_control_characters_go():
    joined = "خانه\u200cها 👩\u200d👧 \u05d0\u200f"
    assert printable(joined) == joined
    assert printable("a\x00b\nc\x1b\ufffe\ud800") == "a�b c���"


def test_confusions_are_counted_by_expected_and_predicted():
    answers = Answers(np.arange(4), [0, 1, 1, 0], [0, 0, 1, 0])
    assert confusion_of(answers, ["x", "y"]).tolist() == [[2, 1], [0, 1]]


def test_a_map_of_two_clusters_keeps_them_apart_and_counts_neighbours():
    vectors = np.eye(4)[[0, 0, 0, 1, 1, 1]]
    found = make_map(vectors, np.array([0, 0, 0, 1, 1, 1]))
    assert found.agreeing == 1
    assert found.shown == pytest.approx(1)
    assert np.ptp(found.points[:3, 0]) == pytest.approx(0)
    distance = np.linalg.norm(found.points[0] - found.points[3])
    assert distance == pytest.approx(np.sqrt(2))  # as far apart as the vectors are
    assert make_map(vectors, np.array([0, 1, 2, 3, 4, 5])).agreeing == 0
    assert not make_map(np.ones((3, 4)) / 2, np.zeros(3)).points.any()


class NoExamples(Examples):
    def __init__(self):
        pass

    def example(self, place, marks, says):
        return {"parts": [], "says": says, "source": ""}


def test_each_label_has_its_precision_and_recall_also_without_rows():
    tasks = {
        "topic": {"type": "sequence_classification", "labels": ["a", "b", "c"]},
        "kinds": {
            "type": "sequence_classification",
            "problem_type": "multi_label_classification",
            "labels": ["x", "y"],
        },
    }
    rows = np.arange(4)
    answers = {
        "topic": Answers(rows, [0, 0, 1, 1], [0, 0, 0, 1], ["a", "b", "c"]),
        "kinds": Answers(rows, [[1, 0], [1, 0], [0, 0], [0, 0]], [[1, 0]] * 4, ["x", "y"]),
    }
    matrices = confusion_matrices(tasks, answers)
    topic, kinds = sentence_section(tasks, answers, matrices, NoExamples())
    assert topic["header"] == kinds["header"]
    assert topic["header"][:4] == ["label", "precision", "recall", "F1"]
    assert topic["rows"] == [
        ["a", "100.0", "66.7", "80.0", "2", "1", "0"],
        ["b", "50.0", "100.0", "66.7", "1", "0", "1"],
        ["c", "–", "–", "–", "0", "0", "0"],
    ]
    assert kinds["rows"] == [
        ["x", "100.0", "50.0", "66.7", "2", "2", "0"],
        ["y", "–", "–", "–", "0", "0", "0"],
    ]
