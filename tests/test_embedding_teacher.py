"""Another model's vectors as the embedding to keep, also where they have another width."""

import logging

import numpy as np
import pytest
import torch
from bad_input import CLASSES, TEXTS
from conftest import ROWS, encoder_config, results
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoModel

from multitask_encoder.arguments.parsing import resolve
from multitask_encoder.inference.loading import load_pipeline
from multitask_encoder.training.embedding_teacher import load_embedding_teacher, width_map

EMBEDDING = {"embedding": {"type": "sentence_embedding"}}
SENTENCES = [row["text"] for row in ROWS]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**16))
def test_cosines_survive_another_width(wide, narrow, seed):
    random = np.random.default_rng(seed)
    rank = min(wide, narrow)  # more is lost
    vectors = unit(random.normal(size=(40, rank)) @ random.normal(size=(rank, wide)))
    own = unit(random.normal(size=(40, narrow)))
    mapped = vectors @ width_map(vectors, own)
    assert mapped.shape == own.shape
    np.testing.assert_allclose(mapped @ mapped.T, vectors @ vectors.T, atol=1e-4)


def test_vectors_turn_towards_the_students_own():
    random = np.random.default_rng(0)
    own = unit(random.normal(size=(50, 4)))
    turned = np.linalg.qr(random.normal(size=(7, 7)))[0]
    vectors = np.pad(own, ((0, 0), (0, 3))) @ turned  # the same ones, in another space
    np.testing.assert_allclose(vectors @ width_map(vectors, own), own, atol=1e-5)


@pytest.fixture
def sentence_transformer(tokenizer, tmp_path):
    """The folder of a sentence-transformers model whose vectors have 48 numbers."""
    encoder, folder = tmp_path / "wide_encoder", tmp_path / "wide"
    config = encoder_config("bert")
    config.hidden_size = 48
    AutoModel.from_config(config).save_pretrained(encoder)
    tokenizer.save_pretrained(encoder)
    transformer = Transformer(str(encoder))
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder))
    return str(folder)


def cosines(vectors: np.ndarray) -> np.ndarray:
    vectors = unit(vectors)
    return (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]


def test_a_student_takes_over_the_vectors_of_a_finished_model(run, tmp_path):
    teacher = run(learning_rate=2e-3, num_train_epochs=10)
    student = tmp_path / "student"
    run(tasks=EMBEDDING, teachers={"embedding": str(teacher)}, output_dir=str(student),
        learning_rate=3e-3, num_train_epochs=60)  # fmt: skip
    before = results(teacher)["eval_topic_accuracy"]
    assert before > 0  # it is another model than the student begins with
    said = [
        unit(np.array([answer["embedding"] for answer in load_pipeline(str(one))(SENTENCES)]))
        for one in (teacher, student)
    ]
    assert (said[0] * said[1]).sum(1).min() > 0.97
    assert results(student)["eval_loss_embedding"] < 0.1


def test_a_sentence_transformer_of_another_width_teaches(
    run, sentence_transformer, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    teacher = load_embedding_teacher(sentence_transformer, "embedding", torch.device("cpu"))
    expected = cosines(teacher.vectors(SENTENCES))
    begun = run(tasks=EMBEDDING, teachers={"embedding": sentence_transformer}, learning_rate=0)
    trained = tmp_path / "trained"
    run(tasks=EMBEDDING, teachers={"embedding": sentence_transformer},
        output_dir=str(trained), learning_rate=3e-3, num_train_epochs=60)  # fmt: skip
    assert "have 48 numbers, and are mapped to 16." in caplog.text
    assert f"embedding is taught by {sentence_transformer}." in caplog.text
    nearness = [
        np.abs(cosines(np.array([a["embedding"] for a in load_pipeline(str(one))(SENTENCES)]))
               - expected).mean()
        for one in (begun, trained)
    ]  # fmt: skip
    assert nearness[1] < 0.5 * nearness[0]


@pytest.mark.parametrize(
    ("teachers", "loss", "found"),
    [(["a", "b"], "retention", "a, b for retention"), ("a", "cosent", "a for cosent")],
)
def test_several_teachers_of_an_embedding_are_refused(teachers, loss, found):
    task = {"type": "sentence_embedding", "loss": loss}
    with pytest.raises(ValueError, match="one model, for the loss retention") as error:
        resolve({"tasks": {"it": task}, "teachers": {"it": teachers}, "train_file": "a.jsonl"})
    assert str(error.value).endswith(f"Found {found}.")


def test_a_damaged_teacher_of_an_embedding_is_one_line(run, sentence_transformer, tmp_path, capsys):
    weights = tmp_path / "wide" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(SystemExit, match="2"):
        run(tasks={**CLASSES, **EMBEDDING}, train_file=TEXTS, validation_file=TEXTS,
            teachers={"embedding": sentence_transformer})  # fmt: skip
    assert (
        f"error: The teacher {sentence_transformer!r} of task 'embedding' can't be loaded: "
        in capsys.readouterr().err
    )
