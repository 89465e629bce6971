"""How reports look: marks in texts, matrices of many labels, and the page of a comparison."""

import re

import numpy as np

from multitask_encoder.comparison.report import make_report, write_comparison_page
from multitask_encoder.reporting.report_page import marked, most_confused


def test_marks_cut_a_text_at_their_borders():
    assert marked("a new office", [(2, 5, "expected"), (2, 12, "predicted")]) == [
        ("a ", ""),
        ("new", "expected predicted"),
        (" office", "predicted"),
    ]
    (before, *_, last) = marked("x" * 500, [(250, 251, "expected")])
    assert (before, last) == (("…", ""), ("…", ""))
    assert marked("short", []) == [("short", "")]


def test_a_matrix_of_many_labels_shows_those_with_the_most_mistakes():
    counts = np.diag(np.arange(30))
    counts[3, 7] = 5
    chosen = most_confused(counts)
    assert len(chosen) == 20
    assert {3, 7, 29, 28} <= set(chosen) and 0 not in chosen


def test_the_page_of_a_comparison_links_to_the_runs_that_have_one(tmp_path):
    found = {
        "multi-seed0": {"test_kind_accuracy": 0.9, "test_kind_macro_f1": 0.8},
        "kind-seed0": {"test_kind_accuracy": 0.7, "test_kind_macro_f1": 0.8},
    }
    task = {
        "type": "sequence_classification",
        "problem_type": "single_label_classification",
        "labels": ["x", "y"],
    }
    report = make_report(
        found, {"kind": task}, [0], "test", [None], {"kind_accuracy": [12.5, 27.5]}
    )
    (tmp_path / "kind-seed0").mkdir()
    (tmp_path / "kind-seed0" / "report.html").touch()
    write_comparison_page(report, list(found), tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert re.findall(r'href="([^"#]*)"', text.partition("<ul>")[2]).count("report.md") == 1
    assert 'href="kind-seed0/report.html"' in text
    assert "multi-seed0/report.html" not in text
    assert "<td>accuracy *</td><td>90.00</td><td>70.00</td><td>+20.00</td>" in text
    assert "<td>+12.50 to +27.50</td>" in text
    assert "The 95 % intervals come from a paired bootstrap" in text
