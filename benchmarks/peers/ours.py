"""This package: one model with both heads, trained by MultiTaskTrainer, asked by MultiTaskPipeline.

The settings are those of configs/snips.yaml. It runs where run_multitask.py does.
"""

import argparse
import tempfile

import common
from datasets import Dataset
from transformers import AutoTokenizer, set_seed

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.data.dataset_arguments import DatasetArguments
from multitask_encoder.data.labels import collect_labels
from multitask_encoder.data.loading import load_splits
from multitask_encoder.data.preprocessing import preprocess
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.windows import tokenize
from multitask_encoder.processor import keep_freed_memory
from multitask_encoder.training.trainer import MultiTaskTrainer

TASKS: dict[str, dict] = {
    "intent": {"type": "sequence_classification"},
    "slots": {"type": "token_classification"},
}


def main() -> None:
    options, _, test_rows = common.options_and_rows()
    set_seed(options.seed)
    tokenizer = AutoTokenizer.from_pretrained(options.encoder)
    model, rows = model_and_rows(options, tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        arguments = MultiTaskTrainingArguments(
            **common.trainer_settings(options, folder),
            warmup_steps=common.WARMUP,
            weight_decay=0.01,
            do_eval=False,
            bf16=False,  # as the peers, which all train in float32
        )
        trainer = MultiTaskTrainer(
            model=model,
            args=arguments,
            data_collator=MultiTaskCollator(tokenizer, model.config.tasks),
            train_dataset=rows,
            processing_class=tokenizer,
        )
        keep_freed_memory()  # as run_multitask.py does
        with common.Timer() as training:
            trainer.train()

    texts = [common.text_of(row) for row in test_rows]
    pipeline = MultiTaskPipeline(model=model.eval(), tokenizer=tokenizer)
    with common.Timer() as predicting:
        found = pipeline(texts)
    common.write_result(
        options,
        ["transformers", "accelerate", "torch"],
        train=training.result(len(rows) * options.epochs),
        predict=predicting.result(len(texts)),
        answers=[
            {"intent": one["labels"]["intent"]["label"], "slots": slot_tags(row, one)}
            for row, one in zip(test_rows, found, strict=True)
        ],
        note="One model, one pass; the embedding as well.",
    )


def model_and_rows(options: argparse.Namespace, tokenizer) -> tuple[MultiTaskModel, Dataset]:
    """A model with heads for all labels of the training rows, and these rows, tokenized."""
    source = DatasetArguments(
        data_dir=options.data, train_file=["train.jsonl"], train_size=options.rows
    )
    splits, _ = load_splits(TASKS, source)
    labels = collect_labels([splits["train"]], TASKS)
    tasks = {name: {**task, "labels": labels[name]} for name, task in TASKS.items()}
    model = MultiTaskModel.from_backbone(options.encoder, tasks, pooling="mean", dtype="float32")
    return model, preprocess(splits["train"], tokenizer, model.config.tasks, tokenize, UNITS)


def slot_tags(row: dict, answer: dict) -> list[str]:
    words = row["tokens"]
    return common.tags_of(
        len(words),
        [
            (*common.words_between(words, one["start"], one["end"]), one["label"])
            for one in answer["entities"]["slots"]
        ],
    )


if __name__ == "__main__":
    main()
