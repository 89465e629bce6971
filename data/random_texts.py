"""Texts of random words, on which a model is held to what it says while it learns something else.

Pseudorehearsal (Robins 1995, "Catastrophic Forgetting, Rehearsal and Pseudorehearsal", Connection
Science 7(2)): new rows may have nothing to do with what the model knows, as reviews have no
entities. Texts that it was measured on, and the new rows, bring it up where words from all of the
tokenizer's vocabulary stand among theirs.
"""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedTokenizerBase

from .caching import fingerprint

SHARE = 0.25  # of the words that are exchanged
ROWS_SHARE = 4  # of so many texts, one is a row's where there are samples
MOST_WORDS = 32  # of a text
MOST_TEXTS = 10_000  # of a data set
FEWEST = 100  # words to choose from
KEPT = ("source", "repairs")  # columns that are no labels
CONTINUES, BEGINS = "##", ("▁", "Ġ")  # marks of a token that is part of a word, and of a first one


def vocabulary_words(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The tokens that are whole words, or begin one, of two or more letters; in order."""
    tokens = tokenizer.get_vocab()
    marked = [token[1:] for token in tokens if token.startswith(BEGINS)]
    words = marked or [token for token in tokens if not token.startswith(CONTINUES)]
    return sorted({word for word in words if len(word) > 1 and word.isalpha()})


def with_random_texts(
    rows: Dataset, words: list[str], seed: int, samples: Sequence[str] = ()
) -> Dataset:
    """The rows, and after them as many without labels, at most 10,000: the samples' texts and, of
    four, one of the rows', with one word in four exchanged for a random one, and cut to 32 words.
    Rows of several texts get none, nor do any where there are fewer than 100 words.
    The result is cached.

    Args:
        rows (`Dataset`): loaded rows of one data set.
        words (`list[str]`): from `vocabulary_words`.
        seed (`int`): decides the words.
        samples (`Sequence[str]`): texts of what the model knows; without any, all are the rows'.
    """
    form = next((one for one in ("tokens", "text") if one in rows.column_names), None)
    if form is None or len(words) < FEWEST:
        return rows
    labels = [name for name in rows.column_names if name not in (form, *KEPT)]

    def exchanged(batch: dict[str, list], indices: list[int]) -> dict[str, list]:
        made = []
        for one, index in zip(batch[form], indices, strict=True):
            generator = np.random.default_rng((seed, index))
            own = one.split() if isinstance(one, str) else one
            if samples and index % ROWS_SHARE:
                own = str(generator.choice(samples)).split()
            own = own[:MOST_WORDS]
            chosen = generator.choice(words, len(own))
            keep = generator.random(len(own)) >= SHARE
            mixed = np.where(keep, own, chosen).tolist()
            made.append(" ".join(mixed) if form == "text" else mixed)
        none = {name: [None] * len(made) for name in labels}
        return {form: made, **none, "repairs": [0] * len(made)}

    random_rows = rows.select(range(min(len(rows), MOST_TEXTS))).map(
        exchanged,
        batched=True,
        with_indices=True,
        features=rows.features,
        new_fingerprint=fingerprint(rows._fingerprint, words, seed, samples, SHARE, "random texts"),
    )
    return concatenate_datasets([rows, random_rows])
