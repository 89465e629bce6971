"""A trained folder to other forms: published on the Hub, or for another runtime.

`sentence_transformers`, `plain_heads`, `onnx` and `openvino` each write one form, compare it with
the model, and return the largest differences; `scripts/export_model.py` is their command.
"""
