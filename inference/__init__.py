"""Answers from a finished model: in Python, for files, over HTTP."""
