"""How fast, and in how much memory, files become model inputs; and how fast a second time.

    python -m benchmarks.tokenization [--encoder backbones/minilm] [--rows 1000000] [--num_proc 2]

Writes synthetic rows (a topic, a sentiment, entities as spans) to a JSONL file, and starts
two processes, one after the other, that read, check and tokenize it as `run_multitask.py` does. The
second one finds all in the cache. Of each: rows per second of every stage, and the peak memory of
the process and its workers together, sampled every half second (anonymous and shared pages, a page
that several share by their shares of it: the kernel's PSS).
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import Memory, as_argv, in_fresh_process

TASKS = {
    "topic": {"type": "sequence_classification"},
    "sentiment": {"type": "sequence_classification"},
    "entities": {"type": "token_classification"},
}
MADE_AT_ONCE = 50_000


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="backbones/minilm")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--num_proc", type=int, default=os.cpu_count())
    parser.add_argument("--file", help=argparse.SUPPRESS)  # set in the processes that are measured
    options = parser.parse_args(argv)
    if options.file:
        prepare(Path(options.file), options)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        write_rows(path, options.rows)
        print(f"{options.rows:,} rows, {path.stat().st_size / 2**20:,.0f} MiB of JSONL")
        command = as_argv({**vars(options), "file": path})
        for title in ("first start", "second start"):
            found = in_fresh_process(__file__, *command, HF_DATASETS_CACHE=folder)
            print(f"\n{title}")
            for stage, seconds in found["seconds"].items():
                print(f"  {stage:22}{seconds:10.1f} s{options.rows / seconds:14,.0f} rows/s")
            print(f"  {'peak memory':22}{found['peak'] / 2**20:10,.0f} MiB")
            print(f"  {'before the rows':22}{found['before'] / 2**20:10,.0f} MiB")


def write_rows(path: Path, rows: int) -> None:
    from multitask_encoder.data.synthetic import load_synthetic

    with path.open("w", encoding="utf-8") as file:
        for seed, start in enumerate(range(0, rows, MADE_AT_ONCE)):
            made = load_synthetic("train", min(MADE_AT_ONCE, rows - start), seed)
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in made)


def prepare(path: Path, options: argparse.Namespace) -> None:
    """Read, check and tokenize the file, and print seconds and bytes as JSON."""
    import datasets
    from transformers import AutoTokenizer

    from multitask_encoder.data.bad_rows import good_rows
    from multitask_encoder.data.dataset_arguments import DatasetArguments
    from multitask_encoder.data.labels import collect_labels
    from multitask_encoder.data.loading import load_splits
    from multitask_encoder.data.preprocessing import preprocess
    from multitask_encoder.modeling.configuration_multitask import MultiTaskConfig
    from multitask_encoder.modeling.decoding import UNITS
    from multitask_encoder.modeling.windows import tokenize

    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(options.encoder)
    watch = Memory()
    seconds, started = {}, time.perf_counter()

    def done(stage: str) -> None:
        nonlocal started
        seconds[stage], started = time.perf_counter() - started, time.perf_counter()

    splits, _ = load_splits(TASKS, DatasetArguments(train_file=[str(path)]))
    done("reading and checking")
    (rows,), _ = good_rows([("train", splits["train"])], "refuse")
    labels = collect_labels([rows], TASKS)
    done("collecting labels")
    config = MultiTaskConfig(
        tasks={name: {**task, "labels": labels[name]} for name, task in TASKS.items()}
    )
    windows = preprocess(rows, tokenizer, config.tasks, tokenize, UNITS, num_proc=options.num_proc)
    (windows,), _ = good_rows([("train", windows)], "refuse")
    done("tokenizing, aligning")
    assert len(windows) >= options.rows
    print(json.dumps({"seconds": seconds, "peak": watch.peak, "before": watch.before}))


if __name__ == "__main__":
    main()
