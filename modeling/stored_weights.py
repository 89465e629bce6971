"""The weights of a folder, known from their headers alone: a config that describes more or other
weights is refused before memory is taken for it."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import AutoModel, PreTrainedConfig
from transformers.initialization import no_init_weights
from transformers.utils import cached_file, is_peft_available

from .configuration_multitask import check_numbers
from .library_errors import first_line
from .scope import POINTS

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")
# Arguments of `from_pretrained` that say where to look for files.
PLACES = (
    *("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder"),
    "token",
)
# Encoders have parts that no file holds: a pooler, positions, weights that are stored once and used
# twice. They are few.
MORE_TENSORS, MORE_NUMBERS = 100, 2**20
# Positions may have no weights; any other size is that of a stored tensor.
MOST_POSITIONS = 2**17


def stored_shapes(
    name_or_path: str, variant: str | None = None, **places: Any
) -> dict[str, list[int]]:
    """The name and shape of every stored tensor. Only safetensors are opened.

    Args:
        variant (`str`, *optional*): as in `from_pretrained`: "fp16" for `model.fp16.safetensors`.
        places: the arguments `PLACES`, as in `from_pretrained`.

    Raises:
        OSError: a file does not exist.
        ValueError: an index that names files other than those beside it, or an adapter, also within
            the weights.
        SafetensorError: a damaged file.
    """

    def find(name: str) -> str | None:
        return cached_file(
            name_or_path, name, _raise_exceptions_for_missing_entries=False, **places
        )

    # With `peft`, transformers would load the adapter's model in place of this one.
    if is_peft_available() and find("adapter_config.json"):
        raise ValueError("It should hold no adapter. Found adapter_config.json.")
    weights, listing = (
        f"{stem}.{variant}.{ending}" if variant else f"{stem}.{ending}"
        for stem, _, ending in (name.rpartition(".") for name in (WEIGHTS, INDEX))
    )
    paths = [find(weights)]
    if paths == [None]:
        index = find(listing)
        if index is None:
            raise OSError(f"There should be a {weights}. Found none; no other format is read.")
        paths = [find(name) for name in _shards(index)]
        if None in paths:
            raise OSError(f"{listing} names files that do not exist.")
    shapes: dict[str, list[int]] = {}
    for path in paths:
        with safe_open(path, framework="pt") as file:
            shapes |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    if any(".lora_A." in name for name in shapes):
        raise ValueError(
            "It is a checkpoint of a run with lora_rank, to resume from. Use the run's folder."
        )
    return shapes


def _shards(index: str) -> list[str]:
    with open(index, encoding="utf-8") as file:
        content = json.load(file)
    files = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not files:
        raise ValueError(f"{INDEX} should map names to files.")
    for name in files.values():
        if not isinstance(name, str) or not SHARD.fullmatch(name):
            raise ValueError(f"{INDEX} should name safetensors files beside it. Found {name!r}.")
    return sorted(set(files.values()))


def check_encoder(config: PreTrainedConfig, shapes: dict[str, list[int]]) -> None:
    """Refuse the config of an encoder that is larger than its stored weights.

    Only total sizes are compared: versions of transformers differ in the names of tensors.

    Raises:
        ValueError: a config that is too large, or that no encoder can be built from.
    """
    largest = max([MOST_POSITIONS, *(size for shape in shapes.values() for size in shape)])
    check_numbers(config.to_dict(), largest)
    stored = sum(torch.Size(shape).numel() for shape in shapes.values())
    try:
        with _at_most(len(shapes) + MORE_TENSORS), torch.device("meta"), no_init_weights():
            encoder = AutoModel.from_config(config)
    except Exception as error:  # a number or name that makes no sense may raise anything
        raise ValueError(f"Its config describes no encoder: {first_line(error)}") from error
    tensors = [*encoder.parameters(), *encoder.buffers()]
    described = sum(tensor.numel() for tensor in tensors)
    if described > 2 * stored + MORE_NUMBERS:
        raise ValueError(
            f"Its config describes an encoder of {described:,} numbers. Found {stored:,} in its "
            "weights."
        )


def check_heads(tasks: dict[str, dict], width: int, shapes: dict[str, list[int]]) -> None:
    """Refuse tasks whose heads are not stored, or are stored with another number of labels.

    Raises:
        ValueError: the head of a task is missing or of another shape.
    """
    for name, task in tasks.items():
        if "labels" not in task:
            continue
        expected = {f"heads.{name}.classifier.weight": [len(task["labels"]), width]}
        if "out_of_scope" in task:
            centers = task["out_of_scope"]["centers"]
            sizes = {"centers": [centers, width], "scale": [2], "quantiles": [POINTS]}
            expected |= {f"heads.{name}.scope.{key}": shape for key, shape in sizes.items()}
        for key, shape in expected.items():
            if shapes.get(key) != shape:
                found = f"shape {shapes[key]}" if key in shapes else "none"
                raise ValueError(f"Its weights should hold {key} of shape {shape}. Found {found}.")


def match_labels(stored: dict[str, dict], tasks: dict[str, dict], heads: nn.ModuleDict) -> None:
    """Move the rows of heads that were stored for the same labels in another order, and keep what
    their numbers were standardised by.

    Args:
        stored, tasks (`dict[str, dict]`): the tasks of the stored config, and those of the model,
            which are completed.
        heads (`nn.ModuleDict`): as loaded, in the stored order.

    Raises:
        ValueError: a head was stored for other labels.
    """
    for name in heads:
        before, labels = (side.get(name, {}).get("labels") for side in (stored, tasks))
        if before is None or len(before) != len(labels):
            continue  # another number of labels is loaded only if a new head was asked for
        if sorted(before) != sorted(labels):
            raise ValueError(
                f"The labels of task {name!r} should be those that it was trained with, in any "
                f"order: {_listed(before)}. Found {_listed(labels)}. A task of another name gets a "
                "new head."
            )
        numeric = tasks[name].get("problem_type") == "regression"
        if numeric and "standardization" in stored[name]:
            tasks[name].setdefault("standardization", dict(stored[name]["standardization"]))
        if before == labels:
            continue
        rows = [before.index(label) for label in labels]
        with torch.no_grad():
            for parameter in heads[name].classifier.parameters():
                parameter.copy_(parameter[rows])


def _listed(labels: list[str]) -> str:
    return ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")


@contextmanager
def _at_most(tensors: int) -> Iterator[None]:
    """Limit the parameters of a module that is being built: each costs memory, even on the meta
    device."""
    thread, count = threading.get_ident(), 0

    def counted(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal count
        count += threading.get_ident() == thread
        if count > tensors and threading.get_ident() == thread:
            raise ValueError(f"it has more than the {tensors} tensors allowed.")

    handle = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        handle.remove()
