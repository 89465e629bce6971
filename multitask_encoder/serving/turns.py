"""Requests that are answered in turns: short ones together, a long one's windows in between."""

import asyncio
import json
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from multitask_encoder.modeling import MultiTaskPipeline
from multitask_encoder.modeling.pipeline_multitask import Reading

# What takes longer to tokenize waits for others of its kind, so that it doesn't take every core.
LONG_CHARACTERS = 2**14


@dataclass
class Job:
    """A request that was read: the pipeline's arguments for its texts, whether its answers hold the
    embedding, and where they are expected. `steps` once some of its windows are encoded."""

    reading: Reading
    arguments: dict[str, Any]
    embedding: bool
    answer: asyncio.Future[bytes]
    steps: Generator[None, None, list[dict]] | None = None


class Turns:
    """Answers requests with one pipeline, in turns of about one batch each.

    Every other turn goes to the request that came first, the others to the one with the fewest
    tokens; those that fit into its batch and ask for the same join it. So a short request waits for
    two or three batches at most, however many long ones there are, and a long one gets half of the
    turns at worst. A request that is given up takes no further turn.

    Args:
        pipeline (`MultiTaskPipeline`): answers.
        max_tokens (`int`): of a request's texts together.
        on_answer (`Callable`): told the number of texts that were answered together.
    """

    def __init__(
        self, pipeline: MultiTaskPipeline, max_tokens: int, on_answer: Callable[[int], None]
    ):
        self._pipeline, self._max_tokens, self._on_answer = pipeline, max_tokens, on_answer
        self._jobs: list[Job] = []
        self._oldest_first = False
        self._working: asyncio.Task | None = None
        self._long_texts = ThreadPoolExecutor(max_workers=1)
        self._encoder = ThreadPoolExecutor(max_workers=1)  # one, as each gets helpers from torch

    async def answer(self, texts: list[str], arguments: dict[str, Any], embedding: bool) -> bytes:
        """The JSON of the answers.

        Raises:
            ValueError: the pipeline refuses the arguments or a text, or there are too many tokens.
            RuntimeError: an answer that JSON has no word for.
        """
        job = Job(
            await self._read(texts, arguments),
            arguments,
            embedding,
            asyncio.get_running_loop().create_future(),
        )
        self._jobs.append(job)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await job.answer

    async def _read(self, texts: list[str], arguments: dict[str, Any]) -> Reading:
        long = sum(map(len, texts)) > LONG_CHARACTERS
        return await asyncio.get_running_loop().run_in_executor(
            self._long_texts if long else None,
            lambda: self._pipeline.read(texts, self._max_tokens, **arguments),
        )

    async def _work(self) -> None:
        """Take turns until nobody waits."""
        while jobs := self._next_turn():
            try:
                loop = asyncio.get_running_loop()
                answers = await loop.run_in_executor(self._encoder, self._take_turn, jobs)
            except Exception as error:
                answers = [error] * len(jobs)
            self._hand_over(jobs, answers)

    def _next_turn(self) -> list[Job]:
        """Whose turn it is."""
        self._jobs = [job for job in self._jobs if not job.answer.done()]
        if not self._jobs:
            return []
        by_length = sorted(self._jobs, key=lambda job: job.reading.num_tokens)
        self._oldest_first = not self._oldest_first
        first = self._jobs[0] if self._oldest_first else by_length[0]
        together, room = [first], self._pipeline.max_tokens() - first.reading.num_tokens
        for job in by_length:
            if job.reading.num_tokens > room:
                break
            if job is not first and job.arguments == first.arguments:
                together.append(job)
                room -= job.reading.num_tokens
        return together

    def _take_turn(self, jobs: list[Job]) -> list[bytes | Exception]:
        """The answers of jobs; nothing if it's a long one that needs further turns."""
        steps = jobs[0].steps or self._pipeline.answer_in_steps(_joined(jobs))
        is_long = jobs[0].reading.num_tokens > self._pipeline.max_tokens()
        answers = _ended(steps, 1 if is_long else None)
        if answers is None:
            jobs[0].steps = steps
            return []
        following = iter(answers)
        return [_encode(job, [next(following) for _ in job.reading.texts]) for job in jobs]

    def _hand_over(self, jobs: list[Job], answers: list[bytes | Exception]) -> None:
        if answers:
            self._on_answer(sum(len(job.reading.texts) for job in jobs))
        for job, answer in zip(jobs, answers, strict=False):
            if job.answer.done():  # given up meanwhile
                continue
            if isinstance(answer, Exception):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)


def _joined(jobs: list[Job]) -> Reading:
    """The texts of jobs that ask for the same."""
    return Reading(
        jobs[0].reading.question,
        [text for job in jobs for text in job.reading.texts],
        [document for job in jobs for document in job.reading.documents],
    )


def _ended(steps: Generator[None, None, list[dict]], most: int | None) -> list[dict] | None:
    """What a generator returns; None if it goes on after `most` steps."""
    taken = 0
    while most is None or taken < most:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        taken += 1
    return None


def _encode(job: Job, answers: list[dict]) -> bytes | Exception:
    if not job.embedding:
        answers = [
            {key: value for key, value in answer.items() if key != "embedding"}
            for answer in answers
        ]
    try:
        return json.dumps({"answers": answers}, allow_nan=False).encode()
    except ValueError:
        return RuntimeError("An answer holds NaN or infinity, for which JSON has no word.")
