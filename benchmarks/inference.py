"""How fast answers are: `MultiTaskPipeline`, its forward passes alone, and three stock pipelines.

    python -m benchmarks.inference [--data_dir DIR] [--model runs/snips] [--rows 2000] [--rounds 5]

A list of texts goes in; an embedding, a sentence label and entities come out. Ours answers all in
one pass; of transformers' own pipelines it takes feature-extraction, text-classification and
token-classification, one after the other, with a model each: once with their default batch size of
1, and once with 32. sentence-transformers, where it is installed, gives the embedding alone. All
compute in the fastest type of the machine; beside bfloat16, ours do so in float32, too.

`--model` answers with a finished model, whose weights the stock models get. Without it the heads
are not trained: the bias of `O` is set to give as many entity tokens as the data has, but these are
broken into more entities, in sequences that nearly all have to be mended.
"""

import copy
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from benchmarks import machine
from benchmarks.flops import inference_flops
from benchmarks.measuring import Contestants, Seconds, Spread, of_clock, ratio, run_all, summed
from benchmarks.reporting import SPREAD_AND_PEAK, plot_bars, speed_report, write
from benchmarks.workload import (
    PEAKS,
    Workload,
    add_dtype,
    add_model,
    load,
    model_of_heads,
    options_parser,
    padded_share,
    start,
    stock_pipelines,
)
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.modeling.windows import tokenize

OURS, FORWARD = "MultiTaskPipeline", "its forward passes alone"
OURS_WIDE = "MultiTaskPipeline in float32"  # beside another dtype
TOKENIZING, EMBEDDING = "its tokenization alone", "sentence-transformers (embedding only)"
STOCK = {1: "three stock pipelines", 32: "three stock pipelines, batch_size=32"}
KINDS = {"sequence_classification": "sentence", "token_classification": "token"}
MANY_HEADS = 16
WARM_UP_TEXTS = 64


def main(argv: list[str] | None = None) -> None:
    parser = options_parser(__file__, __doc__, rows=2000, rounds=5)
    options = start(add_model(add_dtype(parser)), argv)
    work = load(options)
    texts = work.texts
    model, tokenizer = work.finished_or_new()
    limits = machine.limits(model.encoder)
    stock = stock_pipelines(work, model)
    answers = our_pipelines(model, tokenizer)
    if work.dtype != torch.float32:
        wide = MultiTaskPipeline(model=copy.deepcopy(model).float(), tokenizer=tokenizer)
        answers[OURS_WIDE] = wide
    batches = {}
    for name, pipeline in answers.items():
        with recorded(pipeline.model) as batches[name]:
            pipeline(texts)
    times = run_all(
        contestants(work, answers, stock, batches, texts),
        contestants(work, answers, stock, batches, texts[:WARM_UP_TEXTS]),
        options.rounds,
    )
    limits["fp32_peak_at_the_end"] = machine.peak_again(limits)
    for batch_size, title in STOCK.items():
        times[title] = summed(times, [stock_title(name, batch_size) for name in stock])
    flops, padding = stock_arithmetic(stock, texts)
    flops |= dict.fromkeys((OURS, FORWARD), inference_flops(model, batches[OURS]))
    padding |= dict.fromkeys((OURS, FORWARD), padded_share(batches[OURS]))
    peaks = dict.fromkeys(times, limits[PEAKS[options.dtype]]["peak"])
    results, tables = speed_report(times, len(texts), ratios_of(times), flops, peaks, padding)
    speed = results["sentences_per_second"]
    shown = [OURS, FORWARD, *STOCK.values(), *([EMBEDDING] if EMBEDDING in speed else [])]
    plot_bars(options.output, "speed", "Inference", "sentences/s", {n: speed[n] for n in shown})
    shapes = [list(batch["input_ids"].shape) for batch in batches[OURS]]
    notes = [
        f"{len(texts):,} texts in one list, in {options.dtype}. `three stock pipelines` is the sum "
        "of the three, that is of all answers.",
        SPREAD_AND_PEAK.format(f" in {options.dtype}."),
    ]
    results = {"limits": limits, "texts": len(texts), "batches": shapes, **results}
    write(options, results, tables, notes)


def ratios_of(times: dict[str, list[Seconds]]) -> dict[str, Spread]:
    """Speeds and seconds of contestants that are worth comparing, by name."""
    wall, cpu = of_clock(times, "wall"), of_clock(times, "cpu")
    ratios = {
        f"sentences/s, {OURS} to {title}": ratio(wall[title], wall[OURS])
        for title in STOCK.values()
    }
    ratios[f"processor seconds, {STOCK[32]} to {OURS}"] = ratio(cpu[STOCK[32]], cpu[OURS])
    ratios[f"wall seconds, {OURS} to {FORWARD}"] = ratio(wall[OURS], wall[FORWARD])
    ratios[f"wall seconds, {TOKENIZING} to {OURS}"] = ratio(wall[TOKENIZING], wall[OURS])
    if OURS_WIDE in wall:
        ratios[f"sentences/s, {OURS} to {OURS_WIDE}"] = ratio(wall[OURS_WIDE], wall[OURS])
    if EMBEDDING in wall:
        ratios[f"sentences/s, {OURS} to {EMBEDDING}"] = ratio(wall[EMBEDDING], wall[OURS])
    for kind in KINDS:
        one, many = heads_title(kind, 1), heads_title(kind, MANY_HEADS)
        ratios[f"wall seconds, {many} to {one}"] = ratio(wall[many], wall[one])
        forward = [wall[f"{title}, forward"] for title in (many, one)]
        ratios[f"wall seconds of forward passes, {many} to {one}"] = ratio(*forward)
    return ratios


def our_pipelines(
    model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase
) -> dict[str, MultiTaskPipeline]:
    """Pipelines of a model, and of models with one of its heads and with many, by title."""
    models = {OURS: model}
    for kind, heads in product(KINDS, (1, MANY_HEADS)):
        models[heads_title(kind, heads)] = model_of_heads(model, kind, heads)
    return {
        title: MultiTaskPipeline(model=one, tokenizer=tokenizer) for title, one in models.items()
    }


def contestants(
    work: Workload,
    answers: dict[str, MultiTaskPipeline],
    stock: dict[str, Any],
    batches: dict[str, list[dict]],
    texts: list[str],
) -> Contestants:
    """What is timed, by name: all that answer some texts, and the forward passes of `batches`."""
    found: dict[str, Callable[[], Any]] = {}
    for name, answer in answers.items():
        found[name] = partial(answer, texts)
        forward = FORWARD if name == OURS else f"{name}, forward"
        found[forward] = partial(run_forward, answer.model, batches[name])
    found[TOKENIZING] = partial(tokenize, work.tokenizer, texts)
    for name, answer in stock.items():
        found[stock_title(name, 1)] = partial(answer, texts)
        found[stock_title(name, 32)] = partial(answer, texts, batch_size=32)
    if importlib.util.find_spec("sentence_transformers"):
        encoder = sentence_transformer(work.run.model.encoder).to(work.dtype)
        found[EMBEDDING] = partial(encoder.encode, texts, show_progress_bar=False)
    return found


def stock_title(name: str, batch_size: int) -> str:
    """What a stock pipeline is called."""
    return name if batch_size == 1 else f"{name}, batch_size={batch_size}"


def heads_title(kind: str, heads: int) -> str:
    """What a model with heads of one kind is called."""
    return f"{heads} {KINDS[kind]} head{'s' if heads > 1 else ''}"


@torch.inference_mode()
def run_forward(model: torch.nn.Module, batches: list[dict]) -> None:
    """Nothing but the model, batch by batch."""
    for batch in batches:
        model(**batch)


@contextmanager
def recorded(model: torch.nn.Module) -> Iterator[list[dict[str, torch.Tensor]]]:
    """The batches that a model is given meanwhile."""
    batches: list[dict[str, torch.Tensor]] = []

    def keep(module, args, inputs):
        tensors = {key: one for key, one in inputs.items() if isinstance(one, torch.Tensor)}
        batches.append({key: one.clone() for key, one in tensors.items()})

    handle = model.register_forward_pre_hook(keep, with_kwargs=True)
    yield batches
    handle.remove()


def stock_arithmetic(
    stock: dict[str, Any], texts: list[str]
) -> tuple[dict[str, int], dict[str, float]]:
    """Operations of all matrix products of the three stock pipelines, and which share of their
    tokens is padding."""
    flops, padding = {}, {}
    for batch_size, title in STOCK.items():
        flops[title], batches = 0, []
        for one in stock.values():
            with recorded(one.model) as found:
                one(texts, batch_size=batch_size)
            flops[title] += inference_flops(one.model, found)
            batches += found
        padding[title] = padded_share(batches)
    return flops, padding


def sentence_transformer(encoder: str):
    """The encoder with mean pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    module = Transformer(encoder)
    return SentenceTransformer(
        modules=[module, Pooling(module.get_embedding_dimension(), "mean")], device="cpu"
    )


if __name__ == "__main__":
    main()
