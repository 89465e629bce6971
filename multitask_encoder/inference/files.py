"""Files in, files of answers out: any number of rows, on any number of processes, resumable, in
memory that does not grow with the rows.

Each shard of the input is answered on its own and becomes one file, in the order of its rows; all
files in the order of their names are the whole input. Of `n` processes each answers every `n`-th
shard; they do not communicate.
"""

import hashlib
import json
import logging
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from multitask_encoder.data.texts import TextRow
from multitask_encoder.files import size_and_hash
from multitask_encoder.modeling import MultiTaskPipeline

from .inputs import Inputs, ShardRows
from .parts import BAD_ROWS, Parts, parts_in
from .tables import FORMATS, Layout

logger = logging.getLogger("multitask_encoder.predict")

# Fields of a model's config that answers depend on, besides the weights and the encoder's config;
# and those of the latter that say how its files were written.
ANSWER_FIELDS = ("tasks", "pooling", "normalize", "prompts", "stride", "sentence_windows")
ABOUT_FILES = ("_name_or_path", "dtype", "transformers_version")


def answer_files(
    pipeline: MultiTaskPipeline,
    inputs: Inputs,
    layout: Layout,
    folder: Path,
    form: str = "jsonl",
    overwrite: bool = False,
    rank: int = 0,
    num_ranks: int = 1,
    show: bool = True,
) -> None:
    """Write the answers for this process's share of the rows, except those already there.

    Args:
        pipeline (`MultiTaskPipeline`): on any backend.
        inputs (`Inputs`): from `scan_inputs`.
        layout (`Layout`): the columns of the answers.
        folder (`Path`): for the files of answers, see parts.py; made if missing.
        form (`str`): one of `FORMATS`.
        overwrite (`bool`): whether to replace files made from something else.
        rank (`int`), num_ranks (`int`): this process's number, from 0, and the number of processes.
            A resumed run may have a different number of processes.
        show (`bool`): whether to show a progress bar.

    Raises:
        OtherAnswers: the folder holds files made from something else.
        InputChanged: the input has changed since the scan.
        OSError: a file can't be read or written.
    """
    parts = Parts(folder, form, _made_from(pipeline, inputs, layout, form))
    finished = parts.finished(inputs.shards, overwrite)
    for number in {number for number, _ in parts_in(folder)} - finished if overwrite else ():
        if number % num_ranks == rank:  # the others belong to other processes
            parts.remove(number)
    if rank == 0:
        _log_start(inputs, folder, len(finished), num_ranks)
    mine = set(range(rank, len(inputs.shards), num_ranks))
    left = mine - finished
    total, done = (sum(inputs.shards[n].rows for n in numbers) for numbers in (mine, mine - left))
    with tqdm(total=total, initial=done, desc="Answering", unit=" rows", disable=not show) as bar:
        for number, rows in enumerate(islice(inputs.again(), max(left, default=-1) + 1)):
            if number not in left:
                continue
            partial = parts.unfinished(number)
            try:
                _answer_shard(pipeline, rows, layout, partial, form, bar)
                parts.finish(number, inputs.shards[number], rows.bad)
            finally:
                partial.unlink(missing_ok=True)


def _made_from(
    pipeline: MultiTaskPipeline, inputs: Inputs, layout: Layout, form: str
) -> dict[str, Any]:
    """Everything but the rows that answers depend on, by the name of its key."""
    return {
        "bf16": pipeline.model.dtype == torch.bfloat16,
        "tasks": layout.tasks,
        "predict_columns": inputs.kept,
        "predict_without": sorted(layout.without),
        "predict_format": form,
        "predict_shard_size": inputs.shard_size,
        "model": _model_digest(pipeline),
    }


def _answer_shard(
    pipeline: MultiTaskPipeline, rows: ShardRows, layout: Layout, path: Path, form: str, bar: tqdm
) -> None:
    waiting: deque[tuple[TextRow, dict]] = deque()  # read by the pipeline, not yet answered

    def texts() -> Iterator[str]:
        for row, kept in rows.good():
            waiting.append((row, kept))
            yield row.text

    file = FORMATS[form](path, layout.schema)
    try:
        # One call per shard, so that batches are the same after a resume.
        for answer in pipeline(texts(), tasks=layout.tasks):
            row, kept = waiting.popleft()
            file.write(layout.row(row, kept, answer))
            bar.update()
    finally:
        file.close()


def _log_start(inputs: Inputs, folder: Path, finished: int, num_ranks: int) -> None:
    rows, bad = (sum(getattr(shard, key) for shard in inputs.shards) for key in ("rows", "bad"))
    count = len(inputs.shards)
    already = f", {finished} of them already written" if finished else ""
    logger.info(
        "Writing the answers for %s rows to %d files in %s%s; %d processes.",
        *(f"{rows:,}", count, folder, already, num_ranks),
    )
    if bad:
        logger.warning("Skipping %d bad rows, listed in %s.", bad, folder / BAD_ROWS)
    if count < num_ranks:
        logger.warning(
            "%d of %d processes have nothing to do; a smaller predict_shard_size shares the work.",
            *(num_ranks - count, num_ranks),
        )


def _model_digest(pipeline: MultiTaskPipeline) -> str:
    """A hash of the weights, whatever their source, and of everything else in the model that
    answers depend on."""
    model, config = pipeline.model, pipeline.model.config
    settings = {name: getattr(config, name) for name in ANSWER_FIELDS}
    encoder = config.encoder_config.to_dict()
    settings["encoder"] = {key: encoder[key] for key in sorted(encoder) if key not in ABOUT_FILES}
    hasher = hashlib.sha256()
    for part in (settings, _rules(pipeline.tokenizer)):
        hasher.update(json.dumps(part, sort_keys=True, default=str).encode())
    if isinstance(model, torch.nn.Module):
        for name, tensor in model.state_dict().items():
            hasher.update(name.encode())
            hasher.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return hasher.hexdigest()
    for name in (*model.files, *model.optional_files):
        path = Path(model.path).with_name(name)
        if path.is_file():
            hasher.update(size_and_hash(path)["sha256"].encode())
    return hasher.hexdigest()


def _rules(tokenizer: PreTrainedTokenizerBase) -> list[Any]:
    """By what rules a tokenizer splits texts: all that it is saved with, except where that is."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        of_calls = ("truncation", "padding")  # the last call's
        rules = {
            key: rule for key, rule in json.loads(backend.to_str()).items() if key not in of_calls
        }
    else:
        rules = {
            key: size_and_hash(Path(value)) if key.endswith("_file") and value else value
            for key, value in tokenizer.init_kwargs.items()
            if key != "name_or_path"
        }
        rules["vocabulary"] = sorted(tokenizer.get_vocab().items())
    return [type(tokenizer).__name__, tokenizer.model_max_length, rules]
