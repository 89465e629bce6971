"""The model card: what a published model answers, how well, and how it is used."""

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from modeling import MultiTaskConfig

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

`AutoModel`, `AutoModelForSequenceClassification` and `AutoModelForTokenClassification` load it as well,
with `trust_remote_code=True` (`task_name="..."` chooses among several tasks of a type).
{results}"""


def model_card(
    config: MultiTaskConfig, repo_id: str, base_model: str | None, results: dict[str, float]
) -> ModelCard:
    """A card for the model that is published as `repo_id`.

    Args:
        config (`MultiTaskConfig`): of the model.
        repo_id (`str`): `owner/name` on the Hub.
        base_model (`str`, *optional*): the Hub id of the encoder it was trained from.
        results (`dict[str, float]`): metrics in 0..1; those that begin with `test_`, or else `eval_`,
            are reported.
    """
    split = "test" if any(key.startswith("test_") for key in results) else "eval"
    scores = {
        key.removeprefix(f"{split}_"): value
        for key, value in results.items()
        if key.startswith(f"{split}_") and 0 <= value <= 1 and "loss" not in key
    }
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=["multi-task", *sorted({task["type"] for task in config.tasks.values()})],
        base_model=base_model,
        model_name=repo_id.rpartition("/")[2],
        eval_results=[
            EvalResult(
                task_type=_task_type(key, config),
                dataset_type="custom",
                dataset_name=f"{split} split",
                metric_type=key,
                metric_value=round(value, 4),
            )
            for key, value in scores.items()
        ]
        or None,
    )
    tasks = "\n".join(
        f"| {name} | {task['type']} | {_shown_labels(task)} |" for name, task in config.tasks.items()
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


def _task_type(key: str, config: MultiTaskConfig) -> str:
    for name, task in config.tasks.items():
        if key.startswith(f"{name}_"):
            return task["type"].replace("sequence_", "text_").replace("_", "-")
    return "feature-extraction"


def _shown_labels(task: dict) -> str:
    """Labels are any text; in a Markdown table they must not end a cell or begin markup."""
    escaped = [
        "".join(f"&#{ord(char)};" if char in "|<>&`*_[]\\\n\r" else char for char in label)
        for label in task.get("labels", [])
        if not label.startswith("I-")
    ]
    return ", ".join(escaped[:50]) + (", ..." if len(escaped) > 50 else "")
