"""A finished model behind an HTTP service, by Ray Serve."""
