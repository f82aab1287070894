"""metrics.csv: the figures of a run as a table."""

from __future__ import annotations

import csv
import secrets
from collections.abc import Mapping
from typing import IO, Any

from labwright import LabwrightError, Outcome, Run, hookimpl

from labwright_instruments.tracking import Record, records

FIRST = ("step", "epoch", "event", "split")


class CSV:
    """metrics.csv in the run's folder: a row for each line of the log, for pandas or a spreadsheet.

    Columns are `step`, `epoch`, `event` (train or evaluation), `split`, and one for each figure; a cell is empty where
    a row has no such figure. A figure that appears later gets a column of its own at the end, and the file is written
    anew. When a run is resumed, rows of steps that it does again go.
    """

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    @hookimpl
    def labwright_run_started(self, run: Run) -> None:
        self._path, self._per_epoch = run.folder / "metrics.csv", run.steps_per_epoch
        try:
            before = {_key(row): row for row in self._read()}
            # the log says which rows are still true; what it doesn't have, such as the speed, is taken from before
            rows = [before.get(_key(row), {}) | row for row in map(self._row, records(run.folder))]
            self._columns = list(dict.fromkeys([*FIRST, *(name for row in rows for name in row)]))
            self._write(rows)
        except OSError as error:
            raise LabwrightError(f"logger 'csv' can't write {self._path}: {error.strerror}.") from error

    @hookimpl
    def labwright_logged(self, step: int, values: Mapping[str, float]) -> None:
        self._add(Record("train", "train", step, values))

    @hookimpl
    def labwright_evaluated(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        self._add(Record("evaluation", split, step, metrics))

    @hookimpl
    def labwright_run_ended(self, outcome: Outcome) -> None:  # noqa: ARG002 - pluggy calls by name
        if self._file is not None:
            self._file.close()
            self._file = None

    def _add(self, record: Record) -> None:
        assert self._file is not None
        row = self._row(record)
        if more := [name for name in row if name not in self._columns]:
            rows = [*self._read(), row]
            self._columns += more
            self._file.close()
            self._write(rows)
        else:
            csv.DictWriter(self._file, self._columns).writerow(row)
            self._file.flush()

    def _row(self, record: Record) -> dict[str, Any]:
        about = (record.step, round(record.step / self._per_epoch, 4), record.event, record.split)
        # a figure may be called as one of the first columns is
        figures = {f"{record.split}/{name}" if name in FIRST else name: one for name, one in record.values.items()}
        return dict(zip(FIRST, about, strict=True)) | figures

    def _read(self) -> list[dict[str, Any]]:
        """The rows that are there, without empty cells. Raises LabwrightError for a file that isn't this logger's."""
        if not self._path.exists():
            return []
        with self._path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            if tuple(table.fieldnames or ())[: len(FIRST)] != FIRST:
                raise LabwrightError(f"logger 'csv': {self._path} isn't a table that it wrote: move it elsewhere.")
            return [{name: cell for name, cell in row.items() if cell and name} for row in table]

    def _write(self, rows: list[dict[str, Any]]) -> None:
        """The whole table in one go: under another name, which is then changed; it stays open for more rows."""
        unfinished = self._path.with_name(f".metrics.csv.{secrets.token_hex(4)}.part")
        self._file = unfinished.open("x", encoding="utf-8", newline="")
        table = csv.DictWriter(self._file, self._columns)
        table.writeheader()
        table.writerows(rows)
        self._file.flush()
        unfinished.replace(self._path)


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return str(row.get("step")), str(row.get("event")), str(row.get("split"))
