"""A finished folder to a pipeline, on torch or on the runtime that the folder was exported for."""

from multitask_encoder.export.folders import load_finished, load_tokenizer
from multitask_encoder.modeling import MultiTaskPipeline
from multitask_encoder.modeling.windows import tokenize

BACKENDS = ("torch", "onnx", "openvino")


def load_pipeline(
    name_or_path: str, backend: str = "torch", device: str | None = None, bf16: bool = False
) -> MultiTaskPipeline:
    """The pipeline of a finished model, by this package's own code: none of the folder's runs.

    Args:
        name_or_path (`str`): a run folder, an exported folder, or a Hub id.
        backend (`str`): `torch`; `onnx` or `openvino` for a folder that was exported for it.
        device (`str`, *optional*): of torch; by default the GPU, where there is one.
        bf16 (`bool`): whether torch computes in bfloat16.

    Raises:
        OSError: there is no such model, or a file of it can't be read.
        ValueError: a file of it is not as it should be, or the backend is unknown.
        ModuleNotFoundError: the backend is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend should be one of {', '.join(BACKENDS)}. Found {backend!r}.")
    if backend == "torch":
        model, tokenizer = load_finished(name_or_path)
        if bf16:
            model = model.bfloat16()
        return MultiTaskPipeline(model=model, tokenizer=tokenizer, device=device)
    if bf16:
        raise ValueError(f"bf16 is for the backend torch. Found {backend}.")
    tokenizer = load_tokenizer(name_or_path)
    if backend == "onnx":
        from multitask_encoder.export.onnx import load
    else:
        from multitask_encoder.export.openvino import load
    return MultiTaskPipeline(model=load(name_or_path), tokenizer=tokenizer)


def read_as(
    pipeline: MultiTaskPipeline,
    max_length: int | None = None,
    stride: int | None = None,
    sentence_windows: str | None = None,
) -> None:
    """Have a pipeline read long texts in other windows than its model was trained with.

    Args:
        max_length (`int`, *optional*): tokens of a window.
        stride (`int`, *optional*): tokens that a window shares with the next.
        sentence_windows (`str`, *optional*): `first` or `mean`.

    Raises:
        ValueError: windows that are too long, or leave no room for text.
    """
    config, tokenizer = pipeline.model.config, pipeline.tokenizer
    if max_length is not None:
        if max_length > tokenizer.model_max_length:
            raise ValueError(
                f"max_length should be at most {tokenizer.model_max_length}, which is what the "
                f"model takes. Found {max_length}."
            )
        tokenizer.model_max_length = max_length
    if stride is not None:
        config.stride = stride
    if sentence_windows is not None:
        config.sentence_windows = sentence_windows
    tokenize(tokenizer, [""], stride=config.stride)
