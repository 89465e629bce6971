"""The demo page: one text, two texts or a list, answered in a browser."""
