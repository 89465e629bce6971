"""Whether an export answers as the model does: the same texts through both, and the differences."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from transformers import PreTrainedTokenizerBase

from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel
from multitask_encoder.modeling.batching import pad
from multitask_encoder.modeling.windows import tokenize

# From no token to more than a window of 512, and whatever tokenizers and graphs stumble over.
TEXTS = (
    "",
    "x",
    "Maya Lindqvist of Apple opened a new office in Jordan.",
    " \n\t ",
    "é ﬁ ㎏ İ 𝔸 👍🏽 中日한 नि \u200b\ufeff\x00 «—.' a\u0301",
    "Antidisestablishmentarianism" * 4,
    " ".join(f"Line {number} is about the harbour of Oslo." for number in range(12)),
    " ".join(f"Anna met Paul, number {number}, in Rome?" for number in range(90)),
)
TINY = 1e-12  # of a sum of squares
# Of a batch: the embedding under `embedding`, the logits of each task under its name.
Outputs = dict[str, torch.Tensor]
Batch = tuple[torch.Tensor, torch.Tensor]


def batches(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, config: MultiTaskConfig
) -> Iterator[Batch]:
    """`input_ids` and `attention_mask` of all windows of some texts, as the pipeline makes them.
    Two are alone, since graphs may take sizes of 1 for constants; up to 16 others are padded
    together."""
    documents = tokenize(tokenizer, texts, config.default_prompt, stride=config.stride)
    rows = [text.input_ids(window) for text in documents for window in text.windows]
    bounds = [0, 1, 2, *range(18, len(rows), 16), len(rows)]
    for start, end in pairwise(bounds):
        if rows[start:end]:
            yield pad(rows[start:end], tokenizer.pad_token_id or 0)  # whatever it is, it's masked


@torch.inference_mode()
def outputs(model: MultiTaskModel, batch: Batch) -> Outputs:
    """The outputs of a model, or of a graph in its place, without those of padding."""
    ids, mask = batch
    output = model(input_ids=ids, attention_mask=mask)
    logits = {
        name: values[mask == 1] if values.ndim == 3 else values
        for name, values in output.logits.items()
    }
    return {"embedding": output.sentence_embedding, **logits}


def differences(expected: Outputs, found: Outputs) -> dict[str, float]:
    """The largest difference of each output in `found`, as a share of the largest expected value
    (of 1, if that is less)."""
    return {
        name: float((values - expected[name]).abs().max() / expected[name].abs().max().clamp(min=1))
        for name, values in found.items()
    }


def typical_differences(pairs: list[tuple[Outputs, Outputs]]) -> dict[str, float]:
    """The root mean square of each output's differences, as a share of that of its expected values,
    over some batches: one text that an export answers otherwise hardly shows."""
    return {
        name: math.sqrt(
            sum(float((found[name] - expected[name]).square().sum()) for expected, found in pairs)
            / max(sum(float(expected[name].square().sum()) for expected, _ in pairs), TINY)
        )
        for name in pairs[0][1]
    }


def check(
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    export: Callable[[Batch], Outputs],
    tolerance: float,
    typically: bool = False,
) -> dict[str, float]:
    """The largest differences between a model and its export over `TEXTS`, by output, or the
    typical ones.

    Raises:
        ValueError: a difference is above the tolerance.
    """
    pairs = [
        (outputs(model, batch), export(batch))
        for batch in batches(list(TEXTS), tokenizer, model.config)
    ]
    if typically:
        found = typical_differences(pairs)
    else:
        every = [differences(*pair) for pair in pairs]
        found = {name: max((one[name] for one in every), key=_nan_last) for name in every[0]}
    refuse_large(found, tolerance)
    return found


def refuse_large(largest: dict[str, float], tolerance: float) -> None:
    """Raise a ValueError for a difference above the tolerance."""
    for name, difference in largest.items():
        if not difference <= tolerance:  # NaN as well
            raise ValueError(
                f"The export should answer as the model does, up to {tolerance:g} of its values. "
                f"Found a difference of {difference:.2g} in {name!r}: nothing was written."
            )


def _nan_last(value: float) -> float:
    return float("inf") if value != value else value
