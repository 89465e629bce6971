"""Publish a finished model on the Hub, or write it in another form.

`sentence_transformers`, `plain_heads`, `onnx` and `openvino` each write one form, compare its
answers with the model's, and return the largest differences; `multitask-encoder export` runs them.
"""
