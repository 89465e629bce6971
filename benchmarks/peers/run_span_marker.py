"""SpanMarker: the slots only, by classifying every span of up to eight words.

It pads every row to the longest that it takes, and adds room for the spans; with the defaults, 768
tokens in all, a batch of 32 takes 20 GB. So both are as small as these rows allow.
"""

import tempfile

import common
from datasets import Dataset
from span_marker import SpanMarkerModel, Trainer
from transformers import TrainingArguments, set_seed

MAX_LENGTH = 48  # the longest row has 36 tokens
MAX_SPANS = 64  # those of a row with more are spread over several inputs


def main() -> None:
    options, train_rows, test_rows = common.options_and_rows()
    set_seed(options.seed)
    labels = common.complete_tags(train_rows)
    model = SpanMarkerModel.from_pretrained(
        options.encoder, labels=labels, model_max_length=MAX_LENGTH, marker_max_length=MAX_SPANS
    )
    data = Dataset.from_list([example_of(row, labels) for row in train_rows])
    with tempfile.TemporaryDirectory() as folder:
        settings = common.trainer_settings(options, folder)
        arguments = TrainingArguments(**settings, warmup_ratio=common.WARMUP)
        trainer = Trainer(model=model, args=arguments, train_dataset=data)
        with common.Timer() as training:
            trainer.train()
    words = [row["tokens"] for row in test_rows]
    with common.Timer() as predicting:
        found = model.predict(words, batch_size=options.batch_size)
    common.write_result(
        options,
        ["span-marker", "transformers", "torch"],
        train=training.result(len(train_rows) * options.epochs),
        predict=predicting.result(len(words)),
        answers=[
            {
                "intent": None,
                "slots": common.tags_of(len(row["tokens"]), [span_of(one) for one in spans]),
            }
            for row, spans in zip(test_rows, found, strict=True)
        ],
        note=(
            "Slots only, of at most 8 words (its default); model_max_length 48 and "
            "marker_max_length 64, for its defaults pad every row to 768 tokens."
        ),
    )


def example_of(row: dict, labels: list[str]) -> dict:
    return {
        "tokens": row["tokens"],
        "ner_tags": [labels.index(tag) for tag in common.bio_tags(row)],
    }


def span_of(entity: dict) -> tuple[int, int, str]:
    return entity["word_start_index"], entity["word_end_index"], entity["label"]


if __name__ == "__main__":
    main()
