"""Text in; embedding, labels and entities with character offsets out.

`pipeline("multitask", model=folder_or_id, trust_remote_code=True)` in any process, or
`MultiTaskPipeline(model=model, tokenizer=tokenizer)` where this package is at hand.
"""

import os
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from transformers.dynamic_module_utils import custom_object_save
from transformers.pipelines.base import ChunkPipeline

from .decoding import UNITS, tags_to_spans
from .windows import tokenize


class MultiTaskPipeline(ChunkPipeline):
    """All answers of a `MultiTaskModel` for a text or a list of texts, of any length.

    A text longer than the tokenizer's `model_max_length` is read in windows that overlap by the
    config's `stride`. Its entities are decoded from all windows' tokens at once; its labels and
    embedding come from those that the config's `sentence_windows` says.

    Args (besides those of `transformers.Pipeline`):
        tasks (`list[str]` or `str`, *optional*): the tasks to answer; by default all.
        prompt_name (`str`, *optional*): which of the config's prompts goes before the text; by
            default the one named `default`, where there is one.

    Returns, per text:
        `{"embedding": list[float], "labels": {task: {"label", "score", "scores"}},
        "entities": {task: [{"start", "end", "text", "label", "score"}]}}`.
        Scores are probabilities in 0 to 1 (of a regression: the values). `label` is the likeliest
        one, and of a multi-label task the list of those above 0.5. For entities
        `text == input[start:end]`, and the score is the mean over the entity's words (its tokens,
        where the task's `labelling` is `all`).

    Raises:
        ValueError: an input that is not a text, an unknown task or prompt, a `model_max_length`
            or `stride` that leaves windows no room for text.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Offsets and encoders count from the first token, which padding must not push aside.
        self.tokenizer.padding_side = "right"

    def __call__(self, inputs, **kwargs):
        if isinstance(inputs, list | tuple) and not inputs:  # the base class looks at the first one
            return []
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(self, tasks=None, prompt_name=None, **kwargs):
        if isinstance(tasks, str):
            tasks = [tasks]
        asked = {} if tasks is None else {"tasks": tasks}
        prompt = {} if prompt_name is None else {"prompt_name": prompt_name}
        return {**asked, **prompt}, dict(asked), dict(asked)

    def _asked(self, tasks: list[str] | None) -> dict[str, dict]:
        known = self.model.config.tasks
        return {name: task for name, task in known.items() if tasks is None or name in tasks}

    def preprocess(self, text, tasks=None, prompt_name=None) -> Iterator[dict]:
        """One item per window of the text, each with the offsets of the tokens it answers for and
        the rows (a slice) that these have in its output."""
        if not isinstance(text, str):
            raise ValueError(f"The input should be a text. Found {type(text).__name__}.")
        try:
            text.encode()
        except UnicodeEncodeError as error:  # as JSON can hold: half of a character
            raise ValueError(
                f"The text should be Unicode. Found a lone surrogate at {error.start}."
            ) from None
        config = self.model.config
        prompts = config.prompts or {}
        if prompt_name is not None and prompt_name not in prompts:
            raise ValueError(f"Unknown prompt {prompt_name!r}. This model has: {list(prompts)}.")
        prompt = prompts.get(prompt_name or "default", "")
        (document,) = tokenize(self.tokenizer, [text], prompt, stride=config.stride)
        windows = document.windows
        types = {task["type"] for task in self._asked(tasks).values()}
        if config.sentence_windows == "first" and "token_classification" not in types:
            windows = windows[:1]  # nobody asks for the others
        for window in windows:
            input_ids = torch.tensor([document.input_ids(window)], dtype=torch.long)
            shift = len(document.prefix) - window.start
            yield {
                "text": text,
                "offsets": document.offsets[window.first : window.last],
                "rows": slice(window.first + shift, window.last + shift),
                "is_last": window is windows[-1],
                "input_ids": input_ids,
                "attention_mask": torch.ones_like(input_ids),
            }

    def _forward(self, model_inputs, tasks=None):
        inputs = {name: model_inputs.pop(name) for name in ("input_ids", "attention_mask")}
        output = self.model(**inputs, tasks=tasks)
        # Flat tensors only: the base class takes batches apart by the first dimension of each.
        logits = {f"logits_{name}": value.float() for name, value in output.logits.items()}
        return {**model_inputs, "embedding": output.sentence_embedding.float(), **logits}

    def postprocess(self, model_outputs, tasks=None):
        """The answer for one text from the outputs of all its windows."""
        config = self.model.config
        text = model_outputs[0]["text"]
        offsets = [offset for window in model_outputs for offset in window["offsets"]]
        averaged = model_outputs[:1] if config.sentence_windows == "first" else model_outputs

        embedding = _mean([window["embedding"] for window in averaged])
        if config.normalize:
            embedding = F.normalize(embedding, dim=-1)
        answer = {"embedding": embedding.tolist(), "labels": {}, "entities": {}}
        for name, task in self._asked(tasks).items():
            key = f"logits_{name}"
            if task["type"] == "sequence_classification":
                logits = _mean([window[key] for window in averaged])
                answer["labels"][name] = _sentence_label(logits, task)
            elif task["type"] == "token_classification":
                logits = torch.cat([window[key][0, window["rows"]] for window in model_outputs])
                answer["entities"][name] = _entities(logits, task, text, offsets)
        return answer

    def save_pretrained(self, save_directory, **kwargs):
        """As in `Pipeline`, with this pipeline's code beside the model."""
        save_pipeline_code(self.model.config, save_directory)
        super().save_pretrained(save_directory, **kwargs)


def _mean(answers: list[torch.Tensor]) -> torch.Tensor:
    """Of windows' answers, each of shape `(1, size)`: one of shape `(size,)`."""
    return torch.cat(answers).mean(0)


def _sentence_label(logits: torch.Tensor, task: dict) -> dict:
    labels = task["labels"]
    if task["problem_type"] == "regression":
        scores = dict(zip(labels, logits.tolist(), strict=True))
        return {"label": labels[0], "score": scores[labels[0]], "scores": scores}
    if task["problem_type"] == "multi_label_classification":
        scores = dict(zip(labels, logits.sigmoid().tolist(), strict=True))
        chosen = [label for label in labels if scores[label] > 0.5]
        return {"label": chosen, "score": [scores[label] for label in chosen], "scores": scores}
    scores = dict(zip(labels, logits.softmax(-1).tolist(), strict=True))
    best = max(scores, key=scores.get)
    return {"label": best, "score": scores[best], "scores": scores}


def _entities(
    logits: torch.Tensor, task: dict, text: str, offsets: list[tuple[int, int]]
) -> list[dict]:
    """From logits of shape `(num_tokens, num_labels)` and as many offsets."""
    scores, best = logits.softmax(-1).max(-1)
    scores, best = scores.tolist(), best.tolist()
    units, tags, unit_scores, previous = [], [], [], None
    for index, unit in enumerate(UNITS[task["labelling"]](text, offsets)):
        if unit is None:
            continue
        if unit != previous:  # the first token of a unit answers for the unit
            units.append(offsets[index])
            tags.append(task["labels"][best[index]])
            unit_scores.append(scores[index])
        else:
            units[-1] = (units[-1][0], max(units[-1][1], offsets[index][1]))
        previous = unit
    return [
        {
            "start": start,
            "end": end,
            "text": text[start:end],
            "label": label,
            "score": sum(unit_scores[member] for member in members) / len(members),
        }
        for start, end, label, members in tags_to_spans(tags, units)
    ]


def save_pipeline_code(config, folder: str) -> None:
    """Write this pipeline's code beside a model and name it in the model's config, so that
    `pipeline("multitask", model=folder, trust_remote_code=True)` works anywhere.

    To be called before the model is saved to `folder`.
    """
    config.custom_pipelines = {
        "multitask": {
            "impl": f"pipeline_multitask.{MultiTaskPipeline.__name__}",
            "pt": ["AutoModel"],
            "type": "text",
        }
    }
    os.makedirs(folder, exist_ok=True)
    custom_object_save(MultiTaskPipeline, folder)
