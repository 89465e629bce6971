"""What the benchmarks run on: their common options, a run's rows and tokenizer, and its models.

All of it is read as `run_multitask.py` reads it: the folder of `--data_dir` by configs/snips.yaml,
and without one the synthetic sentences of configs/quickstart.yaml, so that each benchmark runs
anywhere.
"""

import argparse
import copy
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import transformers
from transformers.utils import logging as transformers_logging

from benchmarks.measuring import ROOT
from multitask_encoder.arguments.parsing import parse_arguments
from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments, RunArguments
from multitask_encoder.cli.errors import fail
from multitask_encoder.data.label_alignment import join_words
from multitask_encoder.inference.loading import load_finished
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.processor import has_fast_bf16
from multitask_encoder.training.model_loading import load_model
from multitask_encoder.training.prepare_data import join_datasets, preprocess_rows
from multitask_encoder.training.run_rows import load_rows

CONFIGS = {True: "snips.yaml", False: "quickstart.yaml"}  # with a data_dir, and without one
# What a benchmark of training doesn't do: evaluate, save, report.
QUIET = {
    "do_eval": "false",
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": "true",
    "use_cpu": "true",
}
TOKENS = "token_classification"
PEAKS = {"float32": "fp32", "bfloat16": "bf16"}  # dtype -> the machine's limit, see machine.py
STOCK_PIPELINES: dict[str, dict] = {
    "feature-extraction": {},
    "text-classification": {},
    "token-classification": {"aggregation_strategy": "simple"},
}
AUTO = {
    "sequence_classification": transformers.AutoModelForSequenceClassification,
    TOKENS: transformers.AutoModelForTokenClassification,
}


def options_parser(script: str, doc: str, rows: int, rounds: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have, for the script at this path; the help shows the first
    line of `doc`. `rows` and `rounds` are defaults."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--encoder", default="backbones/minilm", help="Hub id or folder")
    parser.add_argument("--data_dir", help="rows as in configs/snips.yaml; default: synthetic ones")
    parser.add_argument("--rows", type=int, default=rows, help=f"default: {rows}")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    parser.add_argument("--threads", type=int, help="of torch; default: as many as it takes")
    title = Path(script).stem
    parser.add_argument("--output", default=f"runs/benchmarks/{title}", help="folder")
    parser.set_defaults(title=title)
    return parser


def add_dtype(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """With the option of what the models compute in: by default the best that the machine has."""
    best = "bfloat16" if has_fast_bf16(use_cpu=True) else "float32"
    help = f"what all models compute in; default: the fastest of this machine, {best}"
    parser.add_argument("--dtype", choices=PEAKS, default=best, help=help)
    return parser


def add_model(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """With the option of a finished model."""
    help = "a finished run; default: untrained heads on --encoder"
    parser.add_argument("--model", help=help)
    return parser


@dataclass
class Workload:
    """A run's rows and tokenizer."""

    options: argparse.Namespace
    keys: dict[str, Any]  # of the run, besides those that the options give
    run: RunArguments  # without evaluation, checkpoints and reports
    tokenizer: transformers.PreTrainedTokenizerBase
    tasks: dict[str, dict]  # as in a model's config
    rows: dict[str, dict[str, datasets.Dataset]]  # all loaded ones, by split and data set
    splits: dict[str, datasets.Dataset]  # preprocessed; of the training rows, those chosen
    texts: list[str]  # of the chosen training rows

    def training_arguments(self, seed: int) -> MultiTaskTrainingArguments:
        """The run's own, with another seed."""
        return run_arguments(self.options, **self.keys, seed=seed).training

    def trained_tasks(self) -> list[str]:
        """Those that have labels."""
        return [name for name, task in self.tasks.items() if task["type"] in AUTO]

    def model(self, seed: int = 0) -> MultiTaskModel:
        """A new model on the encoder, its heads as the seed has it."""
        transformers.set_seed(seed)
        _, model = load_model(self.run, self.rows)
        return model

    def answering_model(self, pooling: str = "mean") -> MultiTaskModel:
        """A new model of one sentence task and one token task."""
        transformers.set_seed(0)
        tasks = {name: self.tasks[name] for name in map(self.first_of, AUTO)}
        encoder = self.run.model.encoder
        model = MultiTaskModel.from_backbone(encoder, tasks, pooling, dtype="float32")
        labels = np.concatenate(self.splits["train"][self.first_of(TOKENS)][:])
        share = (labels > 0).sum() / max((labels >= 0).sum(), 1)  # label 0 is `O`
        find_entities(model, self.tokenizer, self.texts[:64], float(share))
        return model.to(self.dtype)

    def finished_or_new(
        self, pooling: str = "mean"
    ) -> tuple[MultiTaskModel, transformers.PreTrainedTokenizerBase]:
        """The finished model of `--model`, or the `answering_model`; and its tokenizer. What can't
        be read is one line, and exit code 2."""
        if not self.options.model:
            return self.answering_model(pooling), self.tokenizer
        try:
            model, tokenizer = load_finished(self.options.model)
        except (ValueError, OSError) as error:
            fail(error)
        return model.to(self.dtype), tokenizer

    @property
    def dtype(self) -> torch.dtype:
        """What answering models compute in: float32 where the benchmark has no option for it."""
        return getattr(torch, getattr(self.options, "dtype", "float32"))

    def stock_model(self, name: str, seed: int = 0) -> transformers.PreTrainedModel:
        """The same of transformers' own, for one of the tasks."""
        transformers.set_seed(seed)
        task = self.tasks[name]
        model = AUTO[task["type"]].from_pretrained(
            self.run.model.encoder,
            id2label=dict(enumerate(task["labels"])),
            label2id={label: index for index, label in enumerate(task["labels"])},
            dtype=self.dtype,
        )
        return model.eval()

    def first_of(self, task_type: str) -> str:
        """The first task of a type."""
        return next(name for name, task in self.tasks.items() if task["type"] == task_type)


def start(parser: argparse.ArgumentParser, argv: list[str] | None) -> argparse.Namespace:
    """The options, with the whole command line as `argv`. Libraries are quiet from here on, and
    torch has as many threads as asked for."""
    argv = sys.argv[1:] if argv is None else argv
    options = parser.parse_args(argv, argparse.Namespace(argv=argv))
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("multitask_encoder").setLevel(logging.WARNING)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    return options


def run_arguments(options: argparse.Namespace, **keys: Any) -> RunArguments:
    """The keys of the config, without evaluation, checkpoints and reports; and `keys`."""
    config = ROOT / "configs" / CONFIGS[options.data_dir is not None]
    given = {**QUIET, "encoder": options.encoder, **keys}
    # Of files all rows are read, for the first ones may lack labels that others have.
    if options.data_dir is None:
        given |= {"train_size": options.rows, "validation_size": 1}
    else:
        given["data_dir"] = options.data_dir
    return parse_arguments([str(config), *(f"--{key}={value}" for key, value in given.items())])


def load(options: argparse.Namespace, **keys: Any) -> Workload:
    """Read and tokenize a run's rows; of those for training choose `--rows`, at random but always
    the same ones. What can't be read is one line, and exit code 2."""
    keys = {"output_dir": f"{options.output}/run", **keys}
    try:
        run = run_arguments(options, **keys)
        run, rows, _ = load_rows(run)
        transformers.set_seed(0)
        tokenizer, model = load_model(run, rows)
        windows, _ = preprocess_rows(run, rows, tokenizer, model)
        splits = join_datasets(run, windows, tokenizer, model)
    except (ValueError, OSError) as error:
        fail(error)
    (train,) = rows["train"].values()
    chosen = np.random.default_rng(0).permutation(len(train))[: options.rows]
    kept = np.isin(splits["train"]["row"][:], chosen)
    splits["train"] = splits["train"].select(np.flatnonzero(kept))
    texts = [
        row["text"] if "text" in row else join_words(row["tokens"])[0]
        for row in train.select(np.sort(chosen))
    ]
    return Workload(options, keys, run, tokenizer, model.config.tasks, rows, splits, texts)


def model_of_heads(model: MultiTaskModel, kind: str, number: int) -> MultiTaskModel:
    """A model with the same encoder, and so many times its first head of a type."""
    name, task = next(one for one in model.config.tasks.items() if one[1]["type"] == kind)
    config = copy.deepcopy(model.config)
    config.tasks = {f"{name}_{index}": copy.deepcopy(task) for index in range(number)}
    many = MultiTaskModel(config)
    many.encoder.load_state_dict(model.encoder.state_dict())
    for head in many.heads.values():
        head.load_state_dict(model.heads[name].state_dict())
    return many.to(model.dtype).eval()


def stock_pipelines(work: Workload, model: MultiTaskModel) -> dict[str, transformers.Pipeline]:
    """Three of transformers' own that together give the answers of a model, with its encoder and
    its token head."""
    sentence, token = (work.first_of(one) for one in AUTO)
    tagger = work.stock_model(token)
    tagger.classifier.load_state_dict(model.heads[token].classifier.state_dict())
    encoder = transformers.AutoModel.from_pretrained(work.run.model.encoder, dtype=work.dtype)
    models = (encoder.eval(), work.stock_model(sentence), tagger)
    for one in models:  # some have no pooler
        one.base_model.load_state_dict(model.encoder.state_dict(), strict=False)
    return {
        name: transformers.pipeline(name, model=one, tokenizer=work.tokenizer, device="cpu", **keys)
        for (name, keys), one in zip(STOCK_PIPELINES.items(), models, strict=True)
    }


@torch.inference_mode()
def find_entities(model: MultiTaskModel, tokenizer, texts: list[str], share: float) -> None:
    """Set the bias of `O` in untrained token heads so that they find entities in a share of the
    tokens; else they would find one in nearly every token, and writing them down take long."""
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    mask = batch["attention_mask"]
    for name, logits in model(batch["input_ids"], mask).logits.items():
        if model.config.tasks[name]["type"] == TOKENS:
            logits = logits[mask == 1]
            margins = logits[:, 1:].amax(-1) - logits[:, 0]
            model.heads[name].classifier.bias[0] += margins.quantile(1 - share)


def padded_share(batches: Iterable[dict[str, torch.Tensor]]) -> float:
    """How much of some batches' tokens is padding, in 0 to 1."""
    masks = [batch["attention_mask"] for batch in batches]
    return 1 - float(sum(mask.sum() for mask in masks)) / sum(mask.numel() for mask in masks)
