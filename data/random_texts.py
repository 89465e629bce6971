"""Texts of exchanged words, on which a model is held to what it says while it learns something.

New rows may have nothing to do with what the model knows, as reviews have no entities. Texts that
it was measured on bring it up (pseudorehearsal: Robins 1995, "Catastrophic Forgetting, Rehearsal
and Pseudorehearsal", Connection Science 7(2)). As these are few, some of their words give way to
words with similar vectors, such as other names (Jiao et al. 2020, "TinyBERT", arXiv 1909.10351,
algorithm 1).
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from datasets import Dataset, concatenate_datasets
from transformers import PreTrainedTokenizerBase

from .caching import fingerprint

SHARE = 0.5  # of the words that may give way
NEAREST = 15  # words, itself among them, one of which comes in place of a word
ROWS_SHARE = 4  # of so many texts, one is a row's where there are samples
MOST_WORDS = 32  # of a text
MOST_TEXTS = 10_000  # of a data set
FEWEST = 100  # words to choose from
WORDS_AT_ONCE = 1000
KEPT = ("source", "repairs")  # columns that are no labels
CONTINUES, BEGINS = "##", ("▁", "Ġ")  # marks of a token that is part of a word, and of a first one
LETTERS = re.compile(r"[^\W\d_]{2,}")


def vocabulary_words(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The tokens that are whole words, or begin one, of two or more letters, with their ids; in
    order."""
    tokens = tokenizer.get_vocab()
    marked = {token[1:]: index for token, index in tokens.items() if token.startswith(BEGINS)}
    words = marked or {
        token: index for token, index in tokens.items() if not token.startswith(CONTINUES)
    }
    return {word: words[word] for word in sorted(words) if len(word) > 1 and word.isalpha()}


def similar_words(
    texts: Iterable[str], words: Mapping[str, int], vectors: np.ndarray
) -> dict[str, list[str]]:
    """By word of the texts, as it is written there, the 15 words whose vectors have the greatest
    cosine with its own; words that are none of `words` are left out.

    Args:
        texts (`Iterable[str]`): any texts.
        words (`Mapping[str, int]`): from `vocabulary_words`.
        vectors (`np.ndarray` of shape `(vocab_size, any)`): of the encoder's tokens.
    """
    names, places = list(words), {word: place for place, word in enumerate(words)}
    written = sorted({word for text in texts for word in LETTERS.findall(text)})
    known = [
        (word, places[form])
        for word in written
        for form in [word if word in places else word.lower()]
        if form in places
    ]
    units = vectors[list(words.values())].astype(np.float32)
    units -= units.mean(0)
    units /= np.linalg.norm(units, axis=1, keepdims=True).clip(min=1e-9)
    count, found = min(NEAREST, len(names)), {}
    for start in range(0, len(known), WORDS_AT_ONCE):
        part = known[start : start + WORDS_AT_ONCE]
        cosines = units[[place for _, place in part]] @ units.T
        nearest = np.argpartition(cosines, -count)[:, -count:]
        for (word, _), row in zip(part, np.sort(nearest), strict=True):
            found[word] = [names[place] for place in row]
    return found


def with_random_texts(
    rows: Dataset,
    words: Mapping[str, int],
    vectors: np.ndarray,
    seed: int,
    samples: Sequence[str] = (),
) -> Dataset:
    """The rows, and after them as many without labels, at most 10,000: the samples' texts and, of
    four, one of the rows', in which every other word is exchanged for a similar one, and cut to 32
    words. Rows of several texts get none, nor do any where there are fewer than 100 words.
    The result is cached.

    Args:
        rows (`Dataset`): loaded rows of one data set.
        words (`Mapping[str, int]`), vectors (`np.ndarray`): as `similar_words` takes them.
        seed (`int`): decides the words.
        samples (`Sequence[str]`): texts of what the model knows; without any, all are the rows'.
    """
    form = next((one for one in ("tokens", "text") if one in rows.column_names), None)
    if form is None or len(words) < FEWEST:
        return rows
    labels = [name for name in rows.column_names if name not in (form, *KEPT)]
    given = rows.select(range(min(len(rows), MOST_TEXTS)))
    own_texts = (one if form == "text" else " ".join(one) for one in given[form])
    similar = similar_words([*samples, *own_texts], words, vectors)

    def exchanged(batch: dict[str, list], indices: list[int]) -> dict[str, list]:
        made = []
        for one, index in zip(batch[form], indices, strict=True):
            generator = np.random.default_rng((seed, index))

            def other(match: re.Match, generator: np.random.Generator = generator) -> str:
                near = similar.get(match[0])
                stays = near is None or generator.random() >= SHARE
                return match[0] if stays else near[generator.integers(len(near))]

            own = one.split() if isinstance(one, str) else one
            if samples and index % ROWS_SHARE:
                own = samples[int(generator.integers(len(samples)))].split()
            mixed = [LETTERS.sub(other, word) for word in own[:MOST_WORDS]]
            made.append(" ".join(mixed) if form == "text" else mixed)
        none = {name: [None] * len(made) for name in labels}
        return {form: made, **none, "repairs": [0] * len(made)}

    random_rows = given.map(
        exchanged,
        batched=True,
        with_indices=True,
        features=rows.features,
        new_fingerprint=fingerprint(
            rows._fingerprint, similar, seed, samples, SHARE, "random texts"
        ),
    )
    return concatenate_datasets([rows, random_rows])
