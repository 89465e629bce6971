"""The reports of a run: tables, figures and report.html."""
