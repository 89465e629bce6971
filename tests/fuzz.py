"""Changes at random what users hand in, and looks for answers that are none.

    python tests/fuzz.py [--changes 5000] [--first 0] [--kinds config tokenizer ...]

Each change is made by its number and tried in a process of its own. It may be refused by one line,
as a command shows it, or taken. What fails: any other error, a process that ends by itself or takes
more than `SECONDS` or `BYTES`, and damage that is taken as if it were none. Failures are printed
with their numbers, which `--first NUMBER --changes 1 --kinds KIND` tries again.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import torch
import yaml
from conftest import encoder_config, word_piece_vocabulary
from transformers import AutoModel, BertTokenizer
from transformers.utils import logging as transformers_logging

from multitask_encoder.arguments.parsing import parse_arguments
from multitask_encoder.inference.loading import load_pipeline
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.serving.api import Limits, build_api
from multitask_encoder.serving.front_door import FrontDoor
from multitask_encoder.serving.turns import Turns
from multitask_encoder.terminal import one_line
from multitask_encoder.training.checkpoints import damage, mark_complete

SECONDS, BYTES = 60, 8 * 2**30
LONGEST_REASON = 1000
TEXTS = ["Maya of Apple played jazz in Paris, and it was far from boring.", "", "play " * 300]
TASKS: dict[str, dict] = {
    "topic": {"type": "sequence_classification", "labels": ["news", "sport", "other"]},
    "tags": {
        "type": "sequence_classification",
        "labels": ["a", "b"],
        "problem_type": "multi_label_classification",
    },
    "entities": {"type": "token_classification", "labels": ["O", "B-LOC", "I-LOC"]},
    "embedding": {"type": "sentence_embedding"},
}
RUN: dict[str, Any] = {
    "dataset": "synthetic",
    "train_size": 100,
    "tasks": {
        "topic": {"type": "sequence_classification"},
        "entities": {"type": "token_classification"},
    },
    "learning_rate": 1e-3,
    "num_train_epochs": 2,
    "examples": ["play jazz"],
    "freeze": "none",
    "seed": 3,
}
REQUEST: dict[str, Any] = {
    "texts": ["play jazz", "in Paris"],
    "tasks": ["topic", "entities"],
    "top_k": 2,
    "thresholds": {"topic": 0.5},
    "embedding": False,
}
# What takes the place of a value.
ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, -3, 2, 7, 10**9, 2**63, 10**30, 0.5, -0.5, 1e300, 1e-300),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "x", "none", "true", "1", "-1", "\0"),
    *("a" * 10_000, "../..", "/", "http://example.org", "\ud83d", "\x1b[2J", [], {}, [[]], [None]),
    *([1], [1, "a"], {"a": 1}, {"type": "x"}, [{}], ["a", "a"], {"": {}}),
]


# What a tokenizer's file may hold, some of it from nobody who means well.
TOKENIZER_RULES: dict[str, list[Any]] = {
    "normalizer": [
        {"type": "Replace", "pattern": {"String": ""}, "content": "a" * 10_000},
        {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": ""}, "content": "ab"},
        {"type": "Replace", "pattern": {"String": "a"}, "content": "b"},
        {
            "type": "Sequence",
            "normalizers": [
                {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 100}
                for _ in range(8)
            ],
        },
        *(
            {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}
            for charsmap in (
                b"",
                b"\xff" * 4,
                b"\xff\xff\xff\x7f" + bytes(64),
                bytes(1024),
                b"a" * 7,
            )
        ),
        {"type": "NFKC"},
        {"type": "Prepend", "prepend": "a" * 10_000},
        {"type": "StripAccents"},
    ],
    "pre_tokenizer": [
        {"type": "Split", "pattern": {"Regex": "(a|aa)+$"}, "behavior": "Removed", "invert": False},
        {"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": True},
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": True},
        {"type": "Whitespace"},
    ],
    "post_processor": [
        None,
        {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}},
        {"type": "BertProcessing", "sep": ["x", 10**6], "cls": ["y", 0]},
    ],
    "truncation": [
        {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 0},
        {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 3},
    ],
    "padding": [
        {
            "strategy": {"Fixed": 10**9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 10**6,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
    ],
}


class Place(NamedTuple):
    """Somewhere in nested dicts and lists."""

    holder: Any
    key: Any


def places(value: Any) -> list[Place]:
    """All of them; of long lists and dicts, those among the first."""
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    found = [Place(value, key) for key, _ in pairs]
    for _, one in pairs[:100]:
        if isinstance(one, dict | list):
            found += places(one)
    return found


def change(value: Any, choose: random.Random) -> str:
    """Change one place of nested dicts and lists; says which and how."""
    holder, key = choose.choice(places(value))
    kind = choose.choice(["replace"] * 4 + ["remove", "add", "swap", "nest", "scale", "scale"])
    old = holder[key]
    if kind == "remove":
        del holder[key]
    elif kind == "add" and isinstance(holder, dict):
        holder[choose.choice(["x", "", "type", "tasks", f"{key}_"])] = choose.choice(ODD)
    elif kind == "add":
        holder.insert(key, choose.choice(ODD))
    elif kind == "swap":
        other = choose.choice(places(value))
        holder[key] = json.loads(json.dumps(other.holder[other.key]))
    elif kind == "nest":
        holder[key] = choose.choice([[old], {"x": old}])
    elif kind == "scale" and isinstance(old, int | float):
        holder[key] = choose.choice([-old, old + 1, old - 1, old * 1000, old / 2, str(old)])
    else:
        holder[key] = choose.choice(ODD)
    return f"{kind} {key!r:.60}, which was {old!r:.100}"


def change_some(value: Any, choose: random.Random, times: list[int]) -> None:
    """Change one of `times` places, and print which."""
    changes = [change(value, choose) for _ in range(choose.choice(times))]
    print("; ".join(changes), flush=True)


def damaged(content: bytes, choose: random.Random) -> bytes | None:
    """A file's bytes as a bad disk or a broken copy leaves them; None if it is gone."""
    at = choose.randrange(max(len(content), 1))
    return choose.choice(
        [
            content[:at],
            content[:at] + bytes([choose.randrange(256)]) + content[at + 1 :],
            content[:at] + bytes(64) + content[at + 64 :],
            content + content,
            b"",
            None,
            choose.randbytes(200),
        ]
    )


def damage_a_file(folder: Path, choose: random.Random) -> tuple[Path, bytes, bytes | None]:
    """Damage one of a folder's files; which, and its bytes before and after."""
    path = choose.choice(sorted(folder.iterdir()))
    before = path.read_bytes()
    content = damaged(before, choose)
    print(f"bytes of {path.name}", flush=True)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    return path, before, content


class Bench:
    """What is changed: a finished model, a checkpoint, a run's config, a request."""

    def __init__(self, folder: Path):
        self.folder, self.encoder, self.model = folder, folder / "encoder", folder / "model"
        torch.manual_seed(0)
        AutoModel.from_config(encoder_config("bert")).save_pretrained(self.encoder)
        tokenizer = BertTokenizer(vocab=word_piece_vocabulary(), model_max_length=128)
        tokenizer.save_pretrained(self.encoder)
        model = MultiTaskModel.from_backbone(str(self.encoder), TASKS).eval()
        model.save_pretrained(self.model)
        tokenizer.save_pretrained(self.model)
        self.pipeline = MultiTaskPipeline(model=model, tokenizer=tokenizer)
        self.pipeline(TEXTS)  # what is loaded late, before processes fork
        self.checkpoint = folder / "checkpoint-1"
        shutil.copytree(self.model, self.checkpoint)
        for name in ("optimizer.pt", "trainer_state.json", "rng_state.pth", "scheduler.pt"):
            (self.checkpoint / name).write_bytes(random.Random(name).randbytes(500))
        mark_complete(self.checkpoint)

    @contextmanager
    def copy(self, folder: Path) -> Iterator[Path]:
        """To be changed."""
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            yield Path(shutil.copytree(folder, Path(place) / folder.name))

    def json_of_the_model(self, name: str, choose: random.Random) -> str:
        with self.copy(self.model) as folder:
            content = json.loads((folder / name).read_text())
            if "normalizer" in content and choose.random() < 0.5:
                key = choose.choice(list(TOKENIZER_RULES))
                content[key] = choose.choice(TOKENIZER_RULES[key])
                print(f"{key} = {content[key]!r:.100}", flush=True)
            else:
                change_some(content, choose, [1, 1, 1, 2, 4])
            (folder / name).write_text(json.dumps(content))
            load_pipeline(str(folder), device="cpu")(TEXTS)
        return "taken"

    def config(self, choose: random.Random) -> str:
        return self.json_of_the_model("config.json", choose)

    def tokenizer(self, choose: random.Random) -> str:
        name = choose.choice(["tokenizer.json", "tokenizer.json", "tokenizer_config.json"])
        return self.json_of_the_model(name, choose)

    def files(self, choose: random.Random) -> str:
        """Bytes of a finished model's files. What its weights can't tell is any other number."""
        with self.copy(self.model) as folder:
            damage_a_file(folder, choose)
            load_pipeline(str(folder), device="cpu")(TEXTS)
        return "taken"

    def checkpoint_files(self, choose: random.Random) -> str:
        """Damage that resuming doesn't see is a failure, whatever it is."""
        with self.copy(self.checkpoint) as folder:
            path, before, content = damage_a_file(folder, choose)
            if damage(folder):
                return "refused"
            if content == before or (path.name == "complete" and same_json(content, before)):
                return "taken"
            raise AssertionError("The damage was not seen.")

    def keys(self, choose: random.Random) -> str:
        """A run's config, as YAML."""
        config = json.loads(json.dumps({"encoder": str(self.encoder), **RUN}))
        change_some(config, choose, [1, 1, 2])
        path = self.folder / f"{os.getpid()}.yaml"
        text = yaml.safe_dump(config)
        if choose.random() < 0.2:
            text = (damaged(text.encode(), choose) or b"").decode("utf-8", "ignore")
        path.write_text(text)
        try:
            parse_arguments([str(path), "--output_dir", str(self.folder / "run")])
        finally:
            path.unlink()
        return "taken"

    def requests(self, choose: random.Random) -> str:
        request = json.loads(json.dumps(REQUEST))
        change_some(request, choose, [1, 1, 2])
        body = json.dumps(request).encode()
        if choose.random() < 0.3:
            body = damaged(body, choose) or b""
        reply = asyncio.run(self.ask(body))
        if reply.status_code >= 500:
            raise AssertionError(f"{reply.status_code}: {reply.text}")
        said = reply.json()
        if reply.status_code == 200:
            assert said["answers"]
            return "taken"
        assert 0 < len(said["detail"]) < LONGEST_REASON
        return "refused"

    async def ask(self, body: bytes) -> httpx.Response:
        turns = Turns(self.pipeline, 2**15, on_answer=lambda texts: None)
        api = build_api(
            self.pipeline.model.config, Limits(256, 100_000, 2**15, 2**20), turns.answer
        )
        transport = httpx.ASGITransport(FrontDoor(api))
        headers = {"Content-Type": "application/json"}
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post("/predict", content=body, headers=headers)


def same_json(content: bytes | None, other: bytes) -> bool:
    try:
        return json.loads(content or b"") == json.loads(other)
    except ValueError:
        return False


KINDS: dict[str, Callable[[Bench, random.Random], str]] = {
    "config": Bench.config,
    "tokenizer": Bench.tokenizer,
    "files": Bench.files,
    "checkpoint": Bench.checkpoint_files,
    "keys": Bench.keys,
    "requests": Bench.requests,
}


class Outcome(NamedTuple):
    """`taken`, `refused`, or what failed; and all that the process said."""

    kind: str
    said: str


def tried(bench: Bench, kind: str, number: int) -> Outcome:
    """One change, in a process of its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.dup2(write, 1)
        os.dup2(write, 2)
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        os._exit(in_child(bench, kind, number))
    os.close(write)
    said = read_all(read, SECONDS)
    os.close(read)
    if said is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return Outcome("hang", "")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = said.decode("utf-8", "replace")
    return Outcome({0: "taken", 2: "refused", 3: "traceback"}.get(code, f"abort {code}"), text)


def in_child(bench: Bench, kind: str, number: int) -> int:
    """The exit code of a change's process."""
    try:
        outcome = KINDS[kind](bench, random.Random(f"{kind} {number}"))
    except (ValueError, OSError) as error:  # what commands show in one line
        print(f"refused: {one_line(error)}", flush=True)
        return 2
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return 3
    sys.stdout.flush()
    return 0 if outcome == "taken" else 2


def read_all(pipe: int, seconds: float) -> bytes | None:
    """All that is written; None if that takes longer."""
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([pipe], [], [], seconds)
        if not ready:
            return None
        part = os.read(pipe, 2**16)
        if not part:
            return b"".join(parts)
        parts.append(part)


def fuzz(changes: int, first: int = 0, kinds: list[str] | None = None) -> list[str]:
    """The failures of so many changes, shared among the kinds; prints a table of outcomes."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)  # threads do not outlive a fork
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    kinds = kinds or list(KINDS)
    outcomes: dict[str, Counter] = {kind: Counter() for kind in kinds}
    failures = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        bench = Bench(Path(folder))
        for index in range(changes):
            kind, number = kinds[index % len(kinds)], first + index // len(kinds)
            found = tried(bench, kind, number)
            outcomes[kind][found.kind.split()[0]] += 1
            if found.kind not in ("taken", "refused"):
                failures.append(f"{kind} {number}: {found.kind}\n{found.said[-3000:]}")
                print(failures[-1], flush=True)
    columns = ("taken", "refused", "traceback", "hang", "abort")
    print(f"| {' | '.join(('changed', *columns))} |\n|---|{'---:|' * len(columns)}")
    for kind, counts in outcomes.items():
        print(f"| {kind} | {' | '.join(str(counts[column]) for column in columns)} |")
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changes", type=int, default=5000, help="default: 5000")
    parser.add_argument("--first", type=int, default=0, help="number of the first; default: 0")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="default: all")
    options = parser.parse_args()
    sys.exit(bool(fuzz(options.changes, options.first, options.kinds)))


if __name__ == "__main__":
    main()
