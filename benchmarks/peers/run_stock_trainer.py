"""transformers alone: a model for the intent and one for the slots, each by the stock Trainer.

Defaults but for what the comparison fixes. A word's label is that of its first sub-word, the others
have none, as in the library's own example for named entities. Answers come from the library's
pipelines, one after the other.
"""

import tempfile

import common
import transformers
from datasets import Dataset

IGNORED = -100


def main() -> None:
    options, train_rows, test_rows = common.options_and_rows()
    intents, tags = common.label_lists(train_rows)
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.encoder)
    training = common.Timer()

    intent_data = [
        {**tokenizer(common.text_of(row), truncation=True), "label": intents.index(row["intent"])}
        for row in train_rows
    ]
    collate = transformers.DataCollatorWithPadding(tokenizer)
    auto = transformers.AutoModelForSequenceClassification
    intent_model = fine_tune(options, training, auto, intents, intent_data, collate)
    slot_data = [with_first_labels(tokenizer, row, tags) for row in train_rows]
    collate = transformers.DataCollatorForTokenClassification(tokenizer)
    auto = transformers.AutoModelForTokenClassification
    slot_model = fine_tune(options, training, auto, tags, slot_data, collate)

    classify = transformers.pipeline("text-classification", model=intent_model, tokenizer=tokenizer)
    tag = transformers.pipeline("token-classification", model=slot_model, tokenizer=tokenizer)
    texts = [common.text_of(row) for row in test_rows]
    with common.Timer() as predicting:
        labels = [one["label"] for one in classify(texts, batch_size=options.batch_size)]
        found = tag(texts, batch_size=options.batch_size)
    answers = [
        {"intent": label, "slots": first_tags(row, tokens)}
        for row, label, tokens in zip(test_rows, labels, found, strict=True)
    ]
    common.write_result(
        options,
        ["transformers", "accelerate", "torch"],
        train=training.result(len(train_rows) * options.epochs),
        predict=predicting.result(len(test_rows)),
        answers=answers,
        note="Two models, two trainings, two passes. No embedding.",
    )


def fine_tune(
    options, training: common.Timer, auto_class, labels: list[str], data: list[dict], collator
):
    transformers.set_seed(options.seed)
    model = auto_class.from_pretrained(
        options.encoder,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = common.trainer_settings(options, folder)
        # A number of steps below 1 is the part of all steps.
        arguments = transformers.TrainingArguments(**settings, warmup_steps=common.WARMUP)
        trainer = transformers.Trainer(
            model=model,
            args=arguments,
            data_collator=collator,
            train_dataset=Dataset.from_list(data),
        )
        with training:
            trainer.train()
    return model.eval()


def with_first_labels(tokenizer, row: dict, tags: list[str]) -> dict:
    encoded = tokenizer(row["tokens"], is_split_into_words=True, truncation=True)
    labels, previous = [], None
    for word in encoded.word_ids():
        is_first = word is not None and word != previous
        labels.append(tags.index(row["slots"][word]) if is_first else IGNORED)
        previous = word
    return {**encoded, "labels": labels}


def first_tags(row: dict, tokens: list[dict]) -> list[str]:
    """The tag of each word's first token; the pipeline leaves those out that are `O`."""
    tag_at = {token["start"]: token["entity"] for token in tokens}
    return [tag_at.get(start, "O") for start in common.word_starts(row["tokens"])]


if __name__ == "__main__":
    main()
