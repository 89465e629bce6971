"""Requests that are answered in turns: short ones together, a long one's windows in between."""

import asyncio
import json
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from multitask_encoder.modeling import MultiTaskPipeline
from multitask_encoder.modeling.pipeline_multitask import Reading

# Characters that are tokenized in one turn, about as long as a batch takes; a longer text is not
# parted.
READ_CHARACTERS = 2**14
# Of the time, while there are shorter requests.
SHARE_OF_OLDEST = 0.25
# At most, in tokenizers of bytes.
TOKENS_OF_A_CHARACTER = 4


@dataclass(eq=False)
class Job:
    """A request's texts, the pipeline's arguments for them, whether its answers hold the embedding,
    and where they are expected."""

    texts: list[str]
    arguments: dict[str, Any]
    embedding: bool
    answer: asyncio.Future[bytes]


@dataclass(eq=False)
class Work:
    """Requests that are answered together, the characters of their texts, and what is left to do
    once it has begun."""

    jobs: list[Job]
    characters: int
    steps: Generator[None, None, list[dict]] | None = None

    def is_wanted(self) -> bool:
        """Whether anyone still waits for it."""
        return not all(job.answer.done() for job in self.jobs)


class Turns:
    """Answers requests with one pipeline, in turns of about half a batch each.

    A quarter of the time goes to the request that came first, the rest to the shortest; those that
    ask for the same, and fit into its turn or are about as long, join it. So a short request waits
    for a turn or two, however many long ones there are, and a long one gets a quarter of the time
    at worst. A request that is given up takes no further turn.

    Args:
        pipeline (`MultiTaskPipeline`): answers.
        max_tokens (`int`): of a request's texts together.
        on_answer (`Callable`): told the number of texts that were answered together.
    """

    def __init__(
        self, pipeline: MultiTaskPipeline, max_tokens: int, on_answer: Callable[[int], None]
    ):
        self._pipeline, self._max_tokens, self._on_answer = pipeline, max_tokens, on_answer
        self._turn_tokens = pipeline.max_tokens() // 2
        self._queue: list[Work] = []  # in order of arrival
        # What the oldest are behind (below 0) or ahead of their share, in seconds.
        self._ahead = 0.0
        self._working: asyncio.Task | None = None
        self._thread = ThreadPoolExecutor(max_workers=1)  # one, as each gets helpers from torch

    async def answer(self, texts: list[str], arguments: dict[str, Any], embedding: bool) -> bytes:
        """The JSON of the answers.

        Raises:
            ValueError: the pipeline refuses the arguments or a text, or there are too many tokens.
            RuntimeError: an answer that JSON has no word for.
        """
        job = Job(texts, arguments, embedding, asyncio.get_running_loop().create_future())
        self._queue.append(Work([job], sum(map(len, texts))))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await job.answer

    async def _work(self) -> None:
        """Take turns until nobody waits."""
        loop = asyncio.get_running_loop()
        while True:
            self._queue = [work for work in self._queue if work.is_wanted()]
            if not self._queue:
                break
            work, of_share = self._next()
            began = time.monotonic()
            answers: list[bytes | Exception] | None
            try:
                answers = await loop.run_in_executor(self._thread, _take_turn, work)
                if answers is not None:
                    self._on_answer(sum(len(job.texts) for job in work.jobs))
            except Exception as error:
                answers = [error] * len(work.jobs)
            self._ahead += of_share * (time.monotonic() - began)
            if answers is not None:
                self._queue.remove(work)
                _hand_over(work.jobs, answers)

    def _next(self) -> tuple[Work, float]:
        """What the next turn is for, and by how much each of its seconds takes the oldest ahead."""
        by_length = sorted(self._queue, key=lambda work: work.characters)
        oldest, shortest = self._queue[0], by_length[0]
        first, of_share = shortest, 0.0
        if oldest is not shortest:
            is_due = self._ahead < 0
            first = oldest if is_due else shortest
            of_share = 1 - SHARE_OF_OLDEST if is_due else -SHARE_OF_OLDEST
        if first.steps is None:
            self._join(first, by_length)
            first.steps = self._steps(first.jobs)
        return first, of_share

    def _join(self, first: Work, others: list[Work]) -> None:
        """Let others that have not begun be answered together with `first`."""
        size = first.characters
        most = self._max_tokens // TOKENS_OF_A_CHARACTER  # none can have too many tokens
        for other in others:
            # A turn is enough, if each character is a token at most; else nobody waits for one much
            # longer.
            is_alike = size <= 2 * other.characters <= 4 * size
            room = READ_CHARACTERS if is_alike else self._turn_tokens
            if (
                other is not first
                and other.steps is None
                and other.jobs[0].arguments == first.jobs[0].arguments
                and max(size, other.characters) <= most
                and first.characters + other.characters <= room
            ):
                first.jobs += other.jobs
                first.characters += other.characters
                self._queue.remove(other)

    def _steps(self, jobs: list[Job]) -> Generator[None, None, list[dict]]:
        """Tokenizes, and then answers; stops where another request may have its turn.

        Raises:
            ValueError: as `answer`.
        """
        texts = [text for job in jobs for text in job.texts]
        readings: list[Reading] = []
        for part in _parts(texts):
            if readings:
                yield
            readings.append(self._pipeline.read(part, **jobs[0].arguments))
            found = sum(reading.num_tokens for reading in readings)
            if len(jobs) == 1 and found > self._max_tokens:
                raise ValueError(f"The texts should have at most {self._max_tokens} tokens.")
        documents = [document for reading in readings for document in reading.documents]
        whole = Reading(readings[0].question, texts, documents)
        return (yield from self._pipeline.answer_in_steps(whole, self._turn_tokens))


def _parts(texts: list[str]) -> Iterator[list[str]]:
    """The texts in lists of about `READ_CHARACTERS`."""
    part: list[str] = []
    characters = 0
    for text in texts:
        part.append(text)
        characters += len(text)
        if characters >= READ_CHARACTERS:
            yield part
            part, characters = [], 0
    if part:
        yield part


def _take_turn(work: Work) -> list[bytes | Exception] | None:
    """One step; the answers of all jobs after the last one."""
    assert work.steps is not None
    try:
        next(work.steps)
    except StopIteration as end:
        answers = iter(end.value)
        return [_encode(job, [next(answers) for _ in job.texts]) for job in work.jobs]
    return None


def _hand_over(jobs: list[Job], answers: list[bytes | Exception]) -> None:
    for job, answer in zip(jobs, answers, strict=True):
        if job.answer.done():  # given up meanwhile
            continue
        if isinstance(answer, Exception):
            job.answer.set_exception(answer)
        else:
            job.answer.set_result(answer)


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
