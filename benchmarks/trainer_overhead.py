"""What the Trainer costs on top of a bare loop over the same model and batches.

    python benchmarks/trainer_overhead.py [--encoder backbones/minilm] [--rows 640] [--rounds 4]

Both train on the same rows of the synthetic data in the same order and precision, interleaved
(A B B A ...), on one fresh copy of the model each. Reported: median processor and wall seconds per
sentence, and their ratio, Trainer to bare loop, with the spread over rounds.
"""

import argparse
import copy
import logging
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, set_seed
from transformers.utils import logging as transformers_logging

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.collator import MultiTaskCollator
from data.labels import collect_labels
from data.loading import DatasetArguments, load_splits
from data.preprocessing import preprocess
from data.sampler import LengthGroupedBatchSampler
from modeling import MultiTaskModel
from modeling.decoding import UNITS
from modeling.windows import tokenize
from training.arguments import MultiTaskTrainingArguments, has_fast_bf16
from training.trainer import MultiTaskTrainer

TYPES = {
    "topic": "sequence_classification",
    "sentiment": "sequence_classification",
    "entities": "token_classification",
}
LEARNING_RATE, BATCH_SIZE = 2e-4, 32


def train_bare(model, rows, collator, bf16: bool) -> None:
    """The shortest loop that does the same arithmetic: forward, backward, clip, step."""
    sampler = LengthGroupedBatchSampler(rows["length"][:], BATCH_SIZE)
    loader = DataLoader(rows, batch_sampler=sampler, collate_fn=collator)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True
    )
    model.train()
    for batch in loader:
        with torch.autocast("cpu", dtype=torch.bfloat16) if bf16 else nullcontext():
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def train_with_trainer(model, rows, collator, bf16: bool) -> None:
    """The same by `MultiTaskTrainer`, with its defaults but for evaluation and checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        args = MultiTaskTrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            bf16=bf16,
            seed=0,
        )
        MultiTaskTrainer(model=model, args=args, data_collator=collator, train_dataset=rows).train()


def measure(run, *args) -> tuple[float, float]:
    """Processor and wall seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    run(*args)
    return time.process_time() - processor, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", default="backbones/minilm")
    parser.add_argument("--rows", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()

    transformers_logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    tasks = {name: {"type": one} for name, one in TYPES.items()}
    source = DatasetArguments(
        dataset="synthetic", train_size=options.rows, validation_size=1, test_size=1
    )
    splits, _ = load_splits(tasks, source)
    rows = splits["train"]
    labels = collect_labels([rows], tasks)
    tasks = {name: {**task, "labels": labels[name]} for name, task in tasks.items()}
    tokenizer = AutoTokenizer.from_pretrained(options.encoder)
    set_seed(0)
    model = MultiTaskModel.from_backbone(options.encoder, tasks, dtype="float32")
    rows = preprocess(rows, tokenizer, model.config.tasks, tokenize, UNITS)
    collator = MultiTaskCollator(tokenizer, model.config.tasks)
    bf16 = has_fast_bf16(use_cpu=True)

    contestants = {"bare loop": train_bare, "Trainer": train_with_trainer}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for round_ in range(-1, options.rounds):  # one round to warm up
        order = list(contestants) if round_ % 2 else list(contestants)[::-1]
        for name in order:
            seconds = measure(contestants[name], copy.deepcopy(model), rows, collator, bf16)
            if round_ >= 0:
                times[name].append(seconds)
    precision = "bfloat16" if bf16 else "float32"
    print(f"{precision}, {torch.get_num_threads()} threads, batch {BATCH_SIZE}")
    for index, kind in enumerate(("processor", "wall")):
        per_run = {name: [one[index] for one in found] for name, found in times.items()}
        ratios = [a / b for a, b in zip(per_run["Trainer"], per_run["bare loop"], strict=True)]
        for name, seconds in per_run.items():
            median = statistics.median(seconds)
            print(f"{kind:10} {name:10} {1000 * median / options.rows:8.2f} ms per sentence")
        print(
            f"{kind:10} ratio      {statistics.median(ratios):8.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
