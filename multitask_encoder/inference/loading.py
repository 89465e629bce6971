"""Loads finished models: on torch, or on the runtime that a folder was exported for."""

from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import cached_file

from multitask_encoder.arguments.choices import BACKENDS
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.modeling.modeling_multitask import models_beside
from multitask_encoder.modeling.windows import tokenize

from . import tokenizer_trial
from .graph_model import GRAPHS, GraphModel
from .precision import answers_in_bf16, computes


def load_pipeline(
    name_or_path: str,
    backend: str = "torch",
    device: str | None = None,
    bf16: bool | None = None,
) -> MultiTaskPipeline:
    """The pipeline of a finished model. It runs this package's code, never the folder's.

    Args:
        name_or_path (`str`): a run folder, an exported folder, or a Hub id.
        backend (`str`): `torch`; `onnx` or `openvino` for a folder exported for it.
        device (`str`, *optional*): of torch; by default the GPU, if there is one. Other backends
            answer on the processor.
        bf16 (`bool`, *optional*): whether torch computes in bfloat16; by default where that is fast
            (see `answers_in_bf16`).

    Raises:
        OSError: there is no such model, or one of its files can't be read.
        ValueError: one of its files is invalid, the backend is unknown, or can't do what is asked.
        ModuleNotFoundError: the backend is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend should be one of {', '.join(BACKENDS)}. Found {backend!r}.")
    if backend == "torch":
        model, tokenizer = load_finished(name_or_path)
        if answers_in_bf16(model, bf16, use_cpu=_is_cpu(device)):
            model = model.bfloat16()
            if bf16 is None and not computes(model):
                model, _ = load_finished(name_or_path)
        return MultiTaskPipeline(model=model, tokenizer=tokenizer, device=device)
    if bf16:
        raise ValueError(f"bf16 needs the backend torch. Found {backend}.")
    if device is not None and not _is_cpu(device):
        raise ValueError(f"The device {device} needs the backend torch. Found {backend}.")
    check_folder(name_or_path)
    tokenizer = load_tokenizer(name_or_path)
    graph = graph_class(backend).from_pretrained(name_or_path)
    return MultiTaskPipeline(model=graph, tokenizer=tokenizer)


def _is_cpu(device: str | int | torch.device | None) -> bool:
    """Whether a pipeline's device is the processor; None takes a GPU, if there is one."""
    if device is None or isinstance(device, int):
        return device is not None and device < 0
    return torch.device(device).type == "cpu"


def graph_class(backend: str) -> type[GraphModel]:
    """The class that runs the graphs of `onnx` or `openvino`. Only this imports the runtime.

    Raises:
        ModuleNotFoundError: the runtime is not installed.
    """
    if backend == "onnx":
        from .onnx_model import OnnxModel

        return OnnxModel
    from .openvino_model import OpenvinoModel

    return OpenvinoModel


def check_folder(name_or_path: str) -> None:
    """Raise a FileNotFoundError for what can only be a folder and does not exist. For anything
    else, the Hub is asked, which takes its time."""
    path = Path(name_or_path)
    is_local = (
        name_or_path.startswith((".", "/", "~", "\\"))
        or len(path.parts) > 2
        or (len(path.parts) == 2 and path.parent.is_dir())
    )
    if is_local and not path.exists():
        beside = models_beside(path)
        hint = f" Beside it: {', '.join(beside)}." if beside else ""
        raise FileNotFoundError(f"There is no folder {name_or_path!r}.{hint}")


def load_finished(name_or_path: str) -> tuple[MultiTaskModel, PreTrainedTokenizerBase]:
    """A finished model in float32, and its tokenizer.

    Args:
        name_or_path (`str`): a run folder or a Hub id.

    Raises:
        OSError: there is no such model, or one of its files can't be read.
        ValueError: one of its files is invalid.
    """
    model, tokenizer = load_finished_model(name_or_path), load_tokenizer(name_or_path)
    # As in the pipeline: every encoder counts positions from the first token.
    tokenizer.padding_side = "right"
    return model.eval(), tokenizer


def load_finished_model(
    name_or_path: str, new_tasks: Iterable[str] = (), **kwargs
) -> MultiTaskModel:
    """The model alone, in float32.

    Args:
        new_tasks (`Iterable[str]`): tasks whose heads may be missing from the weights.
        **kwargs: of `MultiTaskModel.from_pretrained`.

    Raises:
        OSError, ValueError: as `load_finished`.
    """
    check_folder(name_or_path)
    _check_no_graph(name_or_path)
    model, report = MultiTaskModel.from_pretrained(
        name_or_path, dtype="float32", output_loading_info=True, **kwargs
    )
    model.config.return_dict = True  # its callers read outputs by name
    new = tuple(f"heads.{name}." for name in new_tasks)
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(new))
    if missing:
        raise ValueError(f"{name_or_path}: its weights lack {', '.join(missing[:5])}.")
    # Of layers, above all: a config of fewer would give another encoder.
    more = sorted(
        key
        for key in report["unexpected_keys"]
        if key.startswith("encoder.") and key.endswith((".weight", ".bias"))
    )
    if more:
        raise ValueError(
            f"{name_or_path}: its config does not describe the weights {', '.join(more[:5])}."
        )
    return model


def _check_no_graph(name_or_path: str) -> None:
    """Raise a ValueError for a folder with the graph of another backend, and no weights."""
    folder = Path(name_or_path)
    for backend, (name, *_) in GRAPHS.items():
        if (folder / name).is_file() and not any(folder.glob("model*.safetensors")):
            raise ValueError(
                f"{name_or_path} is an export for {backend}. The commands predict and serve read "
                f"it with --backend {backend}."
            )


def load_tokenizer(name_or_path: str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of an encoder, or of a finished or exported model.

    Raises:
        OSError: there is none, or it can't be read.
    """
    try:
        path = cached_file(
            name_or_path,
            "tokenizer.json",
            revision=revision,
            _raise_exceptions_for_missing_entries=False,  # AutoTokenizer says what else it needs
        )
        if path is not None:
            tokenizer_trial.check(Path(path))
        # False: its own code never runs, and None would ask at the terminal.
        return AutoTokenizer.from_pretrained(
            name_or_path, revision=revision, trust_remote_code=False
        )
    except Exception as error:  # damaged files raise all kinds of errors, even a bare Exception
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise OSError(f"Can't load the tokenizer of {name_or_path!r}: {reason}") from error


def read_as(
    pipeline: MultiTaskPipeline,
    max_length: int | None = None,
    stride: int | None = None,
    sentence_windows: str | None = None,
) -> None:
    """Make a pipeline read long texts in windows other than those its model was trained with.

    Args:
        max_length (`int`, *optional*): tokens of a window.
        stride (`int`, *optional*): tokens that neighbouring windows share.
        sentence_windows (`str`, *optional*): `first` or `mean`.

    Raises:
        ValueError: windows longer than the model's, or without room for text after its prompt.
    """
    config, tokenizer = pipeline.model.config, pipeline.tokenizer
    if max_length is not None:
        if max_length > tokenizer.model_max_length:
            raise ValueError(
                f"max_length should be at most {tokenizer.model_max_length}, the model's limit. "
                f"Found {max_length}."
            )
        tokenizer.model_max_length = max_length
    if stride is not None:
        config.stride = stride
    if sentence_windows is not None:
        config.sentence_windows = sentence_windows
    tokenize(tokenizer, [""], config.default_prompt, stride=config.stride)
