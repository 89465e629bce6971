"""The demo page: what it is made of, and in a browser and by HTTP, started for real."""

import asyncio
import csv
import json
import os
import re
import socket
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
import yaml
from browser import browser_page, needs_chromium
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Page, expect

from multitask_encoder.cli import demo as app
from multitask_encoder.demo import answers as of
from multitask_encoder.demo.page import NEAREST, Asking, build
from multitask_encoder.demo.scatter import COLOURS, figure, on_a_plane
from multitask_encoder.demo.sentences import Sentences, sentences_for
from multitask_encoder.demo.texts import (
    MAX_ALL_CHARACTERS,
    MAX_CHARACTERS,
    MAX_FILE_BYTES,
    MAX_TEXTS,
    checked,
    checked_list,
    lines_of,
    read_upload,
)
from multitask_encoder.inference import Answer, Answers, Entity, Label, Predictor
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel, MultiTaskPipeline

ROOT = Path(__file__).parent.parent
IMAGE, BOLD = "<img src=x onerror=alert(1)>", "<b>R&D</b>"
SINGLE = {"type": "sequence_classification", "labels": [IMAGE, BOLD]}
SEVERAL = {
    "type": "sequence_classification",
    "labels": [BOLD, "law", "art", "food", "travel", "war"],
    "problem_type": "multi_label_classification",
}
VALUE = {"type": "sequence_classification", "labels": ["stars"], "problem_type": "regression"}
VALUES = {**VALUE, "labels": ["joy", "fear"]}
TOKENS = {
    "type": "token_classification",
    "labels": ["O", "B-PER", "I-PER", f"B-{IMAGE}", f"I-{IMAGE}"],
}
TASKS: dict[str, dict] = {
    "topic": SINGLE,
    "tags": SEVERAL,
    "rating": VALUE,
    "entities": TOKENS,
    "embedding": {"type": "sentence_embedding"},
}
BUILT_IN = Sentences.built_in()
EXAMPLES, PAIR, LIST, STORED = vars(BUILT_IN).values()
ATTACK = f"{IMAGE} <script>alert(2)</script> & [a](javascript:alert(3)) Anna"
MINUTES = 10  # a page may take to start where others work, too
PATIENCE = 120_000  # milliseconds for what a page does


@pytest.fixture
def predict(make_model, tokenizer):
    """Tasks -> a predictor whose heads have something to say."""

    def make(tasks: dict) -> Predictor:
        model = with_random_heads(make_model(tasks=tasks))
        return Predictor(MultiTaskPipeline(model=model, tokenizer=tokenizer))

    return make


def with_random_heads(model: MultiTaskModel) -> MultiTaskModel:
    for head in model.heads.values():
        if hasattr(head, "classifier"):
            torch.nn.init.normal_(head.classifier.weight)
    return model.eval()


# What is asked


def test_texts_have_limits():
    assert checked(" a ") == " a "
    for text in (None, "", " \n\t"):
        with pytest.raises(ValueError, match="The text should not be empty"):
            checked(text)
    with pytest.raises(
        ValueError, match=f"at most 100,000 characters. Found {MAX_CHARACTERS + 1:,}"
    ):
        checked("a" * (MAX_CHARACTERS + 1))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "There should be a text. Found none"),
        ("abc", "The texts should be a list. Found a str"),
        (5, "The texts should be a list. Found a int"),
        (["a"] * (MAX_TEXTS + 1), "at most 1,000 texts. Found 1,001"),
        (["a", ""], "Text 2 should not be empty"),
        (["a" * MAX_CHARACTERS] * (MAX_ALL_CHARACTERS // MAX_CHARACTERS + 1), "together"),
    ],
)
def test_lists_have_limits(texts, message):
    with pytest.raises(ValueError, match=message):
        checked_list(texts)


def test_lines_are_texts():
    assert lines_of(" a \n\n b\u2028c\r\n") == ["a", "b\u2028c"]
    assert lines_of(None) == []


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.csv", 'id,text\n1,"a, b"\n2,\n3,"c\nd"\n', ["a, b", "c\nd"]),
        ("a.CSV", "\ufeffreview\nfine\n", ["fine"]),
        ("a.txt", "one\n\ntwo, three\r\n", ["one", "two, three"]),
    ],
)
def test_files_are_texts(name, content, texts, tmp_path):
    (tmp_path / name).write_bytes(content.encode())
    assert read_upload(tmp_path / name) == texts


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", b"%PDF", r"a.pdf should end in .csv or .txt"),
        ("a.csv", b"id,review\n1,a\n", "a.csv: should have a column 'text'.*Found id, review"),
        ("a.csv", b"id;review\n1;a\n", "or only one column. Found id, review"),
        ("a.csv", b"text,id\na\n", "a.csv: line 2: should have 2 fields. Found 1"),
        ("a.csv", b"", "a.csv: has no rows"),
        ("a.csv", b"," * 10_000 + b"a", r"should have different names.*\.\.\.$"),
        ("a.csv", b"text\n\xff\xfe\n", "should be UTF-8"),
        ("a.txt", b"a\n" * (MAX_TEXTS + 1), "a.txt: should have at most 1,000 texts. Found more"),
        ("a.txt", b"a" * (MAX_FILE_BYTES + 1), "at most 5,000,000 bytes. Found 5,000,001"),
    ],
)
def test_bad_files_are_named_without_their_folder(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as found:
        read_upload(tmp_path / name)
    assert str(tmp_path) not in str(found.value)
    assert len(str(found.value)) < 400


# What is answered


def test_bars_are_of_probabilities():
    single = {"problem_type": "single_label_classification", "labels": ["a", "b"]}
    label = Label("a", 0.75, {"a": 0.75, "b": 0.25})
    assert of.bars(single, label) == label.scores
    several = {"problem_type": "multi_label_classification", "labels": list("abcdef")}
    assert of.title_of("tags", several) == "tags (✓ applies, the likeliest of 6)"
    some = Label(["b"], [0.8], {"a": 0.3, "b": 0.8})
    assert of.bars(several, some) == {"a": 0.3, "✓ b": 0.8}
    value = {"problem_type": "regression", "labels": ["stars"]}
    assert of.bars(value, Label("stars", 3.14159, {"stars": 3.14159})) == "stars (3.14)"


def test_what_is_unsure_is_said():
    thresholds = {"precision": {"0.95": 0.6}}
    scope = {"centers": 1, "false_alarms": 0.05}
    tasks = {
        "topic": {**SINGLE, "thresholds": thresholds},
        "intent": {**SINGLE, "out_of_scope": scope},
        "entities": {**TOKENS, "thresholds": thresholds},
    }
    config = MultiTaskConfig(encoder_config={"model_type": "bert"}, tasks=tasks)
    labels = {"topic": Label("a", 0.61, {}), "intent": Label("b", 0.3, {}, None, 0.5)}
    entities = [Entity(0, 4, "Anna", "PER", 0.7)]
    sure = Answer("Anna", np.zeros(2), labels, {"entities": entities})
    assert of.unsure(config, sure) == ""
    labels = {"topic": Label("a", 0.6, {}), "intent": Label(None, 0.3, {}, None, 0.99)}
    entities = [Entity(0, 4, "Anna", "PER", 0.5)]
    assert of.unsure(config, Answer("Anna", np.zeros(2), labels, {"entities": entities})) == (
        "Less sure than answers of which 95 % are right: topic: a (0.60), the text is out of the "
        "scope of intent, Anna [PER] (0.50)."
    )
    mood = MultiTaskConfig(encoder_config={"model_type": "bert"}, tasks={"mood": VALUE})
    assert of.unsure(mood, Answer("x", np.zeros(2), {"mood": Label("mood", -1.7, {})}, {})) == ""
    assert of.colouring(config.tasks["intent"], "intent", Answers([sure])) == ["b"]


def test_entities_in_few_words():
    entities = [Entity(0, 4, "Anna", "PER", 0.9), Entity(9, 13, "Rome", "LOC", 0.8)]
    assert of.short_entities(entities) == "Anna [PER], Rome [LOC]"
    assert of.entity_types(TOKENS) == ["PER", IMAGE]


def test_the_kept_table_holds_what_the_predictor_says(predict):
    answers = predict(TASKS)(["Anna plays", ATTACK])
    table, expected = of.kept_table(answers), answers.to_pandas()
    assert list(table.columns) == list(expected.columns.drop("embedding"))
    assert table["topic"].tolist() == expected["topic"].tolist()
    assert [json.loads(one) for one in table["entities"]] == expected["entities"].tolist()


def test_cosines_of_vectors_that_may_be_zero():
    found = of.cosines(
        np.array([2.0, 0.0]), np.array([[1.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [0, 0]])
    )
    assert found.tolist() == [1, 0, -1, 0]


def test_the_plane_keeps_distances_that_lie_in_it():
    embeddings = np.zeros((4, 16), dtype=np.float32)
    embeddings[:, 3], embeddings[:, 7] = [0, 3, 0, 3], [0, 0, 1, 1]
    points = on_a_plane(embeddings)
    assert np.linalg.norm(points[0] - points[1]) == pytest.approx(3)
    assert np.linalg.norm(points[0] - points[2]) == pytest.approx(1)
    assert on_a_plane(embeddings[:1]).tolist() == [[0, 0]]
    assert on_a_plane(embeddings[[1, 1]]).tolist() == [[0, 0], [0, 0]]
    assert on_a_plane(embeddings[:2]).shape == (2, 2)


def test_the_map_takes_nothing_for_markup():
    chart = figure(np.zeros((2, 2)), [ATTACK, "a"], [IMAGE, BOLD], [0, 1])
    shown = [text for trace in chart.data for text in (trace.name, *trace.hovertext)]
    tags = {tag for text in shown for tag in re.findall("<[^>]*>", text)}
    assert tags == {"<b>", "</b>", "<br>"} and "&lt;b&gt;R&amp;D&lt;/b&gt;" in shown


def test_colours_stay_when_points_are_left_out():
    groups = [f"label {number}" for number in range(12)] + ["label 11"]
    points, texts = np.zeros((13, 2)), ["a"] * 13
    whole = figure(points, texts, groups, list(range(13)))
    part = figure(points, texts, groups, [0, 12])
    colours = {trace.name: trace.marker.color for trace in whole.data}
    assert len(colours) == len(COLOURS) + 1 and "others" in colours
    assert {trace.name: trace.marker.color for trace in part.data}.items() <= colours.items()
    assert not figure(points, texts, groups, []).data
    values = figure(points, texts, [float(number) for number in range(13)], [3]).data[0].marker
    assert (values.color, values.cmin, values.cmax) == ((3.0,), 0, 12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")  # its own use of starlette
@pytest.mark.parametrize(
    "tasks",
    [{}, {"entities": TOKENS}, {"topic": SINGLE}, {"tags": SEVERAL, "mood": VALUES}, TASKS],
    ids=lambda tasks: "+".join(tasks) or "none",
)
def test_any_model_has_a_page(tasks, predict):
    predict = predict(tasks)

    async def page() -> gr.Blocks:  # in a loop: without one, Gradio leaves some unclosed
        return build(predict, "model", BUILT_IN)

    assert asyncio.run(page()).get_config_file()["components"]
    asking = Asking(predict, BUILT_IN)
    answer, nearest = asking.one(STORED[3])
    assert len(nearest) == NEAREST and next(iter(nearest)) == STORED[3]
    assert nearest[STORED[3]] == pytest.approx(1, abs=1e-5)
    assert list(answer.labels) == list(asking.sentence_tasks)
    cosine, answers = asking.two("one", "one")
    assert cosine == pytest.approx(1, abs=1e-5)
    table = of.shown_table(asking.config, answers)
    assert table.shape == (2, 1 + len(asking.sentence_tasks) + len(asking.token_tasks))
    for name, task in {None: None, **asking.sentence_tasks}.items():
        assert len(of.colouring(task, name, answers)) == 2


def test_sentences_at_hand_are_whole():
    assert len({*STORED}) == len(STORED) and max(map(len, EXAMPLES)) < 60  # else they are cut
    assert checked_list([*EXAMPLES, *PAIR, *LIST, *STORED])


def test_sentences_are_those_of_a_file_or_of_the_run_or_built_in(tmp_path):
    assert sentences_for("me/my-model") == sentences_for(str(tmp_path)) == BUILT_IN
    texts = [f"text {number}" for number in range(12)]
    (tmp_path / "sample_texts.json").write_text(json.dumps({"texts": texts}))
    of_run = sentences_for(str(tmp_path))
    assert (of_run.examples, of_run.pair) == (texts[:3], texts[:2])
    assert (of_run.listed, of_run.stored) == (texts[:8], texts)
    many = [f"text {number}" for number in range(1500)]  # as of 200 classes
    (tmp_path / "sample_texts.json").write_text(json.dumps({"texts": many}))
    assert sentences_for(str(tmp_path)).stored == many[:50]
    (tmp_path / "mine.csv").write_text("id,text\n1,one\n2,one\n")
    of_file = sentences_for(str(tmp_path), tmp_path / "mine.csv")
    assert of_file == Sentences(["one"], ["one", "one"], ["one"], ["one"])
    (tmp_path / "blank.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"^blank\.txt: There should be a text"):
        sentences_for(str(tmp_path), tmp_path / "blank.txt")
    with pytest.raises(FileNotFoundError, match=r"No file .*none\.csv"):
        sentences_for(str(tmp_path), tmp_path / "none.csv")


# The command


def test_no_model_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MULTITASK_MODEL", raising=False)
    with pytest.raises(SystemExit) as ended:
        app.main([])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: There is no runs/quickstart: `make quick")
    with pytest.raises(SystemExit) as ended:
        app.main(["--port", "70000"])
    assert ended.value.code == 2 and "from 1 to 65535. Found 70000" in capsys.readouterr().err


def test_a_space_says_which_model_and_where_to_listen(monkeypatch):
    monkeypatch.setenv("MULTITASK_MODEL", "me/my-model")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    given = app.parse([])
    assert (given.model, given.host, given.port) == ("me/my-model", "0.0.0.0", 7860)


def test_the_spaces_card_and_requirements_are_ours():
    card = yaml.safe_load((ROOT / "space" / "README.md").read_text("utf-8").split("---")[1])
    assert card["sdk"] == "gradio" and (ROOT / card["app_file"]).is_file()
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["requires-python"] == f">={card['python_version']}"
    ours = {*metadata["dependencies"], *metadata["optional-dependencies"]["demo"]}
    assert f"gradio=={card['sdk_version']}" in ours
    lines = (ROOT / "space" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {line for line in lines if line and not line.startswith("#")} <= ours


# The page, started for real


@pytest.fixture(scope="module")
def folder(tmp_path_factory, backbone, tokenizer) -> Path:
    """A finished model, with markup wherever a model can hold some."""
    folder = tmp_path_factory.mktemp("model") / "<i>model"
    model = MultiTaskModel.from_backbone(str(backbone()), tasks=TASKS)
    with_random_heads(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def url(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "app.py", "--model", str(folder), "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    timer = threading.Timer(60 * MINUTES, process.kill)
    timer.start()
    lines, reader = [], None
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ready: "):
                break
        else:
            pytest.fail("The page did not start: " + "".join(lines))
        timer.cancel()
        # Nobody reads on, and a full pipe would stop the page.
        reader = threading.Thread(target=process.stdout.read)
        reader.start()
        yield lines[-1].removeprefix("Ready: ").strip()
    finally:
        timer.cancel()
        process.terminate()
        process.wait()
        if reader:
            reader.join()
        process.stdout.close()


@pytest.fixture
def client(url):
    client = Client(url, verbose=False, analytics_enabled=False)
    yield client
    client.close()


def alike(found, expected) -> bool:
    """Equal but for rounding."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            alike(found[key], value) for key, value in expected.items()
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(alike, found, expected))
    return found == (pytest.approx(expected, abs=1e-4) if isinstance(expected, float) else expected)


def test_answers_by_http_are_the_predictors(client, folder):
    predict = Predictor(folder)
    texts = ["Anna plays in Paris", ATTACK, "long " * 400]
    expected = [of.as_json(one) for one in predict(texts)]
    assert any(one["entities"]["entities"] for one in expected)
    assert alike(client.predict(texts, api_name="/answer"), expected)
    found = client.predict(*texts[:2], api_name="/compare")
    assert alike(found["answers"], expected[:2])
    first, second = predict(texts[:2]).embeddings
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert found["similarity"] == pytest.approx(cosine, abs=1e-4)
    nearest = client.predict(STORED[3], api_name="/nearest")
    assert len(nearest) == NEAREST and nearest[0]["text"] == STORED[3]
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {
        *("/answer", "/compare", "/nearest")
    }


@pytest.mark.parametrize(
    ("name", "question", "message"),
    [
        ("/answer", (["", "a"],), "Text 1 should not be empty"),
        ("/answer", (["a"] * (MAX_TEXTS + 1),), "at most 1,000 texts"),
        ("/compare", ("a", " "), "The second text should not be empty"),
        ("/nearest", ("a" * (MAX_CHARACTERS + 1),), "at most 100,000 characters"),
    ],
)
def test_bad_questions_by_http_are_refused_with_a_reason(name, question, message, client):
    with pytest.raises(AppError, match=message):
        client.predict(*question, api_name=name)


def opened(page: Page, url: str, tab: str = "One text") -> None:
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.on("dialog", lambda dialog: pytest.fail(f"A dialog opened: {dialog.message}"))
    page.goto(url)
    page.get_by_role("tab", name=tab).click()


def assert_no_markup(page: Page) -> None:
    assert page.locator("img[src=x], script:text('alert'), a[href^=javascript]").count() == 0
    assert page.locator("b").filter(has_text="R&D").count() == 0


@needs_chromium
def test_one_text_is_answered_by_keyboard(url):
    with browser_page() as page:
        opened(page, url)
        expect(page.get_by_role("heading", name="<i>model")).to_be_visible()
        box = page.get_by_role("textbox", name="Text")
        expect(box).to_have_value(EXAMPLES[0])
        expect(page.locator(".marked")).to_contain_text("Lindqvist")
        box.focus()
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.type(ATTACK)
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Answer", exact=True)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator(".marked")).to_contain_text("javascript")
        for label in (IMAGE, BOLD, "(✓ applies, the likeliest of 6)", "rating (value)"):
            expect(page.get_by_text(label).first).to_be_visible()
        assert_no_markup(page)
        box.fill(" ")
        page.keyboard.press("Shift+Enter")
        expect(page.get_by_role("alert")).to_have_text("The text should not be empty.")
        page.get_by_role("button", name=EXAMPLES[1]).press("Enter")
        expect(page.locator(".marked")).to_contain_text("aunt")
        expect(page.get_by_role("alert")).to_have_count(0)
        expect(box).to_have_value(EXAMPLES[1])
        box.fill("long " * 2000)
        page.get_by_role("button", name="Answer", exact=True).click()
        expect(page.locator(".marked")).to_contain_text("long")


@needs_chromium
def test_two_texts_are_compared(url):
    with browser_page() as page:
        opened(page, url, "Two texts")
        first = page.get_by_role("textbox", name="First text")
        second = page.get_by_role("textbox", name="Second text")
        first.fill(ATTACK)
        second.fill(ATTACK)
        page.get_by_role("button", name="Compare").click()
        panel = page.get_by_role("tabpanel").filter(visible=True)
        expect(panel.get_by_text("1.00", exact=True)).to_be_visible()
        table = panel.get_by_role("grid", name="Answers")
        expect(table.get_by_role("gridcell", name="entities")).to_be_visible()
        assert_no_markup(page)
        second.fill("")
        second.press("Shift+Enter")
        expect(panel.get_by_role("alert")).to_have_text("The second text should not be empty.")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_text_that_begins_as_a_formula_is_a_text_in_a_spreadsheet(text):
    assert of.as_cell(text) == f"'{text}"
    assert of.as_cell(f"a{text}") == f"a{text}"
    assert of.as_cell(-1.5) == -1.5


@needs_chromium
def test_a_list_is_uploaded_filtered_mapped_and_downloaded(url, folder, tmp_path):
    texts = [f"{ATTACK} {number}" for number in range(3)] + ["Only Berta", "And carl"]
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *enumerate(texts)])
    (tmp_path / "bad.csv").write_text("<i>,review\n1,a\n")
    with browser_page() as page:
        opened(page, url, "A list")
        panel = page.get_by_role("tabpanel").filter(visible=True)
        answer = panel.get_by_role("button", name="Answer all")
        panel.locator("input[type=file]").set_input_files(tmp_path / "bad.csv")
        expect(panel.get_by_text("bad.csv")).to_be_visible()
        answer.click()
        expect(panel.get_by_role("alert")).to_contain_text("Found <i>, review.")
        panel.get_by_role("button", name="Clear").click()
        panel.locator("input[type=file]").set_input_files(tmp_path / "texts.csv")
        expect(panel.get_by_text("texts.csv")).to_be_visible()
        answer.click()
        expect(panel.get_by_role("status")).to_have_text("5 of 5 texts")
        expect(panel.locator(".scatterlayer .point")).to_have_count(5)
        assert page.get_by_role("alert").count() == 0
        panel.locator(".scatterlayer .point").first.hover(force=True)
        expect(panel.locator(".hoverlayer text").first).to_contain_text(
            re.compile("alert|Berta|carl")
        )
        colours = panel.get_by_role("combobox", name="Colour the map by")
        for task in ("rating", "tags"):
            colours.click()
            page.get_by_role("option", name=task).click()
        expect(panel.locator(".scatterlayer .point")).to_have_count(5)
        assert_no_markup(page)
        panel.get_by_role("textbox", name="Show only rows with").fill("ONLY b")
        expect(panel.get_by_role("status")).to_have_text("1 of 5 texts")
        expect(panel.locator(".scatterlayer .point")).to_have_count(1)
        with page.expect_download() as download:
            panel.get_by_role("button", name="Download as CSV").click()
        with open(download.value.path(), newline="", encoding="utf-8") as file:
            (row,) = csv.DictReader(file)
        (expected,) = of.kept_table(Predictor(folder)([texts[3]])).to_dict("records")
        assert row.keys() == expected.keys() and row["text"] == "Only Berta"
        assert row["topic"] == expected["topic"] and row["tags"] == expected["tags"]
        panel.get_by_role("textbox", name="Show only rows with").fill("nowhere")
        expect(panel.get_by_role("status")).to_have_text("0 of 5 texts")


@needs_chromium
def test_a_phone_in_the_dark(url):
    with browser_page(width=390, height=844, dark=True, touch=True) as page:
        opened(page, url)
        for tab, button in (
            ("One text", "Answer"),
            ("Two texts", "Compare"),
            ("A list", "Answer all"),
        ):
            page.get_by_role("tab", name=tab).click()
            page.get_by_role("button", name=button, exact=True).tap()
        expect(page.locator(".scatterlayer .point")).to_have_count(len(LIST))
        cells = page.get_by_role("gridcell").filter(visible=True)
        assert cells.nth(1).bounding_box()["x"] < 300  # an answer beside the text
        for tab in ("One text", "Two texts", "A list"):
            page.get_by_role("tab", name=tab).click()
            expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        legend = page.locator(".legendtext").first.evaluate("e => getComputedStyle(e).fill")
        assert brightness(background) < 60 and brightness(legend) > 180


@needs_chromium
def test_long_texts_leave_room_and_lines_and_words_stay_whole(url):
    letter = f"Dear Anna,\n\nParis{'x' * 60} plays in the park in Paris.\nYours"
    with browser_page(width=390, height=844, touch=True) as page:
        opened(page, url)
        page.get_by_role("textbox", name="Text").fill(letter)
        page.get_by_role("button", name="Answer", exact=True).tap()
        marked = page.locator(".marked").first
        expect(marked).to_contain_text("Yours")
        shown = marked.locator(".textfield").inner_text()
        assert re.search(r"^Dear.*\nParis.*\nYours", shown, re.DOTALL)
        styles = marked.locator(".text, .label").evaluate_all(
            "all => all.map(one => getComputedStyle(one).wordBreak)"
        )
        assert set(styles) == {"normal"}
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    with browser_page() as page:
        opened(page, url, "A list")
        page.get_by_role("textbox", name="Texts, one a line").fill("long " * 5000 + "\nshort")
        page.get_by_role("button", name="Answer all").click()
        cells = page.get_by_role("gridcell").filter(visible=True)
        expect(cells.filter(has_text="short").first).to_be_visible()
        assert cells.first.bounding_box()["height"] < 250


def brightness(colour: str) -> float:
    return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3
