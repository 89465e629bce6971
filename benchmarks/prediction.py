"""How fast files are read and answered, and in how much memory, by a finished model.

    python -m benchmarks.prediction --model runs/quickstart [--rows 2000 20000] [--backend torch]

Writes synthetic rows to a JSONL file and answers each number of them, in both formats, in a process
of its own as `run_multitask.py --do_predict` does: rows per second of the look through the input
and of the answers, the peak of memory (see `measuring.Memory`) from the first to the last, and the
size of the answers.
"""

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.measuring import Memory, as_argv, in_fresh_process
from benchmarks.tokenization import write_rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 20_000])
    # Set in the processes that are measured.
    parser.add_argument("--file", help=argparse.SUPPRESS)
    parser.add_argument("--format", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.file:
        print(json.dumps(measure(options)))
        return
    print(f"{'rows':>10} {'format':8}{'read/s':>10}{'answered/s':>12}{'peak MiB':>10}{'B/row':>8}")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "rows.jsonl")
            write_rows(path, rows)
            for form in ("jsonl", "parquet"):
                given = {"model": options.model, "backend": options.backend}
                given |= {"file": path, "format": form}
                found = in_fresh_process(__file__, *as_argv(given))
                print(
                    f"{rows:10,} {form:8}{rows / found['reading']:10,.0f}"
                    f"{rows / found['answering']:12,.0f}{found['peak'] / 2**20:10,.0f}"
                    f"{found['bytes'] / rows:8,.0f}",
                    flush=True,
                )


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Answer the file; seconds and bytes."""
    from multitask_encoder.data.dataset_arguments import DatasetArguments
    from multitask_encoder.data.texts import read_texts
    from multitask_encoder.inference.files import answer_files
    from multitask_encoder.inference.inputs import scan_inputs
    from multitask_encoder.inference.loading import load_pipeline
    from multitask_encoder.inference.parts import parts_in
    from multitask_encoder.inference.tables import Layout
    from multitask_encoder.processor import keep_freed_memory

    keep_freed_memory()
    pipeline = load_pipeline(options.model, options.backend)
    watch = Memory()
    started = time.perf_counter()
    read = partial(read_texts, [options.file], DatasetArguments())
    inputs = scan_inputs(read, 10_000, show=False)
    read_at = time.perf_counter()
    config = pipeline.model.config
    layout = Layout(config, list(config.tasks), inputs.kept, ())
    folder = Path(options.file).with_name(options.format)
    answer_files(pipeline, inputs, layout, folder, options.format, show=False)
    return {
        "reading": read_at - started,
        "answering": time.perf_counter() - read_at,
        "peak": watch.look(),
        "bytes": sum(path.stat().st_size for _, path in parts_in(folder)),
    }


if __name__ == "__main__":
    main()
