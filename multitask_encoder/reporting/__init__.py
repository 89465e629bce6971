"""What a run leaves to read: tables, figures and report.html."""
