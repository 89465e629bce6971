"""Searching the values of some keys: a run for each trial, and one with the best."""

import logging
from collections.abc import Callable
from itertools import count
from pathlib import Path

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.comparison.runs import is_finished
from multitask_encoder.comparison.trials import (
    NUMBERS,
    REPORT,
    Search,
    check_nothing_is_left,
    has_weights,
    tidy,
)
from multitask_encoder.reporting.results import print_written
from multitask_encoder.training.trainer import Diverged

from .errors import refusing

logger = logging.getLogger("multitask_encoder")


def search(run: RunArguments, run_once: Callable[[RunArguments], None]) -> None:
    """Train the trials of `run`, and then the best one with all that the config asks for;
    `run_once` trains one of them."""
    with refusing():
        found = Search(run)
    everyone = run.training.distributed_state
    for number in count():
        with refusing():
            if found.is_complete():
                break
            keys, one = found.next()
            finished = is_finished(one)
        values = ", ".join(f"{key} {value}" for key, value in keys.items())
        where = "is finished" if finished else f"in {one.training.output_dir}"
        total = max(found.total, number + 1)
        logger.info("Trial %d of %d, %s: %s.", number, total, where, values)
        everyone.wait_for_everyone()  # before anybody writes
        try:
            if not finished:
                run_once(one)
                everyone.wait_for_everyone()  # for the results
            with refusing():
                found.add(keys, one)
        except Diverged as error:  # in all processes
            logger.warning("Trial %d has no result: %s", number, error)
            found.add_lost(keys, one)
        if run.training.process_index == 0:
            tidy(one)
            found.write()
        logger.info("Trial %d: %s.", number, found.tell(number))
    with refusing():
        best = found.best_run()
        finished = is_finished(best) and has_weights(best)
        if finished:
            check_nothing_is_left(best)
    everyone.wait_for_everyone()
    if not finished:
        logger.info("The best trial, once more, in %s.", best.training.output_dir)
        with refusing(Diverged):
            run_once(best)
    if run.training.process_index == 0:
        print(f"\n{found.table()}")
        print_written(Path(run.training.output_dir), [REPORT, NUMBERS])
