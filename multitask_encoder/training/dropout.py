"""Training without dropout: its noise would count as a change of what a model is held to."""

from torch import nn


def leave_out_dropout(module: nn.Module) -> None:
    """Set every probability of dropout in a module and its parts to 0; the config keeps its own.

    In evaluation mode there would be none either, but that turns off more than dropout.
    """
    for part in module.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0
        for name, value in list(vars(part).items()):  # some attention takes it as a number
            if "dropout" in name and isinstance(value, float):
                setattr(part, name, 0.0)
