"""Encoders, models and tokenizers that are missing or damaged end a run."""

import json

import pytest


@pytest.mark.parametrize("name", ["no/such", "/no/such/folder", "nosuch"])
def test_unknown_encoder(name, refused):
    assert repr(name) in refused(encoder=name)


def test_a_backbone_that_is_not_there_names_the_script(refused):
    line = refused(encoder="backbones/nosuch")
    assert "backbones/nosuch" in line
    assert "multitask-encoder get-backbone" in line


@pytest.mark.parametrize("name", ["no/such", "/no/such/folder"])
def test_unknown_model(name, refused):
    assert repr(name) in refused(model=name)


def test_a_finished_model_is_no_encoder(finished, refused):
    assert "is a finished multi-task model" in refused(encoder=str(finished))


def test_an_encoder_is_no_finished_model(encoder, refused):
    assert "should be multitask. Found 'bert'" in refused(model=str(encoder))


@pytest.mark.parametrize("size", [0, 1000, -100])
def test_truncated_weights(size, encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:size])
        line = refused(**{key: str(folder)})
        assert f"The weights of {key} {str(folder)!r} can't be read: " in line


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_missing_files_of_the_model(file, encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        (folder / file).unlink()
        assert str(folder) in refused(**{key: str(folder)})


def test_missing_weights_of_an_encoder_are_named(encoder, refused):
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    assert "lacks the weights encoder.layer.2." in refused(encoder=str(encoder))


def test_missing_weights_of_a_model_are_named(finished, refused):
    config = json.loads((finished / "config.json").read_text())
    config["encoder_config"]["num_hidden_layers"] = 3
    (finished / "config.json").write_text(json.dumps(config))
    assert f"{finished}: its weights lack encoder.encoder.layer.2." in refused(model=str(finished))


@pytest.mark.parametrize("content", ["{", "{}", '{"model_type": "nosuch"}'])
def test_corrupt_config_of_the_model(content, encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        (folder / "config.json").write_text(content)
        assert str(folder) in refused(**{key: str(folder)})


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"version": "1.0", "model": {}}'])
def test_corrupt_tokenizer(content, encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        (folder / "tokenizer.json").write_text(content)
        assert str(folder) in refused(**{key: str(folder)})


def test_missing_tokenizer(encoder, refused):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (encoder / file).unlink()
    assert str(encoder) in refused(encoder=str(encoder))


def test_labels_of_a_finished_model_are_kept(finished, refused):
    line = refused(model=str(finished), train_file=[{"text": "a", "topic": "z"}])
    assert "task 'topic': unknown label 'z'. Expected one seen in training or given as" in line
