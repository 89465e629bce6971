"""How sentence-transformers computes the embedding of a saved model."""

import json
from pathlib import Path
from typing import Any


def write_description(config: Any, folder: Path, longest: int | None = None) -> None:
    """Write beside a model what `SentenceTransformer(folder, trust_remote_code=True)` reads:
    pooling, normalisation, prompts and the length of a window. All its versions read these names.

    Args:
        config (`MultiTaskConfig`): of the model.
        folder (`Path`): where the model is, or will be.
        longest (`int`, *optional*): the tokens of a window; by default what the tokenizer takes.
    """
    parts = {"Transformer": "", "Pooling": "1_Pooling"}
    if config.normalize:
        parts["Normalize"] = "2_Normalize"
    package = "sentence_transformers.models"
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"{package}.{name}"}
        for index, (name, path) in enumerate(parts.items())
    ]
    pooling = {"word_embedding_dimension": config.hidden_size}
    for ours, theirs in (("cls", "cls_token"), ("mean", "mean_tokens"), ("max", "max_tokens")):
        pooling[f"pooling_mode_{theirs}"] = config.pooling == ours
    prompts = config.prompts or {}
    files = {
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": longest, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": prompts,
            "default_prompt_name": "default" if "default" in prompts else None,
            "similarity_fn_name": "cosine",
        },
    }
    # sentence-transformers writes its prompts before it saves the model.
    if '"__version__"' in _text(folder / "config_sentence_transformers.json"):
        del files["config_sentence_transformers.json"]
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
