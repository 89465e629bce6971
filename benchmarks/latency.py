"""How long one answer takes: milliseconds of a single text, by its length and by threads.

    python benchmarks/latency.py [--data_dir DIR] [--rows 2000] [--rounds 200]

A short, a median and a long text (the 5th, 50th and 95th percentile of `--rows` texts' tokens) are
answered one at a time, `--rounds` times by each contestant in turn: `MultiTaskPipeline`, its
model's forward pass alone, and three stock pipelines, the sum of which is all answers. With one
thread, and with as many as torch takes.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import machine
from benchmarks.measuring import Spread, percentiles, ratio, run_all, summed
from benchmarks.reporting import Table, plot_bars, write
from benchmarks.workload import load, options_parser, start, stock_pipelines
from multitask_encoder.modeling import MultiTaskPipeline

OURS, FORWARD, STOCK = "MultiTaskPipeline", "its forward pass alone", "three stock pipelines"
LENGTHS = {"short": 5, "median": 50, "long": 95}
SHARES = (50, 95, 99)


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    options = options_parser(__file__, __doc__, rows=2000, rounds=200).parse_args(argv)
    start(options)
    work = load(options)
    model = work.answering_model()
    ours = MultiTaskPipeline(model=model, tokenizer=work.tokenizer)
    stock = stock_pipelines(work, model)
    limits = machine.limits(model.encoder)
    texts = by_length(work.texts, work.tokenizer)
    found, rows = [], []
    all_threads = torch.get_num_threads()
    for threads in sorted({1, all_threads}):
        torch.set_num_threads(threads)
        for length, text in texts.items():
            inputs = work.tokenizer(text, return_tensors="pt", return_token_type_ids=False)

            def forward(inputs=inputs) -> None:
                with torch.inference_mode():
                    model(**inputs)

            contestants: dict[str, Callable[[], Any]] = {
                OURS: lambda text=text: ours(text),
                FORWARD: forward,
                **{name: lambda one=one, text=text: one(text) for name, one in stock.items()},
            }
            times = run_all(contestants, contestants, options.rounds)
            times[STOCK] = summed(times, list(stock))
            tokens = inputs["input_ids"].shape[1]
            milliseconds = {
                name: [1000 * one.wall for one in rounds] for name, rounds in times.items()
            }
            quantiles = {name: percentiles(one, SHARES) for name, one in milliseconds.items()}
            ratios = {
                f"{STOCK} to {OURS}": ratio(milliseconds[STOCK], milliseconds[OURS]),
                f"{OURS} to {FORWARD}": ratio(milliseconds[OURS], milliseconds[FORWARD]),
            }
            found.append(
                {
                    "threads": threads,
                    "length": length,
                    "tokens": tokens,
                    "milliseconds": {
                        name: {
                            **{f"p{share}": one for share, one in zip(SHARES, values, strict=True)},
                            "cpu_median": 1000 * Spread.of([s.cpu for s in times[name]]).median,
                        }
                        for name, values in quantiles.items()
                    },
                    "ratios": ratios,
                }
            )
            for name in times:
                cpu = found[-1]["milliseconds"][name]["cpu_median"]
                rows.append([f"{name}, {length}", threads, tokens, *quantiles[name], cpu])
    torch.set_num_threads(all_threads)
    limits["fp32_peak_at_the_end"] = machine.peak_again(limits)
    for one in found:
        if one["length"] == "median":
            bars = {
                name: Spread(values["p50"], values["p50"], values["p95"])
                for name, values in one["milliseconds"].items()
            }
            plot_bars(
                options.output,
                f"threads_{one['threads']}",
                f"One text of {one['tokens']} tokens, threads: {one['threads']}",
                "milliseconds: p50, and to p95",
                bars,
            )
    header = ("", "threads", "tokens", *(f"p{share}, ms" for share in SHARES), "processor, ms")
    ratio_rows = [
        [f"{name}, {one['length']}", one["threads"], value]
        for one in found
        for name, value in one["ratios"].items()
    ]
    write(
        options.output,
        "latency",
        argv,
        {"machine": machine.describe(), "limits": limits, "calls": options.rounds, "found": found},
        [
            Table("Milliseconds of one text", header, rows),
            Table("Ratios of wall time", ("", "threads", "median of the calls"), ratio_rows),
        ],
        [
            f"{options.rounds:,} calls of each, in turn. Processor: median of all threads' time "
            "together."
        ],
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
