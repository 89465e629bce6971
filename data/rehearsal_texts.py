"""Unlabelled texts that keep what a model says while it learns something else.

New rows may have nothing to do with what the model knows, as reviews have no entities. Texts that
it was measured on bring it up (pseudorehearsal: Robins 1995, "Catastrophic Forgetting, Rehearsal
and Pseudorehearsal", Connection Science 7(2)). As these are few, some of their words are replaced
by words with similar vectors, such as other names (after Jiao et al. 2020, "TinyBERT", arXiv
1909.10351, algorithm 1).
"""

import string
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from datasets import Dataset, Features, Value, concatenate_datasets
from transformers import PreTrainedTokenizerBase

from .caching import fingerprint

SHARE = 0.5  # of the words that are tokens give way
NEAREST = 15  # words, itself among them, one of which replaces a word
# Where there are samples, of four texts the first is a row's and the second a sample's as it is.
TEXTS_IN_TURN, OF_ROW, AS_IT_IS = 4, 0, 1
MOST_WORDS = 32  # of a text
MOST_TEXTS = 10_000  # of a data set
FEWEST = 100  # words to choose from
WORDS_AT_ONCE = 100
KEPT = ("source", "repairs")  # columns that are no labels
OF_SAMPLE = "of_sample"  # the column that says whether a text is made of a sample's
CONTINUES, BEGINS = "##", ("▁", "Ġ")  # marks of a token that is part of a word, and of a first one
PUNCTUATION = string.punctuation + "“”„‘’«»…–—¿¡。，、！？：；（）「」।"


def vocabulary_words(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The tokens that are whole words, or begin one, of two or more letters, with their ids; in
    order."""
    tokens = tokenizer.get_vocab()
    marked = [token for token in tokens if token.startswith(BEGINS)]
    if len(marked) > sum(token.startswith(CONTINUES) for token in tokens):
        # Byte-level tokens are not spelled as words are.
        spelled = tokenizer.convert_tokens_to_string
        words = {spelled([token]).strip(): tokens[token] for token in marked}
    else:
        words = {token: tokens[token] for token in tokens if not token.startswith(CONTINUES)}
    return {word: words[word] for word in sorted(words) if len(word) > 1 and word.isalpha()}


def similar_words(
    written: Iterable[str], words: Mapping[str, int], vectors: np.ndarray
) -> dict[str, list[str]]:
    """By word the 15 words whose vectors, less the mean of all, have the greatest cosine with its
    own; words that are not in the vocabulary, as they are or in lower case, are left out.

    Args:
        written (`Iterable[str]`): words without punctuation.
        words (`Mapping[str, int]`): from `vocabulary_words`.
        vectors (`np.ndarray` of shape `(vocab_size, any)`): of the encoder's tokens.
    """
    names = [word for word, index in words.items() if index < len(vectors)]
    places = {word: place for place, word in enumerate(names)}
    forms = {word: word if word in places else word.lower() for word in written}
    known = sorted({places[form] for form in forms.values() if form in places})
    units = np.asarray(vectors[[words[word] for word in names]], dtype=np.float32)
    units -= units.mean(0)
    units /= np.linalg.norm(units, axis=1, keepdims=True).clip(min=1e-9)
    count, found = min(NEAREST, len(names)), {}
    for start in range(0, len(known), WORDS_AT_ONCE):
        part = known[start : start + WORDS_AT_ONCE]
        nearest = np.argpartition(units[part] @ units.T, -count)[:, -count:]
        for place, row in zip(part, np.sort(nearest), strict=True):
            found[place] = [names[near] for near in row]
    return {word: found[places[form]] for word, form in forms.items() if form in places}


def with_rehearsal_texts(
    rows: Dataset,
    words: Mapping[str, int],
    vectors: np.ndarray,
    seed: int,
    samples: Sequence[str] = (),
    number: int = 0,
) -> Dataset:
    """The rows, and after them as many without labels, at most 10,000: of four, one is a row's text
    and three are samples', all cut to 32 words. Half of the words, chosen at random, give way to
    similar ones where they are in the vocabulary, but one of the three keeps its own, as users will
    write it. A column `of_sample` says which are the samples'. Rows of several texts get none, nor
    do any where there are fewer than 100 words. The result is cached.

    Args:
        rows (`Dataset`): loaded rows of one data set.
        words (`Mapping[str, int]`), vectors (`np.ndarray`): as `similar_words` takes them.
        seed (`int`): decides the words.
        samples (`Sequence[str]`): texts of what the model knows; without any, all are the rows'.
        number (`int`): of the data set, so that each has other texts.
    """
    form = next((one for one in ("tokens", "text") if one in rows.column_names), None)
    if form is None or len(words) < FEWEST:
        return rows
    labels = [name for name in rows.column_names if name not in (form, *KEPT)]

    def exchanged(batch: dict[str, list], indices: list[int]) -> dict[str, list]:
        of_sample = [bool(samples) and index % TEXTS_IN_TURN != OF_ROW for index in indices]
        texts = []
        for one, index, sampled in zip(batch[form], indices, of_sample, strict=True):
            own = one.split() if form == "text" else one
            if sampled:
                own = str(np.random.default_rng((seed, index, 0, number)).choice(samples)).split()
            texts.append(own[:MOST_WORDS])
        written = {word.strip(PUNCTUATION) for text in texts for word in text}
        similar = similar_words(written, words, vectors)
        made = [
            text
            if sampled and index % TEXTS_IN_TURN == AS_IT_IS
            else _with_similar(text, similar, np.random.default_rng((seed, index, 1, number)))
            for text, index, sampled in zip(texts, indices, of_sample, strict=True)
        ]
        none = {name: [None] * len(made) for name in labels}
        joined = list(map(" ".join, made)) if form == "text" else made
        return {form: joined, **none, "repairs": [0] * len(made), OF_SAMPLE: of_sample}

    chosen = np.linspace(0, len(rows) - 1, min(len(rows), MOST_TEXTS), dtype=int)
    rehearsal = rows.select(chosen).map(
        exchanged,
        batched=True,
        with_indices=True,
        features=Features({**rows.features, OF_SAMPLE: Value("bool")}),
        new_fingerprint=fingerprint(
            rows._fingerprint, words, vectors, seed, samples, number, "rehearsal"
        ),
    )
    return concatenate_datasets([rows, rehearsal])


def _with_similar(
    text: list[str], similar: Mapping[str, list[str]], generator: np.random.Generator
) -> list[str]:
    """A text of which half of the words that have similar ones are exchanged, in their case and
    with the punctuation around them."""
    made = []
    for word, chance in zip(text, generator.random(len(text)), strict=True):
        core = word.strip(PUNCTUATION)
        if core in similar and chance < SHARE:
            other = similar[core][generator.integers(len(similar[core]))]
            if core.istitle():
                other = other.title()
            elif core.isupper():
                other = other.upper()
            word = word.replace(core, other, 1)
        made.append(word)
    return made
