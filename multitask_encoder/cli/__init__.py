"""The commands: `multitask-encoder COMMAND`, and the scripts at the top of a clone."""
