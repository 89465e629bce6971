"""One rank of test_distributed.py: training steps and evaluations, and what came out of them.

    python step_worker.py BACKBONE OUT 16x1 ...
    python -m torch.distributed.run --nproc_per_node 2 step_worker.py BACKBONE OUT 8x1 4x2 ...

Each `BATCHxACCUMULATION` is one step, in float64 and in float32; `BATCHxACCUMULATIONxTOKENS`
takes it in passes of so many tokens.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, set_seed

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.cli.run import leave_process_group
from multitask_encoder.data.collator import MultiTaskCollator
from multitask_encoder.data.dataset_arguments import DatasetArguments
from multitask_encoder.data.labels import collect_labels
from multitask_encoder.data.loading import load_splits
from multitask_encoder.data.preprocessing import preprocess
from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.decoding import UNITS
from multitask_encoder.modeling.windows import tokenize
from multitask_encoder.training.trainer import MultiTaskTrainer

TYPES = {
    "topic": "sequence_classification",
    "sentiment": "sequence_classification",
    "entities": "token_classification",
}


def make_trainer(backbone: str, folder: Path, split: str, dtype: str) -> MultiTaskTrainer:
    """One that takes a single step, split as `batch_size x accumulation (x tokens)` says."""
    batch_size, accumulation, *tokens = (int(size) for size in split.split("x"))
    budget: dict[str, Any] = {"max_batch_tokens": tokens[0]} if tokens else {}
    set_seed(0)
    tasks: dict[str, dict] = {name: {"type": one} for name, one in TYPES.items()}
    source = DatasetArguments(dataset="synthetic", train_size=22, validation_size=13, test_size=1)
    rows, _ = load_splits(tasks, source)
    rows["train"] = rows["train"].map(drop_labels, with_indices=True)
    labels = collect_labels([rows["train"]], tasks)
    tasks = {name: {**task, "labels": labels[name]} for name, task in tasks.items()}
    tasks["entities"]["class_weights"] = {"O": 0.2}
    model = MultiTaskModel.from_backbone(backbone, tasks, head_dropout=0.0).to(
        getattr(torch, dtype)
    )
    tokenizer = AutoTokenizer.from_pretrained(backbone, model_max_length=512)
    splits = {
        name: preprocess(split, tokenizer, model.config.tasks, tokenize, UNITS)
        for name, split in rows.items()
    }
    return MultiTaskTrainer(
        model=model,
        args=MultiTaskTrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            report_to="none",
            max_steps=1,
            max_grad_norm=0.0,
            logging_steps=1,
            eval_strategy="no",
            save_strategy="no",
            load_best_model_at_end=False,
            disable_tqdm=True,
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=3,
            gradient_accumulation_steps=accumulation,
            **budget,
        ),
        data_collator=MultiTaskCollator(tokenizer, model.config.tasks),
        train_dataset=splits["train"],
        eval_dataset=splits["validation"],
        processing_class=tokenizer,
    )


def main(backbone: str, out: Path, split: str, dtype: str) -> None:
    trainer = make_trainer(backbone, out / "run", split, dtype)
    metrics = trainer.evaluate()
    gradients = {}

    def keep(*args, **kwargs):
        gradients.update(
            {name: weight.grad.clone() for name, weight in trainer.model.named_parameters()}
        )
        return trainer.control

    trainer.callback_handler.on_pre_optimizer_step = keep
    trainer.train()
    if trainer.is_world_process_zero():
        folder = out / split / dtype
        folder.mkdir(parents=True)
        save_file(gradients, folder / "gradients.safetensors")
        found = {
            "world_size": trainer.args.world_size,
            "metrics": metrics,
            "logged": trainer.state.log_history[0],
        }
        (folder / "found.json").write_text(json.dumps(found))


def drop_labels(row: dict, index: int) -> dict:
    """Some rows lose the labels of some tasks."""
    return {name: None for name in TYPES if index % (len(name) - 2) == 0}


if __name__ == "__main__":
    for split in sys.argv[3:]:
        for precision in ("float64", "float32"):
            main(sys.argv[1], Path(sys.argv[2]), split, precision)
    leave_process_group()
