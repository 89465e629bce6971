"""The contestants: each learns from a sample and answers its test rows.

All take `(sample, encoder, seed)` and give back the metrics of the test split, and the values that
they chose on the validation split.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    BatchEncoding,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)

from benchmarks.measuring import ROOT
from benchmarks.quality.data import (
    SENTENCE,
    TOKENS,
    Sample,
    correlation,
    score,
    text_of,
    write_rows,
)
from multitask_encoder.data.label_alignment import IGNORE_INDEX, first_tokens
from multitask_encoder.processor import has_fast_bf16

Outcome = tuple[dict[str, float], dict[str, float]]  # metrics by name, chosen values by task

# stock
RATES = (5e-5, 1e-4, 3e-4)
BATCH, STEPS, MIN_EPOCHS, MAX_EPOCHS, WARMUP = 16, 500, 3, 30, 0.1
AUTO = {SENTENCE: AutoModelForSequenceClassification, TOKENS: AutoModelForTokenClassification}
# the same numbers as sdpa's, which takes ten times as long in bfloat16 on a processor
ATTENTION = "eager"
COLLATORS = {SENTENCE: DataCollatorWithPadding, TOKENS: DataCollatorForTokenClassification}
# frozen, tfidf
STRENGTHS = (0.1, 1, 10, 100)
# setfit: its default batch; steps, as its default, one epoch of all pairs, would take hours
PAIRS, PAIR_STEPS = 16, 250
PEERS = ROOT / "benchmarks" / "peers"
SETFIT = PEERS / ".environments" / "setfit" / "bin" / "python"


def ours(sample: Sample, encoder: str, seed: int, hold: bool = False) -> Outcome:
    """This package by a plain config: one model for all tasks. No key changes what is learned but
    `seed`.

    Args:
        hold (`bool`, *optional*): list the sentence embedding as a task.
    """
    tasks: dict[str, dict[str, Any]] = {
        name: {"type": kind, "labels": sample.labels[name]} for name, kind in sample.tasks.items()
    }
    if hold:
        tasks["embedding"] = {"type": "sentence_embedding"}
    with TemporaryDirectory() as folder:
        path = Path(folder)
        for split, rows in sample.splits.items():
            write_rows(path / f"{split}.jsonl", rows)
        keys = {
            "encoder": encoder,
            "tasks": tasks,
            "data_dir": folder,
            **{f"{split}_file": f"{split}.jsonl" for split in sample.splits},
            "output_dir": str(path / "run"),
            "seed": seed,
            "report": False,
            "report_to": "none",
            "disable_tqdm": True,
        }
        (path / "run.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
        run_script([sys.executable, str(ROOT / "run_multitask.py"), str(path / "run.yaml")], path)
        found = json.loads((path / "run" / "all_results.json").read_text(encoding="utf-8"))
        metrics = {name: found[f"test_{name}"] for name in sample.metric_names()}
        return metrics | {"sts_spearman": _sts(path / "run", sample)}, {}


held = partial(ours, hold=True)


def _sts(encoder: Path, sample: Sample) -> float:
    model = SentenceTransformer(str(encoder))
    return correlation(partial(model.encode, show_progress_bar=False), sample.pairs)


def run_script(command: list[str], folder: Path) -> None:
    """Run a command with as many threads as this process, its cache in a folder.

    Raises:
        ValueError: the command failed; the message is its last line.
    """
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "HF_DATASETS_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ValueError((done.stderr.strip() or "no message").splitlines()[-1])


def stock(
    sample: Sample, encoder: str, seed: int, rates: dict[str, float] | None = None
) -> Outcome:
    """A model per task by `transformers.Trainer`, as in its scripts run_glue.py and run_ner.py.

    Args:
        rates (`dict[str, float]`, *optional*): learning rate of each task. Default: that of RATES
            with the best validation metric.
    """
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    answers, chosen = {}, {}
    for task in sample.tasks:
        best = -1.0
        for rate in (rates[task],) if rates else RATES:
            answer = _fine_tuned(sample, task, encoder, tokenizer, rate, seed)
            metrics = score(sample, "validation", {task: answer("validation")})
            if metrics[sample.main_metric(task)] > best:
                best, chosen[task] = metrics[sample.main_metric(task)], rate
                answers[task] = answer("test")
    return score(sample, "test", answers), chosen


def _fine_tuned(
    sample: Sample,
    task: str,
    encoder: str,
    tokenizer: PreTrainedTokenizerBase,
    rate: float,
    seed: int,
) -> Callable[[str], list]:
    """Train a model of one task; the result answers a split."""
    kind, labels = sample.tasks[task], sample.labels[task]
    data = {
        split: [_encoded(row, task, labels, tokenizer) for row in rows]
        for split, rows in sample.splits.items()
    }
    set_seed(seed)
    model = AUTO[kind].from_pretrained(
        encoder, num_labels=len(labels), dtype="float32", attn_implementation=ATTENTION
    )
    with TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=_arguments(folder, len(data["train"]), rate, seed),
            data_collator=COLLATORS[kind](tokenizer),
            train_dataset=Dataset.from_list(data["train"]),
            preprocess_logits_for_metrics=lambda logits, _: logits.argmax(-1),
        )
        trainer.train()

    def answer(split: str) -> list:
        ids = trainer.predict(Dataset.from_list(data[split])).predictions
        if kind == SENTENCE:
            return [labels[label] for label in ids]
        pairs = zip(sample.splits[split], ids, strict=True)
        return [_word_tags(row, tags, labels, tokenizer) for row, tags in pairs]

    return answer


def _arguments(folder: str, rows: int, rate: float, seed: int) -> TrainingArguments:
    use_cpu = not torch.accelerator.is_available()
    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=64,
        num_train_epochs=epochs(rows),
        learning_rate=rate,
        warmup_steps=WARMUP,  # below 1: a share of all steps
        seed=seed,
        bf16=has_fast_bf16(use_cpu),
        use_cpu=use_cpu,
        dataloader_pin_memory=not use_cpu,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def epochs(rows: int) -> int:
    """Enough for STEPS, within the limits."""
    return min(MAX_EPOCHS, max(MIN_EPOCHS, math.ceil(STEPS / math.ceil(rows / BATCH))))


def _encoded(row: dict, task: str, labels: list[str], tokenizer: PreTrainedTokenizerBase) -> dict:
    if isinstance(row[task], str):
        return {**tokenizer(text_of(row), truncation=True), "labels": labels.index(row[task])}
    encoded = tokenizer(row["tokens"], is_split_into_words=True, truncation=True)
    tags = [IGNORE_INDEX] * len(encoded["input_ids"])
    for tag, position in zip(row[task], _positions(encoded, row), strict=True):
        if position >= 0:
            tags[position] = labels.index(tag)
    return {**encoded, "labels": tags}


def _word_tags(
    row: dict, ids: np.ndarray, labels: list[str], tokenizer: PreTrainedTokenizerBase
) -> list[str]:
    """The tag of each word's first token; `O` for a word without tokens."""
    encoded = tokenizer(row["tokens"], is_split_into_words=True, truncation=True)
    return [
        labels[ids[position]] if position >= 0 else "O" for position in _positions(encoded, row)
    ]


def _positions(encoded: BatchEncoding, row: dict) -> list[int]:
    return first_tokens(encoded.word_ids(), len(row["tokens"]))


def frozen(sample: Sample, encoder: str, seed: int) -> Outcome:
    """Logistic regression on the encoder's sentence embeddings."""
    model = SentenceTransformer(encoder)
    vectors = {
        split: model.encode(sample.texts(split), show_progress_bar=False) for split in sample.splits
    }
    return _linear(sample, vectors)


def tfidf(sample: Sample, encoder: str, seed: int) -> Outcome:
    """Logistic regression on words and pairs of words; no encoder."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    vectorizer.fit(sample.texts("train"))
    return _linear(
        sample, {split: vectorizer.transform(sample.texts(split)) for split in sample.splits}
    )


def _linear(sample: Sample, features: dict[str, Any]) -> Outcome:
    answers, chosen = {}, {}
    for task in sample.sentence_tasks():
        gold = {split: [row[task] for row in rows] for split, rows in sample.splits.items()}
        best = -1.0
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=1000)
            model.fit(features["train"], gold["train"])
            accuracy = model.score(features["validation"], gold["validation"])
            if accuracy > best:
                best, chosen[task] = accuracy, strength
                answers[task] = model.predict(features["test"]).tolist()
    return score(sample, "test", answers), chosen


def setfit(sample: Sample, encoder: str, seed: int) -> Outcome:
    """SetFit with its defaults, a model per sentence task, in its own environment.

    Raises:
        ValueError: it is not installed, or failed.
    """
    if not SETFIT.exists():
        raise ValueError("Not installed. To install it: python benchmarks/peers/install.py setfit")
    train, test = len(sample.splits["train"]), len(sample.splits["test"])
    epochs = math.ceil(PAIR_STEPS * 2 * PAIRS / train)  # as sentences, for the peer's script
    answers = {}
    for task in sample.sentence_tasks():
        with TemporaryDirectory() as folder:
            for split, rows in sample.splits.items():
                asked = [
                    {"tokens": [text_of(row)], "slots": ["O"], "intent": row[task]} for row in rows
                ]
                write_rows(Path(folder, f"{split}.jsonl"), asked)
            command = f"""{SETFIT} {PEERS}/run_setfit.py --data {folder} --encoder {encoder}
                --rows {train} --test_rows {test} --epochs {epochs} --batch_size {2 * PAIRS}
                --seed {seed} --output {folder}/result.json"""
            run_script(command.split(), Path(folder))
            found = json.loads(Path(folder, "result.json").read_text(encoding="utf-8"))
        answers[task] = [one["intent"] for one in found["answers"]]
    return score(sample, "test", answers), {}
