"""How many answers the service gives over HTTP, and how soon, beside the pipeline alone.

    python -m benchmarks.serving [--data_dir DIR] [--rows 1000] [--rounds 3] [--replicas 2]

The texts are answered by `MultiTaskPipeline` in one process with as many threads as the service has
replicas, and by the service (`serve.py`, one thread a replica) for clients that ask one after the
other, 64 at once: each for one text, and each for 32. How soon one text is answered is measured
with 1, 8 and 64 clients. The clients take their part of the same cores.
"""

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import local
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from benchmarks import measuring
from benchmarks.reporting import Table, ratios_table, times_as_json, write
from benchmarks.workload import ROOT, load, options_parser, start
from multitask_encoder.inference.precision import answers_in_bf16
from multitask_encoder.modeling import MultiTaskModel, MultiTaskPipeline
from multitask_encoder.modeling.pipeline_multitask import save_pipeline_code
from multitask_encoder.serving.reverse_proxy import free_port

OURS = "MultiTaskPipeline, in one process"
CLIENTS, TOGETHER, WARM_UP_TEXTS = 64, 32, 256
LATENCY_CLIENTS = (1, 8, 64)
ONE = f"the service, {CLIENTS} clients with one text each"
MANY = f"the service, {CLIENTS} clients with {TOGETHER} texts each"


def main(argv: list[str] | None = None) -> None:
    parser = options_parser(__file__, __doc__, rows=1000, rounds=3)
    parser.add_argument("--replicas", type=int, default=2, help="default: 2")
    options = start(parser, argv)
    work = load(options)
    model = work.answering_model()
    if answers_in_bf16(model):  # as the service does
        model = model.bfloat16()
    torch.set_num_threads(options.threads or options.replicas)
    ours = MultiTaskPipeline(model=model, tokenizer=work.tokenizer)
    with TemporaryDirectory() as folder:
        save(model, work.tokenizer, Path(folder, "model"))
        flags = ["--replicas", str(options.replicas), "--threads", "1"]
        port = free_port()
        with service(Path(folder, "model"), port, flags):
            times, latency = measure(ours, Client(port), work.texts, options.rounds)
    wall = measuring.of_clock(times, "wall")
    speed = {name: measuring.rate(len(work.texts), seconds) for name, seconds in wall.items()}
    ratios = {
        f"sentences/s, {name} to {OURS}": measuring.ratio(wall[OURS], wall[name])
        for name in (ONE, MANY)
    }
    header = ("", *(f"p{share}" for share in measuring.SHARES), "sentences/s")
    rows = [[name, *values] for name, values in latency.items()]
    tables = [
        Table("Speed", ("", "sentences/s"), list(speed.items())),
        ratios_table(ratios),
        Table("Milliseconds of one text", header, rows),
    ]
    notes = [
        f"{len(work.texts):,} texts, {options.replicas} replicas of one thread, in "
        f"{str(model.dtype).removeprefix('torch.')}; the clients run on the same cores.",
        "Median (lowest to highest) of the rounds.",
    ]
    results = {"texts": len(work.texts), "replicas": options.replicas}
    results |= {"times": times_as_json(times), "sentences_per_second": speed, "ratios": ratios}
    write(options, {**results, "milliseconds_of_one_text": latency}, tables, notes)


def measure(
    ours: MultiTaskPipeline, ask: "Client", texts: list[str], rounds: int
) -> tuple[dict[str, list[measuring.Seconds]], dict[str, list[float]]]:
    """The seconds of all texts; and the percentiles of the milliseconds of one, with the texts a
    second."""

    def contestants(texts: list[str]) -> measuring.Contestants:
        return {
            OURS: lambda: ours(texts),
            ONE: lambda: ask.all([[text] for text in texts]),
            MANY: lambda: ask.all(parts(texts, TOGETHER)),
        }

    some = texts[:WARM_UP_TEXTS]
    times = measuring.run_all(contestants(texts), contestants(some), rounds)
    latency = {"the pipeline": spread(ours, some, 1)}
    for clients in LATENCY_CLIENTS:
        name = f"the service, {clients} client{'s' * (clients > 1)}"
        asked = some * max(1, clients // 4)  # so that each client asks often
        latency[name] = spread(lambda text: ask([text]), asked, clients)
    return times, latency


def spread(answer: Callable[[str], Any], texts: list[str], clients: int) -> list[float]:
    """The percentiles of the milliseconds of one text, for so many clients at once, and how many
    texts are answered a second."""
    begin = time.perf_counter()
    # Each connects before its first text is timed.
    with ThreadPoolExecutor(clients, initializer=answer, initargs=(texts[0],)) as pool:
        took = list(pool.map(lambda text: milliseconds(partial(answer, text)), texts))
    per_second = len(texts) / (time.perf_counter() - begin)
    return [*measuring.percentiles(took).values(), per_second]


def save(model: MultiTaskModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """What the service loads."""
    save_pipeline_code(model.config, str(folder))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def service(model: Path, port: int, flags: list[str]) -> Iterator[None]:
    """`serve.py`, from when it is ready to when it has ended."""
    command = [sys.executable, "serve.py", "--model", str(model), "--port", str(port), *flags]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout:
                if re.match("Ready:", line):
                    break
            else:
                raise OSError("The service did not start.")
            yield
        finally:
            process.terminate()
            process.communicate()


class Client:
    """Asks the service, with a connection for each thread that it is called from."""

    def __init__(self, port: int):
        self.port, self.own = port, local()

    def __call__(self, texts: list[str]) -> list[dict]:
        if not hasattr(self.own, "connection"):
            self.own.connection = http.client.HTTPConnection("127.0.0.1", self.port)
        body = json.dumps({"texts": texts})
        headers = {"Content-Type": "application/json"}
        self.own.connection.request("POST", "/predict", body, headers)
        reply = self.own.connection.getresponse()
        content = reply.read()
        if reply.status != 200:
            raise OSError(f"{reply.status}: {content.decode()}")
        return json.loads(content)["answers"]

    def all(self, questions: list[list[str]]) -> list[list[dict]]:
        """The answers to all, so many at once as there are clients."""
        with ThreadPoolExecutor(CLIENTS) as clients:
            return list(clients.map(self, questions))


def parts(texts: list[str], size: int) -> list[list[str]]:
    """Cut into lists of so many texts."""
    return [texts[first : first + size] for first in range(0, len(texts), size)]


def milliseconds(run: Callable[[], Any]) -> float:
    """What one call takes."""
    begin = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
