"""A batch in several passes: the same rows and labels, with less padding."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from multitask_encoder.training.passes import split_batch


def make_batch(lengths: list[int]) -> dict:
    """Every row holds its own number in all places."""
    longest, rows = max(lengths), len(lengths)
    mask = (torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)).long()
    numbers = torch.arange(1, rows + 1).unsqueeze(1)
    return {
        "input_ids": mask * numbers,
        "attention_mask": mask,
        "labels": {
            "topic": numbers.squeeze(1),
            "entities": torch.where(mask == 1, numbers, -100),
            "tags": numbers.float().expand(rows, longest),  # as many labels as tokens
        },
    }


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 200))
def test_passes_hold_every_row_whole(lengths, max_tokens):
    batch = make_batch(lengths)
    found = {}
    for part in split_batch(batch, max_tokens):
        assert len(part["input_ids"]) == 1 or part["input_ids"].numel() <= max_tokens
        assert part["input_ids"].shape == part["attention_mask"].shape
        assert part["labels"]["entities"].shape == part["input_ids"].shape
        for row, number in enumerate(part["labels"]["topic"].tolist()):
            ids, mask = part["input_ids"][row], part["attention_mask"][row]
            assert ids.tolist() == [number] * mask.sum() + [0] * (1 - mask).sum()
            assert part["labels"]["entities"][row].tolist() == [
                number if here else -100 for here in mask
            ]
            assert part["labels"]["tags"][row].tolist() == [float(number)] * max(lengths)
            found[number] = int(mask.sum())
    assert found == dict(enumerate(lengths, 1))


def test_batch_that_is_small_enough_is_left_alone():
    batch = make_batch([3, 2])
    (same,) = split_batch(batch, 6)
    assert same is batch
