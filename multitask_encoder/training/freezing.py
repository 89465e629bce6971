"""Which parameters are trained, and from which epoch on.

Frozen parameters get no gradient, no optimizer state and, below all trained ones, no backward pass.
Frozen modules are also set to evaluation: with dropout, the trained part would have to fit noise
that is absent in use.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import MethodType

from torch import nn
from transformers import TrainerCallback

from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
from multitask_encoder.modeling import MultiTaskModel

from .encoder_layers import layer_stack, parameter_depths
from .lora import lora

KEYS = (
    "freeze",
    "freeze_layers",
    "unfreeze_layers_per_epoch",
    "cache_frozen_layers",
    "layer_learning_rate_decay",
    "head_learning_rate",
)


def freezing_keys(args: MultiTaskTrainingArguments) -> list[str]:
    """Keys of freezing and of partial learning rates that differ from their defaults."""
    return [key for key in KEYS if getattr(args, key) != getattr(type(args), key)]


def frozen_parameters(model: MultiTaskModel, args: MultiTaskTrainingArguments) -> set[str]:
    """Names of the parameters that `freeze` and `freeze_layers` freeze for the whole run.

    Raises:
        ValueError: a part that the model does not have, or more layers than it has.
    """
    freeze = args.freeze or []
    parts = [
        "everything",
        "nothing",
        "encoder",
        "embeddings",
        *(f"heads.{name}" for name in model.heads),
    ]
    for part in freeze:
        if part not in parts:
            raise ValueError(f"freeze should name some of {', '.join(parts)}. Found {part!r}.")
    names = [name for name, _ in model.named_parameters()]
    if "everything" in freeze:
        return set(names)
    frozen = {name for name in names if name.startswith(tuple(f"{part}." for part in freeze))}
    if "encoder" not in freeze and ("embeddings" in freeze or args.freeze_layers is not None):
        frozen |= _up_to(frozen_layers(model, args), model)
    return frozen


def frozen_layers(model: MultiTaskModel, args: MultiTaskTrainingArguments) -> int:
    """Number of lowest layers frozen for the whole run.

    Raises:
        ValueError: `freeze_layers` exceeds the number of layers.
    """
    if {"everything", "encoder"} & set(args.freeze or []):
        return len(layer_stack(model.encoder))
    if not args.freeze_layers:
        return 0
    num_layers = len(layer_stack(model.encoder))
    if args.freeze_layers > num_layers:
        raise ValueError(
            f"freeze_layers should be at most {num_layers}, the layers of this encoder. "
            f"Found {args.freeze_layers}."
        )
    return args.freeze_layers


def check_freezing(
    model: MultiTaskModel, args: MultiTaskTrainingArguments, streaming: bool
) -> None:
    """Check that the freezing keys suit this model and, if rows are streamed, streaming.

    Raises:
        ValueError: a key does not; names the key and the reason.
    """
    frozen = frozen_parameters(model, args)
    if args.unfreeze_layers_per_epoch is not None:
        layer_stack(model.encoder)
        if streaming:
            raise ValueError("unfreeze_layers_per_epoch needs epochs; streaming has none.")
        heads = {name for name, _ in model.named_parameters() if name.startswith("heads.")}
        if "everything" not in (args.freeze or []) and heads <= frozen:
            raise ValueError(
                "unfreeze_layers_per_epoch begins with the heads: at least one should be trained. "
                f"Found freeze: {', '.join(args.freeze or ['no head in this model'])}."
            )
    if args.layer_learning_rate_decay != 1:
        layer_stack(model.encoder)
    if args.cache_frozen_layers:
        if streaming:
            raise ValueError("cache_frozen_layers needs rows that are read again. Found streaming.")
        if frozen_layers(model, args) == 0:
            raise ValueError(
                "cache_frozen_layers needs freeze_layers of at least 1, or freeze: encoder. "
                f"Found freeze_layers: {args.freeze_layers}, freeze: {args.freeze}."
            )


def parameter_counts(
    model: MultiTaskModel, args: MultiTaskTrainingArguments | None = None
) -> tuple[int, int]:
    """The numbers of trained parameters, including gradually unfrozen ones, and of all parameters,
    each with LoRA's.

    Args:
        model (`MultiTaskModel`): the model to train.
        args (`MultiTaskTrainingArguments`, *optional*): the training arguments. By default,
            parameters that currently require a gradient count as trained.
    """
    with lora(model, args) if args is not None else nullcontext():
        frozen = frozen_parameters(model, args) if args is not None else set()
        sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
        trained = sum(
            sizes[name]
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and name not in frozen
        )
    return trained, sum(sizes.values())


@contextmanager
def frozen(model: nn.Module, names: set[str]) -> Iterator[None]:
    """Context in which the named parameters require no gradient, and modules whose parameters are
    all frozen stay in evaluation mode, even after `model.train()`."""
    parameters = [
        parameter
        for name, parameter in model.named_parameters()
        if name in names and parameter.requires_grad
    ]
    for parameter in parameters:
        parameter.requires_grad_(False)
    modules: list[nn.Module] = []
    if names:
        modules = [module for module in _wholly_frozen(model) if "train" not in vars(module)]
    modes = [module.training for module in modules]
    for module in modules:
        module.eval()
        module.train = MethodType(_stay_in_evaluation, module)  # the Trainer calls it in every step
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
        for module, mode in zip(modules, modes, strict=True):
            del module.train
            module.train(mode)


class GradualUnfreezing(TrainerCallback):
    """Trains only the heads in the first epoch; each further epoch adds `unfreeze_layers_per_epoch`
    layers, from the highest to the lowest, then the embeddings (Howard & Ruder 2018, ULMFiT).

    The trained part depends only on the epoch, so a resumed run continues unchanged.
    """

    def __init__(self):
        self._not_yet = ExitStack()

    def on_epoch_begin(self, args, state, control, model=None, **kwargs):
        self.close()
        epoch = int(state.epoch or 0)
        # The small number compensates for rounding: 100 times 0.29 is 28.999999999999996.
        layers = int(args.unfreeze_layers_per_epoch * epoch + 1e-6)
        names = _up_to(len(layer_stack(model.encoder)) - layers, model)
        self._not_yet.enter_context(frozen(model, names))

    def close(self) -> None:
        """Unfreeze everything that this callback froze."""
        self._not_yet.close()


def _up_to(depth: int, model: MultiTaskModel) -> set[str]:
    """Names of the parameters of the embeddings and the lowest `depth` layers."""
    depths = parameter_depths(model.encoder)
    return {f"encoder.{name}" for name, place in depths.items() if place <= depth}


def _wholly_frozen(module: nn.Module) -> Iterator[nn.Module]:
    """The largest modules that have parameters, all of them frozen."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        yield module
        return
    for child in module.children():
        yield from _wholly_frozen(child)


def _stay_in_evaluation(module: nn.Module, mode: bool = True) -> nn.Module:
    return nn.Module.train(module, False)
