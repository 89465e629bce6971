"""How near every export comes to the model, how fast it answers, and how large it is.

    python -m benchmarks.parity [--model runs/mine] [--data_dir DIR] [--rows 500] [--rounds 3]

Writes a model in every form that it has, and gives the same texts to each in its own runtime: the
pipeline on torch, the folder loaded again by the typed API, also in bfloat16, the HTTP service,
ONNX and OpenVINO in float32 and int8, sentence-transformers (the embedding), and the stock
pipelines (a head each). With `--model` those that give all answers are also held against the labels
of the test split, and with `--pairs`, a file as in configs/sts.yaml, against people's scores.
Without a model the heads are not trained, and pooling is `cls`, for which all encoder families have
a sequence classification of their own.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import PreTrainedTokenizerBase, pipeline

from benchmarks.exported import GRAPHS, export, load_graph
from benchmarks.measuring import of_clock, rate, run_all
from benchmarks.quality.data import correlation, json_lines
from benchmarks.reporting import Table, times_as_json, write
from benchmarks.serving import TOGETHER, Client, free_port, parts, save, service
from benchmarks.workload import add_model, load, options_parser, start
from multitask_encoder.data.label_alignment import join_words
from multitask_encoder.export import parity, plain_heads, sentence_transformers
from multitask_encoder.export.folders import size_in_bytes
from multitask_encoder.inference import Predictor
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.modeling.decoding import tags_to_spans

OURS, TYPED, BF16 = "pipeline, torch", "typed API, torch", "typed API, torch in bfloat16"
STOCK_BATCH = 32
SERVED = {"the service, 2 replicas": 2}

COLUMNS = (
    "Embedding and logits: the largest difference from the model, as a share of its largest value. "
    "Scores: that of the probabilities in the answers. Labels and entities: how many texts have "
    "others; the stock pipeline decides each tag by itself, so that it finds other entities in the "
    "same logits. Test: accuracy, F1 of whole entities, and the Spearman correlation of cosines "
    "and people's scores, in percent. A stock pipeline and sentence-transformers give a part of "
    "the answers. Random heads decide many texts by a hair, so that rounding changes more labels "
    "than of a trained model."
)
Answer = Callable[[list[str]], Any]
Form = tuple[dict[str, Any], Answer]  # how a form differs from the model, and what answers in it


class Reference(NamedTuple):
    """A model, and what its pipeline answers to some texts."""

    model: MultiTaskModel
    tokenizer: PreTrainedTokenizerBase
    texts: list[str]
    expected: list[dict]


def main(argv: list[str] | None = None) -> None:
    parser = add_model(options_parser(__file__, __doc__, rows=500, rounds=3))
    parser.add_argument("--pairs", type=Path, help="scored pairs of sentences, as JSON lines")
    options = start(parser, argv)
    if options.pairs and not options.model:
        parser.error("--pairs needs a --model.")
    work = load(options)
    model, tokenizer = work.finished_or_new(pooling="cls")
    ours = MultiTaskPipeline(model=model, tokenizer=tokenizer, device="cpu")
    reference = Reference(model, tokenizer, work.texts, ours(work.texts))
    found: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory() as folder, ExitStack() as services:
        contestants: dict[str, Answer] = {OURS: ours}
        contestants |= compare(reference, Path(folder), found, services)
        if options.model and "test" in work.rows:
            (test,) = work.rows["test"].values()
            pairs = json_lines(options.pairs) if options.pairs else []
            for name in (OURS, TYPED, BF16, *SERVED, *GRAPHS):
                if name in contestants:
                    found[name] |= quality(contestants[name], list(test), model.config.tasks)
                    found[name] |= of_pairs(contestants[name], pairs)
        times = run_all(
            {name: partial(answer, work.texts) for name, answer in contestants.items()},
            {name: partial(answer, work.texts[:64]) for name, answer in contestants.items()},
            options.rounds,
        )
    wall = of_clock(times, "wall")
    speed = {name: rate(len(work.texts), seconds) for name, seconds in wall.items()}
    results = {"texts": len(work.texts), "found": found, "times": times_as_json(times)}
    refused = [f"{name}: {one['refused']}" for name, one in found.items() if "refused" in one]
    notes = [f"{len(work.texts):,} texts of the training split. {COLUMNS}", *refused]
    keys = ["embedding", "logits", "scores", "labels", "entities"]
    keys += [key for key in found[OURS] if key.endswith(", test")]
    rows = [
        [name, *(one.get(key) for key in keys), speed.get(name), one.get("megabytes")]
        for name, one in found.items()
    ]
    table = Table("Parity", ("", *keys, "sentences/s", "MB"), rows)
    write(options, {**results, "sentences_per_second": speed}, [table], notes)


def compare(
    reference: Reference, folder: Path, found: dict[str, dict[str, Any]], services: ExitStack
) -> dict[str, Answer]:
    """Write every form below `folder` and compare it; the differences go to `found`, and what runs
    to `services`.

    Returns:
        `dict[str, Answer]`: of each form that there is, what answers a list of texts.
    """
    model, tokenizer, *_ = reference
    model.save_pretrained(folder / "torch")
    tokenizer.save_pretrained(folder / "torch")
    found[OURS] = {"megabytes": size_in_bytes(folder / "torch") / 1e6}
    forms: dict[str, Callable[[Reference, Path], Form]] = {
        TYPED: typed,
        BF16: partial(typed, bf16=True),
        **{name: partial(served, number, services) for name, number in SERVED.items()},
        **{name: partial(graph, name) for name in GRAPHS},
        "sentence-transformers": embedding,
        **{f"stock pipeline, {name}": partial(head, name) for name in model.heads},
    }
    contestants: dict[str, Answer] = {}
    for number, (name, form) in enumerate(forms.items()):
        path = folder / str(number)
        path.mkdir()
        try:
            found[name], contestants[name] = form(reference, path)
        except ValueError as error:  # no such form of this model
            found[name] = {"refused": str(error)}
            continue
        found[name]["megabytes"] = size_in_bytes(path) / 1e6
    return contestants


def largest_differences(
    reference: Reference, answer: Callable[[parity.Batch], parity.Outputs]
) -> dict[str, float]:
    """By answer, over all windows of the texts."""
    model, tokenizer, texts, _ = reference
    largest: dict[str, float] = {}
    for batch in parity.batches(texts, tokenizer, model.config):
        one = parity.differences(parity.outputs(model, batch), answer(batch))
        largest = {name: max(value, largest.get(name, 0.0)) for name, value in one.items()}
    return largest


def graph(name: str, reference: Reference, path: Path) -> Form:
    """All answers, by another runtime."""
    model, tokenizer, texts, expected = reference
    export(name, model, tokenizer, texts, path)
    other = load_graph(name, path)
    largest = largest_differences(reference, partial(parity.outputs, other))
    answer = MultiTaskPipeline(model=other, tokenizer=tokenizer)
    return {
        "embedding": largest.pop("embedding"),
        "logits": max(largest.values()),
        **disagreements(answer(texts), expected),
    }, answer


def typed(reference: Reference, path: Path, bf16: bool = False) -> Form:
    """All answers, by the saved folder and the typed API."""
    model, tokenizer, texts, expected = reference
    save(model, tokenizer, path)
    predict = Predictor(path, device="cpu", bf16=bf16)

    def answer(texts: list[str]) -> list[dict]:
        return [asdict(one) for one in predict(texts)]

    answers = answer(texts)
    return embedding_difference(answers, expected) | disagreements(answers, expected), answer


def served(replicas: int, services: ExitStack, reference: Reference, path: Path) -> Form:
    """All answers, by the saved folder and HTTP, for several clients at once."""
    model, tokenizer, texts, expected = reference
    save(model, tokenizer, path)
    port = free_port()
    flags = ["--replicas", str(replicas), "--threads", "1", "--bf16", "false"]
    services.enter_context(service(path, port, flags))
    client = Client(port)

    def answer(texts: list[str]) -> list[dict]:
        return [one for some in client.all(parts(texts, TOGETHER)) for one in some]

    answers = answer(texts)
    return embedding_difference(answers, expected) | disagreements(answers, expected), answer


def embedding_difference(answers: list[dict], expected: list[dict]) -> dict[str, float]:
    """As `parity.differences`."""
    ours, theirs = (
        {"embedding": torch.tensor(np.array([one["embedding"] for one in all_]))}
        for all_ in (expected, answers)
    )
    return parity.differences(ours, theirs)


def disagreements(answers: list[dict], expected: list[dict]) -> dict[str, float]:
    """The largest difference of a probability, and how many texts have other labels, entities."""
    pairs = list(zip(answers, expected, strict=True))
    return {
        "scores": max(
            (
                abs(score - other["labels"][name]["scores"][label])
                for one, other in pairs
                for name, answer in one["labels"].items()
                for label, score in answer["scores"].items()
            ),
            default=0.0,
        ),
        "labels": others(
            answers,
            expected,
            lambda one: {name: label["label"] for name, label in one["labels"].items()},
        ),
        "entities": others(answers, expected, lambda one: spans(one["entities"])),
    }


def quality(answer: Answer, rows: list[dict], tasks: dict[str, dict]) -> dict[str, float]:
    """In percent, of labelled rows: each sentence task's accuracy, each token task's F1 of whole
    entities."""
    texts, words = zip(*(join_words(row["tokens"]) for row in rows), strict=True)
    answers = answer(list(texts))
    found: dict[str, float] = {}
    for name, task in tasks.items():
        if task["type"] == "sequence_classification":
            right = [
                one["labels"][name]["label"] == row[name]
                for one, row in zip(answers, rows, strict=True)
            ]
            found[f"{name}, test"] = 100 * sum(right) / len(right)
        elif task["type"] == "token_classification":
            predicted = [set(spans(one["entities"])[name]) for one in answers]
            gold = [
                {span[:3] for span in tags_to_spans(row[name], offsets)}
                for row, offsets in zip(rows, words, strict=True)
            ]
            hits = sum(len(one & other) for one, other in zip(predicted, gold, strict=True))
            found[f"{name}, test"] = 200 * hits / sum(map(len, [*predicted, *gold]))
    return found


def of_pairs(answer: Answer, pairs: list[dict]) -> dict[str, float]:
    """The embedding's correlation with people's scores, in percent; nothing without pairs."""

    def encode(texts: list[str]) -> np.ndarray:
        return np.array([one["embedding"] for one in answer(texts)])

    return {"embedding, test": 100 * correlation(encode, pairs)} if pairs else {}


def embedding(reference: Reference, path: Path) -> Form:
    """The embedding, by sentence-transformers."""
    model, tokenizer, texts, expected = reference
    sentence_transformers.export(model, tokenizer, path)
    encode = partial(SentenceTransformer(str(path), device="cpu").encode, show_progress_bar=False)
    answers = [{"embedding": vector} for vector in encode(texts)]
    return embedding_difference(answers, expected), encode


def head(name: str, reference: Reference, path: Path) -> Form:
    """One head, by a stock pipeline."""
    model, tokenizer, texts, expected = reference
    plain_heads.export(model, tokenizer, name, path)
    stock_pipeline = partial(pipeline, model=str(path), device="cpu", batch_size=STOCK_BATCH)
    if model.config.tasks[name]["type"] == "token_classification":
        key, ours = "entities", [spans(one["entities"])[name] for one in expected]
        stock = stock_pipeline("token-classification", aggregation_strategy="first")
        answers = [[(e["start"], e["end"], e["entity_group"]) for e in one] for one in stock(texts)]
    else:
        key, ours = "labels", [one["labels"][name]["label"] for one in expected]
        stock = stock_pipeline("text-classification", truncation=True)
        answers = [one["label"] for one in stock(texts)]
    largest = largest_differences(reference, partial(plain_heads.outputs, stock.model, name))
    return {"logits": largest[name], key: others(answers, ours, lambda one: one)}, stock


def spans(answers: dict[str, list[dict]]) -> dict[str, list[tuple]]:
    """Where the entities of each token task are, and what."""
    return {
        name: [(one["start"], one["end"], one["label"]) for one in entities]
        for name, entities in answers.items()
    }


def others(found: list, expected: list, key: Callable[[Any], Any]) -> int:
    """How many texts have another answer."""
    return sum(key(one) != key(other) for one, other in zip(found, expected, strict=True))


if __name__ == "__main__":
    main()
