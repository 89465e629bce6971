"""cnlp_transformers: one model with a head for the intent and one for the slots, by its own system.

Version 0.8.0 builds its encoder from the config alone, with random weights, on the command line as
well. Here the encoder's weights are put in before training, or it would learn next to nothing. And
saving compares its config with a default one, which asks the Hub for the default encoder's: so ours
is made the default.
"""

import json
import tempfile
from pathlib import Path

import common
from cnlpt.data import CnlpDataset
from cnlpt.data.preprocess import preprocess_raw_data
from cnlpt.modeling.config import ProjectionModelConfig
from cnlpt.modeling.models import ProjectionModel
from cnlpt.train_system import CnlpTrainSystem
from cnlpt.train_system.args import CnlpTrainingArguments
from datasets import Dataset
from transformers import AutoModel, set_seed

MAX_LENGTH = 128  # its default


def main() -> None:
    options, train_rows, test_rows = common.options_and_rows()
    set_seed(options.seed)
    ProjectionModelConfig.__init__.__kwdefaults__["encoder_name"] = options.encoder
    with tempfile.TemporaryDirectory() as folder:
        # It wants a validation split, of which nothing is asked.
        for split, rows in {"train": train_rows, "validation": train_rows[:1]}.items():
            write_split(Path(folder) / f"{split}.json", rows)
        dataset = CnlpDataset(
            folder, options.encoder, max_seq_length=MAX_LENGTH, use_data_cache=False
        )
        arguments = CnlpTrainingArguments(
            **common.trainer_settings(options, f"{folder}/run"),
            per_device_eval_batch_size=options.batch_size,
            warmup_ratio=common.WARMUP,
            rich_display=False,
        )
        system = CnlpTrainSystem(make_model(dataset, options.encoder), dataset, arguments)
        with common.Timer() as training:
            system.train()
        with common.Timer() as predicting:
            predicted = predict(system, dataset, test_rows)
    common.write_result(
        options,
        ["cnlp-transformers", "transformers", "torch"],
        train=training.result(len(train_rows) * options.epochs),
        predict=predicting.result(len(test_rows)),
        answers=[
            {
                "intent": intent,
                "slots": [tags[words.index(word)] for word in range(len(row["tokens"]))],
            }
            for row, intent, tags, words in zip(test_rows, *predicted, strict=True)
        ],
        note=(
            "One model, one pass; every row padded to 128 tokens. Starts from random weights "
            "unless the encoder's are put in by hand, as here."
        ),
    )


def make_model(dataset: CnlpDataset, encoder_name: str) -> ProjectionModel:
    """A model that starts from the encoder's weights."""
    config = ProjectionModelConfig(
        tasks=list(dataset.tasks), vocab_size=len(dataset.tokenizer), encoder_name=encoder_name
    )
    model = ProjectionModel(config)
    encoder = AutoModel.from_pretrained(encoder_name)
    encoder.resize_token_embeddings(len(dataset.tokenizer), mean_resizing=False)
    model.encoder.load_state_dict(encoder.state_dict())
    return model


def predict(
    system: CnlpTrainSystem, dataset: CnlpDataset, rows: list[dict]
) -> tuple[list[str], list[list[str]], list[list[int | None]]]:
    """Of each row the intent, the tags of its tokens, and the word of each token."""
    # As its REST service prepares what it is sent.
    inputs = Dataset.from_dict({"text": [common.text_of(row) for row in rows]}).map(
        preprocess_raw_data,
        batched=True,
        batch_size=100,
        load_from_cache_file=False,
        fn_kwargs={
            "inference_only": True,
            "tokenizer": dataset.tokenizer,
            "tasks": None,
            "max_length": MAX_LENGTH,
        },
    )
    found = system.predict(inputs).task_predictions
    intents = found["intent"].predicted_str_labels.tolist()
    tags = found["slots"].predicted_str_labels.tolist()
    return intents, tags, inputs["word_ids"]


def write_split(path: Path, rows: list[dict]) -> None:
    tasks = {"intent": "classification", "slots": "tagging"}
    data = [
        {"text": common.text_of(row), "intent": row["intent"], "slots": " ".join(row["slots"])}
        for row in rows
    ]
    metadata = {"subtasks": [{"task_name": n, "output_mode": mode} for n, mode in tasks.items()]}
    path.write_text(json.dumps({"data": data, "metadata": metadata}), encoding="utf-8")


if __name__ == "__main__":
    main()
