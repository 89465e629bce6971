"""Several requests answered together, each getting its own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from multitask_encoder.modeling import MultiTaskPipeline

# Of one call of the pipeline: some seconds of a small encoder on one core.
CALL_CHARACTERS = 2**16


@dataclass
class Job:
    """A request's texts, and the pipeline's arguments for them; `dropped` once nobody waits."""

    texts: list[str]
    arguments: dict[str, Any]
    dropped: bool = False


def answer_together(pipeline: MultiTaskPipeline, jobs: list[Job]) -> list[bytes | Exception]:
    """Per job the JSON of its answers, or what its request raises.

    The pipeline is called for so many texts at a time that a job which is dropped meanwhile does
    not keep others waiting for long.
    """
    alike: dict[str, list[Job]] = {}
    for job in jobs:
        alike.setdefault(json.dumps(job.arguments, sort_keys=True), []).append(job)
    answers: dict[int, list[dict]] = {id(job): [] for job in jobs}
    refused: dict[int, Exception] = {}
    for some in alike.values():
        try:
            for call in _calls(some):
                wanted = [(job, text) for job, text in call if not job.dropped]
                texts = [text for _, text in wanted]
                for (job, _), answer in zip(
                    wanted, pipeline(texts, **some[0].arguments), strict=True
                ):
                    answers[id(job)].append(answer)
        except ValueError as error:  # about the arguments, which all of these share
            refused |= {id(job): error for job in some}
    return [refused.get(id(job)) or _encode(answers[id(job)]) for job in jobs]


def _calls(jobs: list[Job]) -> Iterator[list[tuple[Job, str]]]:
    """The texts of jobs, with their jobs, as many as one call of the pipeline gets."""
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
