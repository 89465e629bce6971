"""The service behind serve.py: a finished model's answers over HTTP, by Ray Serve."""
