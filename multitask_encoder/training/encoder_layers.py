"""The place of each parameter in its encoder: the embeddings, or a layer.

One rule serves all encoder families: the layers are the module list whose length is the config's
number of layers. Modules outside it belong to the embeddings, or to the last layer if they run
after it (a final norm). Tables that every layer reads, like the relative positions of MPNet and
DeBERTa, count as embeddings.
"""

import torch
from torch import nn


def layer_stack(encoder: nn.Module) -> nn.ModuleList:
    """The layers of an encoder, from the lowest to the highest.

    Args:
        encoder (`nn.Module`): any `PreTrainedModel` with token inputs.

    Raises:
        ValueError: no list has that length, as in ALBERT, whose layers share their weights.
    """
    stack, expected = _longest_list(encoder), encoder.config.num_hidden_layers
    if len(stack) != expected:
        raise ValueError(
            "freeze_layers, unfreeze_layers_per_epoch, layer_learning_rate_decay and "
            f"cache_frozen_layers need an encoder that lists its {expected} layers. "
            f"Found a list of {len(stack)} in {type(encoder).__name__}."
        )
    return stack


def layer_classes(encoder: nn.Module) -> list[str]:
    """The names of the classes of an encoder's layers, also of those that share their weights."""
    return sorted({type(layer).__name__ for layer in _longest_list(encoder)})


def parameter_depths(encoder: nn.Module) -> dict[str, int]:
    """Depth of each parameter, by name: 0 in the embeddings, 1 in the lowest layer, and so on.

    Encodes two tokens, to find the modules that run after the last layer. Layers that share their
    weights all have depth 1.

    Raises:
        ValueError: the encoder has no module list.
    """
    stack = _longest_list(encoder) or layer_stack(encoder)
    places = {
        id(module): place for place, layer in enumerate(stack, 1) for module in layer.modules()
    }
    above = {id(module): len(stack) for module in _first_read_after(stack[-1], encoder)}
    depths = above | places
    owners = dict(encoder.named_modules())
    return {
        name: depths.get(id(owners[name.rpartition(".")[0]]), 0)
        for name, _ in encoder.named_parameters()
    }


def _longest_list(encoder: nn.Module) -> nn.ModuleList:
    """The module list with as many entries as the config has layers, or else the longest list."""
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    expected = encoder.config.num_hidden_layers
    return max(
        lists, key=lambda stack: (len(stack) == expected, len(stack)), default=nn.ModuleList()
    )


@torch.no_grad()
def _first_read_after(last: nn.Module, encoder: nn.Module) -> list[nn.Module]:
    """The modules first called after `last`, including `last` and its submodules."""
    calls: list[nn.Module] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, _: calls.append(module))
        for module in encoder.modules()
    ]
    training = encoder.training
    encoder.eval()  # dropout would change the random state
    try:
        ids = torch.ones((1, 2), dtype=torch.long, device=encoder.device)
        encoder(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        encoder.train(training)
        for hook in hooks:
            hook.remove()
    start = calls.index(last)
    before = set(calls[:start])
    return [module for module in calls[start:] if module not in before]
