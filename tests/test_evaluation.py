"""The entity F1 of an evaluation is seqeval's on the raw word tags, windows and all.

Runs on synthetic rows, and on the data sets in the folder that MULTITASK_DATA names.
"""

import copy
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score
from transformers import AutoTokenizer, BertConfig

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.data.bad_rows import good_rows
from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.data.dataset_arguments import DatasetArguments
from multitask_encoder.data.labels import collect_labels
from multitask_encoder.data.loading import load_splits
from multitask_encoder.data.preprocessing import preprocess
from multitask_encoder.data.synthetic import load_synthetic
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel, MultiTaskPipeline
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.windows import tokenize
from multitask_encoder.training.trainer import MultiTaskTrainer

DATA = os.environ.get("MULTITASK_DATA")
BACKBONE = Path(__file__).parent.parent / "backbones" / "minilm"
STEPS = 150


def synthetic_rows(split: str) -> list[tuple[list[str], list[str]]]:
    """Words between spaces, tagged where an entity begins or goes on."""
    rows = []
    for row in load_synthetic(split, 300, seed=0):
        words, tags, start = row["text"].split(" "), [], 0
        for word in words:
            spans = [
                s for s in row["entities"] if s["start"] < start + len(word) and start < s["end"]
            ]
            first = spans and spans[0]["start"] >= start
            tags.append(f"{'B' if first else 'I'}-{spans[0]['label']}" if spans else "O")
            start += len(word) + 1
        rows.append((words, tags))
    return rows


def json_rows(split: str, folder: str, column: str) -> list[tuple[list[str], list[str]]]:
    lines = Path(DATA, folder, f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [(row["tokens"], row[column]) for row in rows]


def conll_rows(split: str, folder: str, column: str) -> list[tuple[list[str], list[str]]]:
    rows, words, tags = [], [], []
    with Path(DATA, folder, f"{split}.conll").open(encoding="utf-8", newline="\n") as file:
        for line in [*file, "\n"]:
            if line.strip():
                word, tag = line.rstrip("\n").split("\t")
                words.append(word)
                tags.append(tag)
            elif words:
                rows.append((words, tags))
                words, tags = [], []
    return rows


def write_synthetic(folder: Path) -> tuple[dict[str, list], dict[str, Path]]:
    """Rows by split, and the CoNLL files that hold them."""
    raw = {split: synthetic_rows(split) for split in ("train", "test")}
    files = {split: folder / f"{split}.conll" for split in raw}
    for split, rows in raw.items():
        lines = ["".join(f"{w}\t{t}\n" for w, t in zip(*row, strict=True)) for row in rows]
        files[split].write_text("\n".join(lines), encoding="utf-8")
    return raw, files


real = pytest.mark.skipif(
    DATA is None or not BACKBONE.exists(), reason="MULTITASK_DATA names no data, or no backbone"
)


@pytest.mark.parametrize("max_length", [None, 16])
@pytest.mark.parametrize(
    ("name", "column", "read"),
    [
        ("synthetic", "tags", None),
        pytest.param("snips", "slots", json_rows, marks=real),
        pytest.param("crossner", "ner_tags", json_rows, marks=real),
        pytest.param("wnut17", "tags", conll_rows, marks=real),
    ],
)
def test_f1_is_that_of_seqeval_on_the_raw_tags(
    name, column, read, max_length, backbone, tmp_path, monkeypatch
):
    # Which tags may follow each other is decided window by window, the last step apart.
    monkeypatch.setattr(
        "multitask_encoder.training.window_answers.likeliest_labels",
        lambda logits, *_: logits.argmax(-1),
    )
    if read is None:
        tokenizer = AutoTokenizer.from_pretrained(backbone("bert"), model_max_length=512)
        raw, files = write_synthetic(tmp_path)
    else:
        tokenizer = AutoTokenizer.from_pretrained(BACKBONE)
        raw = {split: read(split, name, column) for split in ("train", "test")}
        ending = "conll" if read is conll_rows else "jsonl"
        files = {split: Path(DATA, name, f"{split}.{ending}") for split in raw}
    task = {column: {"type": "token_classification"}}
    source = DatasetArguments(train_file=[str(files["train"])], test_file=[str(files["test"])])
    splits, _ = load_splits(task, source)
    labels = collect_labels(splits.values(), task)[column]
    config = MultiTaskConfig(tasks={column: {**task[column], "labels": labels}})
    windows = {
        split: preprocess(
            rows, tokenizer, config.tasks, tokenize, UNITS, max_length=max_length, name=split
        )
        for split, rows in splits.items()
    }
    (train, test), _ = good_rows(list(windows.items()), "refuse")
    model = token_wise_model(config, max(tokenizer.get_vocab().values()) + 1)
    trainer = make_trainer(
        model,
        tokenizer,
        tmp_path,
        train,
        max_steps=STEPS,
        learning_rate=1e-2,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=64,
    )
    trainer.train()
    found = trainer.evaluate(test)[f"eval_{column}_f1"]

    words, tags = zip(*raw["test"], strict=True)
    expected = f1_score(list(tags), [predicted(model, tokenizer, one, labels) for one in words])
    assert found == expected
    assert found > 0  # of answers that are all wrong, equality would say nothing


@pytest.mark.parametrize("workers", [0, 1])
def test_an_entity_across_windows_is_one(workers, make_model, tokenizer, tmp_path):
    labels = ["B-name", "I-name", "O"]
    model = make_model(tasks={"tags": {"type": "token_classification", "labels": labels}})
    with torch.no_grad():
        model.heads["tags"].classifier.weight.zero_()
        model.heads["tags"].classifier.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
    words = ["anna"] * 40
    file = tmp_path / "test.jsonl"
    file.write_text(json.dumps({"tokens": words, "tags": ["B-name"] + ["I-name"] * 39}) + "\n")
    source = DatasetArguments(test_file=[str(file)])
    splits, _ = load_splits({"tags": {"type": "token_classification"}}, source)
    windows = preprocess(
        splits["test"], tokenizer, model.config.tasks, tokenize, UNITS, max_length=16
    )
    (test,), _ = good_rows([("test", windows)], "refuse")
    assert len(test) > 3
    trainer = make_trainer(
        model, tokenizer, tmp_path, per_device_eval_batch_size=2, dataloader_num_workers=workers
    )
    assert trainer.evaluate(test)["eval_tags_f1"] == 1.0
    predictions = trainer.predict(test).predictions["tags"]
    ids = predictions[np.array(test["window"][:]) > 0]
    assert labels.index("B-name") not in ids[ids >= 0]
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = 16
    pipe = MultiTaskPipeline(model=model, tokenizer=tokenizer, device="cpu")
    (entity,) = pipe(" ".join(words))["entities"]["tags"]
    assert entity["text"] == " ".join(words)


def make_trainer(model, tokenizer, tmp_path, train=None, **arguments) -> MultiTaskTrainer:
    return MultiTaskTrainer(
        model=model,
        args=MultiTaskTrainingArguments(
            output_dir=str(tmp_path / "run"),
            use_cpu=True,
            bf16=False,
            do_eval=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **arguments,
        ),
        data_collator=MultiTaskCollator(tokenizer, model.config.tasks),
        train_dataset=train,
        processing_class=tokenizer,
    )


def token_wise_model(config: MultiTaskConfig, vocabulary: int) -> MultiTaskModel:
    """Its answer for a token depends on that token alone: so not on the window it is in."""
    config.encoder_config = BertConfig(
        vocab_size=vocabulary, hidden_size=32, num_hidden_layers=0, num_attention_heads=2
    )
    model = MultiTaskModel(config)
    positions = model.encoder.embeddings.position_embeddings
    torch.nn.init.zeros_(positions.weight)
    positions.requires_grad_(False)
    return model


@torch.no_grad()
def predicted(model, tokenizer, words: list[str], labels: list[str]) -> list[str]:
    """As transformers' own examples do it: the label of each word's first token."""
    encoding = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    (name,) = model.heads
    ids = model.eval()(encoding["input_ids"]).logits[name][0].argmax(-1).tolist()
    tags = ["O"] * len(words)
    for index in reversed(range(len(ids))):
        word = encoding.word_ids()[index]
        if word is not None:
            tags[word] = labels[ids[index]]
    return tags
