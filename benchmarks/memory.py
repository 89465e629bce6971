"""How much memory models, answers and training take at most, each in a process of its own.

    python -m benchmarks.memory [--data_dir DIR] [--rows 2000] [--rounds 3]

Measured from when all modules are imported, before the model is loaded, to the greatest value
afterwards: the kernel's PSS of the process (see `measuring.Memory`), with the pages of files, for
weights may stay in those of their file; a model alone is counted with every weight read once. Ours
is one model of a sentence task and a token task; stock are the three models of the pipelines that
give the same answers, all of them in one process. Training is an epoch of `--rows` rows in batches
of 32, ours with all tasks; stock trains a model for each task, one after the other: the peak is
that of the greatest, and the sum is theirs together, where each is a process at the same time.
"""

import argparse
import json
import tempfile
from pathlib import Path

from datasets import load_from_disk
from transformers import AutoTokenizer, Pipeline, PreTrainedTokenizerBase, pipeline

from benchmarks import measuring, training, workload
from benchmarks.reporting import Table, plot_bars, write
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.processor import keep_freed_memory

LOOK_EVERY = 0.02  # seconds: a step of training is some times longer
BATCH_SIZE = 32
KEYS = {"per_device_train_batch_size": BATCH_SIZE, "num_train_epochs": 1}


def main(argv: list[str] | None = None) -> None:
    parser = workload.options_parser(__file__, __doc__, rows=2000, rounds=3)
    # Set in the processes that are measured.
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = workload.start(parser, argv)
    if options.part is not None:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        parts = prepare(options, Path(folder))
        grown: dict[str, list[float]] = {part: [] for part in parts}
        all_before = []
        for part, _ in measuring.turns(parts, options.rounds):
            command = [*options.argv, "--part", part, "--folder", folder]
            found = measuring.in_fresh_process(__file__, *command)
            grown[part].append(measuring.grown_mebibytes(found))
            all_before.append(found["before"] / 2**20)
    stock = [values for part, values in grown.items() if part.startswith("stock training")]
    rounds = list(zip(*stock, strict=True))
    grown["stock training, peak"] = [max(one) for one in rounds]
    grown["stock training, sum"] = [sum(one) for one in rounds]
    mebibytes = {part: measuring.Spread.of(values) for part, values in grown.items()}
    before = measuring.Spread.of(all_before)
    plot_bars(options.output, "memory", "Memory", "MiB", mebibytes)
    results = {"mebibytes": mebibytes, "before_mebibytes": before, "texts": options.rows}
    table = Table("MiB at most, above an idle process", ("", "MiB"), list(mebibytes.items()))
    note = (
        f"{options.rows:,} texts or rows. Median (lowest to highest) of processes. All of them "
        f"have {before.median:,.0f} MiB before, of Python and its modules."
    )
    write(options, results, [table], [note])


def prepare(options: argparse.Namespace, folder: Path) -> list[str]:
    """Write what is measured to a folder, so that loading it is all that the processes do; and give
    the names of the parts."""
    work = workload.load(options, **KEYS)
    work.tokenizer.save_pretrained(folder / "tokenizer")
    (folder / "texts.json").write_text(json.dumps(work.texts))
    model = work.answering_model()
    model.save_pretrained(folder / "ours")
    for name, one in workload.stock_pipelines(work, model).items():
        one.save_pretrained(folder / name)
    work.model().save_pretrained(folder / "all tasks")
    work.splits["train"].save_to_disk(folder / "rows")
    parts = ["our model", "three stock models", "our answers", "stock answers", "our training"]
    types = {name: work.tasks[name]["type"] for name in work.trained_tasks()}
    (folder / "types.json").write_text(json.dumps(types))
    for name in types:
        work.stock_model(name).save_pretrained(folder / name)
        inputs = work.tokenizer.model_input_names
        converted = training.stock_rows(work.splits["train"], name, inputs)
        converted.save_to_disk(folder / f"{name} rows")
        parts.append(f"stock training, {name}")
    return parts


def measure(options: argparse.Namespace) -> dict[str, int]:
    """Bytes before and at most, of one part."""
    folder, part = options.folder, options.part
    watch = measuring.Memory(LOOK_EVERY, files=True)
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    if "training" in part:
        train(options, tokenizer)
    elif part.startswith("our"):
        model = MultiTaskModel.from_pretrained(folder / "ours")
        made: list[Pipeline] = [MultiTaskPipeline(model=model, tokenizer=tokenizer)]
    else:
        made = [
            pipeline(name, model=str(folder / name), device="cpu", **keys)
            for name, keys in workload.STOCK_PIPELINES.items()
        ]
    if "answers" in part:
        texts = json.loads((folder / "texts.json").read_text())
        for one in made:
            one(texts, **({} if part.startswith("our") else {"batch_size": BATCH_SIZE}))
    elif "training" not in part:
        for one in made:
            sum(weights.detach().sum() for weights in one.model.parameters())
    return {"before": watch.before, "peak": watch.look()}


def train(options: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> None:
    """One epoch, of all tasks or of the stock model of one."""
    folder, (_, _, task) = options.folder, options.part.partition(", ")
    args = workload.run_arguments(options, output_dir=str(folder / "run"), **KEYS).training
    if not task:
        keep_freed_memory()
        model, rows = MultiTaskModel.from_pretrained(folder / "all tasks"), folder / "rows"
        training.our_trainer(model, load_from_disk(rows), tokenizer, args).train()
        return
    task_type = json.loads((folder / "types.json").read_text())[task]
    model, rows = workload.AUTO[task_type].from_pretrained(folder / task), folder / f"{task} rows"
    training.stock_trainer(model, load_from_disk(rows), tokenizer, args, task_type).train()


if __name__ == "__main__":
    main()
