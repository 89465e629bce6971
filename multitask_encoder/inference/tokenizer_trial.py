"""Tries a tokenizer in a process with limits, where its file has rules that could take all memory
or time, or end the process: Rust does not say so by an error."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Types in tokenizer.json whose lengths, patterns and tables of bytes can be anything.
RULES = {"Prepend", "Replace", "Precompiled", "Split"}
BYTES, CPU_SECONDS, SECONDS = 4 * 2**30, 10, 60
TEXTS = ["Is it? \ue000 \u0e01\U0001f600 ", "word by word,  (a1) " * 50, " " * 200, "a" * 200]
TOKENS_OF_A_BYTE = 4
TRY = """
import json, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[3]),) * 2)
except ImportError:  # on Windows
    pass
from tokenizers import Tokenizer
encoded = Tokenizer.from_file(sys.argv[1]).encode_batch(json.loads(sys.stdin.read()))
print(json.dumps([len(one) for one in encoded]))
"""


def check(path: Path) -> None:
    """Raise a ValueError for a tokenizer.json whose rules fail, need more than `BYTES` or
    `CPU_SECONDS` for a few short texts, or make far more tokens of one than it has bytes."""
    if not has_rules(json.loads(path.read_text(encoding="utf-8"))):
        return
    try:
        tried = subprocess.run(
            [sys.executable, "-c", TRY, str(path), str(BYTES), str(CPU_SECONDS)],
            input=json.dumps(TEXTS),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, "RAYON_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise ValueError("Its rules take too long.") from None
    if tried.returncode < 0:
        raise ValueError(f"Its rules take more than {BYTES:,} bytes or {CPU_SECONDS} seconds.")
    if tried.returncode:
        said = tried.stderr.strip().splitlines() or ["no reason"]
        raise ValueError(f"Its rules fail: {said[-1]}")
    for text, tokens in zip(TEXTS, json.loads(tried.stdout), strict=True):
        size = len(text.encode())
        if tokens > TOKENS_OF_A_BYTE * (size + 8):
            raise ValueError(f"Its rules make {tokens:,} tokens of a text of {size:,} bytes.")


def has_rules(value: Any) -> bool:
    """Whether one of `RULES` is anywhere in a part of tokenizer.json."""
    if isinstance(value, list):
        return any(map(has_rules, value))
    if not isinstance(value, dict):
        return False
    parts = (part for key, part in value.items() if key not in ("vocab", "merges"))
    return value.get("type") in RULES or any(map(has_rules, parts))
