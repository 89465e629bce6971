"""Choices that both the keys of a run and the code behind them know; imports nothing heavy."""

from typing import Literal, get_args

Backend = Literal["torch", "onnx", "openvino"]
BACKENDS: tuple[str, ...] = get_args(Backend)
