"""The HTML report of one or several runs (docs/report.md)."""

from editgrpo.display.html.report import ReportSummary, write_report
from editgrpo.display.html.watch import watch_report

__all__ = ["ReportSummary", "watch_report", "write_report"]
