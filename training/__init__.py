"""Training: arguments, metrics, and the Trainer that computes the combined loss."""
