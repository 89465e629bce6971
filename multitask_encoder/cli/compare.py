"""Comparing one model for all tasks with one model for each."""

import logging
from collections.abc import Callable
from pathlib import Path

from multitask_encoder.arguments.run_arguments import RunArguments
from multitask_encoder.comparison.measuring import measure
from multitask_encoder.comparison.report import write_comparison_page, write_report
from multitask_encoder.comparison.runs import Comparison, is_finished, mark_finished
from multitask_encoder.reporting.figures import can_plot
from multitask_encoder.reporting.report_page import PAGE
from multitask_encoder.reporting.results import print_written
from multitask_encoder.training.trainer import Diverged

from .errors import refusing

logger = logging.getLogger("multitask_encoder")


def compare(run: RunArguments, run_once: Callable[[RunArguments], None]) -> None:
    """Train one model for all tasks and one for each task, with every seed, and report; `run_once`
    trains one of them."""
    with refusing(), run.training.main_process_first(desc="looking at what is there"):
        comparison = Comparison.of(run)
        finished = [name for name, one in comparison.runs.items() if is_finished(one)]
        comparison.check_data()
    if not can_plot():
        logger.warning(
            "report.png and report.html are left out without matplotlib: "
            "pip install 'multitask-encoder[report]'"
        )
        for one in comparison.runs.values():
            one.training.report = False
    run.training.distributed_state.wait_for_everyone()  # before anybody writes
    for number, (name, one) in enumerate(comparison.runs.items(), start=1):
        state = "is finished" if name in finished else f"in {one.training.output_dir}"
        logger.info("Run %d of %d: %s, %s.", number, len(comparison.runs), name, state)
        if name not in finished:
            with refusing(Diverged):
                run_once(one)
            mark_finished(one)
    logger.info("Comparing the finished models.")
    report = measure(comparison)
    if run.training.process_index == 0:
        output_dir = Path(run.training.output_dir)
        write_report(report, output_dir)
        if run.training.report and can_plot():
            write_comparison_page(report, list(comparison.runs), output_dir)
        print_written(output_dir, ["report.md", "report.json", "report.png", PAGE])
