"""A finished model's answers, in Python and for files."""

from .loading import load_pipeline
from .predictor import Answer, Answers, Entity, Label, Predictor

__all__ = ["Answer", "Answers", "Entity", "Label", "Predictor", "load_pipeline"]
