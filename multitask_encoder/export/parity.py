"""Whether an export answers as the model does: the same texts through both, and how far apart."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from transformers import PreTrainedTokenizerBase

from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel
from multitask_encoder.modeling.batching import pad
from multitask_encoder.modeling.windows import tokenize

# Of one token and of many (more than a window of 512), and what tokenizers and graphs stumble over.
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
# Answers of a batch: the embedding under `embedding`, the logits of each task under its name.
Answers = dict[str, torch.Tensor]
Batch = tuple[torch.Tensor, torch.Tensor]


def batches(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, config: MultiTaskConfig
) -> Iterator[Batch]:
    """`input_ids` and `attention_mask` of all windows of some texts, as the pipeline makes them:
    two alone, for graphs may take sizes of 1 for constants, the others padded, up to 16 together.
    """
    prompt = (config.prompts or {}).get("default", "")
    documents = tokenize(tokenizer, texts, prompt, stride=config.stride)
    rows = [one.input_ids(window) for one in documents for window in one.windows]
    bounds = [0, 1, 2, *range(18, len(rows), 16), len(rows)]
    for start, end in pairwise(bounds):
        if rows[start:end]:
            yield pad(rows[start:end], tokenizer.pad_token_id or 0)  # whatever it is, it's masked


@torch.inference_mode()
def answers(model: MultiTaskModel, batch: Batch) -> Answers:
    """What a model, or what stands in for one, says; of padding nothing."""
    ids, mask = batch
    output = model(input_ids=ids, attention_mask=mask)
    found = {"embedding": output.sentence_embedding}
    for name, logits in output.logits.items():
        found[name] = logits[mask == 1] if logits.ndim == 3 else logits
    return found


def differences(expected: Answers, found: Answers) -> dict[str, float]:
    """Of each answer in `found` the largest difference, as a share of the largest expected value
    (of 1, where that is less)."""
    return {
        name: float((values - expected[name]).abs().max() / expected[name].abs().max().clamp(min=1))
        for name, values in found.items()
    }


def check(
    model: MultiTaskModel,
    tokenizer: PreTrainedTokenizerBase,
    export: Callable[[Batch], Answers],
    tolerance: float,
) -> dict[str, float]:
    """The largest differences between a model and its export over `TEXTS`, by answer.

    Raises:
        ValueError: one of them is above the tolerance.
    """
    largest: dict[str, float] = {}
    for batch in batches(list(TEXTS), tokenizer, model.config):
        for name, one in differences(answers(model, batch), export(batch)).items():
            largest[name] = max(largest.get(name, 0.0), one, key=_nan_last)
    refuse_large(largest, tolerance)
    return largest


def refuse_large(largest: dict[str, float], tolerance: float) -> None:
    """Raise a ValueError for a difference above the tolerance."""
    for name, one in largest.items():
        if not one <= tolerance:  # NaN as well
            raise ValueError(
                f"The export should answer as the model does, up to {tolerance:g} of its largest "
                f"value. Found a difference of {one:.2g} in {name!r}: nothing was written."
            )


def _nan_last(value: float) -> float:
    return float("inf") if value != value else value
