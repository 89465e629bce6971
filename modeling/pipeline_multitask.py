"""Text in; embedding, labels and entities with character offsets out.

`pipeline("multitask", model=folder_or_id, trust_remote_code=True)` in any process, or
`MultiTaskPipeline(model=model, tokenizer=tokenizer)` where this package is at hand.
"""

import os

import torch
from transformers import Pipeline
from transformers.dynamic_module_utils import custom_object_save

from .decoding import strip_offsets, tags_to_spans, word_ids


class MultiTaskPipeline(Pipeline):
    """All answers of a `MultiTaskModel` for a text or a list of texts.

    Args (besides those of `transformers.Pipeline`):
        tasks (`list[str]`, *optional*): the tasks to answer; by default all.
        prompt_name (`str`, *optional*): which of the config's prompts goes before the text; by
            default the one named `default`, where there is one.

    Returns, per text:
        `{"embedding": list[float], "labels": {task: {"label", "score", "scores"}},
        "entities": {task: [{"start", "end", "text", "label", "score"}]}}`.
        Scores are probabilities in 0 to 1 (of a regression: the values). `label` is the likeliest
        one, and of a multi-label task the list of those above 0.5. For entities
        `text == input[start:end]`, and the score is the mean over the entity's words.

    Raises:
        ValueError: an input that is not a text, a text longer than the encoder takes, an unknown
            task or prompt.
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
        preprocess = {} if prompt_name is None else {"prompt_name": prompt_name}
        forward = {} if tasks is None else {"tasks": tasks}
        return preprocess, forward, dict(forward)

    def preprocess(self, text, prompt_name=None):
        if not isinstance(text, str):
            raise ValueError(f"The input should be a text. Found {type(text).__name__}.")
        try:
            text.encode()
        except UnicodeEncodeError as error:  # as JSON can hold: half of a character
            raise ValueError(
                f"The text should be Unicode. Found a lone surrogate at {error.start}."
            ) from None
        prompts = self.model.config.prompts or {}
        if prompt_name is not None and prompt_name not in prompts:
            raise ValueError(f"Unknown prompt {prompt_name!r}. This model has: {list(prompts)}.")
        prompt = prompts.get(prompt_name or "default", "")
        encoding = self.tokenizer(
            prompt + text, return_offsets_mapping=True, return_tensors="pt", verbose=False
        )
        longest = self.tokenizer.model_max_length
        if encoding["input_ids"].shape[1] > longest:
            raise ValueError(
                f"The text should have at most {longest} tokens. "
                f"Found {encoding['input_ids'].shape[1]}."
            )
        offsets = encoding.pop("offset_mapping")[0].tolist()
        shifted = [(max(s - len(prompt), 0), max(e - len(prompt), 0)) for s, e in offsets]
        return {**encoding, "text": text, "offsets": strip_offsets(text, shifted)}

    def _forward(self, model_inputs, tasks=None):
        text, offsets = model_inputs.pop("text"), model_inputs.pop("offsets")
        output = self.model(**model_inputs, tasks=tasks)
        # Flat tensors only: the base class takes batches apart by the first dimension of each.
        logits = {f"logits_{name}": value.float() for name, value in output.logits.items()}
        return {
            "text": text,
            "offsets": offsets,
            "embedding": output.sentence_embedding.float(),
            **logits,
        }

    def postprocess(self, model_outputs, tasks=None):
        config = self.model.config
        names = [name for name in config.tasks if tasks is None or name in tasks]
        answer = {"embedding": model_outputs["embedding"][0].tolist(), "labels": {}, "entities": {}}
        for name in names:
            task = config.tasks[name]
            if task["type"] == "sentence_embedding":
                continue
            logits = model_outputs[f"logits_{name}"][0]
            if task["type"] == "sequence_classification":
                answer["labels"][name] = _sentence_label(logits, task)
            else:
                answer["entities"][name] = _entities(
                    logits, task["labels"], model_outputs["text"], model_outputs["offsets"]
                )
        return answer

    def save_pretrained(self, save_directory, **kwargs):
        """As in `Pipeline`, with this pipeline's code beside the model."""
        save_pipeline_code(self.model.config, save_directory)
        super().save_pretrained(save_directory, **kwargs)


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
    logits: torch.Tensor, labels: list[str], text: str, offsets: list[tuple[int, int]]
) -> list[dict]:
    scores, best = logits.softmax(-1).max(-1)
    scores, best = scores.tolist(), best.tolist()
    words, tags, word_scores, previous = [], [], [], None
    for index, word in enumerate(word_ids(text, offsets)):
        if word is None:
            continue
        if word != previous:  # the first token of a word answers for the word
            words.append(offsets[index])
            tags.append(labels[best[index]])
            word_scores.append(scores[index])
        else:
            words[-1] = (words[-1][0], max(words[-1][1], offsets[index][1]))
        previous = word
    return [
        {
            "start": start,
            "end": end,
            "text": text[start:end],
            "label": label,
            "score": sum(word_scores[member] for member in members) / len(members),
        }
        for start, end, label, members in tags_to_spans(tags, words)
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
