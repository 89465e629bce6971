"""What a folder from anywhere can't do: run code, be unpickled, take memory, reach other files.

That nothing runs without `trust_remote_code` stands in test_remote_code.py, how labels are escaped
where they are shown in test_publish.py.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROWS, TASKS
from fresh_process import run_fresh
from safetensors.torch import save_file
from transformers import AutoTokenizer

from multitask_encoder.modeling import MultiTaskConfig, MultiTaskModel, MultiTaskPipeline

LABELS = {"type": "sequence_classification", "labels": [f"label {n}" for n in range(300_000)]}
MOST_MEMORY = 100 * 2**20  # of what is loaded, some kilobytes
# Loads folders one after the other; of each, the error, and by how much the peak of memory rose. A
# process may not take more than some gigabytes: what is not refused ends here, and not the machine.
LOAD = """
import json, resource, sys
import transformers
from transformers import AutoModel

transformers.logging.set_verbosity_error()
first, *folders = sys.argv[1:]
AutoModel.from_pretrained(first, trust_remote_code=True)
resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

answers = {}
for folder in folders:
    before = peak()
    try:
        AutoModel.from_pretrained(folder, trust_remote_code=True)
        error = None
    except BaseException as found:
        error = f"{type(found).__name__}: {found}"
    answers[folder] = {"error": error, "memory": peak() - before}
print(json.dumps(answers))
"""
# What is opened while a pipeline loads and answers, and whether anything is unpickled.
WATCH = """
import json, os, sys
from transformers import pipeline
folder, *also = sys.argv[1:]
opened, unpickled = set(), []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        opened.add(os.path.realpath(arguments[0]))
    if event == "pickle.find_class":
        unpickled.append(arguments)

sys.addaudithook(watch)
try:
    error = None
    answer = pipeline("multitask", model=folder, trust_remote_code=True)("Paris is in the park.")
except Exception as found:
    error = str(found)
print(json.dumps({"opened": sorted(opened), "unpickled": len(unpickled), "error": error}))
"""


@pytest.fixture(scope="module")
def folder(backbone, tmp_path_factory) -> Path:
    """A finished model, with its code."""
    folder = tmp_path_factory.mktemp("good")
    torch.manual_seed(0)
    model = MultiTaskModel.from_backbone(str(backbone()), tasks=TASKS)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(backbone()).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the model whose config.json has other values."""

    def make(name: str = "hostile", encoder: dict | None = None, **values) -> Path:
        target = tmp_path / "deep" / name
        shutil.copytree(folder, target)
        config = json.loads((target / "config.json").read_text())
        config["encoder_config"] |= encoder or {}
        (target / "config.json").write_text(json.dumps(config | values))
        return target

    return make


def refusal(folder: Path) -> str:
    """The one line by which a folder is refused."""
    with pytest.raises((ValueError, OSError)) as error:
        MultiTaskModel.from_pretrained(folder)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"Can't load model {str(folder)!r}: ")
    return message.partition(": ")[2]


# Memory


def test_config_that_contradicts_the_weights_takes_no_memory(folder, copy, tmp_path):
    tasks = json.loads((folder / "config.json").read_text())["tasks"]
    described, limit = "describes an encoder of", "of the encoder's config should be at most"
    distil = {"model_type": "distilbert", "sinusoidal_pos_embds": True}
    hostile: dict[str, tuple[dict, str]] = {
        "wide": ({"encoder": {"hidden_size": 10**9}}, f"`hidden_size` {limit}"),
        "words": ({"encoder": {"vocab_size": 10**9}}, f"`vocab_size` {limit} 10,000,000"),
        "many words": ({"encoder": {"vocab_size": 10**7}}, f"`vocab_size` {limit} 131,072"),
        "some words": ({"encoder": {"vocab_size": 131072}}, described),
        "inner": ({"encoder": {"intermediate_size": 131072}}, described),
        "places": ({"encoder": {"max_position_embeddings": 10**7}}, limit),
        "sines": ({"encoder": {**distil, "max_position_embeddings": 10**7}}, limit),
        "layers": ({"encoder": {"num_hidden_layers": 10**6}}, f"{limit} 100,000"),
        "some layers": ({"encoder": {"num_hidden_layers": 10**5}}, "more than the 141 tensors"),
        "types": ({"encoder": {"model_type": "modernbert", "num_hidden_layers": 10**9}}, limit),
        "nested": ({"encoder": {"sizes": {"deep": [10**9]}}}, f"`deep` {limit}"),
        "labels": ({"tasks": tasks | {"topic": LABELS}}, "of shape [300000, 16]. Found shape [3"),
        "more tasks": ({"tasks": tasks | {"more": LABELS}}, "heads.more.classifier.weight"),
    }
    folders = {name: copy(name, **values) for name, (values, _) in hostile.items()}
    answers = run_fresh(LOAD, folder, *folders.values(), cache=tmp_path / "cache")
    for name, (_, message) in hostile.items():
        answer = answers[str(folders[name])]
        assert message in (answer["error"] or ""), (name, answer)
        assert "\n" not in answer["error"]
        assert answer["memory"] < MOST_MEMORY, (name, answer)


def test_numbers_of_labels_are_of_no_effect(copy):
    """As a number alone they would become as many names."""
    model = MultiTaskModel.from_pretrained(copy(encoder={"num_labels": 9**5}, num_labels=10**9))
    assert (model.config.num_labels, model.config.encoder_config.num_labels) == (None, 2)


def test_encoder_that_contradicts_its_weights_is_refused(backbone, tmp_path):
    shutil.copytree(backbone(), tmp_path / "encoder")
    path = tmp_path / "encoder" / "config.json"
    config = json.loads(path.read_text())
    for values in ({"vocab_size": 10**9}, {"num_labels": 10**9}, {"num_hidden_layers": 5000}):
        path.write_text(json.dumps(config | values))
        with pytest.raises(ValueError, match=r"^Can't load encoder [^\n]*$"):
            MultiTaskModel.from_backbone(str(path.parent), tasks=TASKS)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"num_attention_heads": 0}, "Its config describes no encoder"),
        ({"hidden_act": "evil"}, "Its config describes no encoder: 'evil'"),
        ({"hidden_size": -16}, "Its config describes no encoder"),
        ({"hidden_size": None}, "Invalid config value: "),
        ({"model_type": "clip"}, "Its config describes no encoder"),
        ({"num_hidden_layers": -3}, "should be at least 0. Found -3."),
        ({"intermediate_size": 31}, "weights of other shapes than those in its files"),
        ({"dtype": 7}, "Its config describes no encoder"),
    ],
)
def test_config_that_makes_no_sense_is_one_line(encoder, message, copy):
    assert message in refusal(copy(encoder=encoder))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tasks": ["topic"]}, "`tasks` should be a mapping. Found ['topic']."),
        ({"prompts": ["query: "]}, "`prompts` should be a mapping."),
        ({"tasks": {"../../x": TASKS["topic"]}}, "Found '../../x'."),
        ({"tasks": {"topic": {**TASKS["topic"], "labels": "ab"}}}, "should be a list. Found 'ab'."),
        ({"tasks": {"topic": {**TASKS["topic"], "labels": 10**9}}}, "should be a list."),
        ({"tasks": {"topic": {**TASKS["topic"], "labels": ["a", ["b"]]}}}, "should be texts."),
        *(({"stride": value}, "`stride` should be of type int | None.") for value in ("1", True)),
        ({"normalize": "yes"}, "`normalize` should be of type bool. Found 'yes'."),
        ({"task_name": ["topic"]}, "`task_name` should be of type str | None."),
        ({"head_dropout": "0"}, "`head_dropout` should be of type float."),
        ({"pooling": ["mean"]}, "`pooling` should be of type str."),
    ],
)
def test_config_of_other_types_is_one_line(values, message, copy):
    assert message in refusal(copy(**values))


# Code and pickles


def test_nothing_is_unpickled_and_nothing_read_that_is_not_the_models(copy, tmp_path):
    hostile = copy(transformers_weights="pytorch_model.bin")
    pickles = ["training_args.bin", "pytorch_model.bin", "optimizer.pt", "scheduler.pt"]
    for name in pickles:
        torch.save({"anything": Path("anything")}, hostile / name)
    found = run_fresh(WATCH, hostile, cache=tmp_path / "cache")
    assert (found["error"], found["unpickled"]) == (None, 0)
    own = {Path(path).name for path in found["opened"] if Path(path).parent == hostile}
    assert "config.json" in own
    assert not own & {*pickles, "trainer_state.json"}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_folder_of_pickles_alone_is_refused(name, copy, backbone, tmp_path):
    hostile = copy()
    (hostile / "model.safetensors").unlink()
    torch.save({"anything": torch.ones(1)}, hostile / name)
    assert "There should be a model.safetensors. Found none" in refusal(hostile)
    assert not list((tmp_path / "deep").glob("**/*.partial"))
    encoder = tmp_path / "encoder"
    shutil.copytree(backbone(), encoder)
    (encoder / "model.safetensors").rename(encoder / name)
    with pytest.raises(OSError, match=r"^Can't load encoder [^\n]* There should be a model\.safe"):
        MultiTaskModel.from_backbone(str(encoder), tasks=TASKS)


def test_config_asks_for_no_code_no_kernels_and_no_other_form_of_weights():
    wish = {
        "attn_implementation": "someone/kernel",
        "experts_implementation": "someone/kernel",
        "quantization_config": {"quant_method": "fp8"},
        "transformers_weights": "../x.safetensors",
        "trust_remote_code": True,
    }
    nested = {"auto_map": {"AutoModel": "evil.Evil"}, **wish}
    config = MultiTaskConfig.from_dict(
        {"encoder_config": {"model_type": "bert", "text": nested, **nested}, "tasks": TASKS, **wish}
    )
    encoder = config.encoder_config
    assert (encoder._attn_implementation, encoder.text) == (None, {})
    for key in nested:
        assert key == "attn_implementation" or not hasattr(encoder, key), key
    assert config._attn_implementation is None
    assert not {"quantization_config", "transformers_weights"} & set(config.to_dict())


@pytest.mark.skipif(not importlib.util.find_spec("peft"), reason="only peft reads adapters")
def test_adapter_that_names_another_model_is_refused(copy):
    hostile = copy()
    (hostile / "adapter_config.json").write_text('{"base_model_name_or_path": "else/where"}')
    assert "It should hold no adapter." in refusal(hostile)


# Other files


@pytest.mark.parametrize(
    "name", ["../../x.safetensors", "/x.safetensors", "a/b.safetensors", "pytorch_model.bin", 3]
)
def test_index_names_only_safetensors_beside_it(name, copy):
    hostile = copy()
    weights = hostile / "model.safetensors"
    shutil.copy(weights, hostile.parent.parent / "x.safetensors")
    weights.rename(hostile / "pytorch_model.bin")
    index = {"metadata": {}, "weight_map": {"heads.topic.classifier.weight": name}}
    (hostile / "model.safetensors.index.json").write_text(json.dumps(index))
    assert f"should name safetensors files beside it. Found {name!r}." in refusal(hostile)


@pytest.mark.parametrize("index", [[], {}, {"weight_map": {}}, {"weight_map": ["a"]}])
def test_index_of_nothing_is_refused(index, copy):
    hostile = copy()
    (hostile / "model.safetensors").unlink()
    (hostile / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "should map names to files." in refusal(hostile)


def test_index_of_files_that_are_not_there_is_refused(copy):
    hostile = copy()
    (hostile / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"a": "lost.safetensors"}}
    (hostile / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "names files that do not exist." in refusal(hostile)


def test_weights_in_several_files_load(folder, tmp_path):
    model = MultiTaskModel.from_pretrained(folder)
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again = MultiTaskModel.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters()))  # noqa: B905


@pytest.mark.parametrize(
    "code", ["../../evil.Class", "someone/else--evil.Class", "evil", "a.b.C", None, 3]
)
def test_pipeline_is_of_a_module_beside_the_config(code, copy):
    hostile = copy(custom_pipelines={"multitask": {"impl": code, "pt": ["AutoModel"]}})
    assert "`custom_pipelines` should map names to an `impl`" in refusal(hostile)


def test_tokenizer_is_read_beside_the_model(copy, tmp_path):
    """Whatever its config names, nothing of the folders above is used."""
    hostile = copy()
    names = dict.fromkeys(("vocab_file", "tokenizer_file", "merges_file"), "../../secret")
    path = hostile / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | names
    path.write_text(json.dumps(settings))
    shutil.copy(hostile / "tokenizer.json", tmp_path / "secret")
    found = run_fresh(WATCH, hostile, cache=tmp_path / "cache")
    assert found["error"] is None
    assert str(tmp_path / "secret") not in found["opened"]

    shutil.copy(hostile / "tokenizer.json", tmp_path / "tokenizer.9.9.json")
    files = {"fast_tokenizer_files": ["../../tokenizer.1.0.json"]}
    shutil.copy(hostile / "tokenizer.json", tmp_path / "tokenizer.1.0.json")
    path.write_text(json.dumps(settings | files))
    tokenizer = AutoTokenizer.from_pretrained(hostile)
    with pytest.raises(ValueError, match=r"^The tokenizer should be tokenizer\.json\."):
        MultiTaskPipeline(model=MultiTaskModel.from_pretrained(hostile), tokenizer=tokenizer)


def test_weights_with_names_of_their_own_are_refused(copy):
    """As many numbers as the config describes, but not those of its heads."""
    hostile = copy()
    save_file({"x": torch.ones(10_000)}, hostile / "model.safetensors")
    assert "Its weights should hold heads." in refusal(hostile) or "tensors" in refusal(hostile)


def test_command_turns_a_refusal_into_its_line(copy, run, capsys):
    hostile = copy(encoder={"vocab_size": 10**9})
    with pytest.raises(SystemExit) as stop:
        run("--model", str(hostile), train_file=ROWS)
    assert stop.value.code == 2
    assert "`vocab_size` of the encoder's config should be at most" in capsys.readouterr().err
