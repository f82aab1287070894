"""What the conformance kit has to say beside passed and failed, at the end of a pytest session."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what checks have noted, a line each; nothing in a session without the kit."""
    said = [
        str(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "labwright"
    ]
    if said:
        terminalreporter.section("labwright")
        for line in sorted(said):
            terminalreporter.line(line)
