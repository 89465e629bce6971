"""Pulls the encoder back to where it started, which is worth more than where zero is.

L2-SP (Li et al. 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
arXiv 1802.01483): few rows then change only what they have to. As weight decay in AdamW, the pull
is apart from the gradient (Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", arXiv
1711.05101).
"""

import torch
from torch import nn


def weights_of(encoder: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of the weights that are trained, by name."""
    return {
        name: parameter.detach().clone()
        for name, parameter in encoder.named_parameters()
        if parameter.requires_grad
    }


def pull_to_start(
    optimizer: torch.optim.Optimizer,
    encoder: nn.Module,
    start: dict[str, torch.Tensor],
    strength: float,
) -> None:
    """Have each step move the encoder's weights by `strength` times their learning rate, at most 1,
    of the way back to the start.

    Args:
        optimizer (`torch.optim.Optimizer`): of the encoder's parameters, among others.
        encoder (`nn.Module`): the encoder.
        start (`dict[str, torch.Tensor]`): its weights at the start, as `weights_of` gives them.
        strength (`float`): at least 0, in the units of AdamW's weight decay.
    """
    starts = {
        id(parameter): start[name]
        for name, parameter in encoder.named_parameters()
        if name in start
    }

    @torch.no_grad()
    def pull(*_) -> None:
        for group in optimizer.param_groups:
            share = min(1.0, strength * group["lr"])
            for parameter in group["params"]:
                if id(parameter) in starts:
                    parameter.lerp_(starts[id(parameter)].to(parameter.device), share)

    optimizer.register_step_post_hook(pull)
