"""One multi-task model compared with one single-task model per task."""
