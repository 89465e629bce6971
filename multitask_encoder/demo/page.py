"""The page: three panels of questions and answers, and the same functions over HTTP."""

from collections.abc import Callable
from functools import wraps
from html import escape
from itertools import cycle
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils

from multitask_encoder.inference import Answer, Answers, Predictor

from . import answers as of
from .scatter import figure, on_a_plane
from .sentences import Sentences
from .texts import FORMATS, MAX_CHARACTERS, MAX_TEXTS, checked, checked_list, lines_of, read_upload

NEAREST = 5
KEPT_SECONDS = 3600  # of visitors' uploads and downloads
MARKS = ["blue", "orange", "green", "pink", "purple", "yellow", "teal", "red", "cyan", "lime"]
FONTS = ["system-ui", "sans-serif"]
THEME = gr.themes.Default(primary_hue="blue", font=FONTS, font_mono=FONTS).set(
    body_text_color_subdued="*neutral_500", block_info_text_color="*neutral_500"
)
HERE = Path(__file__).parent
CSS = (HERE / "page.css").read_text(encoding="utf-8")
CELL = 200  # characters of a cell; a click shows all


class Asking:
    """The questions of the panels and the HTTP functions, to one model on any backend."""

    def __init__(self, predict: Predictor, sentences: Sentences):
        self.predict, self.sentences = predict, sentences
        self.config = predict.config
        self.sentence_tasks = of.tasks_of(self.config, "sequence_classification")
        self.token_tasks = of.tasks_of(self.config, "token_classification")
        self.number_of_answers = len(self.sentence_tasks) + len(self.token_tasks)
        self._stored = predict(sentences.stored, tasks=[]).embeddings

    def one(self, text: str) -> tuple[Answer, dict[str, float]]:
        """The answer for a text, and the stored sentences nearest to it with their cosines."""
        answer = self.predict(checked(text))
        cosines = of.cosines(answer.embedding, self._stored).tolist()
        nearest = sorted(
            zip(self.sentences.stored, cosines, strict=True), key=lambda pair: -pair[1]
        )[:NEAREST]
        return answer, dict(nearest)

    def two(self, first: str, second: str) -> tuple[float, Answers]:
        """The cosine of two texts' embeddings, and the answers for both."""
        texts = [checked(first, "The first text"), checked(second, "The second text")]
        answers = self.predict(texts)
        (cosine,) = of.cosines(answers[0].embedding, answers.embeddings[1:]).tolist()
        return cosine, answers

    def many(self, texts: list[str]) -> Answers:
        """The answers for a list of texts, in their order."""
        return self.predict(checked_list(texts))


def build(predict: Predictor, name: str, sentences: Sentences) -> gr.Blocks:
    """The page for the model of that name, ready to launch with `THEME` and `CSS`."""
    processing_utils.async_ssrf_protected_download = _refuse_address
    asking = Asking(predict, sentences)
    answered = list(dict.fromkeys([*predict.config.tasks, "embedding"]))
    with gr.Blocks(
        title="multitask-encoder",
        analytics_enabled=False,
        delete_cache=(KEPT_SECONDS // 4, KEPT_SECONDS),
    ) as page:
        gr.HTML(
            f"<h1>{escape(name)}</h1><p>One encoder reads a text once and answers all of this: "
            f"{', '.join(answered)}.</p>",
            elem_classes="bare",
        )
        with gr.Tab("One text"):
            _one_text(asking)
        with gr.Tab("Two texts"):
            _two_texts(asking)
        with gr.Tab("A list"):
            _a_list(asking)
        _http_functions(asking)
    page.queue(max_size=32, default_concurrency_limit=1)
    return page


async def _refuse_address(url: str, cache_dir: str) -> str:
    """In place of Gradio's download: a request can name an address wherever a text or a file is
    expected, and no visitor tells the server what to look up."""
    raise gr.Error("A file should be uploaded. Found an address.", print_exception=False)


def _alert(message: str = "") -> gr.HTML:
    """A message that screen readers read out too; hidden if empty."""
    shown = f'<p class="alert" role="alert">{escape(message)}</p>'
    return gr.HTML(shown, visible=bool(message), elem_classes="bare")


def _note(sentence: str) -> gr.HTML:
    """A sentence below the answers; hidden if empty."""
    return gr.HTML(f"<p>{escape(sentence)}</p>", visible=bool(sentence), elem_classes="bare")


# One model answers one question at a time.
_asks_model: dict[str, Any] = {"concurrency_id": "model", "api_visibility": "private"}


def _one_text(asking: Asking) -> None:
    def answered(text: str) -> list:
        try:
            return [_alert(), *_shown_answer(asking, text)]
        except ValueError as error:
            return [_alert(str(error)), *[None] * (len(outputs) - 1)]

    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            text = gr.Textbox(
                asking.sentences.examples[0],
                label="Text",
                info=f"Up to {MAX_CHARACTERS:,} characters; long ones are read in windows.",
                lines=4,
                max_lines=12,
            )
            button = gr.Button("Answer", variant="primary")
            alert = _alert()
            examples = gr.Column()
        with gr.Column(scale=3, min_width=300):
            outputs = [alert, *_answer_components(asking, asking.sentences.examples[0])]
    gr.on([button.click, text.submit], answered, text, outputs, **_asks_model)
    with examples:
        gr.Examples(
            [[example] for example in asking.sentences.examples],
            text,
            outputs,
            answered,
            run_on_click=True,
            cache_examples=False,
            api_visibility="private",
        )


def _shown_answer(asking: Asking, text: str) -> list:
    """The values of `_answer_components` for a text; raises a ValueError for an invalid text."""
    answer, nearest = asking.one(text)
    return [
        *(answer.pieces(name) for name in asking.token_tasks),
        *(of.bars(task, answer.labels[name]) for name, task in asking.sentence_tasks.items()),
        _note(of.unsure(asking.config, answer)),
        {sentence: max(0.0, cosine) for sentence, cosine in nearest.items()},
    ]


def _answer_components(asking: Asking, text: str) -> list:
    """A component per token task, per sentence task, and for the nearest sentences; at first they
    show the answer for a text."""
    values = iter(_shown_answer(asking, text))
    marked = [
        gr.HighlightedText(
            next(values),
            label=name,
            # Colours that stay the same from answer to answer.
            color_map=dict(zip(of.entity_types(task), cycle(MARKS), strict=False)),
            elem_classes="marked",
        )
        for name, task in asking.token_tasks.items()
    ]
    with gr.Row():
        labels = [
            gr.Label(
                next(values),
                label=of.title_of(name, task),
                num_top_classes=of.TOP,
                show_heading=task["problem_type"] == "regression",
                min_width=240,
            )
            for name, task in asking.sentence_tasks.items()
        ]
    unsure = next(values)
    nearest = gr.Label(next(values), label="Nearest stored sentences (cosine)", show_heading=False)
    return [*marked, *labels, unsure, nearest]


def _two_texts(asking: Asking) -> None:
    def compared(text: str, other: str) -> list:
        try:
            cosine, answers = asking.two(text, other)
        except ValueError as error:
            return [_alert(str(error)), None, None]
        return [_alert(), f"{cosine:.2f}", of.side_by_side(asking.config, answers)]

    pair = asking.sentences.pair
    _, cosine_value, table_value = compared(*pair)
    with gr.Row():
        first = gr.Textbox(pair[0], label="First text", lines=3, max_lines=8, min_width=300)
        second = gr.Textbox(pair[1], label="Second text", lines=3, max_lines=8, min_width=300)
    button = gr.Button("Compare", variant="primary")
    alert = _alert()
    cosine = gr.Label(cosine_value, label="Cosine similarity")
    table = gr.DataFrame(
        table_value,
        headers=["task", "first text", "second text"],
        label="Answers",
        interactive=False,
        wrap=True,
        max_chars=CELL,
        buttons=[],
        visible=asking.number_of_answers > 0,
    )
    asked = [button.click, first.submit, second.submit]
    gr.on(asked, compared, [first, second], [alert, cosine, table], **_asks_model)


def _a_list(asking: Asking) -> None:
    def answered(lines: str, upload: str | None, task: str | None) -> list:
        try:
            texts = read_upload(Path(upload)) if upload else lines_of(lines)
            answers = asking.many(texts)
        except (ValueError, OSError) as error:
            return [_alert(str(error)), None, gr.Column(visible=False), *[gr.skip()] * 5]
        state = {
            "answers": answers,
            "shown": of.shown_table(asking.config, answers),
            "kept": of.kept_table(answers),
            "points": on_a_plane(answers.embeddings),
        }
        return [_alert(), state, gr.Column(visible=True), "", *filtered(state, "", task)]

    def filtered(state: dict | None, wanted: str, task: str | None) -> list:
        if state is None:
            return [gr.skip()] * 4
        colours = of.colouring(asking.sentence_tasks.get(task), task, state["answers"])
        return _shown_rows(state, wanted, colours, download.GRADIO_CACHE)

    lines, upload = _list_inputs(asking.sentences.listed)
    button = gr.Button("Answer all", variant="primary")
    alert = _alert()
    state = gr.State(time_to_live=KEPT_SECONDS)
    with gr.Column(visible=False) as results:
        wanted, task, shown = _list_results(asking)
    download = shown[-1]
    button.click(
        answered, [lines, upload, task], [alert, state, results, wanted, *shown], **_asks_model
    )
    gr.on(
        [wanted.change, task.input],
        filtered,
        [state, wanted, task],
        shown,
        trigger_mode="always_last",
        show_progress="hidden",
        api_visibility="private",
    )


def _shown_rows(state: dict, wanted: str, colours: list[str] | list[float], cache: str) -> list:
    """The rows in which `wanted` occurs: their count, table, map and CSV file."""
    table = state["shown"]
    hits = table.apply(lambda column: column.str.contains(wanted, case=False, regex=False))
    rows = [row for row, hit in enumerate(hits.any(axis=1)) if hit]
    csv = state["kept"].iloc[rows].map(of.as_cell).to_csv(index=False).encode()
    return [
        f"<p role='status'>{len(rows):,} of {len(table):,} texts</p>",
        table.iloc[rows],
        figure(state["points"], table["text"].tolist(), colours, rows),
        processing_utils.save_bytes_to_cache(csv, "answers.csv", cache),
    ]


def _list_inputs(texts: list[str]) -> tuple[gr.Textbox, gr.File]:
    with gr.Row():
        lines = gr.Textbox(
            "\n".join(" ".join(text.split()) for text in texts),  # one a line
            label="Texts, one a line",
            info=f"Up to {MAX_TEXTS:,} texts.",
            lines=8,
            max_lines=12,
            min_width=300,
            scale=3,
        )
        upload = gr.File(
            label="or a file: CSV with a column text, or TXT",
            file_types=[*FORMATS],
            scale=2,
            min_width=300,
            height=200,
        )
    return lines, upload


def _list_results(asking: Asking) -> tuple[gr.Textbox, gr.Dropdown, list]:
    """The two filters, and the components of `_shown_rows`."""
    with gr.Row():
        wanted = gr.Textbox(
            label="Show only rows with", placeholder="a word or a label", min_width=240
        )
        task = gr.Dropdown(
            [*asking.sentence_tasks],
            label="Colour the map by",
            visible=len(asking.sentence_tasks) > 1,
            min_width=240,
        )
    with gr.Row(equal_height=True):
        count = gr.HTML(elem_classes="bare")
        download = gr.DownloadButton("Download as CSV", size="md", scale=0, min_width=180)
    # The columns of the text and the tasks fill a wide page; a narrow one scrolls.
    answers = asking.number_of_answers
    widths: list[str | int] = ["360px", *[f"{max(200, 840 // max(1, answers))}px"] * answers]
    table = gr.DataFrame(
        label="Answers",
        interactive=False,
        wrap=True,
        column_widths=widths,
        max_chars=CELL,
        max_height=420,
        buttons=[],
        elem_classes="answers",
    )
    chart = gr.Plot(label="Map of the embeddings", elem_classes="map")
    return wanted, task, [count, table, chart, download]


def _http_functions(asking: Asking) -> None:
    def answer(texts: list[str]) -> list[dict[str, Any]]:
        """The answer for each text: its embedding, labels and entities, as the pipeline's."""
        return [of.as_json(answer) for answer in asking.many(texts)]

    def compare(first: str, second: str) -> dict[str, Any]:
        """The cosine similarity of two texts' embeddings, and the answers for both."""
        cosine, answers = asking.two(first, second)
        return {"similarity": cosine, "answers": [of.as_json(answer) for answer in answers]}

    def nearest(text: str) -> list[dict[str, Any]]:
        """The stored sentences nearest to a text by their embeddings' cosine, nearest first."""
        _, sentences = asking.one(text)
        return [{"text": text, "similarity": cosine} for text, cosine in sentences.items()]

    for function in (answer, compare, nearest):
        gr.api(_refusing(function), api_name=function.__name__, concurrency_id="model")


def _refusing(function: Callable) -> Callable:
    """The function, with its ValueErrors sent to the client instead of logged as failures."""

    @wraps(function)
    def answer(*args):
        try:
            return function(*args)
        except ValueError as error:
            raise gr.Error(escape(str(error)), print_exception=False) from None

    return answer
