"""The sentences that the page comes with: the model's own, those of a file, or built-in ones."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from multitask_encoder.inference.sample_texts import TEXTS, read_sample_texts

from .texts import checked_list, read_upload

BUILT_IN = Path(__file__).parent / "sentences.yaml"


@dataclass
class Sentences:
    """What the panels begin with.

    Attributes:
        examples (`list[str]`): to try; the first is answered when the page opens.
        pair (`list[str]`): two texts to compare.
        listed (`list[str]`): for the panel of lists.
        stored (`list[str]`): the nearest of these to a text are shown; all different.
    """

    examples: list[str]
    pair: list[str]
    listed: list[str]
    stored: list[str]

    @classmethod
    def built_in(cls) -> "Sentences":
        """Those of sentences.yaml."""
        content = yaml.safe_load(BUILT_IN.read_text(encoding="utf-8"))
        return cls(**{**content, "stored": [*content["listed"], *content["stored"]]})

    @classmethod
    def of(cls, texts: list[str]) -> "Sentences":
        """Panels that begin with the first of these texts."""
        texts = list(dict.fromkeys(checked_list(texts)))
        return cls(texts[:3], [texts[0], texts[min(1, len(texts) - 1)]], texts[:8], texts)


def sentences_for(model: str, file: Path | None = None) -> Sentences:
    """The texts of `file`, a CSV or TXT; else 50 of the sample that the model's run left, which
    are spread over its rows; else the built-in ones.

    Raises:
        OSError, ValueError: the file is missing or invalid.
    """
    if file is not None:
        if not file.is_file():
            raise FileNotFoundError(f"No file {file}.")
        texts = read_upload(file)
        try:
            return Sentences.of(texts)
        except ValueError as error:
            raise ValueError(f"{file.name}: {error}") from None
    sample = read_sample_texts(Path(model))
    return Sentences.of(sample[:TEXTS]) if sample else Sentences.built_in()
