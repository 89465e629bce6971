"""Tiny tokenizers and encoders, built in memory: no test asks the Hub for anything."""

import atexit
import os
import shutil
import tempfile

# Before anything of Hugging Face is imported: these are read at import.
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp(prefix="datasets-")  # not in the user's home
os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="modules-")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "GPU_TESTS" not in os.environ:  # set by `make test-gpu`
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    BertTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    logging,
    set_seed,
)

# What takes long to import is imported by the fixtures that need it: most tests need none of it.

logging.disable_progress_bar()
for name in ("HF_DATASETS_CACHE", "HF_MODULES_CACHE"):
    atexit.register(shutil.rmtree, os.environ[name], ignore_errors=True)

pytest_plugins = ["bad_input", "reading"]

VOCABULARY_SIZE = 300
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
# Family -> what its config calls its sizes.
ENCODERS: dict[str, dict] = {
    "bert": {**TINY, "intermediate_size": 32},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "roberta": {**TINY, "intermediate_size": 32, "max_position_embeddings": 514},
    "mpnet": {**TINY, "intermediate_size": 32, "max_position_embeddings": 514},
    "electra": {**TINY, "intermediate_size": 32, "embedding_size": 8},
    "deberta-v2": {
        **TINY,
        "intermediate_size": 32,
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_biased_input": False,
    },
    "modernbert": {
        **TINY,
        "intermediate_size": 32,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "cls_token_id": 2,
        "sep_token_id": 3,
    },
    "xlm-roberta": {**TINY, "intermediate_size": 32, "max_position_embeddings": 514},
}
TASKS: dict[str, dict] = {
    "topic": {"type": "sequence_classification", "labels": ["sports", "tech", "health"]},
    "entities": {
        "type": "token_classification",
        "labels": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"],
    },
    "embedding": {"type": "sentence_embedding"},
}
TOPIC = {"topic": {"type": "sequence_classification"}}
ROWS = [{"text": text, "topic": "x" if "a" in text else "y"} for text in ("a", "b", "a c", "d") * 4]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state."""
    set_seed(0)


@pytest.fixture(scope="module")
def no_progress_bars() -> Iterator[None]:
    """Data sets that are made, or cached by a test before, print the same: nothing."""
    from datasets import disable_progress_bars, enable_progress_bars

    disable_progress_bars()
    yield
    enable_progress_bars()


def encoder_config(family: str) -> PreTrainedConfig:
    """A tiny encoder of a family, without dropout."""
    sizes = {"vocab_size": VOCABULARY_SIZE, "pad_token_id": 0, **ENCODERS[family]}
    config = AutoConfig.for_model(family, **sizes)
    for name in (
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "dropout",
        "attention_dropout",
    ):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    return config


def word_piece_vocabulary() -> dict[str, int]:
    """Special tokens, all printable ASCII characters, and those as continuations."""
    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]
    pieces += [f"##{character}" for character in characters]
    words = ["the", "in", "and", "is", "play", "paris", "##ing", "##s"]
    return {piece: index for index, piece in enumerate([*pieces, *words])}


@pytest.fixture(scope="session")
def tokenizer() -> BertTokenizer:
    """WordPiece, lower-casing; most words are several tokens long."""
    return BertTokenizer(vocab=word_piece_vocabulary(), model_max_length=128)


@pytest.fixture(scope="session")
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE without merges: each byte is a token, and a space belongs to the next word."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, **{c: i + 3 for i, c in enumerate(alphabet)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=128,
    )


@pytest.fixture(scope="session")
def metaspace_tokenizer() -> PreTrainedTokenizerFast:
    """Unigram over single characters, with spaces as a visible mark (as XLM-R)."""
    characters = [chr(code) for code in range(33, 127)]
    vocabulary = [("<pad>", 0.0), ("<unk>", -10.0), ("<s>", 0.0), ("</s>", 0.0), ("▁", -2.0)]
    vocabulary += [("▁Paris", -1.0), ("▁the", -1.0), *((one, -3.0) for one in characters)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=1))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", model_max_length=128
    )


@pytest.fixture(scope="session")
def backbone(tmp_path_factory, tokenizer):
    """Family -> folder of a tiny pretrained encoder with its tokenizer, built when first asked."""

    @cache
    def build(family: str) -> Path:
        folder = tmp_path_factory.mktemp("backbones") / family
        with torch.random.fork_rng():  # whoever asks first draws the same numbers as the others
            torch.manual_seed(0)
            AutoModel.from_config(encoder_config(family)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    def backbone(family: str = "bert") -> Path:
        return build(family)

    return backbone


@pytest.fixture(scope="session")
def _models() -> dict:
    return {}


@pytest.fixture
def make_model(backbone, _models):
    """Family -> a fresh tiny model with the tasks topic, entities and embedding."""
    from multitask_encoder.modeling import MultiTaskModel

    def make(family: str = "bert", **kwargs) -> MultiTaskModel:
        key = f"{family} {sorted(kwargs.items())}"
        if key not in _models:
            folder = str(backbone(family))
            set_seed(0)
            kwargs.setdefault("tasks", TASKS)
            kwargs.setdefault("head_dropout", 0.0)
            _models[key] = MultiTaskModel.from_backbone(folder, **kwargs)
        return copy.deepcopy(_models[key])

    return make


@pytest.fixture(autouse=True)
def answers_in_float32(monkeypatch):
    """Whatever the machine: tests compare numbers. What bfloat16 is for says so."""
    from multitask_encoder.inference import precision

    monkeypatch.setattr(precision, "has_fast_bf16", lambda use_cpu: False)


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Four sentences of 9, 7, 4 and 2 tokens."""
    lengths = torch.tensor([9, 7, 4, 2])
    attention_mask = (torch.arange(9) < lengths[:, None]).long()
    input_ids = torch.randint(5, 200, (4, 9)) * attention_mask
    return {"input_ids": input_ids, "attention_mask": attention_mask}


@pytest.fixture(scope="session")
def synthetic_splits(tokenizer):
    """Preprocessed synthetic rows, and the tasks with their labels."""
    from multitask_encoder.data.bad_rows import good_rows
    from multitask_encoder.data.dataset_arguments import DatasetArguments
    from multitask_encoder.data.labels import collect_labels
    from multitask_encoder.data.loading import load_splits
    from multitask_encoder.data.preprocessing import preprocess
    from multitask_encoder.modeling.decoding import UNITS
    from multitask_encoder.modeling.windows import tokenize

    tasks: dict[str, dict] = {
        "topic": {"type": "sequence_classification"},
        "sentiment": {"type": "sequence_classification"},
        "entities": {"type": "token_classification"},
    }
    source = DatasetArguments(dataset="synthetic", train_size=60, validation_size=21, test_size=21)
    rows, _ = load_splits(tasks, source)
    labels = collect_labels([rows["train"]], tasks)
    tasks = {
        name: {
            **task,
            "labels": labels[name],
            "weight": 1.0,
            "problem_type": "single_label_classification",
            **({"labelling": "first"} if name == "entities" else {}),
        }
        for name, task in tasks.items()
    }
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = 512
    splits = {
        name: preprocess(split, tokenizer, tasks, tokenize, UNITS, name=name)
        for name, split in rows.items()
    }
    good, _ = good_rows(list(splits.items()), "refuse")
    splits = dict(zip(splits, good, strict=True))
    return splits, tasks


@pytest.fixture
def make_trainer(make_model, synthetic_splits, tokenizer, tmp_path):
    """Trainer of a tiny model on the synthetic rows; any of its arguments may be given."""
    from multitask_encoder.arguments.run_arguments import MultiTaskTrainingArguments
    from multitask_encoder.data.collator import MultiTaskCollator
    from multitask_encoder.training.trainer import MultiTaskTrainer

    splits, tasks = synthetic_splits

    def make(
        model=None, train=None, output_dir="run", tasks=tasks, compute_metrics=None, **kwargs
    ) -> MultiTaskTrainer:
        kwargs = {
            "output_dir": str(tmp_path / output_dir),
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "eval_strategy": "no",
            "save_strategy": "no",
            "load_best_model_at_end": False,
            "logging_steps": 1,
            "disable_tqdm": True,
            **kwargs,
        }
        return MultiTaskTrainer(
            model=model if model is not None else make_model(tasks=tasks),
            args=MultiTaskTrainingArguments(**kwargs),
            data_collator=MultiTaskCollator(tokenizer, tasks),
            train_dataset=splits["train"] if train is None else train,
            eval_dataset=splits["validation"],
            processing_class=tokenizer,
            compute_metrics=compute_metrics,
        )

    return make


@pytest.fixture
def run(tmp_path, backbone):
    """Runs what it is given, rows or texts in place of files; returns the run folder."""
    from multitask_encoder.cli import run as run_multitask

    def run(*argv: str, **config):
        config = {
            "encoder": str(backbone("bert")),
            "output_dir": str(tmp_path / "run"),
            "tasks": TOPIC,
            "train_file": ROWS,
            "validation_file": ROWS,
            "num_train_epochs": 1,
            "per_device_train_batch_size": 8,
            "learning_rate": 5e-5,
            "warmup_steps": 0,
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "report": False,
            "overwrite_output_dir": True,
            **config,
        }
        for key, content in config.items():
            if key.endswith("_file") and isinstance(content, list):
                path = tmp_path / key.replace("_file", ".jsonl")
                path.write_text("".join(f"{json.dumps(row)}\n" for row in content))
                config[key] = str(path)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        run_multitask.main([str(tmp_path / "config.yaml"), *argv])
        return tmp_path / "run"

    return run


@pytest.fixture
def saved(make_model, tokenizer, tmp_path):
    """Tasks -> the folder of a finished model with random heads."""

    def saved(name: str = "teacher", dtype=torch.float32, **tasks) -> str:
        folder = tmp_path / name
        model = make_model(tasks=tasks)
        torch.manual_seed(0)
        for head in model.heads.values():
            torch.nn.init.normal_(head.classifier.weight)
        model.to(dtype).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return saved


@pytest.fixture
def plain(backbone, tokenizer, tmp_path):
    """Labels -> the folder of a stock model of one task with random weights."""

    def plain(form, labels: list[str], name: str = "plain", **keys) -> str:
        folder = tmp_path / name
        model = form.from_pretrained(
            backbone(), num_labels=len(labels), id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)}, **keys,
        )  # fmt: skip
        torch.nn.init.normal_(model.classifier.weight)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return plain


def results(folder) -> dict:
    return json.loads((folder / "all_results.json").read_text())
