"""The keys of a run: what they are, and how YAML and the command line are read into them."""
