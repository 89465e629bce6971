"""How contestants are measured: in turn, several times over, by two clocks; medians and ratios."""

import gc
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

SHARES = (50, 95, 99)
ROOT = Path(__file__).parent.parent  # where `benchmarks` is imported from


class Seconds(NamedTuple):
    """Of one run: by the clock on the wall, and of the processors, all threads together."""

    wall: float
    cpu: float


T = TypeVar("T")
Contestants = Mapping[str, Callable[[], Any]]


def turns(names: Iterable[T], rounds: int) -> Iterator[tuple[T, int]]:
    """Whose turn it is, and in which round: A B, B A, A B, ...

    So whatever drifts (heat, neighbours, caches) comes to all of them alike.
    """
    names = list(names)
    for round_ in range(rounds):
        for name in names if round_ % 2 == 0 else names[::-1]:
            yield name, round_


def measured(run: Callable[[], Any]) -> tuple[Seconds, Any]:
    """The seconds of one call, and what it gave back."""
    gc.collect()  # what others left behind must not cost this one time
    return _timed(run)


def _timed(run: Callable[[], Any]) -> tuple[Seconds, Any]:
    cpu, wall = time.process_time(), time.perf_counter()
    result = run()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu), result


def run_all(
    contestants: Contestants, warm_up: Contestants, rounds: int, calls: int = 1
) -> dict[str, list[Seconds]]:
    """The seconds of all contestants in all rounds, after a call of each `warm_up`: first calls
    cost more. With several calls in a turn each is timed, after one that is not: it finds the
    processor's caches full of what others left."""
    for run in warm_up.values():
        run()
    times: dict[str, list[Seconds]] = {name: [] for name in contestants}
    gc.collect()
    gc.freeze()  # what is there by now is no garbage later: collecting need not look at it
    for name, _ in turns(contestants, rounds):
        run = contestants[name]
        if calls > 1:
            run()
        times[name].append(measured(run)[0])
        times[name] += [_timed(run)[0] for _ in range(calls - 1)]
    gc.unfreeze()
    return times


def of_clock(times: dict[str, list[Seconds]], clock: str) -> dict[str, list[float]]:
    """Of each contestant the seconds of every round, by the clock `wall` or `cpu`."""
    return {name: [getattr(one, clock) for one in rounds] for name, rounds in times.items()}


def summed(times: dict[str, list[Seconds]], names: list[str]) -> list[Seconds]:
    """Per round, what several contestants took one after the other."""
    return [
        Seconds(*(sum(clock) for clock in zip(*parts, strict=True)))
        for parts in zip(*(times[name] for name in names), strict=True)
    ]


class Spread(NamedTuple):
    """The median of several values, and the range that they are in."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


def ratio(numerators: list[float], denominators: list[float]) -> Spread:
    """Of the ratios of each round: what slowed a whole round down leaves them as they are."""
    return Spread.of([one / other for one, other in zip(numerators, denominators, strict=True)])


def rate(amount: float, seconds: list[float]) -> Spread:
    """An amount per second, of each round."""
    return Spread.of([amount / one for one in seconds])


def percentiles(values: list[float]) -> dict[int, float]:
    """For each of `SHARES`, the value that so many percent of all are not above."""
    return dict(zip(SHARES, np.percentile(values, SHARES).tolist(), strict=True))


def exponent(sizes: list[float], values: list[float]) -> float:
    """The p of `values ~ sizes ** p`: the slope of the least-squares line in log-log."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


class Memory:
    """The greatest memory of this process and its children from now on, in bytes.

    Anonymous and shared pages, a page that several share by their shares of it: the kernel's PSS.
    Pages of files can be dropped at any time, so that they are no memory that is needed; those of
    weights that are used all the time are, though.

    Args:
        interval (`float`): seconds between two looks; a peak that is shorter may be missed.
        files (`bool`): whether pages of files count.
    """

    def __init__(self, interval: float = 0.5, files: bool = False):
        self._interval = interval
        self._counted = ("Pss_Anon:", "Pss_Shmem:", *(("Pss_File:",) if files else ()))
        self.before = self.peak = self._used()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.look()
            time.sleep(self._interval)

    def look(self) -> int:
        """The peak, this moment included."""
        self.peak = max(self.peak, self._used())
        return self.peak

    def _used(self) -> int:
        total, own = 0, str(os.getpid())
        for process in Path("/proc").glob("[0-9]*"):
            try:
                parent = process.joinpath("stat").read_text().rpartition(")")[2].split()[1]
                if own not in (process.name, parent):
                    continue
                for line in process.joinpath("smaps_rollup").read_text().splitlines():
                    if line.startswith(self._counted):
                        total += int(line.split()[1]) * 1024
            except OSError:  # it has just ended
                continue
        return total


def grown_mebibytes(found: dict[str, Any]) -> float:
    """From the bytes `before` to those at the `peak`, in MiB."""
    return (found["peak"] - found["before"]) / 2**20


def as_argv(keys: Mapping[str, Any]) -> list[str]:
    """A command line that sets `keys`, those that are None left out."""
    return [f"--{key}={value}" for key, value in keys.items() if value is not None]


def in_fresh_process(
    script: str, *arguments: str, ranks: int = 1, **environment: str
) -> dict[str, Any]:
    """What the script at this path prints as JSON in its last line, run in a new process, or by
    torchrun in several `ranks`; `environment` adds to this process's variables."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    command = [sys.executable, *(launcher if ranks > 1 else []), script, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    printed = subprocess.check_output(command, env=environment, text=True)
    return json.loads(printed.splitlines()[-1])
