"""Which rows make up a step, however it is split."""

import random
from collections import Counter
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask_encoder.data.sampler import LengthGroupedBatchSampler, rows_per_epoch

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


SIZES = st.lists(st.integers(0, 500), min_size=1, max_size=6).filter(any)


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ({"mixing": "proportional"}, [100, 20, 30]),
        ({"mixing": "uniform"}, [50, 50, 50]),
        ({"mixing": "temperature", "temperature": 1.0}, [100, 20, 30]),
        ({"mixing": "temperature", "temperature": 1e9}, [50, 50, 50]),
        ({"mixing": "weights", "weights": [1, 2, 0]}, [50, 100, 0]),
        ({"mixing": "weights", "weights": [0.5, 0.5, 0.5]}, [50, 50, 50]),
    ],
)
def test_data_sets_are_mixed_as_asked(arguments, rows):
    assert rows_per_epoch([100, 20, 30], **arguments) == rows


def test_temperature_takes_the_root_of_the_sizes():
    assert rows_per_epoch([90, 10], "temperature", temperature=2) == [75, 25]  # 3 : 1


def test_rows_that_rounding_leaves_over_go_where_most_was_taken():
    assert rows_per_epoch([5, 5], "weights", weights=[1, 2]) == [3, 7]
    assert rows_per_epoch([4, 4, 3], "uniform") == [4, 4, 3]


def test_a_data_set_without_rows_gives_none():
    assert rows_per_epoch([10, 0, 20], "uniform") == [15, 0, 15]
    assert rows_per_epoch([10, 0, 20], "weights", weights=[1, 1, 1]) == [15, 0, 15]
    assert rows_per_epoch([10, 0, 20], "temperature", temperature=1e9) == [15, 0, 15]
    with pytest.raises(ValueError, match="data set with rows should have a weight"):
        rows_per_epoch([10, 0], "weights", weights=[0, 1])


@bounded
@given(
    SIZES,
    st.sampled_from(["proportional", "uniform", "temperature", "weights"]),
    st.floats(0.2, 20),
    st.data(),
)
def test_an_epoch_is_as_long_however_it_is_mixed(sizes, mixing, temperature, data):
    weight = st.floats(0.01, 10)
    weights = data.draw(st.lists(weight, min_size=len(sizes), max_size=len(sizes)))
    rows = rows_per_epoch(sizes, mixing, temperature, weights)
    assert sum(rows) == sum(sizes)
    assert all(count >= 0 for count in rows)
    assert all(count == 0 for count, size in zip(rows, sizes, strict=True) if size == 0)
    shares = {"weights": weights, "uniform": [1.0] * len(sizes)}.get(mixing)
    if shares is not None:
        shares = [share if size else 0 for share, size in zip(shares, sizes, strict=True)]
        for count, share in zip(rows, shares, strict=True):
            assert abs(count - sum(sizes) * share / sum(shares)) < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mixing": "temperature", "temperature": 0}, r"above 0\. Found 0"),
        ({"mixing": "temperature", "temperature": -1.0}, r"above 0\. Found -1"),
        ({"mixing": "weights", "weights": [0, 0]}, r"not all 0\. Found \[0, 0\]"),
        ({"mixing": "weights", "weights": [1, -1]}, r"at least 0, and not all 0\. Found \[1, -1\]"),
        ({"mixing": "weights", "weights": [1, float("nan")]}, "at least 0"),
        ({"mixing": "weights", "weights": [1, float("inf")]}, "at least 0"),
    ],
)
def test_weights_and_temperatures_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        rows_per_epoch([3, 4], **arguments)


@st.composite
def mixtures(draw) -> dict:
    """The data set of each row, and how many rows of each make up an epoch."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    draws = [draw(st.integers(0, 60)) for _ in sizes]
    groups = draw(st.permutations([group for group, size in enumerate(sizes) for _ in range(size)]))
    lengths = draw(st.lists(st.integers(1, 128), min_size=len(groups), max_size=len(groups)))
    return {"lengths": lengths, "groups": groups, "draws": [draws[0] + 1, *draws[1:]]}


@bounded
@given(mixtures(), st.integers(0, 4))
def test_each_epoch_has_the_asked_rows_of_each_data_set(mixture, epoch):
    ((*batches,),) = ranks(**mixture, batch_size=4, epoch=epoch)
    found = Counter(mixture["groups"][row] for batch in batches for row in batch)
    assert [found[group] for group in range(len(mixture["draws"]))] == mixture["draws"]


@bounded
@given(mixtures())
def test_no_row_comes_again_before_all_others_of_its_data_set(mixture):
    counts: Counter = Counter()
    sizes = Counter(mixture["groups"])
    for epoch in range(6):
        ((*batches,),) = ranks(**mixture, batch_size=4, epoch=epoch)
        counts.update(row for batch in batches for row in batch)
        for group in sizes:
            own = [counts[row] for row, one in enumerate(mixture["groups"]) if one == group]
            assert max(own) - min(own) <= 1


@bounded
@given(mixtures(), st.integers(0, 3))
def test_a_mixed_step_of_32_has_the_same_rows_however_it_is_split(mixture, epoch):
    whole = steps(**mixture, batch_size=32, epoch=epoch)
    assert steps(**mixture, batch_size=8, accumulation_steps=4, epoch=epoch) == whole
    if sum(mixture["draws"]) % 32 != 1:
        assert steps(**mixture, batch_size=16, num_ranks=2, epoch=epoch) == whole


@bounded
@given(LENGTHS, st.integers(0, 3), st.data())
def test_data_sets_change_nothing_where_every_row_comes_once(lengths, epoch, data):
    groups = data.draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    plain = ranks(lengths, batch_size=4, epoch=epoch)
    assert ranks(lengths, batch_size=4, epoch=epoch, groups=groups) == plain


def test_epochs_draw_other_rows_and_in_another_order():
    mixture = partial(ranks, [9] * 100, groups=[0] * 50 + [1] * 50, draws=[10, 90], batch_size=10)
    first, second = (mixture(epoch=epoch)[0] for epoch in (0, 1))
    assert first == mixture()[0]
    of_first, of_second = (
        {row for batch in one for row in batch if row < 50} for one in (first, second)
    )
    assert len(of_first | of_second) == 20
    assert mixture(seed=1)[0] != first
