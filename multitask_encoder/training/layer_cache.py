"""Computes the hidden states of frozen lower layers once, and keeps them on disk for training.

A layer with nothing to learn and no dropout gives the same rows the same hidden states in every
epoch. So the layers up to the highest frozen one need not run in training: they return its stored
hidden states. The embeddings still run, which costs next to nothing, and so does anything else an
encoder does around its layers.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from torch import nn
from transformers import Trainer, TrainerCallback

from multitask_encoder.modeling import MultiTaskModel
from multitask_encoder.modeling.batching import length_batches, pad

from .encoder_layers import layer_stack
from .freezing import frozen_layers

logger = logging.getLogger("multitask_encoder.training")


@contextmanager
def cached_layers(
    model: MultiTaskModel,
    num_layers: int,
    dataset: Dataset,
    padding_id: int,
    folder: Path,
    max_tokens: int,
    autocast: Callable[[], AbstractContextManager] = nullcontext,
) -> Iterator[None]:
    """Context in which the lowest layers run in evaluation only; for training rows they return
    the hidden states computed on entering it.

    The file in `folder` is unlinked as soon as all processes of a machine have it open, so it is
    gone when they end, however they end.

    Args:
        model (`MultiTaskModel`): the model to train.
        num_layers (`int`): number of lowest layers, at least 1; they and the embeddings are frozen.
        dataset (`Dataset`): all training rows, with `input_ids`.
        padding_id (`int`): the collator's padding token.
        folder (`Path`): a folder on a disk with enough room.
        max_tokens (`int`): most tokens in a batch, padding included.
        autocast (`Callable`, *optional*): the context that training runs the model in.

    Raises:
        ValueError: the layers return something else, or the disk is too full.
    """
    layers = list(layer_stack(model.encoder)[:num_layers])
    run = partial(_run, model.encoder, layers[-1], autocast)
    answer = run(*pad([[padding_id] * 2], padding_id))
    others = (None,) * (len(answer) - 1) if isinstance(answer, tuple) else None
    form = _checked_form(answer, model.encoder)
    places, num_tokens = _places(dataset)
    stored = _mapped_file(folder, (num_tokens, form.shape[-1]), form.dtype)
    _fill(stored, places, padding_id, max_tokens, run)
    stand_in = _StandIn(model, stored, places, others)
    hooks = [
        model.encoder.register_forward_pre_hook(stand_in.look_up, with_kwargs=True),
        model.encoder.register_forward_hook(stand_in.forget, always_call=True),
    ]
    for layer in layers:
        layer.forward = partial(stand_in.answer_for, layer.forward)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers:
            del layer.forward


def _checked_form(answer: torch.Tensor | tuple, encoder: nn.Module) -> torch.Tensor:
    """The hidden states that a layer gives one row of two tokens."""
    form = _hidden_states(answer)
    if form is None or form.shape != (1, 2, form.shape[-1]):
        raise ValueError(
            "cache_frozen_layers needs layers that return hidden states of shape (batch_size, "
            f"seq_len, hidden_size). Found others in {type(encoder).__name__}."
        )
    return form


class _StandIn:
    """Returns stored hidden states in place of the layers while the model trains."""

    def __init__(
        self,
        model: nn.Module,
        stored: torch.Tensor,
        places: dict[bytes, int],
        others: tuple[None, ...] | None,
    ):
        self.model, self.stored, self.places, self.others = model, stored, places, others
        self.answer: torch.Tensor | tuple | None = None

    def look_up(self, encoder: nn.Module, args: tuple, kwargs: dict) -> None:
        if not self.model.training:
            return
        input_ids = kwargs["input_ids"].cpu()
        lengths = kwargs["attention_mask"].sum(1).tolist()
        states = torch.zeros(*input_ids.shape, self.stored.shape[1], dtype=self.stored.dtype)
        for place, (ids, length) in enumerate(zip(input_ids.numpy(), lengths, strict=True)):
            start = self.places[_key(ids[:length])]
            states[place, :length] = self.stored[start : start + length]
        states = states.to(kwargs["input_ids"].device)
        self.answer = states if self.others is None else (states, *self.others)

    def forget(self, *_) -> None:
        self.answer = None

    def answer_for(self, forward: Callable, *args, **kwargs):
        return forward(*args, **kwargs) if self.answer is None else self.answer


def _key(ids: np.ndarray) -> bytes:
    """A row's tokens, which alone determine its hidden states: rows need no numbers."""
    return ids.astype(np.int32).tobytes()


def _places(dataset: Dataset) -> tuple[dict[bytes, int], int]:
    """The first token of each distinct row in the file, and the number of tokens in all."""
    places: dict[bytes, int] = {}
    num_tokens = 0
    names = [name for name in ("input_ids", "others") if name in dataset.column_names]
    for batch in dataset.select_columns(names).iter(batch_size=1000):
        for ids in chain(batch["input_ids"], *batch.get("others", ())):
            key = _key(np.asarray(ids))
            if key not in places:
                places[key] = num_tokens
                num_tokens += len(ids)
    return places, num_tokens


def _fill(
    stored: torch.Tensor,
    places: dict[bytes, int],
    padding_id: int,
    max_tokens: int,
    run: Callable[[torch.Tensor, torch.Tensor], torch.Tensor | tuple],
) -> None:
    """Run the layers over all rows; the processes of a machine share them."""
    machine = PartialState()
    keys = list(places)[machine.local_process_index :: _processes_here(machine)]
    rows = [np.frombuffer(key, dtype=np.int32).tolist() for key in keys]
    for batch in length_batches([len(row) for row in rows], max_tokens):
        states = _hidden_states(run(*pad([rows[index] for index in batch], padding_id))).cpu()
        for place, index in enumerate(batch):
            start, length = places[keys[index]], len(rows[index])
            stored[start : start + length] = states[place, :length]
    machine.wait_for_everyone()


@torch.no_grad()
def _run(
    encoder: nn.Module,
    layer: nn.Module,
    autocast: Callable[[], AbstractContextManager],
    input_ids: torch.Tensor,
    mask: torch.Tensor,
) -> torch.Tensor | tuple:
    """The output of one layer of the encoder, in evaluation mode, for padded rows."""
    answers: list = []
    training = encoder.training
    encoder.eval()
    with autocast(), layer.register_forward_hook(lambda *parts: answers.append(parts[-1])):
        encoder(input_ids=input_ids.to(encoder.device), attention_mask=mask.to(encoder.device))
    encoder.train(training)
    return answers[0]


def _hidden_states(answer: torch.Tensor | tuple) -> torch.Tensor | None:
    """The hidden states: a layer returns them alone or first in a tuple."""
    states = answer[0] if isinstance(answer, tuple) else answer
    return states if isinstance(states, torch.Tensor) else None


def _mapped_file(folder: Path, shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor on the disk, the same one in all processes of this machine."""
    machine = PartialState()
    size = shape[0] * shape[1] * dtype.itemsize
    first = machine.local_process_index == 0
    path = folder / f"frozen_layers-{machine.process_index // _processes_here(machine)}.tmp"
    if first:
        folder.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        free = shutil.disk_usage(folder).free
        # The file takes room as it fills up, and a full disk would then kill the process.
        if free < size:
            raise ValueError(
                f"cache_frozen_layers needs {size / 1e6:,.0f} MB in {folder}. "
                f"Found {free / 1e6:,.0f} MB free."
            )
        logger.info("Caching the outputs of frozen layers: %.0f MB in %s.", size / 1e6, folder)
        with path.open("wb") as file:
            file.truncate(size)
    machine.wait_for_everyone()
    tensor = torch.from_file(str(path), shared=True, size=shape[0] * shape[1], dtype=dtype)
    machine.wait_for_everyone()
    if first:
        path.unlink()
    return tensor.view(shape)


def _processes_here(machine: PartialState) -> int:
    return int(os.environ.get("LOCAL_WORLD_SIZE", machine.num_processes))


class CachedLayers(TrainerCallback):
    """Fills the cache of frozen layers once the weights to start or resume from are loaded."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self._cached = ExitStack()

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self._cached.enter_context(
            cached_layers(
                model,
                frozen_layers(model, args),
                self.trainer.train_dataset,
                self.trainer.data_collator.tokenizer.pad_token_id,
                Path(args.output_dir),
                args.max_batch_tokens,
                self.trainer.accelerator.autocast,
            )
        )

    def close(self) -> None:
        self._cached.close()
