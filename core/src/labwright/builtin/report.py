"""The logger that writes report.html when a run ends."""

from __future__ import annotations

from labwright.interfaces.run import Outcome, Run
from labwright.plugin.hookspecs import hookimpl


class Report:
    """report.html in the run folder when the run ends: metrics, learning curves, the task's sections, settings."""

    @hookimpl
    def labwright_run_ended(self, run: Run, outcome: Outcome) -> None:
        from labwright.report.run_report import write  # here: nothing of it is needed before the end

        write(run, outcome)

    labwright_run_ended.every_process = True  # type: ignore[attr-defined]
