"""Batches of sequences of similar length."""

from hypothesis import given
from hypothesis import strategies as st

from multitask_encoder.modeling.batching import length_batches


def test_longest_go_first_and_half_full_batches_take_no_shorter_ones():
    assert length_batches([3, 9, 3, 9, 5, 3], max_tokens=18) == [[1, 3], [4, 0], [2, 5]]
    assert length_batches([3, 3, 2], max_tokens=12) == [[0, 1], [2]]
    assert length_batches([3, 2, 2], max_tokens=12) == [[0, 1], [2]]
    assert length_batches([4, 4, 4], max_tokens=100, max_rows=2) == [[0, 1], [2]]
    assert length_batches([50, 1], max_tokens=10) == [[0], [1]]
    assert length_batches([], max_tokens=10) == []


@given(st.lists(st.integers(1, 600)), st.integers(1, 5000), st.none() | st.integers(1, 40))
def test_every_sequence_is_in_one_batch_that_is_not_too_large(lengths, max_tokens, max_rows):
    batches = length_batches(lengths, max_tokens, max_rows)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    in_order = [lengths[index] for batch in batches for index in batch]
    assert in_order == sorted(lengths, reverse=True)
    for batch in batches:
        assert len(batch) <= (max_rows or len(batch))
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= max_tokens
