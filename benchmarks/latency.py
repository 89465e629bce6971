"""How long one answer takes: milliseconds of a single text, by its length and by threads.

    python -m benchmarks.latency [--data_dir DIR] [--rows 2000] [--rounds 200] [--dtype bfloat16]

A short, a median and a long text (the 5th, 50th and 95th percentile of `--rows` texts' tokens) are
answered one at a time, `--rounds` times by each contestant in turn: `MultiTaskPipeline`, its
model's forward pass alone, and three stock pipelines, the sum of which is all answers. With one
thread, and with as many as torch takes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import Pipeline

from benchmarks import machine
from benchmarks.measuring import SHARES, Spread, of_clock, percentiles, ratio, run_all, summed
from benchmarks.reporting import Table, plot_bars, write
from benchmarks.workload import add_dtype, load, options_parser, start, stock_pipelines
from multitask_encoder.modeling import MultiTaskPipeline

OURS, FORWARD, STOCK = "MultiTaskPipeline", "its forward pass alone", "three stock pipelines"
LENGTHS = {"short": 5, "median": 50, "long": 95}


def main(argv: list[str] | None = None) -> None:
    options = start(add_dtype(options_parser(__file__, __doc__, rows=2000, rounds=200)), argv)
    work = load(options)
    model = work.answering_model()
    ours = MultiTaskPipeline(model=model, tokenizer=work.tokenizer)
    stock = stock_pipelines(work, model)
    limits = machine.limits(model.encoder)
    texts = by_length(work.texts, work.tokenizer)
    found = []
    all_threads = torch.get_num_threads()
    for threads in sorted({1, all_threads}):
        torch.set_num_threads(threads)
        for length, text in texts.items():
            measures = measure(ours, stock, text, options.rounds)
            found.append({"threads": threads, "length": length, **measures})
    torch.set_num_threads(all_threads)
    limits["fp32_peak_at_the_end"] = machine.peak_again(limits)
    plot(found, options.output)
    note = (
        f"{options.rounds:,} calls of each, in turn, in {options.dtype}. Processor: median of all "
        "threads' time together."
    )
    results = {"limits": limits, "calls": options.rounds, "found": found}
    write(options, results, tables(found), [note])


def measure(
    ours: MultiTaskPipeline, stock: dict[str, Pipeline], text: str, rounds: int
) -> dict[str, Any]:
    """The tokens of a text, the milliseconds that each contestant takes, and their ratios."""
    inputs = ours.tokenizer(text, return_tensors="pt", return_token_type_ids=False)

    @torch.inference_mode()
    def forward() -> None:
        ours.model(**inputs)

    contestants: dict[str, Callable[[], Any]] = {OURS: partial(ours, text), FORWARD: forward}
    contestants |= {name: partial(answer, text) for name, answer in stock.items()}
    times = run_all(contestants, contestants, rounds)
    times[STOCK] = summed(times, list(stock))
    wall, cpu = of_clock(times, "wall"), of_clock(times, "cpu")
    return {
        "tokens": inputs["input_ids"].shape[1],
        "milliseconds": {
            name: {f"p{share}": 1000 * value for share, value in percentiles(wall[name]).items()}
            | {"cpu_median": 1000 * Spread.of(cpu[name]).median}
            for name in times
        },
        "ratios": {
            f"{STOCK} to {OURS}": ratio(wall[STOCK], wall[OURS]),
            f"{OURS} to {FORWARD}": ratio(wall[OURS], wall[FORWARD]),
        },
    }


def tables(found: list[dict[str, Any]]) -> list[Table]:
    """Milliseconds and ratios, of each number of threads and each length."""
    header = ("", "threads", "tokens", *(f"p{share}, ms" for share in SHARES), "processor, ms")
    rows = [
        [f"{name}, {one['length']}", one["threads"], one["tokens"], *values.values()]
        for one in found
        for name, values in one["milliseconds"].items()
    ]
    ratios = [
        [f"{name}, {one['length']}", one["threads"], value]
        for one in found
        for name, value in one["ratios"].items()
    ]
    return [
        Table("Milliseconds of one text", header, rows),
        Table("Ratios of wall time", ("", "threads", "median of the calls"), ratios),
    ]


def plot(found: list[dict[str, Any]], folder: str) -> None:
    """Bars of the median text, for each number of threads."""
    for one in found:
        if one["length"] == "median":
            plot_bars(
                folder,
                f"threads_{one['threads']}",
                f"One text of {one['tokens']} tokens, threads: {one['threads']}",
                "milliseconds: p50, and to p95",
                {
                    name: Spread(values["p50"], values["p50"], values["p95"])
                    for name, values in one["milliseconds"].items()
                },
            )


def by_length(texts: list[str], tokenizer) -> dict[str, str]:
    """A text of each of `LENGTHS`."""
    counts = [len(ids) for ids in tokenizer(texts, truncation=True)["input_ids"]]
    order = np.argsort(counts, kind="stable")
    return {
        name: texts[order[round(percentile / 100 * (len(texts) - 1))]]
        for name, percentile in LENGTHS.items()
    }


if __name__ == "__main__":
    main()
