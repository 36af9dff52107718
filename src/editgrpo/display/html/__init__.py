"""The HTML report of one or several runs (docs/report.md)."""

from editgrpo.display.html.report import ReportSummary, write_report

__all__ = ["ReportSummary", "write_report"]
