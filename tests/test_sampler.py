"""Which rows make up a step, however it is split."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.sampler import LengthGroupedBatchSampler

bounded = settings(max_examples=60, deadline=None, derandomize=True, database=None)
LENGTHS = st.lists(st.integers(1, 128), min_size=1, max_size=150)


def ranks(lengths, num_ranks: int = 1, epoch: int = 0, **kwargs) -> list[list[list[int]]]:
    """Per rank its batches of row numbers."""
    batches = []
    for rank in range(num_ranks):
        sampler = LengthGroupedBatchSampler(lengths, num_ranks=num_ranks, rank=rank, **kwargs)
        sampler.set_epoch(epoch)
        batches.append(list(sampler))
        assert len(sampler) == len(batches[-1])
    return batches


def steps(lengths, accumulation_steps: int = 1, **kwargs) -> list[list[int]]:
    """The rows of each optimizer step, over all micro-batches and ranks."""
    per_rank = ranks(lengths, accumulation_steps=accumulation_steps, **kwargs)
    found = []
    for start in range(0, len(per_rank[0]), accumulation_steps):
        end = start + accumulation_steps
        parts = [batch for batches in per_rank for batch in batches[start:end]]
        found.append(sorted(row for batch in parts for row in batch))
    return found


def test_a_step_is_dealt_out_to_ranks_and_micro_batches():
    lengths = [1, 2, 3, 4, 5, 6, 7, 8]
    assert ranks(lengths, batch_size=4) == [[[7, 6, 5, 4], [3, 2, 1, 0]]]
    assert ranks(lengths, num_ranks=2, batch_size=2, accumulation_steps=2) == [
        [[7, 6], [3, 2]],
        [[5, 4], [1, 0]],
    ]


def test_the_last_step_has_the_rows_that_are_left():
    lengths = [10, 20, 30, 40, 50, 60, 70]
    assert ranks(lengths, batch_size=2, accumulation_steps=2) == [[[6, 5], [4, 3], [2, 1], [0]]]
    assert ranks(lengths, num_ranks=2, batch_size=2) == [[[6, 5], [2, 1]], [[4, 3], [0]]]


def test_rows_too_few_for_the_ranks_join_the_step_before():
    assert ranks([10, 20, 30, 40, 50], num_ranks=2, batch_size=2) == [[[4, 3, 2]], [[1, 0]]]


@bounded
@given(LENGTHS, st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
def test_every_row_comes_once_and_ranks_keep_pace(lengths, size, accumulation, num_ranks, epoch):
    if len(lengths) < num_ranks:
        lengths = lengths * num_ranks
    batches = ranks(lengths, num_ranks, epoch, batch_size=size, accumulation_steps=accumulation)
    rows = [row for rank in batches for batch in rank for row in batch]
    assert sorted(rows) == list(range(len(lengths)))
    assert len({len(rank) for rank in batches}) == 1
    assert all(batch for rank in batches for batch in rank)


@bounded
@given(st.lists(st.integers(1, 128), min_size=2, max_size=300), st.integers(0, 3))
def test_a_step_of_32_has_the_same_rows_however_it_is_split(lengths, epoch):
    whole = steps(lengths, batch_size=32, epoch=epoch)
    rest = len(lengths) % 32
    assert sorted(len(step) for step in whole[:-1]) == [32] * (len(whole) - 1)
    assert len(whole[-1]) in (rest, 32)
    assert steps(lengths, batch_size=8, accumulation_steps=4, epoch=epoch) == whole
    assert steps(lengths, batch_size=4, accumulation_steps=8, epoch=epoch) == whole
    if rest != 1:  # one row is too few for two ranks: it joins the step before
        assert steps(lengths, batch_size=16, num_ranks=2, epoch=epoch) == whole
        assert steps(lengths, batch_size=4, accumulation_steps=4, num_ranks=2, epoch=epoch) == whole


@bounded
@given(LENGTHS, st.integers(1, 8), st.integers(1, 4))
def test_micro_batches_of_a_step_are_alike_in_size(lengths, size, accumulation):
    sampler = LengthGroupedBatchSampler(lengths, size, accumulation)
    batches = list(sampler)
    for start in range(0, len(batches), accumulation):
        sizes = [len(batch) for batch in batches[start : start + accumulation]]
        assert max(sizes) <= size
        assert max(sizes) - min(sizes) <= 1


def test_the_order_follows_the_seed_and_the_epoch():
    lengths = random.Random(0).choices(range(5, 60), k=200)
    first = ranks(lengths, batch_size=8)
    assert ranks(lengths, batch_size=8) == first
    assert ranks(lengths, batch_size=8, epoch=1) != first
    assert ranks(lengths, batch_size=8, epoch=1) == ranks(lengths, batch_size=8, epoch=1)
    assert ranks(lengths, batch_size=8, seed=1) != first


def test_an_epoch_does_not_go_from_long_to_short():
    lengths = random.Random(0).choices(range(5, 60), k=400)
    longest = [max(lengths[row] for row in batch) for batch in ranks(lengths, batch_size=8)[0]]
    assert longest != sorted(longest, reverse=True)


def test_rows_of_a_batch_are_alike_in_length():
    lengths = random.Random(0).choices(range(5, 60), k=2000)

    def padded(batches):
        return sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)

    shuffled = random.Random(1).sample(range(2000), 2000)
    at_random = padded([shuffled[start : start + 32] for start in range(0, 2000, 32)])
    grouped = padded(ranks(lengths, batch_size=32)[0])
    assert sum(lengths) < grouped < 1.1 * sum(lengths) < 1.5 * sum(lengths) < at_random


def test_fewer_rows_than_ranks_are_refused():
    with pytest.raises(ValueError, match=r"at least one row per process \(3\)\. Found 2 rows"):
        LengthGroupedBatchSampler([5, 6], 8, num_ranks=3)
