"""A graph in place of a `MultiTaskModel`: only the interface that the pipeline needs."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig
from transformers.utils import cached_file

# The files of a graph, by the backend that runs it.
GRAPHS = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}
INPUTS = ("input_ids", "attention_mask")
EMBEDDING, LOGITS, OUT_OF_SCOPE = "sentence_embedding", "logits_", "out_of_scope_"


class GraphModel:
    """Answers as a `MultiTaskModel` does, from a graph computed by another runtime.

    The graph's inputs are `input_ids` and `attention_mask` of shape `(batch_size, seq_len)`, its
    outputs `sentence_embedding`, a `logits_<task>` per head, and for a head with a scope an
    `out_of_scope_<task>`. It runs on the CPU, with as many threads as torch. It can't be trained,
    and takes no `inputs_embeds`.

    A subclass names the `files` of its graph, and runs it.
    """

    files: tuple[str, ...]
    optional_files: tuple[str, ...] = ()
    device = torch.device("cpu")
    dtype = torch.float32
    hf_device_map = {"": "cpu"}  # keeps a pipeline off the GPU

    def __init__(self, path: str, config):
        self.path, self.config = path, config

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike, config=None, **kwargs
    ) -> "GraphModel":
        """The model of an exported folder or Hub id.

        Args:
            config (`MultiTaskConfig`, *optional*): by default the folder's.
            **kwargs: `revision`, `token` and `cache_dir` as in `PreTrainedModel`; others are
                ignored.

        Raises:
            OSError: a file is missing or can't be read.
        """
        name_or_path = str(name_or_path)
        folder = Path(name_or_path)
        for name in cls.files:
            if folder.is_dir() and not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{name_or_path} should hold {name}, as an export does. Found none."
                )
        hub = {name: kwargs[name] for name in ("revision", "token", "cache_dir") if name in kwargs}
        if config is None:
            config = AutoConfig.from_pretrained(name_or_path, **hub, trust_remote_code=False)
        paths = [cached_file(name_or_path, name, **hub) for name in cls.files]
        for name in cls.optional_files:
            cached_file(name_or_path, name, _raise_exceptions_for_missing_entries=False, **hub)
        try:
            return cls(paths[0], config)
        except Exception as error:  # each runtime raises its own
            reason = " ".join(str(error).split())
            raise OSError(f"Can't load model {name_or_path!r}: {reason}") from error

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """Called by `AutoModel` on any class it loads; the export has registered it already."""

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All outputs of the graph by name."""
        raise NotImplementedError

    def __call__(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        tasks: list[str] | None = None,
        return_dict: bool = True,
    ) -> Any:
        """As `MultiTaskModel.forward`, never as a tuple: an object with `sentence_embedding`, and
        `logits` and `out_of_scope` by task, of `tasks` only."""
        arrays = (input_ids.numpy(), attention_mask.numpy())
        outputs = self.run(dict(zip(INPUTS, arrays, strict=True)))
        return SimpleNamespace(
            sentence_embedding=torch.from_numpy(outputs[EMBEDDING]),
            **{
                key: {
                    name: torch.from_numpy(outputs[prefix + name])
                    for name in (self.config.tasks if tasks is None else tasks)
                    if prefix + name in outputs
                }
                for key, prefix in (("logits", LOGITS), ("out_of_scope", OUT_OF_SCOPE))
            },
        )
