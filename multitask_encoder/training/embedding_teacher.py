"""Another model's sentence embeddings as the target of the retention loss.

Vectors of another width are mapped to the student's by one fixed linear map, found before training:
their principal components, which keep their cosines best, rotated towards the vectors that the
student begins with. The map is not kept: the student answers with its own vectors.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset, Features, List, Value
from datasets.fingerprint import Hasher

from multitask_encoder.data.caching import fingerprint
from multitask_encoder.data.preprocessing import text_and_words
from multitask_encoder.inference.loading import check_folder, load_pipeline
from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel
from multitask_encoder.modeling.library_errors import first_line

from .passes import first_windows, hash_of_weights, number_of_parameters
from .retention import embed
from .teacher_config import config_of

logger = logging.getLogger("multitask_encoder.training")

ROWS_AT_ONCE = 2000
ROWS_OF_MAP = 10_000


class EmbeddingTeacher(NamedTuple):
    """A finished model of this package, or a sentence-transformers model.

    Args:
        name (`str`): as the run names it.
        vectors (`Callable`): from a list of texts to unit vectors, of shape `(num_texts, width)`.
        state (`str`): a hash of all that the vectors depend on.
        parameters (`int`): the size of the model.
    """

    name: str
    vectors: Callable[[list[str]], np.ndarray]
    state: str
    parameters: int


def load_embedding_teacher(name: str, task_name: str, device: torch.device) -> EmbeddingTeacher:
    """The teacher of a sentence_embedding.

    Args:
        name (`str`): a folder or Hub id.
        task_name (`str`): the run's task.
        device (`torch.device`): the device to compute on.

    Raises:
        OSError: there is no such model, or one of its files can't be read.
        ValueError: one of its files is invalid.
        ModuleNotFoundError: sentence-transformers is not installed.
    """
    where = f"The teacher {name!r} of task {task_name!r}"
    check_folder(name)
    if config_of(name, where).model_type == MultiTaskConfig.model_type:
        pipeline = load_pipeline(name, device=str(device), bf16=False)
        model, tokenizer = pipeline.model, pipeline.tokenizer

        def vectors(texts: list[str]) -> np.ndarray:
            answers = pipeline(texts, tasks=[])
            return np.array([answer["embedding"] for answer in answers], dtype=np.float32)

        settings = [model.config.to_json_string(use_diff=False), tokenizer.model_max_length]
    else:
        from sentence_transformers import SentenceTransformer

        try:
            model = SentenceTransformer(name, trust_remote_code=False, device=str(device))
        except Exception as error:  # damaged files raise all kinds of errors
            raise OSError(f"{where} can't be loaded: {first_line(error)}") from error
        tokenizer = model.tokenizer

        def vectors(texts: list[str]) -> np.ndarray:
            return model.encode(texts, show_progress_bar=False)

        settings = [str(model), model.max_seq_length]
    hasher = Hasher()
    hasher.update(hash_of_weights(model))
    hasher.update([tokenizer.backend_tokenizer.to_str(), settings])

    def unit_vectors(texts: list[str]) -> np.ndarray:
        found = vectors(texts)
        return found / np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-12)

    return EmbeddingTeacher(name, unit_vectors, hasher.hexdigest(), number_of_parameters(model))


def add_teachers_targets(
    splits: dict[str, Dataset],
    rows: dict[str, dict[str, Dataset]],
    name: str,
    teacher: EmbeddingTeacher,
    model: MultiTaskModel,
    padding_id: int,
) -> dict[str, Dataset]:
    """Preprocessed rows with a column `<task>.target`: the teacher's vector of the row's first text
    in its first window, in the student's width; NaN in further windows. The result is cached.

    Args:
        splits (`dict[str, Dataset]`): preprocessed rows, of all data sets together.
        rows (`dict[str, dict[str, Dataset]]`): loaded rows by split and data set, in the order that
            their column `dataset` numbers.
        name (`str`): the task.
        teacher (`EmbeddingTeacher`): its teacher.
        model (`MultiTaskModel`): the student before training.
        padding_id (`int`): the padding token.
    """
    width = model.config.hidden_size
    of_map: np.ndarray | None = None

    parts_by_number = {
        split: dict(zip(sorted(set(part["dataset"][:])), rows[split].values(), strict=True))
        for split, part in splits.items()
    }

    def texts_of(batch: dict[str, list], split: str) -> list[str]:
        parts = parts_by_number[split]
        return [
            text_and_words(parts[number][index])[0]
            for number, index in zip(batch["dataset"], batch["row"], strict=True)
        ]

    def mapped(vectors: np.ndarray) -> np.ndarray:
        return vectors if of_map is None else vectors @ of_map

    first = first_windows(splits["train"])
    drawn = first.select(range(min(len(first), ROWS_OF_MAP)))
    sample = teacher.vectors(texts_of(drawn[:8], "train"))
    if sample.shape[1] != width:
        own = embed(drawn["input_ids"][:], model.eval(), padding_id).numpy()
        of_map = width_map(teacher.vectors(texts_of(drawn[:], "train")), own)
        logger.info(
            "Vectors of %s have %d numbers, and are mapped to %d.",
            *(teacher.name, sample.shape[1], width),
        )

    def targets(batch: dict[str, list], split: str) -> dict[str, list]:
        found = np.full((len(batch["row"]), width), np.nan, dtype=np.float32)
        begins = np.flatnonzero(np.asarray(batch["window"]) == 0)
        if len(begins):
            chosen = {key: [batch[key][i] for i in begins] for key in ("dataset", "row")}
            found[begins] = mapped(teacher.vectors(texts_of(chosen, split)))
        return {f"{name}.target": list(found)}

    vector = List(Value("float32"))
    return {
        split: part.map(
            targets,
            batched=True,
            batch_size=ROWS_AT_ONCE,
            fn_kwargs={"split": split},
            features=Features({**part.features, f"{name}.target": vector}),
            desc=f"Asking the teacher of {name}: {split}",
            new_fingerprint=fingerprint(
                part._fingerprint,
                *(name, teacher.state, of_map),
                functions=(add_teachers_targets,),
            ),
        )
        for split, part in splits.items()
    }


def width_map(vectors: np.ndarray, own: np.ndarray) -> np.ndarray:
    """The linear map from a teacher's vectors, of shape `(num_texts, from_width)`, to a student's
    width, of shape `(from_width, to_width)`: the first principal directions (not centred: cosines
    are of the vectors themselves), rotated so that the result is nearest to the student's own
    vectors, of shape `(num_texts, to_width)` (orthogonal Procrustes, Schönemann 1966)."""
    width = own.shape[1]
    _, directions = np.linalg.eigh(vectors.T @ vectors)  # from the least to the greatest
    kept = directions[:, ::-1][:, :width]
    kept = np.pad(kept, ((0, 0), (0, width - kept.shape[1])))
    left, _, right = np.linalg.svd((vectors @ kept).T @ own)
    return (kept @ (left @ right)).astype(np.float32)
