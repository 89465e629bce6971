"""GLiNER2: one model that reads all labels as a prompt before the text; intent and slots at once.

Made new on the same encoder, as its own pretrained weights are of another one and of other data.
Its spans are of up to eight words and its entities have no order, so a type's mentions are found in
the text by what they say.
"""

import tempfile

import common
from gliner2 import ExtractorConfig, GLiNER2, InputExample, Schema
from gliner2.training.data import Classification
from gliner2.training.trainer import ExtractorTrainer, TrainingConfig
from transformers import set_seed


def main() -> None:
    options, train_rows, test_rows = common.options_and_rows()
    set_seed(options.seed)
    intents, _ = common.label_lists(train_rows)
    kinds = sorted({span[2] for row in train_rows for span in common.spans_of(row["slots"])})
    model = GLiNER2(ExtractorConfig(model_name=options.encoder))
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(
            output_dir=folder,
            num_epochs=options.epochs,
            batch_size=options.batch_size,
            encoder_lr=common.LEARNING_RATE,
            warmup_ratio=common.WARMUP,
            eval_strategy="no",
            logging_steps=50,
            num_workers=0,
            pin_memory=False,
            seed=options.seed,
        )
        trainer = ExtractorTrainer(model, config)
        examples = [example_of(row, intents, kinds) for row in train_rows]
        with common.Timer() as training:
            trainer.train(train_data=examples)

    schema = Schema().classification("intent", intents).entities(kinds)
    texts = [common.text_of(row) for row in test_rows]
    with common.Timer() as predicting:
        found = model.batch_extract(
            texts,
            schema,
            batch_size=options.batch_size,
            include_spans=True,
            include_confidence=True,
        )
    common.write_result(
        options,
        ["gliner2", "transformers", "torch"],
        # It leaves out the last rows, where they don't fill a batch.
        train=training.result(
            len(train_rows) // options.batch_size * options.batch_size * options.epochs
        ),
        predict=predicting.result(len(texts)),
        answers=[answer_of(row, one) for row, one in zip(test_rows, found, strict=True)],
        note=(
            "One model, one pass, labels as a prompt: made for models that were pretrained on "
            "such prompts, which can't be had for this encoder. Heads at 5e-4 (its default)."
        ),
    )


def example_of(row: dict, intents: list[str], kinds: list[str]) -> InputExample:
    entities: dict[str, list[str]] = {kind: [] for kind in kinds}
    for first, last, kind in common.spans_of(row["slots"]):
        entities[kind].append(" ".join(row["tokens"][first:last]))
    return InputExample(
        text=common.text_of(row),
        entities=entities,
        classifications=[Classification("intent", intents, row["intent"])],
    )


def answer_of(row: dict, answer: dict) -> dict:
    """Types overlap freely in its answers: the surest ones stay."""
    words = row["tokens"]
    mentions = [
        (one["confidence"], (*common.words_between(words, one["start"], one["end"]), kind))
        for kind, found in answer.get("entities", {}).items()
        for one in found
    ]
    spans = [span for _, span in sorted(mentions, reverse=True)]
    return {"intent": answer["intent"]["label"], "slots": common.tags_of(len(words), spans)}


if __name__ == "__main__":
    main()
