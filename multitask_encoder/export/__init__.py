"""A finished model published on the Hub, or written in another form.

`sentence_transformers`, `plain_heads`, `onnx` and `openvino` each write one form, compare its
answers with the model's, and return the largest differences; `multitask-encoder export` runs them.
"""
