"""The page of a comparison: report.html, beside the pages of its runs."""

from functools import partial
from pathlib import Path
from typing import Any

from multitask_encoder.files import write_text
from multitask_encoder.reporting.figures import differences_size, draw_differences, svg
from multitask_encoder.reporting.report_page import PAGE, render

from .differences import compared
from .wording import INTERVALS, METRICS_HEADER, metrics_rows


def write_comparison_page(report: dict[str, Any], runs: list[str], folder: Path) -> None:
    """Write the page of a comparison, with links to the pages of its runs.

    Args:
        report (`dict[str, Any]`): from `report.make_report`.
        runs (`list[str]`): the names of the runs' folders.
        folder (`Path`): the folder that holds them.
    """
    deciding = compared(report)
    summary = " ".join(report["summary"])
    content = {
        "title": folder.resolve().name,
        "subtitle": "One multi-task model beside one single-task model per task.",
        "comparison": {
            "summary": report["summary"],
            "note": f"In percent, on the {report['split']} split; differences are in points. The "
            f"metric with a * decides. {INTERVALS}",
            "plot": svg(
                partial(draw_differences, results=deciding),
                differences_size(len(deciding)),
                "comparison",
                f"Multi-task minus single-task, each seed and their means. {summary}",
            )
            if deciding
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
