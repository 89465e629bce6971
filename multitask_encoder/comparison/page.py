"""The page of a comparison: report.html, beside the pages of its runs."""

from functools import partial
from pathlib import Path
from typing import Any

from multitask_encoder.reporting.figures import draw_differences, svg
from multitask_encoder.reporting.report_page import PAGE, render
from multitask_encoder.reporting.results import write_text

from .report import METRICS_HEADER, compared, metrics_rows, plot_size


def write_comparison_page(report: dict[str, Any], runs: list[str], folder: Path) -> None:
    """Write the page of a comparison with single-task models, which links to those of its runs.

    Args:
        report (`dict[str, Any]`): of `report.make_report`.
        runs (`list[str]`): the names of the runs' folders.
        folder (`Path`): that they are in.
    """
    found = compared(report)
    summary = " ".join(report["summary"])
    content = {
        "title": folder.resolve().name,
        "subtitle": "One model of all tasks beside one model for each of them.",
        "comparison": {
            "summary": report["summary"],
            "note": f"In percent, on the {report['split']} split; differences are points. The "
            "metric with a * decides.",
            "plot": svg(
                partial(draw_differences, found=found),
                plot_size(found),
                "comparison",
                f"Multi-task minus single-task, each seed and their means. {summary}",
            )
            if found
            else None,
            "header": METRICS_HEADER,
            "rows": [
                [name, f"{metric} *" if decides else metric, *cells]
                for decides, (name, metric, *cells) in metrics_rows(report)
            ],
            "runs": [name for name in runs if (folder / name / PAGE).is_file()],
        },
    }
    write_text(render(content), folder / PAGE)
