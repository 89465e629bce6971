"""Answers in Python: typed, and shown well in a notebook.

from multitask_encoder.inference import Predictor

predict = Predictor("runs/mine")
answer = predict("Maya Lindqvist of Apple opened a new office in Jordan.")
answer.labels["topic"].label
predict(["One text.", "Another."]).to_pandas()
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import overload

import numpy as np
import pandas as pd

from multitask_encoder.modeling import MultiTaskConfig, MultiTaskPipeline

from .loading import load_pipeline


@dataclass(frozen=True, slots=True)
class Label:
    """What a sentence task answers.

    Attributes:
        label (`str`, `list[str]` or `None`): the likeliest label, None below its threshold; of a
            multi-label task those that apply; of a regression the value's name, or all of them.
        score (`float` or `list[float]`): its probability in 0 to 1, or theirs; of a regression the
            value, or all of them.
        scores (`dict[str, float]`): of all labels, or of the `top_k` highest.
    """

    label: str | list[str] | None
    score: float | list[float]
    scores: dict[str, float]

    def __str__(self) -> str:
        labels = self.label if isinstance(self.label, list) else [self.label]
        scores = self.score if isinstance(self.score, list) else [self.score]
        pairs = zip(labels, scores, strict=True)
        return ", ".join(f"{label or 'none'} ({score:.2f})" for label, score in pairs) or "none"


@dataclass(frozen=True, slots=True)
class Entity:
    """A part of a text: `text == whole[start:end]`, its label, and its probability in 0 to 1."""

    start: int
    end: int
    text: str
    label: str
    score: float

    def __str__(self) -> str:
        return f"{self.text} [{self.label}]"


@dataclass(frozen=True, slots=True)
class Answer:
    """All that a model says of one text.

    Attributes:
        text (`str`): what was asked about.
        embedding (`np.ndarray` of shape `(hidden_size,)`): of float32.
        labels (`dict[str, Label]`): by sentence task.
        entities (`dict[str, list[Entity]]`): by token task, in the order of the text.
    """

    text: str
    embedding: np.ndarray
    labels: dict[str, Label]
    entities: dict[str, list[Entity]]

    @classmethod
    def of(cls, text: str, answer: dict) -> "Answer":
        """From what the pipeline answers for the text."""
        return cls(
            text=text,
            embedding=np.array(answer["embedding"], dtype=np.float32),
            labels={name: Label(**one) for name, one in answer["labels"].items()},
            entities={
                name: [Entity(**one) for one in found] for name, found in answer["entities"].items()
            },
        )

    def __str__(self) -> str:
        shown = {name: str(one) for name, one in self.labels.items()}
        shown |= {name: ", ".join(map(str, found)) for name, found in self.entities.items()}
        shown["embedding"] = f"{len(self.embedding)} numbers"
        return "\n".join(
            [self.text, *(f"  {name:12} {one or 'none'}" for name, one in shown.items())]
        )

    def _repr_html_(self) -> str:
        """For notebooks: the text once per token task with its entities marked, and the labels."""
        lines = [
            f"<b>{escape(name)}</b>: {_marked(self.text, found)}"
            for name, found in self.entities.items()
        ] or [escape(self.text)]
        lines += [f"<b>{escape(name)}</b>: {escape(str(one))}" for name, one in self.labels.items()]
        return "".join(f'<div style="white-space: pre-wrap">{line}</div>' for line in lines)


class Answers(list[Answer]):
    """The answers for several texts, in their order."""

    @property
    def embeddings(self) -> np.ndarray:
        """Of shape `(num_texts, hidden_size)`, float32."""
        return np.stack([answer.embedding for answer in self])

    def to_pandas(self) -> pd.DataFrame:
        """A row per text. Columns: `text`; of each sentence task its label and `<task>_score`; of
        each token task a list of `{"start", "end", "text", "label", "score"}`; `embedding`."""
        return pd.DataFrame(
            [
                {
                    "text": answer.text,
                    **{
                        column: value
                        for name, one in answer.labels.items()
                        for column, value in ((name, one.label), (f"{name}_score", one.score))
                    },
                    **{
                        name: [
                            {key: getattr(one, key) for key in Entity.__slots__} for one in found
                        ]
                        for name, found in answer.entities.items()
                    },
                    "embedding": answer.embedding,
                }
                for answer in self
            ]
        )

    def _repr_html_(self) -> str:
        return "<hr>".join(answer._repr_html_() for answer in self)


class Predictor:
    """Answers texts with a finished model.

    Args:
        model (`str`, `os.PathLike` or `MultiTaskPipeline`): a run folder, an exported folder or a
            Hub id; or a pipeline that is loaded already.
        **kwargs: `backend`, `device` and `bf16` of `load_pipeline`.

    Raises:
        OSError, ValueError, ModuleNotFoundError: as `load_pipeline`.
    """

    def __init__(self, model: str | os.PathLike | MultiTaskPipeline, **kwargs):
        if isinstance(model, str | os.PathLike):
            model = load_pipeline(str(model), **kwargs)
        self.pipeline = model

    @property
    def config(self) -> MultiTaskConfig:
        """Of the model: its tasks with their labels."""
        return self.pipeline.model.config

    @overload
    def __call__(self, texts: str, **kwargs) -> Answer: ...
    @overload
    def __call__(self, texts: Iterable[str], **kwargs) -> Answers: ...

    def __call__(self, texts, **kwargs):
        """The answer for a text, or those for several.

        Args:
            texts (`str` or `Iterable[str]`): one text, or several.
            **kwargs: `tasks`, `top_k`, `thresholds`, `prompt_name` and `batch_size` of
                `MultiTaskPipeline`.

        Raises:
            ValueError: a text or an argument that is not as it should be.
        """
        if isinstance(texts, str):
            return Answer.of(texts, self.pipeline(texts, **kwargs))
        return Answers(self.stream(list(texts), **kwargs))

    def stream(self, texts: Iterable[str], **kwargs) -> Iterator[Answer]:
        """The answers one after the other, for any number of texts in constant memory.

        Args and Raises: as a call.
        """
        read: deque[str] = deque()  # by the pipeline, ahead of its answers

        def reading() -> Iterator[str]:
            for text in texts:
                read.append(text)
                yield text

        for answer in self.pipeline(reading(), **kwargs):
            yield Answer.of(read.popleft(), answer)


def _marked(text: str, entities: list[Entity]) -> str:
    parts, end = [], 0
    for one in entities:
        parts.append(escape(text[end : one.start]))
        parts.append(f"<mark>{escape(one.text)} <small>{escape(one.label)}</small></mark>")
        end = one.end
    return "".join([*parts, escape(text[end:])])
