"""Several requests answered together."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from multitask_encoder.modeling import MultiTaskPipeline

# Per call of the pipeline: a few seconds of a small encoder on one core.
CALL_CHARACTERS = 2**16


@dataclass
class Job:
    """A request's texts, the pipeline's arguments for them, and whether its answers hold the
    embedding; `dropped` once nobody waits."""

    texts: list[str]
    arguments: dict[str, Any]
    embedding: bool = True
    dropped: bool = False


def answer_together(pipeline: MultiTaskPipeline, jobs: list[Job]) -> list[bytes | Exception]:
    """For each job the JSON of its answers, or the exception to raise for it.

    Each call of the pipeline gets a limited number of characters, so that a job dropped meanwhile
    does not keep others waiting for long.
    """
    alike: dict[str, list[Job]] = {}
    for job in jobs:
        alike.setdefault(json.dumps(job.arguments, sort_keys=True), []).append(job)
    answers: dict[int, list[dict]] = {id(job): [] for job in jobs}
    refused: dict[int, Exception] = {}
    for group in alike.values():
        try:
            for call in _calls(group):
                wanted = [(job, text) for job, text in call if not job.dropped]
                texts = [text for _, text in wanted]
                for (job, _), answer in zip(
                    wanted, pipeline(texts, **group[0].arguments), strict=True
                ):
                    kept = answer if job.embedding else _without_embedding(answer)
                    answers[id(job)].append(kept)
        except ValueError as error:  # about the arguments, which the group shares
            refused |= {id(job): error for job in group}
    return [refused.get(id(job)) or _encode(answers[id(job)]) for job in jobs]


def _without_embedding(answer: dict) -> dict:
    return {key: value for key, value in answer.items() if key != "embedding"}


def _calls(jobs: list[Job]) -> Iterator[list[tuple[Job, str]]]:
    """All texts with their jobs, cut into calls of the pipeline."""
    call: list[tuple[Job, str]] = []
    characters = 0
    for job in jobs:
        for text in job.texts:
            call.append((job, text))
            characters += len(text)
            if characters >= CALL_CHARACTERS:
                yield call
                call, characters = [], 0
    if call:
        yield call


def _encode(answers: list[dict]) -> bytes | Exception:
    try:
        return json.dumps({"answers": answers}, allow_nan=False).encode()
    except ValueError:
        return RuntimeError("An answer holds NaN or infinity, for which JSON has no word.")
