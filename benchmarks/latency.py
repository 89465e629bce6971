"""How long one answer takes: milliseconds of a single text, by its length and by threads.

    python -m benchmarks.latency [--data_dir DIR] [--rows 2000] [--rounds 20] [--dtype bfloat16]

A short, a median and a long text (the 5th, 50th and 95th percentile of `--rows` texts' tokens) are
answered one at a time, by each contestant in turn, ten times a turn: `MultiTaskPipeline`, its
model's forward pass alone, the pipeline with the exported graphs, and three stock pipelines one
after the other, which give all answers. With one thread, and with as many as torch takes. Graphs
compute in float32 and in int8, all else in `--dtype`.

With `--model` it is that of a finished run. Heads that are not trained find their entities in
sequences that make no sense, which takes longer to mend.
"""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import Pipeline

from benchmarks import machine
from benchmarks.exported import GRAPHS, export, load_graph
from benchmarks.measuring import SHARES, Spread, of_clock, percentiles, ratio, run_all
from benchmarks.reporting import Table, plot_bars, write
from benchmarks.workload import (
    add_dtype,
    add_model,
    load,
    options_parser,
    start,
    stock_pipelines,
)
from multitask_encoder.modeling import MultiTaskPipeline

OURS, FORWARD, STOCK = "MultiTaskPipeline", "its forward pass alone", "three stock pipelines"
LENGTHS = {"short": 5, "median": 50, "long": 95}
CALLS = 10  # a turn


def main(argv: list[str] | None = None) -> None:
    options = start(add_model(add_dtype(options_parser(__file__, __doc__, 2000, 20))), argv)
    work = load(options)
    model, tokenizer = work.finished_or_new()
    ours = MultiTaskPipeline(model=model, tokenizer=tokenizer)
    stock = stock_pipelines(work, model)
    limits = machine.limits(model.encoder)
    texts = by_length(work.texts, tokenizer)
    found = []
    all_threads = torch.get_num_threads()
    with TemporaryDirectory() as scratch:
        folders = {name: Path(scratch, str(number)) for number, name in enumerate(GRAPHS)}
        wide = copy.deepcopy(model).float()
        for name, folder in folders.items():
            folder.mkdir()
            export(name, wide, tokenizer, work.texts, folder)
        for threads in sorted({1, all_threads}):
            torch.set_num_threads(threads)
            graphs = {
                name: MultiTaskPipeline(model=load_graph(name, folder), tokenizer=tokenizer)
                for name, folder in folders.items()
            }
            for length, text in texts.items():
                measures = measure(ours, graphs, stock, text, options.rounds)
                found.append({"threads": threads, "length": length, **measures})
    torch.set_num_threads(all_threads)
    limits["fp32_peak_at_the_end"] = machine.peak_again(limits)
    plot(found, options.output)
    note = (
        f"{options.rounds * CALLS:,} calls of each, {CALLS} a turn, in {options.dtype} but for the "
        "graphs. Processor: median of all threads' time together."
    )
    results = {"limits": limits, "calls": options.rounds * CALLS, "found": found}
    write(options, results, tables(found), [note])


def measure(
    ours: MultiTaskPipeline,
    graphs: dict[str, MultiTaskPipeline],
    stock: dict[str, Pipeline],
    text: str,
    rounds: int,
) -> dict[str, Any]:
    """The tokens of a text, the milliseconds that each contestant takes, and their ratios."""
    inputs = ours.tokenizer(text, return_tensors="pt", return_token_type_ids=False)

    @torch.inference_mode()
    def forward() -> None:
        ours.model(**inputs)

    contestants: dict[str, Callable[[], Any]] = {OURS: partial(ours, text), FORWARD: forward}
    contestants |= {name: partial(answer, text) for name, answer in graphs.items()}
    contestants[STOCK] = lambda: [answer(text) for answer in stock.values()]
    times = run_all(contestants, contestants, rounds, CALLS)
    wall, cpu = of_clock(times, "wall"), of_clock(times, "cpu")
    return {
        "tokens": inputs["input_ids"].shape[1],
        "milliseconds": {
            name: {f"p{share}": 1000 * value for share, value in percentiles(wall[name]).items()}
            | {"cpu_median": 1000 * Spread.of(cpu[name]).median}
            for name in times
        },
        "ratios": {
            **{f"{STOCK} to {one}": ratio(wall[STOCK], wall[one]) for one in (OURS, *graphs)},
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
