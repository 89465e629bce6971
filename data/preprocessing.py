"""From loaded rows to model inputs: token ids and, per task, labels the collator can pad.

A loaded row has `source`, `text` or `tokens`, and one column per task (see normalization.py). A
preprocessed row has `input_ids`, `length`, and per task `<task>`: a class id, a list of floats, or
a list of token labels. Token tasks add `<task>_tags` (one tag id per word) and `<task>_positions`
(each word's first token,
-1 where it has none): evaluation scores words, and loses none.
"""

from collections.abc import Callable

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from .label_alignment import (
    IGNORE_INDEX,
    first_tokens,
    join_words,
    label_id,
    spans_to_tags,
    token_labels,
    word_ranges,
    words_of_tokens,
)

Offsets = list[tuple[int, int]]


def preprocess(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    tasks: dict[str, dict],
    strip_offsets: Callable[[str, Offsets], Offsets],
    find_words: Callable[[str, Offsets], list[int | None]],
    labelling: str = "first",
    max_length: int | None = None,
    prompt: str = "",
    name: str = "data",
    num_proc: int | None = None,
) -> Dataset:
    """Tokenize and align every row.

    Args:
        dataset (`Dataset`): loaded rows.
        tokenizer (`PreTrainedTokenizerBase`): a fast one: alignment needs its offsets.
        tasks (`dict[str, dict]`): as in the model's config, with `type` and `labels`.
        strip_offsets, find_words: how the model's decoding reads offsets, so that both agree.
        labelling (`str`): `first` or `all`, see `token_labels`.
        max_length (`int`, *optional*): cut longer rows there. By default they are refused.
        prompt (`str`): put before every text.
        name (`str`): what to call the data in the progress bar.
        num_proc (`int`, *optional*): processes to use.

    Raises:
        ValueError: a tokenizer without offsets, a row longer than the encoder takes, an unknown
            label, a `max_length` that leaves room for no text.
    """
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} gives no offsets; a fast tokenizer is needed."
        )
    special_tokens = tokenizer.num_special_tokens_to_add()
    if max_length is not None and max_length <= special_tokens:
        raise ValueError(
            f"max_length should be more than the {special_tokens} special tokens. "
            f"Found {max_length}."
        )
    return dataset.map(
        _preprocess_row,
        remove_columns=dataset.column_names,
        num_proc=num_proc,
        desc=f"Tokenizing {name}",
        fn_kwargs={
            "tokenizer": tokenizer,
            "tasks": tasks,
            "strip_offsets": strip_offsets,
            "find_words": find_words,
            "labelling": labelling,
            "max_length": max_length,
            "prompt": prompt,
        },
    )


def _preprocess_row(
    row, tokenizer, tasks, strip_offsets, find_words, labelling, max_length, prompt
):
    text, words = (row["text"], None) if row.get("tokens") is None else join_words(row["tokens"])
    input_ids, offsets = _tokens(tokenizer, text, prompt, strip_offsets)
    if words is None:
        words = word_ranges(find_words(text, offsets), offsets)
    if max_length is not None and len(input_ids) > max_length:
        # The words stay whole: those cut off keep their labels, as words without a token.
        input_ids, offsets = _tokens(tokenizer, text, prompt, strip_offsets, max_length)
    if len(input_ids) > tokenizer.model_max_length:
        raise ValueError(
            f"{row['source']}: has {len(input_ids)} tokens, the encoder takes "
            f"{tokenizer.model_max_length}. Set max_length to cut longer rows there."
        )
    word_ids = words_of_tokens(offsets, words)

    features = {"input_ids": input_ids, "length": len(input_ids)}
    for task_name, task in tasks.items():
        encode = PREPROCESSORS[task["type"]]
        if encode is None:
            continue
        try:
            features |= encode(task_name, task, row.get(task_name), words, word_ids, labelling)
        except ValueError as error:
            raise ValueError(f"{row['source']}, task {task_name!r}: {error}") from None
    return features


def _tokens(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    prompt: str,
    strip_offsets: Callable[[str, Offsets], Offsets],
    max_length: int | None = None,
) -> tuple[list[int], Offsets]:
    """The ids of prompt and text, and where in the text each token is."""
    encoding = tokenizer(
        prompt + text,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        truncation=max_length is not None,
        max_length=max_length,
        verbose=False,
    )
    shift = len(prompt)
    offsets = [(max(s - shift, 0), max(e - shift, 0)) for s, e in encoding["offset_mapping"]]
    return encoding["input_ids"], strip_offsets(text, offsets)


def encode_sentence_label(name, task, label, words, word_ids, labelling) -> dict:
    """A class id, or floats for multi-label and regression tasks; -100 or NaN where absent."""
    labels = task["labels"]
    if task["problem_type"] == "single_label_classification":
        return {name: IGNORE_INDEX if label is None else label_id(label, labels)}
    if label is None:
        return {name: [float("nan")] * len(labels)}
    if task["problem_type"] == "regression":
        if len(label) != len(labels):
            raise ValueError(
                f"should have {len(labels)} numbers ({', '.join(labels)}). Found {label}."
            )
        return {name: [float(value) for value in label]}
    chosen = {label_id(one, labels) for one in label}
    return {name: [float(index in chosen) for index in range(len(labels))]}


def encode_token_labels(name, task, label, words, word_ids, labelling) -> dict:
    """Labels per token, tags and first tokens per word, from word tags or character spans."""
    positions = first_tokens(word_ids, len(words))
    if label is None:
        return {
            name: [IGNORE_INDEX] * len(word_ids),
            f"{name}_tags": [IGNORE_INDEX] * len(words),
            f"{name}_positions": positions,
        }
    labels = task["labels"]
    if label and isinstance(label[0], dict):
        tags, _, lost = spans_to_tags(label, words)
        # An entity with no token of its own can't be found, and must count as missed.
        tags += [f"B-{span['label']}" for span in lost]
        positions += [-1] * len(lost)
    else:
        tags = label or ["O"] * len(words)
    ids = [label_id(tag, labels) for tag in tags]
    return {
        name: token_labels(ids, word_ids, labels, labelling),
        f"{name}_tags": ids,
        f"{name}_positions": positions,
    }


PREPROCESSORS = {
    "sequence_classification": encode_sentence_label,
    "token_classification": encode_token_labels,
    "sentence_embedding": None,
}
