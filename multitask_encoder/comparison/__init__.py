"""Several runs of one config, compared: with models of single tasks, or in a search."""
