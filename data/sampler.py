"""Samplers: seeded, mixed across data sets and grouped by length. The rows of an optimizer step
don't depend on how the step is split."""

from collections.abc import Iterator, Sequence

import numpy as np

MIXINGS = ("proportional", "uniform", "temperature", "weights")

# Steps whose rows are sorted together: enough for little padding, few for shuffling.
POOL_STEPS = 50


def rows_per_epoch(
    sizes: Sequence[int],
    mixing: str = "proportional",
    temperature: float = 1.0,
    weights: Sequence[float] | None = None,
) -> list[int]:
    """The number of rows per data set in an epoch; they sum to the total number of rows.

    Args:
        sizes (`Sequence[int]`): rows of each data set.
        mixing (`str`): `proportional`, every row once; `uniform`, as many of each;
            `temperature`, in proportion to size ** (1 / temperature), as in multilingual BERT and
            T5 (Raffel et al. 2020, section 3.5.2); `weights`, in proportion to `weights`.
        temperature (`float`): above 0; 1 is proportional, and more is more uniform.
        weights (`Sequence[float]`, *optional*): at least 0, not all 0.

    Raises:
        ValueError: a temperature or weight out of its range.
    """
    if mixing == "proportional":
        return list(sizes)
    if mixing == "uniform":
        shares = np.ones(len(sizes))
    elif mixing == "temperature":
        if not temperature > 0:
            raise ValueError(f"mixing_temperature should be above 0. Found {temperature}.")
        shares = np.asarray(sizes, dtype=float) ** (1 / temperature)
    else:
        shares = np.asarray(weights, dtype=float)
        if not (shares >= 0).all() or not 0 < shares.sum() < np.inf:
            raise ValueError(f"weights should be at least 0, and not all 0. Found {weights}.")
    shares = np.where(np.asarray(sizes) > 0, shares, 0)  # a data set may have no rows to train on
    if not shares.any():
        raise ValueError(f"A data set with rows should have a weight. Found {weights} for {sizes}.")
    exact = shares / shares.sum() * sum(sizes)
    counts = np.floor(exact).astype(int)
    # Rows lost to rounding go to the data sets that lost most.
    left_over = sum(sizes) - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:left_over]] += 1
    return counts.tolist()


class LengthGroupedBatchSampler:
    """Batches of rows of similar length for one of several ranks.

    The epoch's rows are shuffled, sorted by length within pools of some steps, and cut into
    optimizer steps of `batch_size * accumulation_steps * num_ranks` rows; each step is then dealt
    out to micro-batches and ranks. So the rows of a step depend only on that product: 32 = 8 x 4 =
    2 ranks x 16.
    Every epoch has every row exactly once, or the number of rows per data set that `draws` gives,
    taken in turn from an endless sequence of shuffles of that data set, so that no row repeats
    before all others have come up. The last step is smaller; if it has fewer rows than ranks, they
    join the step before.

    Args:
        lengths (`Sequence[int]`): the number of tokens of each row.
        batch_size (`int`): rows per micro-batch and rank.
        accumulation_steps (`int`): micro-batches per optimizer step.
        num_ranks (`int`), rank (`int`): the number of processes, and the index of this one.
        seed (`int`): decides the order, together with the epoch.
        groups (`Sequence[int]`, *optional*): the index of each row's data set.
        draws (`Sequence[int]`, *optional*): the number of rows per data set in an epoch.

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
        groups: Sequence[int] | None = None,
        draws: Sequence[int] | None = None,
    ):
        self.draws, self.groups = draws, None if groups is None else np.asarray(groups)
        self.total = len(lengths) if draws is None else sum(draws)
        if self.total < num_ranks:
            raise ValueError(
                f"There should be at least one row per process ({num_ranks}). "
                f"Found {self.total} rows."
            )
        self.lengths = np.asarray(lengths)
        self.batch_size, self.accumulation_steps = batch_size, accumulation_steps
        self.num_ranks, self.rank = num_ranks, rank
        self.seed, self.epoch = seed, 0
        self.drop_last = False

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order of the next iteration."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Micro-batches per epoch and rank."""
        *full, last = self._step_bounds()
        return len(full) * self.accumulation_steps + self._micro_batches(last[1] - last[0])

    def __iter__(self) -> Iterator[list[int]]:
        bounds = self._step_bounds()
        order = self._order()
        # The last step has a different size, so only the others are shuffled.
        places = np.random.default_rng([self.seed, self.epoch, 1]).permutation(len(bounds) - 1)
        for place in [*places, len(bounds) - 1]:
            start, end = bounds[place]
            parts = self._micro_batches(end - start) * self.num_ranks
            for batch in np.array_split(order[start:end], parts)[self.rank :: self.num_ranks]:
                yield batch.tolist()

    def _order(self) -> np.ndarray:
        rows = self._drawn()
        rows = rows[np.random.default_rng([self.seed, self.epoch, 0]).permutation(self.total)]
        pool = POOL_STEPS * self.batch_size * self.accumulation_steps * self.num_ranks
        pools = [rows[start : start + pool] for start in range(0, len(rows), pool)]
        return np.concatenate(
            [part[np.argsort(-self.lengths[part], kind="stable")] for part in pools]
        )

    def _drawn(self) -> np.ndarray:
        """The rows of this epoch."""
        if self.draws is None or self.groups is None:
            return np.arange(self.total)
        parts = []
        for group, count in enumerate(self.draws):
            own = np.flatnonzero(self.groups == group)
            position, end = self.epoch * count, (self.epoch + 1) * count
            while position < end:
                shuffle, first = divmod(position, len(own))
                taken = min(len(own) - first, end - position)
                order = np.random.default_rng([self.seed, shuffle, 2, group]).permutation(own)
                parts.append(order[first : first + taken])
                position += taken
        return np.concatenate(parts)

    def _step_bounds(self) -> list[tuple[int, int]]:
        size = self.batch_size * self.accumulation_steps * self.num_ranks
        starts = list(range(0, self.total, size))
        if len(starts) > 1 and self.total - starts[-1] < self.num_ranks:
            starts.pop()
        return list(zip(starts, [*starts[1:], self.total], strict=True))

    def _micro_batches(self, rows: int) -> int:
        """Micro-batches per rank in a step of `rows` rows; each gets at least one row."""
        needed = -(-rows // (self.batch_size * self.num_ranks))
        return min(needed, self.accumulation_steps, rows // self.num_ranks)
