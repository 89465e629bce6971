"""tasknet: a shared encoder under two heads, by its own Trainer; a batch is of one task.

Importing it asks the Hub for a metric that training doesn't need. Where that can't be had it is
replaced by nothing, before the import. Its pipeline answers sentence tasks only, so both heads are
asked by a plain loop over batches.
"""

import tempfile

import common
import evaluate
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value
from transformers import AutoTokenizer, set_seed

evaluate.load = lambda *args, **kwargs: None

import tasknet  # noqa: E402, the line above must come first


def main() -> None:
    options, train_rows, test_rows = common.options_and_rows()
    set_seed(options.seed)
    intents, _ = common.label_lists(train_rows)
    tags = common.complete_tags(train_rows)
    tasks = [
        tasknet.Classification(intent_data(train_rows, intents), s1="text", name="intent"),
        tasknet.TokenClassification(slot_data(train_rows, tags), name="slots"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            **common.trainer_settings(options, folder),
            "model_name": options.encoder,
            "warmup_steps": common.WARMUP,  # below 1 it is the part of all steps
            "eval_strategy": "no",
        }
        model = tasknet.Model(tasks, settings)
        trainer = tasknet.Trainer(model, tasks, settings)
        with common.Timer() as training:
            trainer.train()

    tokenizer = AutoTokenizer.from_pretrained(options.encoder)
    model.eval()
    answers = []
    with common.Timer() as predicting, torch.inference_mode():
        for start in range(0, len(test_rows), options.batch_size):
            batch = test_rows[start : start + options.batch_size]
            answers += answer(model, tokenizer, batch, intents, tags)
    common.write_result(
        options,
        ["tasknet", "transformers", "torch"],
        train=training.result(len(train_rows) * options.epochs),
        predict=predicting.result(len(test_rows)),
        answers=answers,
        note="One encoder, but a batch and a pass for each task; answers by a plain loop.",
    )


def intent_data(rows: list[dict], intents: list[str]) -> DatasetDict:
    features = Features({"text": Value("string"), "labels": ClassLabel(names=intents)})
    data = [{"text": common.text_of(row), "labels": intents.index(row["intent"])} for row in rows]
    return splits(data, features)


def slot_data(rows: list[dict], tags: list[str]) -> DatasetDict:
    features = Features(
        {"tokens": Sequence(Value("string")), "labels": Sequence(ClassLabel(names=tags))}
    )
    data = [
        {"tokens": row["tokens"], "labels": [tags.index(tag) for tag in common.bio_tags(row)]}
        for row in rows
    ]
    return splits(data, features)


def splits(data: list[dict], features: Features) -> DatasetDict:
    """It wants all three; those that nothing is asked of are one row."""
    parts = {"train": data, "validation": data[:1], "test": data[:1]}
    return DatasetDict(
        {name: Dataset.from_list(part, features=features) for name, part in parts.items()}
    )


def answer(model, tokenizer, rows: list[dict], intents: list[str], tags: list[str]) -> list[dict]:
    inputs = tokenizer(
        [row["tokens"] for row in rows],
        is_split_into_words=True,
        truncation=True,
        padding=True,
        return_tensors="pt",
    )
    of_intent, of_slots = (head(**inputs).logits.argmax(-1) for head in model.task_models_list)
    answers = []
    for index, row in enumerate(rows):
        words = inputs.word_ids(index)
        best = of_slots[index].tolist()
        found = [tags[best[words.index(word)]] for word in range(len(row["tokens"]))]
        answers.append({"intent": intents[of_intent[index]], "slots": found})
    return answers


if __name__ == "__main__":
    main()
