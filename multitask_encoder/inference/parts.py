"""The folder of answers: files that get their names when they are complete, each with a record of
its origin, so that a run continues its own answers and never another's.

`part-00003.jsonl` holds the answers of the fourth shard. Beside the parts, in folders that pandas,
pyarrow and `datasets` ignore:

    .progress/part-00003.json       the part's origin: a hash of its rows, the model, ...; and what
                                    the part and its bad rows hold: a damaged part is made again
    __bad_rows__/part-00003.jsonl   the skipped rows of the shard, if any
"""

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from multitask_encoder.data.bad_rows import as_skipped
from multitask_encoder.data.texts import TextRow
from multitask_encoder.files import difference, for_json, size_and_hash, write_json, write_text

from .inputs import Shard

logger = logging.getLogger("multitask_encoder.predict")

PROGRESS, BAD_ROWS = ".progress", "__bad_rows__"
PART = re.compile(r"part-(\d{5,})\.[a-z]+")


class OtherAnswers(ValueError):
    """A folder holds answers that were made from something else."""


class Parts:
    """The parts in a folder.

    Args:
        folder (`Path`): need not exist yet.
        form (`str`): the files' suffix.
        made_from (`dict`): everything but the rows that answers depend on, by the name of its key;
            plain JSON values.
    """

    def __init__(self, folder: Path, form: str, made_from: dict):
        self.folder, self.form, self.made_from = folder, form, made_from

    def finished(self, shards: list[Shard], overwrite: bool) -> set[int]:
        """The numbers of the parts that would be the same if made now.

        Args:
            shards (`list[Shard]`): of the rows to answer.
            overwrite (`bool`): whether other parts are ignored.

        Raises:
            OtherAnswers: there are other parts.
        """
        finished = set()
        for number, path in parts_in(self.folder):
            record = self._record(number)
            other = self._other_origin(number, record, shards)
            if other is not None:
                if not overwrite:
                    raise OtherAnswers(
                        f"{path} was made from something else: {other} Replace these files with "
                        "--overwrite_output_dir, or name another predict_output."
                    )
            elif found := self._damage(record):
                logger.warning("%s is made again. %s", path, found)
            else:
                finished.add(number)
        return finished

    def _record(self, number: int) -> dict | None:
        """A part's record; None if it is missing or damaged."""
        path = self.folder / PROGRESS / f"{_name(number)}.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return {
                "made_from": dict(record["made_from"]),
                "shard": Shard(**record["shard"]),
                "files": dict(record["files"]),
            }
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _damage(self, record: dict) -> str | None:
        """How a part or its bad rows differ from what was written, as a sentence."""
        for name, expected in record["files"].items():
            if found := difference(self.folder / name, expected):
                return f"{name} {found}"
        return None

    def _other_origin(self, number: int, record: dict | None, shards: list[Shard]) -> str | None:
        """How a part's input, model or keys differ from the current ones; None if they don't."""
        if record is None:
            return f"its record {PROGRESS}/{_name(number)}.json is missing or damaged."
        former, shard = record["made_from"], record["shard"]
        for key, now in self.made_from.items():
            if former.get(key) == now:
                continue
            if key == "model":  # its hashes would tell a user nothing
                return "the model or its windows have changed."
            if key == "bf16" and former.get(key) is not None:  # which a machine may choose
                kept = str(former[key]).lower()
                return f"bf16 was {former[key]}. Found {now}; --bf16 {kept} goes on with them."
            return f"{key} was {former.get(key)!r}. Found {now!r}."
        if number >= len(shards):
            return f"predict_file had rows for more files. Found rows for {len(shards)}."
        if shard != shards[number]:
            before = sum(earlier.rows + earlier.bad for earlier in shards[:number])
            last = before + shards[number].rows + shards[number].bad
            return f"rows {before + 1} to {last} of predict_file have changed."
        return None

    def remove(self, number: int) -> None:
        """Remove a part, its record and its bad rows."""
        for folder in (self.folder, self.folder / PROGRESS, self.folder / BAD_ROWS):
            for path in folder.glob(f"{_name(number)}.*"):
                path.unlink(missing_ok=True)

    def unfinished(self, number: int) -> Path:
        """The file to write a part to."""
        folder = self.folder / PROGRESS
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{_name(number)}.partial"

    def finish(self, number: int, shard: Shard, bad: list[TextRow]) -> None:
        """Give the written file its name, last of all, after writing its record and bad rows."""
        lines = []
        for row in bad:
            raw = json.dumps(row.raw, ensure_ascii=False, default=str)
            skipped = as_skipped(
                {"source": row.source, "problem": row.problem, "raw": raw}, "predict"
            )
            lines.append(json.dumps(for_json(skipped), ensure_ascii=False) + "\n")
        bad_path = self.folder / BAD_ROWS / f"{_name(number)}.jsonl"
        if lines:
            write_text("".join(lines), bad_path)
        else:
            bad_path.unlink(missing_ok=True)
        part, partial = self.folder / f"{_name(number)}.{self.form}", self.unfinished(number)
        files = {part.name: size_and_hash(partial)}
        if lines:
            files[f"{BAD_ROWS}/{bad_path.name}"] = size_and_hash(bad_path)
        record = {"shard": shard._asdict(), "made_from": self.made_from, "files": files}
        write_json(record, self.folder / PROGRESS / f"{_name(number)}.json")
        os.replace(partial, part)


def parts_in(folder: Path) -> Iterator[tuple[int, Path]]:
    """Numbers and paths of all files named like parts, whoever made them."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if match := PART.fullmatch(path.name):
            yield int(match[1]), path


def _name(number: int) -> str:
    return f"part-{number:05d}"
