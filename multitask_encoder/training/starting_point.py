"""Pulls the encoder towards the weights that it started with, rather than towards zero.

L2-SP (Li et al. 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
arXiv 1802.01483): few rows then change only what they have to. As weight decay in AdamW, the pull
is apart from the gradient (Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", arXiv
1711.05101). A finished model forgets less if each weight is pulled by its importance (Kirkpatrick
et al. 2017, "Overcoming catastrophic forgetting in neural networks", arXiv 1612.00796).
"""

from collections.abc import Mapping

import torch
from torch import nn
from transformers import TrainerCallback

EVERY = 4  # steps: a pull four times as long costs a quarter


class PullToStart(TrainerCallback):
    """Moves the encoder's weights back by `strength` times their learning rate, at most 1, of the
    way to their start in each step: every fourth step does it for four.

    Args:
        encoder (`nn.Module`): the encoder, with its weights at the start; frozen ones stay out.
        strength (`float`): at least 0, in the units of AdamW's weight decay.
        matters (`Mapping[nn.Parameter, torch.Tensor]`, *optional*): a factor of the strength for
            each weight, of the parameter's shape; 1 for parameters that it lacks.
    """

    def __init__(
        self,
        encoder: nn.Module,
        strength: float,
        matters: Mapping[nn.Parameter, torch.Tensor] | None = None,
    ):
        self.strength, self.matters = strength, matters or {}
        self.starts = {
            parameter: parameter.detach().clone()
            for parameter in encoder.parameters()
            if parameter.requires_grad
        }

    @torch.no_grad()
    def on_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        if (state.global_step + 1) % EVERY:
            return
        for group in optimizer.param_groups:
            share = self.strength * EVERY * group["lr"]
            for parameter in group["params"]:
                if parameter in self.matters:
                    shares = (share * self.matters[parameter]).clamp(max=1)
                    parameter.lerp_(self.starts[parameter], shares)
                elif parameter in self.starts:
                    parameter.lerp_(self.starts[parameter], min(1.0, share))
