"""How fast training is: `MultiTaskTrainer`, a bare loop, and one stock `Trainer` run per task.

    python -m benchmarks.training [--data_dir DIR] [--rows 2000] [--epochs 2] [--profile]

The first and the bare loop train one model with all heads on the same batches; the bare loop is
the shortest one that does the same arithmetic, so their ratio is what the Trainer costs. The
Trainer also runs without holding the embedding, so their ratio is what that costs a step; the
vectors that are held are computed once, before, which is not part of the time. Stock Trainers are
what a user of transformers writes: one model per task, with the defaults of its
`TrainingArguments`, collators and sampler; the time is the sum over the tasks. Batch size,
learning rate, weight decay, warm-up and epochs are the same for all, and none evaluates, saves or
reports. Each run is a process of its own, for how memory is kept is a matter of the whole
process: ours keep it as `run_multitask.py` does, stock Trainers as the C library does. What is
timed is the training call; data is tokenized, models are loaded and some rows were trained on by
then. Each round has a seed of its own.

A faster run that learns less is not faster: after each round the models are scored on the test
split, all by the same code.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    get_linear_schedule_with_warmup,
    set_seed,
)

from benchmarks import machine, measuring
from benchmarks.flops import training_flops
from benchmarks.measuring import Seconds, Spread, measured, of_clock, ratio, turns
from benchmarks.profiling import write_profile
from benchmarks.reporting import SPREAD_AND_PEAK, Table, plot_bars, speed_report, write
from benchmarks.workload import TOKENS, Workload, load, options_parser, padded_share, start
from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.data.sampler import LengthGroupedBatchSampler
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.processor import keep_freed_memory
from multitask_encoder.training.embedding_rows import only_used_rows
from multitask_encoder.training.metrics import metric_of
from multitask_encoder.training.row_scores import metrics_of, row_answers
from multitask_encoder.training.trainer import MultiTaskTrainer

OURS, BARE, STOCK = "MultiTaskTrainer", "bare loop", "stock Trainers"
PLAIN = "MultiTaskTrainer, embedding not held"
CONTESTANTS = (OURS, PLAIN, BARE, STOCK)
WARM_UP_ROWS = 128
PROFILED_ROWS = 640
EVALUATED_AT_ONCE = 64
STOCK_COLLATORS = {
    "sequence_classification": DataCollatorWithPadding,
    "token_classification": DataCollatorForTokenClassification,
}
# Of `TrainingArguments`: what stock Trainers are given, and all else is as they have it.
SAME = (
    "per_device_train_batch_size", "learning_rate", "weight_decay", "warmup_steps",
    "num_train_epochs", "seed", "output_dir", "save_strategy", "report_to", "disable_tqdm",
    "use_cpu", "bf16",
)  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    options = start(parser(), argv)
    if options.contestant is not None:
        print(json.dumps(run_one(options)))
        return
    work = load_run(options)
    rows = work.splits["train"]
    limits = machine.limits(work.model().encoder)
    contestants = [name for name in CONTESTANTS if "embedding" in work.tasks or name != PLAIN]
    times, quality = compete(contestants, options)
    limits["fp32_peak_at_the_end"] = machine.peak_again(limits)
    precision = "bf16" if work.training_arguments(seed=0).bf16 else "fp32"
    peaks = dict.fromkeys(contestants, limits[precision]["peak"])
    flops, padding = arithmetic(contestants, work, rows, options.epochs)
    sentences = options.epochs * len(rows)
    results, tables = speed_report(times, sentences, ratios_of(times), flops, peaks, padding)
    if options.profile:
        some = rows.select(range(min(PROFILED_ROWS, len(rows))))
        write_profile(make_ready(OURS, work, some, seed=0), options.output)
    speed = results["sentences_per_second"]
    plot_bars(options.output, "speed", "Training", "sentences/s", speed)
    scores = {
        name: {key: Spread.of([one[key] for one in rounds]) for key in rounds[0]}
        for name, rounds in quality.items()
    }
    results = {"limits": limits, "precision": precision, "sentences": sentences, **results}
    results |= {"quality": scores, "quality_by_round": quality}
    notes = [
        f"{len(rows):,} rows, epochs: {options.epochs}, tasks: {len(work.trained_tasks())}; all in "
        f"{precision}. "
        "Stock Trainers train one model per task, one after the other; a sentence counts once "
        "it has trained all of them.",
        SPREAD_AND_PEAK.format(f" in {precision}."),
    ]
    write(options, results, [*tables, quality_table(scores)], notes)


def parser() -> argparse.ArgumentParser:
    """Its options, also those of the processes that are measured."""
    parser = options_parser(__file__, __doc__, rows=2000, rounds=4)
    parser.add_argument("--batch_size", type=int, default=32, help="default: 32")
    parser.add_argument("--epochs", type=int, default=2, help="default: 2")
    parser.add_argument("--profile", action="store_true", help="also write profile.md, of ours")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def compete(
    contestants: list[str], options: argparse.Namespace
) -> tuple[dict[str, list[Seconds]], dict[str, list[dict[str, float]]]]:
    """Seconds and scores of each contestant in every round, each run in a process of its own."""
    times: dict[str, list[Seconds]] = {name: [] for name in contestants}
    quality: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    for name, seed in turns(contestants, options.rounds):
        own = ("--contestant", name, "--seed", str(seed))
        found = measuring.in_fresh_process(__file__, *options.argv, *own)
        times[name].append(Seconds(**found["seconds"]))
        quality[name].append(found["quality"])
    return times, quality


def ratios_of(times: dict[str, list[Seconds]]) -> dict[str, Spread]:
    """Speeds and seconds of contestants that are worth comparing, by name."""
    wall, cpu = of_clock(times, "wall"), of_clock(times, "cpu")
    ratios = {
        f"sentences/s, {OURS} to {STOCK}": ratio(wall[STOCK], wall[OURS]),
        f"processor seconds, {STOCK} to {OURS}": ratio(cpu[STOCK], cpu[OURS]),
        f"processor seconds, {OURS} to {BARE}": ratio(cpu[OURS], cpu[BARE]),
        f"wall seconds, {OURS} to {BARE}": ratio(wall[OURS], wall[BARE]),
    }
    if PLAIN in times:
        ratios[f"processor seconds, {OURS} to {PLAIN}"] = ratio(cpu[OURS], cpu[PLAIN])
    return ratios


def quality_table(scores: dict[str, dict[str, Spread]]) -> Table:
    """What was learned, in percent."""
    rows = [
        [name, *(Spread(*(100 * one for one in value)) for value in values.values())]
        for name, values in scores.items()
    ]
    title = "What was learned (test split, in percent, all rounds' seeds)"
    return Table(title, ("", *scores[OURS]), rows)


def load_run(options: argparse.Namespace) -> Workload:
    """What is trained on, and for how long."""
    keys: dict[str, Any] = {"num_train_epochs": options.epochs}
    keys["per_device_train_batch_size"] = options.batch_size
    if options.contestant == PLAIN:
        keys["tasks.embedding.loss"] = "none"
    return load(options, **keys)


def run_one(options: argparse.Namespace) -> dict[str, Any]:
    """The seconds of one contestant's training, and what its models have learned."""
    work = load_run(options)
    name, rows = options.contestant, work.splits["train"]
    if name != STOCK:
        keep_freed_memory()
    make_ready(name, work, rows.select(range(min(WARM_UP_ROWS, len(rows)))), options.seed)()
    seconds, models = measured(make_ready(name, work, rows, options.seed))
    return {"seconds": seconds._asdict(), "quality": score(models, work)}


def make_ready(name: str, work: Workload, rows: Dataset, seed: int) -> Callable[[], dict]:
    """A contestant's run of a seed: it trains, and returns the trained models by task."""
    trainers = trainers_of(name, work, rows, seed)

    def run() -> dict:
        for trainer in set(trainers.values()):
            if name == BARE:
                # The Trainer doesn't train embedding rows that are never used, either.
                with only_used_rows(trainer.model.encoder, rows, work.tokenizer.pad_token_id):
                    train_bare(trainer.model, rows, trainer.data_collator, trainer.args)
            else:
                trainer.train()
        return {task: trainer.model for task, trainer in trainers.items()}

    return run


def trainers_of(name: str, work: Workload, rows: Dataset, seed: int) -> dict[str, Trainer]:
    """A contestant's Trainer of each task: one for all, or one each."""
    args, tokenizer = work.training_arguments(seed), work.tokenizer
    tasks = work.trained_tasks()
    if name != STOCK:
        return dict.fromkeys(tasks, our_trainer(work.model(seed), rows, tokenizer, args))
    trainers = {}
    for task in tasks:
        own = stock_rows(rows, task, tokenizer.model_input_names)
        model, task_type = work.stock_model(task, seed), work.tasks[task]["type"]
        trainers[task] = stock_trainer(model, own, tokenizer, args, task_type)
    return trainers


def our_trainer(model: MultiTaskModel, rows: Dataset, tokenizer, args) -> MultiTaskTrainer:
    """As `run_multitask.py` makes it."""
    trainer = MultiTaskTrainer(
        model=model,
        args=args,
        data_collator=MultiTaskCollator(tokenizer, model.config.tasks),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def train_bare(model, rows: Dataset, collator: MultiTaskCollator, args: TrainingArguments) -> None:
    """The shortest loop that does the same arithmetic: forward, backward, clip, step."""
    epochs = int(args.num_train_epochs)
    sampler = LengthGroupedBatchSampler(
        rows["length"][:], args.per_device_train_batch_size, seed=args.seed
    )
    loader = DataLoader(rows, batch_sampler=sampler, collate_fn=collator)
    weights = [one.weight for one in model.modules() if isinstance(one, torch.nn.Linear)]
    matrices = set(weights)
    others = [one for one in model.parameters() if one not in matrices]
    optimizer = torch.optim.AdamW(
        [
            {"params": weights, "weight_decay": args.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=args.learning_rate,
        fused=True,
    )
    steps = epochs * len(loader)
    schedule = get_linear_schedule_with_warmup(optimizer, args.get_warmup_steps(steps), steps)
    set_seed(args.seed)
    model.train()
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for batch in loader:
            with torch.autocast("cpu", dtype=torch.bfloat16) if args.bf16 else nullcontext():
                loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.max_grad_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()


def stock_trainer(model, rows: Dataset, tokenizer, args, task_type: str) -> Trainer:
    """A Trainer of transformers for one task, with its defaults but for `SAME`."""
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**{key: getattr(args, key) for key in SAME}),
        data_collator=STOCK_COLLATORS[task_type](tokenizer),
        train_dataset=rows,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def stock_rows(rows: Dataset, name: str, inputs: list[str]) -> Dataset:
    """The rows as stock models take them: the same token ids, and one task's labels."""

    constants = {"attention_mask": 1, "token_type_ids": 0}

    def convert(row: dict) -> dict:
        ids = row["input_ids"]
        made = {key: [value] * len(ids) for key, value in constants.items() if key in inputs}
        return {"input_ids": ids, **made, "labels": row[name]}

    return rows.map(convert, remove_columns=rows.column_names)


def arithmetic(
    contestants: list[str], work: Workload, rows: Dataset, epochs: int
) -> tuple[dict[str, int], dict[str, float]]:
    """Operations of all matrix products of a contestant's run, and which share of its tokens is
    padding."""
    flops, padding = {}, {}
    for name in contestants:
        flops[name], batches = 0, []
        for trainer in set(trainers_of(name, work, rows, seed=0).values()):
            own = list(batches_of(trainer, epochs))
            flops[name] += training_flops(trainer.model, own)
            batches += own
        padding[name] = padded_share(batches)
    return flops, padding


def batches_of(trainer: Trainer, epochs: int) -> Iterator[dict]:
    """The batches of a whole run, as the Trainer's own loader gives them."""
    loader = trainer.get_train_dataloader()
    for epoch in range(epochs):
        if isinstance(loader.batch_sampler, LengthGroupedBatchSampler):
            loader.batch_sampler.set_epoch(epoch)
        yield from loader


@torch.inference_mode()
def score(models: dict[str, torch.nn.Module], work: Workload) -> dict[str, float]:
    """Each task's accuracy or entity F1 (of words, by their first token) on the test split, as
    fractions; `models` has the one that answers each task, ours or stock."""
    windows = work.splits["test"]
    input_ids = windows["input_ids"][:]
    longest = max(windows["length"])
    predictions = {}
    for name, model in models.items():
        model.eval()
        answers = []
        for first in range(0, len(windows), EVALUATED_AT_ONCE):
            rows = [{"input_ids": ids} for ids in input_ids[first : first + EVALUATED_AT_ONCE]]
            batch = work.tokenizer.pad(rows, return_tensors="pt")
            logits = model(**batch).logits
            logits = logits[name] if isinstance(logits, dict) else logits
            if work.tasks[name]["type"] == TOKENS:
                ids = logits.argmax(-1).numpy()
                answers.append(np.pad(ids, ((0, 0), (0, longest - ids.shape[1]))))
            else:
                answers.append(logits.numpy())
        predictions[name] = np.concatenate(answers)
    tasks = {name: work.tasks[name] for name in models}
    found = metrics_of(row_answers(predictions, windows, tasks), tasks)
    main_values = {}
    for name in models:
        value = metric_of(work.tasks[name]).main
        main_values[f"{name}_{value}"] = found[f"{name}_{value}"]
    return main_values


if __name__ == "__main__":
    main()
