"""Pooling: literal cases, equality with sentence-transformers, and no leak of padding."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer.modules import Pooling

from multitask_encoder.modeling.pooling import POOLINGS, pool

STATES = torch.tensor(
    [[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]], [[5.0, 6.0], [9.0, 9.0], [9.0, 9.0]]]
)
MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("cls", [[1.0, -4.0], [5.0, 6.0]]),
        ("mean", [[2.0, -3.0], [5.0, 6.0]]),
        ("max", [[3.0, -2.0], [5.0, 6.0]]),
    ],
)
def test_pools_what_is_not_padding(pooling, expected):
    assert pool(pooling, STATES, MASK).tolist() == expected


def test_first_token_of_a_left_padded_row():
    mask = torch.tensor([[0, 1, 1], [0, 0, 1]])
    assert pool("cls", STATES, mask).tolist() == [[3.0, -2.0], [9.0, 9.0]]


@pytest.mark.parametrize("pooling", POOLINGS)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 5), longest=st.integers(1, 9))
def test_equals_sentence_transformers_and_ignores_padding(pooling, seed, rows, longest):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(rows, longest, 8, generator=generator)
    lengths = torch.randint(1, longest + 1, (rows, 1), generator=generator)
    mask = (torch.arange(longest) < lengths).long()
    found = pool(pooling, states, mask)
    theirs = Pooling(8, pooling_mode=pooling)
    features = theirs({"token_embeddings": states.clone(), "attention_mask": mask})
    torch.testing.assert_close(found, features["sentence_embedding"])
    noise = torch.randn(states.shape, generator=generator) * 1e3
    torch.testing.assert_close(
        pool(pooling, torch.where(mask.unsqueeze(-1) == 1, states, noise), mask), found
    )


@pytest.mark.parametrize("pooling", POOLINGS)
def test_permuting_the_batch_permutes_the_vectors(pooling):
    order = torch.tensor([1, 0])
    assert pool(pooling, STATES[order], MASK[order]).equal(pool(pooling, STATES, MASK)[order])
