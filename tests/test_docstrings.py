"""The examples in docstrings give what they say."""

import doctest

import pytest

from multitask_encoder.modeling import decoding, losses, pooling

LOSSES = {**losses.LOSSES, **losses.EMBEDDING_LOSSES}


@pytest.mark.parametrize("module", [decoding, losses, pooling], ids=lambda module: module.__name__)
def test_examples_give_what_they_say(module):
    failed, attempted = doctest.testmod(module)
    assert attempted and not failed


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_loss_tells_its_inputs_and_gives_an_example(loss):
    assert "| columns | labels |\n" in loss.__doc__
    assert doctest.DocTestFinder().find(loss, globs={})[0].examples
