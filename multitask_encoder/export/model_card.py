"""The model card: a published model's answers, training, results and limits."""

import re
import string
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData

import multitask_encoder
from multitask_encoder.modeling import MultiTaskConfig
from multitask_encoder.modeling.answering import has_one_label
from multitask_encoder.modeling.decoding import entity_type
from multitask_encoder.reporting.report_page import CONFUSION, CURVES, RELIABILITY
from multitask_encoder.reporting.results import INTERVALS, TABLES, percent
from multitask_encoder.training.intervals import SUFFIX
from multitask_encoder.training.metrics import task_of_metric

from .finished_run import SCORE_TABLES, Base, FinishedRun, is_hub_dataset

# The Hub's names of the task types, and of the metrics with other names here.
TAGS = {
    "sequence_classification": "text-classification",
    "token_classification": "token-classification",
    "sentence_embedding": "sentence-similarity",
}
METRIC_TYPES = {"macro_f1": "f1", "strict_f1": "f1", "spearman": "spearmanr"}
# Metrics of all tasks together, and their meaning.
OF_ALL_TASKS = {
    "exact_match": "rows with every task right",
    "score": "the mean of each task's main metric, by `score_weight`",
}
SPLITS = {"test": "test", "eval": "validation"}
# Characters that are never markup, wherever they stand.
HARMLESS = set(string.ascii_letters + string.digits + " -/,'")
MOST_LABELS = 50

TEXT = Path(__file__).with_name("model_card.md").read_text(encoding="utf-8")


def model_card(
    config: MultiTaskConfig, max_length: int, repo_id: str, run: FinishedRun
) -> ModelCard:
    """The card of the model published as `repo_id`.

    Args:
        config (`MultiTaskConfig`): of the model.
        max_length (`int`): tokens of a window, by its tokenizer.
        repo_id (`str`): `owner/name` on the Hub.
        run (`FinishedRun`): the run that made it. Its results on the test split are reported, or
            else those of validation.
    """
    title = repo_id.rpartition("/")[2]
    split = "test" if any(key.startswith("test_") for key in run.results) else "eval"
    scores = _scores(run.results, split, config)
    types = {TAGS[task["type"]] for task in config.tasks.values()}
    data = ModelCardData(
        license=run.base.license,
        library_name="transformers",
        pipeline_tag="feature-extraction",  # what every model answers; the rest are tags
        tags=["multi-task", "sentence-transformers", *sorted(types)],
        base_model=run.base.repo_id,
        datasets=_hub_datasets(run.settings) or None,
        widget=[{"text": text} for text in run.examples] or None,
        model_name=title,
        eval_results=_eval_results(scores, split, config, run) or None,
    )
    parts = [
        *_training_parts(run),
        *_pictures(run, CURVES, "Losses and metrics over the steps of the training"),
        *_result_parts(scores, run.results, split),
        *_score_parts(run),
        *_pictures(run, CONFUSION, "How often each label was predicted for each true one"),
        *_report_parts(run),
        "## Limits",
        "\n".join(
            f"- {line}"
            for line in _limits(
                config, max_length, run.base, split, scores, run.results.get("calibration", ())
            )
        ),
    ]
    text = TEXT.format(
        title=title,
        repo_id=repo_id,
        version=multitask_encoder.__version__,
        num_tasks=f"{len(config.tasks)} task{'s' if len(config.tasks) != 1 else ''}",
        tasks="\n".join(_task_row(name, task) for name, task in config.tasks.items()),
        reading="\n".join(_reading(config)),
        parts="\n\n".join(parts),
    )
    return ModelCard(f"---\n{data}\n---\n\n{text}")


# What it answers


def _task_row(name: str, task: dict) -> str:
    labels = task.get("labels", [])
    if task["type"] == "token_classification":
        answer = "entities, with their character offsets"
        labels = list(dict.fromkeys(entity_type(label) for label in labels if label != "O"))
    elif task["type"] == "sentence_embedding":
        answer = "an embedding of the text"
    else:
        answer = {
            "single_label_classification": "one label",
            "multi_label_classification": "any number of labels",
            "regression": "numbers",
        }[task["problem_type"]]
    shown = [escape(label) for label in labels[:MOST_LABELS]]
    rest = len(labels) - len(shown)
    return f"| {name} | {answer} | {', '.join(shown)}{f', and {rest} more' if rest else ''} |"


def escape(text: str) -> str:
    """The text without markup for Markdown, also in a cell of a table."""
    return "".join(
        f"&#{ord(char)};" if char.isascii() and char not in HARMLESS else char for char in text
    )


def _reading(config: MultiTaskConfig) -> list[str]:
    """How to read an answer: of the first task of each type."""
    sentence, token = map(config.tasks_of_type, ("sequence_classification", "token_classification"))
    return [
        *(f'answer["labels"]["{name}"]["label"]' for name in sentence[:1]),
        *(f'[(e["text"], e["label"]) for e in answer["entities"]["{name}"]]' for name in token[:1]),
        f'len(answer["embedding"])  # {config.hidden_size}',
    ]


# How it was made


def _data_sets(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The data sets of a run by name."""
    if settings.get("datasets"):
        return settings["datasets"]
    files = settings.get("train_file") or []
    name = settings.get("dataset") or ", ".join([files] if isinstance(files, str) else files)
    return {name: settings} if name else {}


def _hub_datasets(settings: dict[str, Any]) -> list[str]:
    names = [data_set.get("dataset") for data_set in _data_sets(settings).values()]
    return list(dict.fromkeys(name for name in names if is_hub_dataset("dataset", name)))


def _training_parts(run: FinishedRun) -> list[str]:
    if not run.settings:
        return []
    rows = {
        title: f"{run.results[f'{split}_samples']:,.0f}"
        for split, title in {"train": "training", "eval": "validation", "test": "test"}.items()
        if f"{split}_samples" in run.results
    }
    start = run.base.repo_id
    lines = [
        f"Started from [{start}](https://huggingface.co/{start})."
        if start
        else "Started from an encoder that is not known on the Hub."
    ]
    if data_sets := _data_sets(run.settings):
        lines.append(f"Data: {', '.join(escape(name) for name in data_sets)}.")
    if rows:
        lines.append(f"Rows: {', '.join(f'{n} for {title}' for title, n in rows.items())}.")
    lines.append("The keys of the run, also in `config.yaml`:")
    text = yaml.safe_dump(run.settings, sort_keys=False, allow_unicode=True)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return ["## Training", " ".join(lines), f"{fence}yaml\n{text}{fence}"]


def _pictures(run: FinishedRun, name: str, description: str) -> list[str]:
    """The plot of that name, if the run has one."""
    exists = any(picture.name == name for picture in run.pictures)
    return [f"![{description}]({name})"] if exists else []


# How well it does


def _scores(results: dict[str, Any], split: str, config: MultiTaskConfig) -> dict[str, float]:
    """The metrics of a split: of each task, then of all together; no losses, times or intervals."""
    of_split = {
        key.removeprefix(f"{split}_"): value
        for key, value in results.items()
        if key.startswith(f"{split}_") and not key.endswith(SUFFIX)
    }
    return {
        key: value
        for name in (*config.tasks, None)
        for key, value in of_split.items()
        if task_of_metric(key, config.tasks) == name and (name or key in OF_ALL_TASKS)
    }


def _eval_results(
    scores: dict[str, float], split: str, config: MultiTaskConfig, run: FinishedRun
) -> list[EvalResult]:
    """The results of each task; the Hub has no name for those of all tasks together."""
    name = ", ".join(_data_sets(run.settings)) or "custom"
    hub_ids = _hub_datasets(run.settings)
    results = []
    for key, value in scores.items():
        task = task_of_metric(key, config.tasks)
        if task is None:
            continue
        metric = key.removeprefix(f"{task}_")
        results.append(
            EvalResult(
                task_type=TAGS[config.tasks[task]["type"]],
                dataset_type=name if hub_ids == [name] else "custom",
                dataset_name=name,
                dataset_split=SPLITS[split],
                metric_type=METRIC_TYPES.get(metric, metric),
                metric_name=key,
                metric_value=round(value, 4),
            )
        )
    return results


def _result_parts(scores: dict[str, float], results: dict[str, Any], split: str) -> list[str]:
    if not scores:
        return []
    rows = [f"| {key} | {percent(results, f'{split}_{key}')} |" for key in scores]
    notes = [f"`{key}`: {meaning}." for key, meaning in OF_ALL_TASKS.items() if key in scores]
    if any(f"{split}_{key}{SUFFIX}" in results for key in scores):
        notes.append(INTERVALS)
    table = "\n".join([f"| {SPLITS[split]} split | percent |", "|---|---:|", *rows])
    return ["## Results", table, *([" ".join(notes)] if notes else [])]


def _score_parts(run: FinishedRun) -> list[str]:
    """How far scores can be relied on."""
    parts = []
    for table in map(TABLES.__getitem__, SCORE_TABLES):
        if cells := table.cells(run.results):
            lines = [table.header, ["---", *["---:"] * (len(table.header) - 1)], *cells]
            parts += [table.note, "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    if not parts:
        return []
    return ["## Scores", *parts, *_pictures(run, RELIABILITY, "How often scores are right")]


def _report_parts(run: FinishedRun) -> list[str]:
    """The comparison with single-task models, its headings below those of the card."""
    if run.report is None:
        return []
    report = run.report.strip()
    if run.picture is None:
        report = re.sub(r"^!\[.*\n*", "", report, flags=re.MULTILINE)
    return [re.sub(r"^#", "##", report, flags=re.MULTILINE)]


# Where it ends


def _limits(
    config: MultiTaskConfig,
    max_length: int,
    base: Base,
    split: str,
    scores: dict[str, float],
    calibrated: Collection[str],
) -> list[str]:
    lines = [
        "It knows the language and the kind of text of its training data; on others expect less "
        "than the results say."
    ]
    if base.languages:
        lines[0] += f" Languages of the encoder: {', '.join(map(escape, base.languages))}."
    if not scores:
        lines.append("No results of this model are known: measure it before you rely on it.")
    elif split == "eval":
        lines.append(
            "There is no test split. Training may have chosen its best epoch by these results, "
            "which then look better than they are."
        )
    sentences = config.tasks_of_type("sequence_classification")
    single = [name for name in sentences if has_one_label(config.tasks[name])]
    scoped = [name for name in single if "out_of_scope" in config.tasks[name]]
    if scoped:
        lines.append(
            f"{', '.join(scoped)}: texts that are unlike those of its training get no label, some "
            "of them wrongly."
        )
    if others := [name for name in single if name not in scoped]:
        lines.append(f"{', '.join(others)}: every text gets one of the labels, even if none fits.")
    if uncalibrated := [
        name
        for name, task in config.tasks.items()
        if task.get("problem_type", "regression") != "regression" and name not in calibrated
    ]:
        lines.append(
            f"Scores of {', '.join(uncalibrated)} are not calibrated: of answers with a score of "
            "0.9, more or fewer than nine in ten may be right."
        )
    if max_length < 10**9:  # a tokenizer without a limit has a very large number
        of_text = "first of them" if config.sentence_windows == "first" else "mean of them all"
        lines.append(
            f"A text of more than {max_length} tokens is read in overlapping windows: entities "
            f"come from all, labels and the embedding from the {of_text}."
        )
    if not config.tasks_of_type("sentence_embedding"):
        lines.append(
            "Only the labels were trained: as an embedding, the sentence vector may be worse than "
            "the encoder's."
        )
    if base.license:
        lines.append(
            f"The encoder's licence is {escape(base.license)}. That of the training data may "
            "demand more."
        )
    return lines
