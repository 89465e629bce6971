"""How many floating-point operations of matrix products some batches take."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def matrix_flops(run: Callable[[dict], Any], batches: Iterable[dict[str, Any]]) -> int:
    """Of `run(batch)` over all batches; run once for each shape that there is.

    Attention is counted as the two matrix products that it is: the counter has no formula for the
    fused one on processors.
    """
    by_shape: dict[tuple[int, ...], dict] = {}
    counts: Counter[tuple[int, ...]] = Counter()
    for batch in batches:
        shape = tuple(batch["input_ids"].shape)
        by_shape.setdefault(shape, batch)
        counts[shape] += 1
    total = 0
    for shape, batch in by_shape.items():
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            run(batch)
        total += counts[shape] * counter.get_total_flops()
    return total


def training_flops(model: torch.nn.Module, batches: Iterable[dict[str, Any]]) -> int:
    """Of forward and backward passes; the gradients are thrown away."""

    def step(batch: dict) -> None:
        model(**batch).loss.backward()
        model.zero_grad()

    return matrix_flops(step, batches)


def inference_flops(model: torch.nn.Module, batches: Iterable[dict[str, Any]]) -> int:
    """Of forward passes."""
    with torch.inference_mode():
        return matrix_flops(lambda batch: model(**batch), batches)
