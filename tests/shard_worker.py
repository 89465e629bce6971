"""One rank of test_distributed.py: a training step in shards, and the model that it saves.

python -m torch.distributed.run --nproc_per_node 2 shard_worker.py BACKBONE OUT 8x1
"""

import json
import os
import sys
from pathlib import Path

import yaml
from accelerate import PartialState
from accelerate.utils import DistributedType
from safetensors.torch import save_file
from step_worker import make_trainer

from multitask_encoder.cli.run import leave_process_group
from multitask_encoder.training.trainer import MultiTaskTrainer

CONFIG = Path(__file__).parent.parent / "configs" / "accelerate" / "fsdp.yaml"


def shard_on_processors() -> None:
    """Ask for FSDP as `accelerate launch` does, which leaves it out where there are no GPUs."""
    keys = yaml.safe_load(CONFIG.read_text())["fsdp_config"]
    os.environ |= {key.upper(): str(value) for key, value in keys.items()}
    os.environ["ACCELERATE_USE_FSDP"] = "true"
    create = MultiTaskTrainer.create_accelerator_and_postprocess

    def create_for_gpus(trainer: MultiTaskTrainer) -> None:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        create(trainer)

    MultiTaskTrainer.create_accelerator_and_postprocess = create_for_gpus


def main(backbone: str, out: Path, split: str) -> None:
    shard_on_processors()
    trainer = make_trainer(backbone, out / "run", split, "float32")
    gradients, classes = {}, set()

    def keep(*args, **kwargs):
        for name, weight in trainer.model_wrapped.named_parameters():
            gradients[name] = weight.grad.full_tensor()
            classes.add(type(weight).__name__)
        return trainer.control

    trainer.callback_handler.on_pre_optimizer_step = keep
    trainer.train()
    metrics = trainer.evaluate()
    trainer.save_model(str(out / "model"))
    if trainer.is_world_process_zero():
        save_file(gradients, out / "gradients.safetensors")
        found = {
            "parameters": sorted(classes),
            "model": type(trainer.model).__name__,
            "layer": type(trainer.model.encoder.encoder.layer[0]).__name__,
            "logged": trainer.state.log_history[0],
            "metrics": metrics,
        }
        (out / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    leave_process_group()
