"""An HTTP service that answers with a finished model, on Ray Serve."""
