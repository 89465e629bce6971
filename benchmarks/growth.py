"""How time and memory grow: with heads, labels, length of text, rows, and processes.

    python -m benchmarks.growth [--data_dir DIR] [--rows 256] [--rounds 3] [--parts heads length]

- heads: answering `--rows` texts with a model of 1 to 64 sentence heads, or as many token heads;
- labels: the same with one head of 2 to 10,000 labels;
- length: one text of 16 to 8,192 tokens, read at once by an encoder of the same size with random
  weights and as many positions, and in overlapping windows as long as the encoder's own limit;
- rows: reading and tokenizing (by tokenization.py) 1,000 to `--max_data_rows` synthetic rows from a
  file, and answering up to `--max_rows` texts that come from a generator;
- processes: an epoch of `--rows` rows trained by 1 and 2 processes of one thread each, 32 rows a
  step together.

Times are wall seconds, medians of rounds in which all sizes take turns. Memory is measured in
processes of their own, from before the model is loaded. Exponents are slopes of least-squares lines
in log-log: 1 is linear, 0 is no growth at all; heads and labels add to what the encoder costs.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from datasets import load_from_disk
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase, set_seed

from benchmarks import machine, measuring, training, workload
from benchmarks.reporting import Table, plot_growth, times_as_json, write
from benchmarks.tokenization import write_rows
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.processor import keep_freed_memory

PARTS = ("heads", "labels", "length", "rows", "processes")
HEADS = (1, 2, 4, 8, 16, 32, 64)
LABELS = (2, 10, 100, 1000, 10_000)
LENGTHS = (16, 64, 256, 1024, 4096, 8192)
FIRST_ROWS = 1000  # and ten times as many, up to the greatest
PROCESSES = (1, 2)
STEP_ROWS = 32
KINDS = {"sentence": "sequence_classification", "token": workload.TOKENS}
LABELS_PER_HEAD = 9
ENTITY_SHARE = 0.2  # of tokens: that untrained heads write down as much as trained ones
LOOK_EVERY = 0.02


def main(argv: list[str] | None = None) -> None:
    options = workload.start(parser(), argv)
    if options.series == "processes":
        train_in_ranks(options)
        return
    if options.series is not None:
        watch = measuring.Memory(LOOK_EVERY, files=True)
        runner(options, options.folder, options.series, options.size)()
        print(json.dumps({"before": watch.before, "peak": watch.look()}))
        return
    work = workload.load(options)
    limits = machine.limits(work.model().encoder)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        prepare(work, Path(folder))
        for part in options.parts:
            found[part] = growth_with(part, options, Path(folder))
    limits["fp32_peak_at_the_end"] = machine.peak_again(limits)
    tables = [
        table
        for part, measures in found.items()
        for measure, series in measures.items()
        for table in growth_tables(options.output, part, measure, series)
    ]
    limit = work.tokenizer.model_max_length
    note = (
        f"This encoder's own limit is {limit:,} tokens. `At once`, all lengths are read with "
        "random weights and as many positions as needed: times and memory are those of a "
        "longer encoder of the same size, and its answers mean nothing."
    )
    results = {"limits": limits, "encoder_limit_tokens": limit, "found": found}
    write(options, results, tables, [note])


def parser() -> argparse.ArgumentParser:
    """Its options, also those of the processes that are measured."""
    parser = workload.options_parser(__file__, __doc__, rows=256, rounds=3)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--max_rows", type=int, default=10_000, help="texts to answer")
    parser.add_argument("--max_data_rows", type=int, default=1_000_000, help="rows to read")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--series", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    return parser


def growth_tables(
    folder: str, part: str, measure: str, series: dict[str, dict[str, Any]]
) -> list[Table]:
    """Tables of the series of one measure, which get their exponents; and a plot in `folder`."""
    tables = []
    for name, one in series.items():
        one["exponent"] = measuring.exponent(one["sizes"], one["values"])
        rows = list(zip(one["sizes"], one["values"], strict=True))
        rows.append(("exponent", one["exponent"]))
        tables.append(Table(f"{name}: {measure}", (part, measure), rows))
    stem = f"{part}_{measure.split()[0].lower()}"
    plot_growth(folder, stem, f"Growth with {part}", (part, measure), series)
    return tables


def prepare(work: workload.Workload, folder: Path) -> None:
    """Write what is measured to a folder, for processes that load nothing else."""
    work.tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "texts.json").write_text(json.dumps(work.texts))
    work.splits["train"].save_to_disk(folder / "rows")
    work.model().save_pretrained(folder / "model")
    config = AutoConfig.from_pretrained(work.run.model.encoder)
    # Some families begin to count positions behind that of the padding token.
    config.max_position_embeddings = max(LENGTHS) + (config.pad_token_id or 0) + 1
    set_seed(0)
    AutoModel.from_config(config).save_pretrained(folder / "long")


def growth_with(part: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds and MiB of every series of a part at each of its sizes, by measure."""
    if part == "rows":
        return rows(options, folder)
    if part == "processes":
        return processes(options, folder)
    sizes: dict[str, dict[str, Sequence[int]]] = {
        "heads": {"sentence heads": HEADS, "token heads": HEADS},
        "labels": {"sentence labels": LABELS, "token labels": LABELS},
        "length": {"at once": LENGTHS, "in windows": LENGTHS},
    }
    return growth_of_answers(options, folder, sizes[part])


# Time and memory of answers, by size


def growth_of_answers(
    options: argparse.Namespace, folder: Path, sizes: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Seconds and MiB of every series at each of its sizes."""
    runs = {
        f"{series} {size}": runner(options, folder, series, size)
        for series, some in sizes.items()
        for size in some
    }
    times = measuring.run_all(runs, runs, options.rounds)
    found: dict[str, Any] = {"wall seconds": {}, "MiB": {}}
    for series, some in sizes.items():
        by_size = {size: times[f"{series} {size}"] for size in some}
        found["wall seconds"][series] = {
            "sizes": list(some),
            "values": [statistics.median(one.wall for one in some) for some in by_size.values()],
            "rounds": times_as_json({str(size): some for size, some in by_size.items()}),
        }
        grown = []
        for size in some:
            given = measuring.as_argv({"folder": folder, "series": series, "size": size})
            one = measuring.in_fresh_process(__file__, *options.argv, *given)
            grown.append(measuring.grown_mebibytes(one))
        found["MiB"][series] = {"sizes": list(some), "values": grown}
    return found


def runner(options: argparse.Namespace, folder: Path, series: str, size: int) -> Callable[[], Any]:
    """What is measured: a series like `token heads`, at one size."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    texts = json.loads((folder / "texts.json").read_text())
    if series in ("at once", "in windows"):
        return long_runner(folder, tokenizer, texts, series, size)
    if series == "answers":
        model = MultiTaskModel.from_pretrained(folder / "model")
        answers = MultiTaskPipeline(model=model, tokenizer=tokenizer)
        return lambda: sum(1 for _ in answers(islice(cycle(texts), size)))
    kind, _, what = series.partition(" ")
    number = size if what == "labels" else LABELS_PER_HEAD
    labels = ["O", *(f"B-{index}" for index in range(number - 1))]
    task = {"type": KINDS[kind], "labels": labels}
    tasks = {f"task_{index}": task for index in range(size if what == "heads" else 1)}
    model = MultiTaskModel.from_backbone(options.encoder, tasks, dtype="float32")
    workload.find_entities(model, tokenizer, texts[:64], ENTITY_SHARE)
    answers = MultiTaskPipeline(model=model, tokenizer=tokenizer)
    return lambda: answers(texts)


def long_runner(
    folder: Path, tokenizer: PreTrainedTokenizerBase, texts: list[str], series: str, size: int
) -> Callable[[], Any]:
    """One text of `size` tokens: the forward pass of an encoder that takes as many, or the pipeline
    that cuts it into windows."""
    words = " ".join(texts).split()
    ids = tokenizer(" ".join(words * (1 + size // len(words))), verbose=False)["input_ids"][:size]
    if series == "at once":
        encoder = AutoModel.from_pretrained(folder / "long", dtype="float32").eval()
        return partial(torch.inference_mode()(encoder), input_ids=torch.tensor([ids]))
    model = MultiTaskModel.from_pretrained(folder / "model")
    answers = MultiTaskPipeline(model=model, tokenizer=tokenizer)
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return lambda: answers(text)


def rows(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """With the number of rows that are read, and of texts that are answered."""
    found = growth_of_answers(options, folder, {"answers": powers(options.max_rows)})
    path, sizes, seconds, mebibytes = folder / "rows.jsonl", powers(options.max_data_rows), [], []
    for size in sizes:
        write_rows(path, size)
        cache = folder / f"cache of {size}"  # a second start would find all in the first one's
        given = {"file": path, "encoder": options.encoder, "rows": size, "num_proc": os.cpu_count()}
        one = measuring.in_fresh_process(
            str(Path(__file__).with_name("tokenization.py")),
            *measuring.as_argv(given),
            HF_DATASETS_CACHE=str(cache),
        )
        seconds.append(sum(one["seconds"].values()))
        mebibytes.append(measuring.grown_mebibytes(one))
    found["wall seconds"]["reading and tokenizing"] = {"sizes": sizes, "values": seconds}
    found["MiB"]["reading and tokenizing"] = {"sizes": sizes, "values": mebibytes}
    return found


def powers(greatest: int) -> list[int]:
    """1,000, 10,000, ... and the greatest; a tenth of it, where that is no more than 1,000."""
    sizes = [min(FIRST_ROWS, greatest // 10)]
    while sizes[-1] * 10 < greatest:
        sizes.append(sizes[-1] * 10)
    return [*sizes, greatest]


# Training, by processes


def processes(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """With the number of processes that share each step."""
    found: dict[int, list[float]] = {ranks: [] for ranks in PROCESSES}
    for ranks, _ in measuring.turns(PROCESSES, options.rounds):
        given = {"folder": folder, "series": "processes", "size": ranks, "threads": 1}
        command = [*options.argv, *measuring.as_argv(given)]
        one = measuring.in_fresh_process(__file__, *command, ranks=ranks, OMP_NUM_THREADS="1")
        found[ranks].append(one["wall"])
    return {
        "wall seconds": {
            "an epoch": {
                "sizes": list(found),
                "values": list(map(statistics.median, found.values())),
                "rounds": {str(ranks): values for ranks, values in found.items()},
            }
        }
    }


def train_in_ranks(options: argparse.Namespace) -> None:
    """One process's part of an epoch; the first one prints its seconds."""
    keep_freed_memory()
    args = workload.run_arguments(
        options,
        output_dir=str(options.folder / "run"),
        per_device_train_batch_size=STEP_ROWS // options.size,
        num_train_epochs=1,
    ).training
    if args.world_size != options.size:
        raise RuntimeError(f"There should be {options.size} processes. Found {args.world_size}.")
    trainer = training.our_trainer(
        MultiTaskModel.from_pretrained(options.folder / "model"),
        load_from_disk(options.folder / "rows"),
        AutoTokenizer.from_pretrained(options.folder / "tokenizer"),
        args,
    )
    seconds, _ = measuring.measured(trainer.train)
    if trainer.is_world_process_zero():
        print(json.dumps(seconds._asdict()))


if __name__ == "__main__":
    main()
