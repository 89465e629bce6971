"""Encoders, models and tokenizers that are missing or damaged end a run."""

import base64
import json

import pytest
import tokenizers
from bad_input import CLOSED
from transformers import PreTrainedTokenizerFast

from multitask_encoder.inference import tokenizer_trial
from multitask_encoder.inference.loading import load_pipeline
from multitask_encoder.modeling import MultiTaskPipeline


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


@pytest.mark.parametrize("content", ["[]", "null", "3", '"bert"'])
def test_configs_without_keys(content, encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        (folder / "config.json").write_text(content)
        line = refused(**{key: str(folder)})
        assert f"Can't load {key} {str(folder)!r}: Its config.json should hold keys and" in line


def test_a_model_without_its_tokenizer_is_refused(encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        (folder / "tokenizer.json").unlink()
        line = refused(**{key: str(folder)})
        assert f"The tokenizer of {str(folder)!r} should know more than special tokens." in line
    with pytest.raises(ValueError, match=r"is its tokenizer\.json missing\?$"):
        load_pipeline(str(finished))


def test_missing_weights_of_an_encoder_are_named(encoder, refused):
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    assert "lacks the weights encoder.layer.2." in refused(encoder=str(encoder))


def test_missing_weights_of_a_model_are_named(finished, refused):
    config = json.loads((finished / "config.json").read_text())
    config["encoder_config"]["num_hidden_layers"] = 3
    (finished / "config.json").write_text(json.dumps(config))
    assert f"{finished}: its weights lack encoder.encoder.layer.2." in refused(model=str(finished))


def test_tables_of_the_square_of_the_longest_text_are_refused(encoder, refused):
    config = {**json.loads((encoder / "config.json").read_text()), "model_type": "fnet"}
    large = {"use_tpu_fourier_optimizations": True, "tpu_short_seq_length": 30_000}
    (encoder / "config.json").write_text(json.dumps({**config, **large}))
    line = refused(encoder=str(encoder))
    assert "`use_tpu_fourier_optimizations` of its config should be false." in line


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


def test_labels_that_are_listed_are_all_there_are(finished, refused):
    rows = [{"text": "a", "topic": "z"}]
    line = refused(model=str(finished), train_file=rows, tasks=CLOSED)
    assert "task 'topic': unknown label 'z'. Expected one seen in training or given as" in line


def test_a_config_of_fewer_layers_than_are_stored_is_no_smaller_model(finished, refused):
    config = json.loads((finished / "config.json").read_text())
    config["encoder_config"]["num_hidden_layers"] = 1
    (finished / "config.json").write_text(json.dumps(config))
    line = refused(model=str(finished))
    assert f"{finished}: its config does not describe the weights encoder.encoder.layer.1." in line


def charsmap(content: bytes) -> dict:
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(content).decode()}


def replace(old: str, new: str) -> dict:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(
            {"type": "Sequence", "normalizers": [replace("a", "a" * 100)] * 4},
            marks=pytest.mark.slow,
        ),
        {"type": "Prepend", "prepend": "a " * 10_000},
        charsmap(b"\xff" * 4),
        charsmap(b"\xff\xff\xff\x7f" + bytes(64)),
    ],
    ids=["a hundred times", "before all", "no table", "a table of 2 GB"],
)
def test_rules_that_could_take_all_memory_or_end_the_process(rule, encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        path = folder / "tokenizer.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "normalizer": rule}))
        line = refused(**{key: str(folder)})
        assert f"Can't load the tokenizer of {str(folder)!r}: ValueError: Its rules " in line


def test_rules_of_good_tokenizers_are_taken(encoder, refused, metaspace_tokenizer):
    path = encoder / "tokenizer.json"
    content = json.loads(path.read_text())
    rules = [replace("  ", " "), {"type": "Prepend", "prepend": "_"}, content["normalizer"]]
    content["normalizer"] = {"type": "Sequence", "normalizers": rules}
    path.write_text(json.dumps(content))
    tokenizer_trial.check(path)
    assert tokenizer_trial.has_rules(content)
    metaspace_tokenizer.save_pretrained(encoder)
    tokenizer_trial.check(path)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        (
            "tokenizer.json",
            lambda all: all["model"]["vocab"].update(x=400),
            "have ids below",
        ),
        ("tokenizer_config.json", lambda all: all.update(model_max_length="1"), "max_length"),
    ],
)
def test_tokenizers_that_do_not_fit_encoders(name, change, reason, encoder, finished, refused):
    for key, folder in {"encoder": encoder, "model": finished}.items():
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))
        assert reason in refused(**{key: str(folder)})


def test_a_tokenizer_without_an_unknown_token_is_refused_before_a_text_needs_it(make_model):
    words = tokenizers.Tokenizer(tokenizers.models.WordPiece({"a": 0, "is": 1}, unk_token="[UNK]"))
    with pytest.raises(ValueError, match=r"^The tokenizer fails: .*\[UNK\]"):
        MultiTaskPipeline(
            model=make_model(),
            tokenizer=PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=128),
        )


def test_an_error_without_words_is_named(make_model, tokenizer, monkeypatch):
    def fail(*_, **__):
        raise AssertionError

    monkeypatch.setattr(type(tokenizer), "__call__", fail)
    with pytest.raises(ValueError, match=r"^The tokenizer fails: AssertionError$"):
        MultiTaskPipeline(model=make_model(), tokenizer=tokenizer)


def test_a_prompt_that_leaves_no_room_for_text_is_refused(make_model, tokenizer):
    model = make_model(prompts={"query": "a " * 200})
    with pytest.raises(ValueError, match=r"max_length should be more than the 2.. special and"):
        MultiTaskPipeline(model=model, tokenizer=tokenizer)
