"""The sentence embedding for sentence-transformers.

`export` writes the plain encoder, without heads: `SentenceTransformer(folder)` loads it without our
code. A whole model has its description from `save_pretrained`, which knows no tokenizer; `describe`
adds the length of a window.
"""

import inspect
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel, MultiTaskPipeline
from multitask_encoder.modeling.sentence_transformers_files import write_description
from multitask_encoder.modeling.windows import tokenize

from . import parity
from .folders import save_tokenizer

TOLERANCE = 1e-5


def describe(config: MultiTaskConfig, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """As `write_description`, with the length of the tokenizer's windows."""
    # A tokenizer without a limit has a very large number here.
    longest = tokenizer.model_max_length if tokenizer.model_max_length < 10**9 else None
    write_description(config, folder, longest)


def export(
    model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> dict[str, float]:
    """Write the encoder and its tokenizer to `folder`, and load them there.

    Texts longer than a window are cut, also where the pipeline would read on because
    `sentence_windows` is `mean`.

    Returns:
        `dict[str, float]`: the largest difference from the pipeline's embeddings (see parity.py).

    Raises:
        ValueError: the difference is above `TOLERANCE`.
    """
    from sentence_transformers import SentenceTransformer

    _with_pooler(model.encoder).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    describe(model.config, tokenizer, folder)

    texts = list(parity.TEXTS)
    if model.config.sentence_windows != "first":
        prompt = model.config.default_prompt
        documents = tokenize(tokenizer, texts, prompt, stride=model.config.stride)
        pairs = zip(texts, documents, strict=True)
        texts = [text for text, document in pairs if len(document.windows) == 1]
    ours = MultiTaskPipeline(model=model, tokenizer=tokenizer, device="cpu")(texts, tasks=[])
    theirs = SentenceTransformer(str(folder), device="cpu").encode(
        texts, show_progress_bar=False, convert_to_tensor=True
    )
    expected = torch.tensor([answer["embedding"] for answer in ours])
    largest = parity.differences({"embedding": expected}, {"embedding": theirs})
    parity.refuse_large(largest, TOLERANCE)
    return largest


def _with_pooler(encoder: PreTrainedModel) -> PreTrainedModel:
    """The encoder with the pooler that some classes bring and the model lacks. The embedding does
    not read it; but sentence-transformers misses it when training resumes."""
    if "add_pooling_layer" not in inspect.signature(type(encoder)).parameters:
        return encoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = type(encoder)(encoder.config).to(encoder.dtype)
    whole.load_state_dict(encoder.state_dict(), strict=False)
    return whole
