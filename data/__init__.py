"""Data: from files or a generator to padded batches. Knows tokenizers and labels, but no model."""
