"""Learning rates of the layers and of the heads."""

import torch

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.modeling import MultiTaskModel

from .encoder_layers import layer_stack, parameter_depths


def learning_rates(model: MultiTaskModel, args: MultiTaskTrainingArguments) -> dict[str, float]:
    """Learning rate of each parameter, by name, before the schedule.

    The highest layer has `learning_rate`, each layer below has `layer_learning_rate_decay` times
    the rate of the one above, and the embeddings have the lowest (Sun et al. 2019, "How to
    Fine-Tune BERT for Text Classification?", section 5.3.3); the heads have `head_learning_rate`.
    """
    heads = args.head_learning_rate if args.head_learning_rate is not None else args.learning_rate
    rates = {name: heads for name, _ in model.named_parameters()}
    if args.layer_learning_rate_decay == 1:
        depths, highest = {name: 0 for name, _ in model.encoder.named_parameters()}, 0
    else:
        depths, highest = parameter_depths(model.encoder), len(layer_stack(model.encoder))
    for name, depth in depths.items():
        decay = args.layer_learning_rate_decay ** (highest - depth)
        rates[f"encoder.{name}"] = args.learning_rate * decay
    return rates


def split_by_learning_rate(
    optimizer: torch.optim.Optimizer,
    model: MultiTaskModel,
    args: MultiTaskTrainingArguments,
) -> None:
    """Split the groups of a new optimizer so that each parameter has its learning rate.

    Other settings of a group, like its weight decay, stay. With a single rate nothing changes."""
    if args.layer_learning_rate_decay == 1 and args.head_learning_rate is None:
        return
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = learning_rates(model, args)
    groups = []
    for group in optimizer.param_groups:
        by_rate: dict[float, list] = {}
        for parameter in group["params"]:
            by_rate.setdefault(rates[names[id(parameter)]], []).append(parameter)
        groups += [{**group, "params": params, "lr": rate} for rate, params in by_rate.items()]
    # The Trainer logs the first group's rate: the highest layer's, if it is trained.
    groups.sort(key=lambda group: group["lr"] != args.learning_rate)
    optimizer.param_groups[:] = groups
