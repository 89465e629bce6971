"""The Trainer that computes the combined loss, and what a training step is made of."""
