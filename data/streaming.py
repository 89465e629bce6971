"""Streams training rows on demand: data of any size, without a cache."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from .bad_rows import BadRows, problem_line
from .sampler import LengthGroupedBatchSampler

BUFFER_STEPS = 200  # steps whose rows are shuffled together
ROWS_AT_ONCE = 256  # rows that are tokenized together


class StreamedWindows(IterableDataset):
    """An endless stream of preprocessed rows: each data set restarts when it ends.

    Args:
        sources (`Sequence[Callable]`): per data set, starts reading its loaded rows.
        preprocess (`Sequence[Callable]`): per data set, a function from a list of loaded rows to
            preprocessed rows.
        weights (`Sequence[float]`): per data set, the relative chance that the next row is from it.
        seed (`int`): decides the order of the data sets.
        on_bad_row (`Callable`, *optional*): called once for each row that has a `problem`, which
            is then skipped. By default a bad row ends the training.

    Raises (while iterating):
        BadRows: an invalid row, or a data set without a valid one.
    """

    def __init__(
        self,
        sources: Sequence[Callable[[], Iterable[dict]]],
        preprocess: Sequence[Callable[[list[dict]], list[dict]]],
        weights: Sequence[float],
        seed: int = 0,
        on_bad_row: Callable[[dict], None] | None = None,
    ):
        self.sources, self.preprocess = sources, preprocess
        self.weights = np.asarray(weights, dtype=float) / sum(weights)
        self.seed, self.on_bad_row = seed, on_bad_row

    def __iter__(self) -> Iterator[dict]:
        streams = [self._endless(number) for number in range(len(self.sources))]
        random = np.random.default_rng(self.seed)
        while True:
            for number in random.choice(len(streams), size=ROWS_AT_ONCE, p=self.weights):
                yield next(streams[number])

    def first(self, number: int) -> list[dict]:
        """The first rows, which an iteration yields again. Bad rows are not reported. Raises as an
        iteration."""
        silent = None if self.on_bad_row is None else lambda row: None
        weights = self.weights.tolist()
        same = StreamedWindows(self.sources, self.preprocess, weights, self.seed, silent)
        return list(islice(same, number))

    def _endless(self, number: int) -> Iterator[dict]:
        worker = get_worker_info()
        first_time = worker is None or worker.id == 0  # every worker reads all rows
        while True:
            empty = True
            rows = iter(self.sources[number]())
            while batch := list(islice(rows, ROWS_AT_ONCE)):
                good = self._good(batch, first_time)
                for window in self._good(self.preprocess[number](good), first_time) if good else ():
                    empty = False
                    yield window
            if empty:
                raise BadRows(["A streamed data set should have valid rows. Found none."])
            first_time = False

    def _good(self, rows: list[dict], first_time: bool) -> list[dict]:
        bad = [row for row in rows if row["problem"] is not None]
        if bad and self.on_bad_row is None:
            raise BadRows([problem_line(row) for row in bad])
        for row in bad if first_time else ():
            self.on_bad_row(row)
        return [row for row in rows if row["problem"] is None]


class StreamedBatches(IterableDataset):
    """Batches of rows of similar length, split among micro-batches and ranks as by
    `LengthGroupedBatchSampler`: the rows of a step depend only on its size.

    Every rank reads all rows and takes its own, and so does every worker of a `DataLoader`. A
    worker yields `{"problems": [...]}` instead of raising `BadRows`, because the `DataLoader` would
    turn the exception into another type.
    """

    def __init__(
        self,
        rows: Iterable[dict],
        batch_size: int,
        accumulation_steps: int = 1,
        num_ranks: int = 1,
        rank: int = 0,
        seed: int = 0,
    ):
        self.rows = rows
        self.dealing = (batch_size, accumulation_steps, num_ranks, rank, seed)
        self.buffer_size = BUFFER_STEPS * batch_size * accumulation_steps * num_ranks

    def __iter__(self) -> Iterator[list[dict] | dict]:
        worker = get_worker_info()
        if worker is None:
            return self._batches()
        return islice(self._batches_or_problems(), worker.id, None, worker.num_workers)

    def _batches_or_problems(self) -> Iterator[list[dict] | dict]:
        try:
            yield from self._batches()
        except BadRows as error:
            while True:  # a resumed run skips the first batches unseen
                yield {"problems": error.problems}

    def _batches(self) -> Iterator[list[dict]]:
        rows = iter(self.rows)
        buffer_number = 0
        while buffer := list(islice(rows, self.buffer_size)):
            sampler = LengthGroupedBatchSampler([row["length"] for row in buffer], *self.dealing)
            sampler.set_epoch(buffer_number)
            for batch in sampler:
                yield [buffer[index] for index in batch]
            buffer_number += 1
