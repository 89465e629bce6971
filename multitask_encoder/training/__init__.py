"""The Trainer that computes the combined loss, and the parts of a training step."""
