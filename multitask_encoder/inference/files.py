"""Files in, files of answers out: any number of rows, on any number of processes, resumed where it
broke off; in memory that does not grow with the rows.

Each shard of the input is answered by itself and becomes one file, in the order of its rows; so all
files in the order of their names are the whole input. A process answers every so many-th shard,
and needs to hear nothing of the others.
"""

import hashlib
import json
import logging
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm.auto import tqdm

from multitask_encoder.data.texts import TextRow
from multitask_encoder.modeling import MultiTaskPipeline

from .inputs import Inputs, ShardRows
from .parts import BAD_ROWS, Parts, parts_in
from .tables import FORMATS, Layout

logger = logging.getLogger("run_multitask.predict")

# Of a model's config, what answers depend on besides the weights.
OF_ANSWERS = ("tasks", "pooling", "normalize", "prompts", "stride", "sentence_windows")


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
    """Write the answers for this process's share of the rows, but for those that are there.

    Args:
        pipeline (`MultiTaskPipeline`): on any backend.
        inputs (`Inputs`): what `look_through` found.
        layout (`Layout`): which columns the answers have.
        folder (`Path`): for the files of answers; made if it is not there. See parts.py.
        form (`str`): one of `FORMATS`.
        overwrite (`bool`): whether files made from something else are replaced.
        rank (`int`), num_ranks (`int`): which of how many processes this is. Their number may be
            another when a run goes on.
        show (`bool`): whether a progress bar is shown.

    Raises:
        OtherAnswers: the folder holds files that were made from something else.
        InputChanged: the input is another now.
        OSError: a file can't be read or written.
    """
    made_from = {
        "bf16": pipeline.model.dtype == torch.bfloat16,
        "tasks": list(layout.tasks),
        "predict_columns": inputs.kept,
        "predict_without": sorted(layout.without),
        "predict_format": form,
        "predict_shard_size": inputs.shard_size,
        "model": _model_digest(pipeline),
    }
    parts = Parts(folder, form, made_from)
    finished = parts.finished(inputs.shards, overwrite)
    for number in {number for number, _ in parts_in(folder)} - finished if overwrite else ():
        if number % num_ranks == rank:  # the others belong to other processes
            parts.remove(number)
    if rank == 0:
        _say(inputs, folder, len(finished), num_ranks)
    mine = set(range(rank, len(inputs.shards), num_ranks))
    left = mine - finished
    total, missing = (sum(inputs.shards[number].rows for number in some) for some in (mine, left))
    done = total - missing
    with tqdm(total=total, initial=done, desc="Answering", unit=" rows", disable=not show) as bar:
        for number, rows in enumerate(inputs.again() if left else ()):
            if number in left:
                partial = parts.unfinished(number)
                try:
                    _answer_shard(pipeline, rows, layout, partial, form, bar)
                    parts.finish(number, inputs.shards[number], rows.bad)
                finally:
                    partial.unlink(missing_ok=True)
                if number == max(left):
                    break


def _answer_shard(
    pipeline: MultiTaskPipeline, rows: ShardRows, layout: Layout, path: Path, form: str, bar: tqdm
) -> None:
    waiting: deque[tuple[TextRow, dict]] = deque()  # what the pipeline has taken and not answered

    def texts() -> Iterator[str]:
        for row, kept in rows.good():
            waiting.append((row, kept))
            yield row.text

    file = FORMATS[form](path, layout.schema)
    try:
        # A call for each shard: what is batched together is then the same after a resume.
        for answer in pipeline(texts(), tasks=list(layout.tasks)):
            row, kept = waiting.popleft()
            file.write(layout.row(row, kept, answer))
            bar.update()
    finally:
        file.close()


def _say(inputs: Inputs, folder: Path, finished: int, num_ranks: int) -> None:
    rows, bad = (sum(getattr(shard, key) for shard in inputs.shards) for key in ("rows", "bad"))
    count = len(inputs.shards)
    there = f", of which {finished} are there" if finished else ""
    logger.info(
        "Answers for %s rows in %d files%s; %d processes. They go to %s.",
        *(f"{rows:,}", count, there, num_ranks, folder),
    )
    if bad:
        logger.warning("Skipping %d bad rows; they go to %s.", bad, folder / BAD_ROWS)
    if count < num_ranks:
        logger.warning(
            "%d of %d processes have nothing to do; a smaller predict_shard_size shares the work.",
            *(num_ranks - count, num_ranks),
        )


def _model_digest(pipeline: MultiTaskPipeline) -> str:
    """A hash of the weights, wherever they came from, and of what else answers depend on."""
    model, tokenizer = pipeline.model, pipeline.tokenizer
    settings = {name: getattr(model.config, name) for name in OF_ANSWERS}
    reading = [tokenizer.model_max_length, sorted(tokenizer.get_vocab().items())]
    hasher = hashlib.sha256(json.dumps([settings, reading], sort_keys=True).encode())
    if isinstance(model, torch.nn.Module):
        for name, tensor in model.state_dict().items():
            hasher.update(name.encode())
            hasher.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return hasher.hexdigest()
    for name in (*model.files, *model.optional_files):
        path = Path(model.path).with_name(name)
        if path.is_file():
            with path.open("rb") as file:
                hasher.update(hashlib.file_digest(file, "sha256").digest())
    return hasher.hexdigest()
