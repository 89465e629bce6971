"""Which rows make up each optimizer step: seeded, grouped by length, however it is split."""

from collections.abc import Iterator, Sequence

import numpy as np

POOL_STEPS = (
    50  # steps whose rows are sorted together: enough for little padding, few for shuffling
)


class LengthGroupedBatchSampler:
    """Batches of rows of similar length for one of several ranks.

    Rows are shuffled, sorted by length within pools of some steps, and cut into optimizer steps of
    `batch_size * accumulation_steps * num_ranks` rows; each step is then dealt out to micro-batches
    and ranks. So the rows of a step depend only on that product: 32 = 8 x 4 = 2 ranks x 16.
    Every epoch has every row exactly once. Its last step is smaller; rows too few to give each
    rank one join the step before.

    Args:
        lengths (`Sequence[int]`): the number of tokens of each row.
        batch_size (`int`): rows per micro-batch and rank.
        accumulation_steps (`int`): micro-batches per optimizer step.
        num_ranks (`int`), rank (`int`): how many processes there are, and which this is.
        seed (`int`): decides, with the epoch, the order.

    Raises:
        ValueError: there are fewer rows than ranks.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        accumulation_steps: int = 1,
        num_ranks: int = 1,
        rank: int = 0,
        seed: int = 0,
    ):
        if len(lengths) < num_ranks:
            raise ValueError(
                f"There should be at least one row per process ({num_ranks}). "
                f"Found {len(lengths)} rows."
            )
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.accumulation_steps = accumulation_steps
        self.num_ranks = num_ranks
        self.rank = rank
        self.seed = seed
        self.epoch = 0
        self.drop_last = False

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Micro-batches per epoch and rank."""
        *full, last = self._step_bounds()
        return len(full) * self.accumulation_steps + self._micro_batches(last[1] - last[0])

    def __iter__(self) -> Iterator[list[int]]:
        bounds = self._step_bounds()
        order = self._order()
        # The last step has another size, so only the others change places.
        places = np.random.default_rng([self.seed, self.epoch, 1]).permutation(len(bounds) - 1)
        for place in [*places, len(bounds) - 1]:
            start, end = bounds[place]
            parts = self._micro_batches(end - start) * self.num_ranks
            for batch in np.array_split(order[start:end], parts)[self.rank :: self.num_ranks]:
                yield batch.tolist()

    def _order(self) -> np.ndarray:
        rows = np.random.default_rng([self.seed, self.epoch, 0]).permutation(len(self.lengths))
        pool = POOL_STEPS * self.batch_size * self.accumulation_steps * self.num_ranks
        pools = [rows[start : start + pool] for start in range(0, len(rows), pool)]
        return np.concatenate(
            [part[np.argsort(-self.lengths[part], kind="stable")] for part in pools]
        )

    def _step_bounds(self) -> list[tuple[int, int]]:
        size = self.batch_size * self.accumulation_steps * self.num_ranks
        total = len(self.lengths)
        starts = list(range(0, total, size))
        if len(starts) > 1 and total - starts[-1] < self.num_ranks:
            starts.pop()
        return list(zip(starts, [*starts[1:], total], strict=True))

    def _micro_batches(self, rows: int) -> int:
        """Per rank, for a step of so many rows; each gets at least one row."""
        needed = -(-rows // (self.batch_size * self.num_ranks))
        return min(needed, self.accumulation_steps, rows // self.num_ranks)
