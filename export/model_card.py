"""The model card: what a published model answers, how well, and how it is used."""

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from modeling import MultiTaskConfig

# The Hub's own names of the task types.
TAGS = {
    "sequence_classification": "text-classification",
    "token_classification": "token-classification",
    "sentence_embedding": "sentence-similarity",
}
TEXT = """# {title}

One encoder, one forward pass: a sentence embedding and the answers of {num_tasks} on the same text.

| task | type | labels |
|---|---|---|
{tasks}

## Use

```python
from transformers import pipeline

answers = pipeline("multitask", model="{repo_id}", trust_remote_code=True)
print(answers("A sentence of your own."))
```

`AutoModel`, `AutoModelForSequenceClassification` and `AutoModelForTokenClassification` load it as
well, with `trust_remote_code=True` (`task_name="..."` chooses among several tasks of a type).
{results}"""


def model_card(
    config: MultiTaskConfig, repo_id: str, base_model: str | None, results: dict[str, float]
) -> ModelCard:
    """A card for the model that is published as `repo_id`.

    Args:
        config (`MultiTaskConfig`): of the model.
        repo_id (`str`): `owner/name` on the Hub.
        base_model (`str`, *optional*): the Hub id of the encoder it was trained from.
        results (`dict[str, float]`): of a run; the metrics that begin with `test_`, or else
            with `eval_`, are reported, and its losses and times are not.
    """
    split = "test" if any(key.startswith("test_") for key in results) else "eval"
    scores = {
        key.removeprefix(f"{split}_"): value
        for key, value in results.items()
        if key.startswith(f"{split}_") and _is_metric(key.removeprefix(f"{split}_"), config)
    }
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=["multi-task", *sorted({TAGS[task["type"]] for task in config.tasks.values()})],
        base_model=base_model,
        model_name=repo_id.rpartition("/")[2],
        eval_results=[
            EvalResult(
                task_type=_task_type(key, config),
                dataset_type="custom",
                dataset_name=f"{split} split",
                metric_type=_metric_type(key, config),
                metric_name=key,
                metric_value=round(value, 4),
            )
            for key, value in scores.items()
        ]
        or None,
    )
    tasks = "\n".join(
        f"| {name} | {task['type']} | {_shown_labels(task)} |"
        for name, task in config.tasks.items()
    )
    rows = "\n".join(f"| {key} | {100 * value:.2f} |" for key, value in scores.items())
    num = len(config.tasks)
    text = TEXT.format(
        title=repo_id.rpartition("/")[2],
        num_tasks=f"{num} task{'s' if num != 1 else ''}",
        tasks=tasks,
        repo_id=repo_id,
        results=f"\n## Results\n\n| {split} | percent |\n|---|---|\n{rows}\n" if rows else "",
    )
    return ModelCard(f"---\n{data}\n---\n\n{text}")


def _is_metric(key: str, config: MultiTaskConfig) -> bool:
    return key in ("score", "exact_match") or _task_of(key, config) is not None


def _task_of(key: str, config: MultiTaskConfig) -> str | None:
    """The task that a metric is of: `topic_fine_accuracy` is not one of `topic`."""
    names = [name for name in config.tasks if key.startswith(f"{name}_")]
    return max(names, key=len, default=None)


def _task_type(key: str, config: MultiTaskConfig) -> str:
    name = _task_of(key, config)
    return TAGS[config.tasks[name]["type"]] if name else "feature-extraction"


def _metric_type(key: str, config: MultiTaskConfig) -> str:
    """`f1` of `entities_strict_f1`: the kind of metric, which the Hub knows."""
    return key.rpartition("_")[2] if _task_of(key, config) else key


def _shown_labels(task: dict) -> str:
    """Labels are any text; in a Markdown table they must not end a cell or begin markup."""
    labels = task.get("labels", [])
    if task["type"] == "token_classification":  # the types of entities, without B- and I-
        labels = list(dict.fromkeys(label[2:] for label in labels if label != "O"))
    escaped = [
        "".join(f"&#{ord(char)};" if char in "|<>&`*_[]\\\n\r" else char for char in label)
        for label in labels
    ]
    return ", ".join(escaped[:50]) + (", ..." if len(escaped) > 50 else "")
