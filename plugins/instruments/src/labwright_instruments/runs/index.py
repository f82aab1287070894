"""index.html: the runs, studies and comparisons of a folder, with links to their reports."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from labwright import LabwrightError, Plugins
from labwright.engine import duration, page
from markupsafe import Markup

from labwright_instruments.runs.entries import Entry, entry_of, run_folders
from labwright_instruments.runs.pages import check_page, write_page

GATHERED = {"study.json": "Studies", "comparison.json": "Comparisons"}  # whose runs aren't listed one by one


def write_index(folder: Path, plugins: Plugins) -> tuple[Path, int]:
    """Write index.html into a folder. Returns the file, and of how many things it tells.

    Raises LabwrightError if there is nothing to show, or another index.html is there.
    """
    file = folder / "index.html"
    entries = [entry_of(path, plugins) for path in run_folders(folder)]
    entries.sort(key=lambda entry: entry.begun or 0.0, reverse=True)
    gathered = {heading: [*_gathered(folder, marker)] for marker, heading in GATHERED.items()}
    apart = [path for paths in gathered.values() for path in paths]
    single = [entry for entry in entries if not any(path in entry.folder.parents for path in apart)]
    if not single and not apart:
        raise LabwrightError(f"there is no run, study or comparison in {folder} or below, so that there is no index.")
    check_page(file)
    write_page(file, folder.resolve().name, _body(folder, single, entries, gathered))
    return file, len(single) + len(apart)


def _gathered(folder: Path, marker: str) -> Iterator[Path]:
    """The folders below that have a marker in them, by name."""
    for path, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if marker in files:
            below.clear()
            yield Path(path)


def _body(
    folder: Path, single: Sequence[Entry], entries: Sequence[Entry], gathered: dict[str, list[Path]]
) -> Iterator[str]:
    spent = sum(entry.seconds or 0.0 for entry in entries)
    facts = {heading.lower(): str(len(paths)) for heading, paths in gathered.items() if paths}
    facts = {"runs": str(len(single)), **facts, "time of all": duration(spent)}
    yield page.heading(folder.resolve().name, "The newest are first.", "", "", facts)
    for heading, paths in gathered.items():
        rows = [_group(folder, path, [one for one in entries if path in one.folder.parents]) for path in paths]
        if rows:
            yield page.section(heading, _table(("name", "runs", "time", "last"), rows))
    if single:
        columns = ("name", "status", "step", "goal", "valid", "test", "time", "begun", "note")
        yield page.section("Runs", _table(columns, [_run(folder, entry) for entry in single]))


def _group(folder: Path, path: Path, runs: Sequence[Entry]) -> list[Any]:
    last = max((entry.when for entry in runs), default="")
    return [_link(folder, path), len(runs), duration(sum(entry.seconds or 0.0 for entry in runs)), last]


def _run(folder: Path, entry: Entry) -> list[Any]:
    values = [entry.fields.get(split) for split in ("valid", "test")]
    metrics = ["" if value is None else f"{value:.4g}" for value in values]
    status = Markup('<span style="color: var(--{})">{}</span>').format(_COLOUR.get(entry.status, "soft"), entry.status)
    note = " · ".join(filter(None, (", ".join(entry.notes.tags), entry.notes.note, entry.fault)))
    steps = "" if entry.step is None else f"{entry.step:,}"
    seconds = "" if entry.seconds is None else duration(entry.seconds)
    return [
        _link(folder, entry.folder),
        status,
        steps,
        entry.fields.get("goal", ""),
        *metrics,
        seconds,
        entry.when,
        note,
    ]


_COLOUR = {name: name for name in ("finished", "stopped", "interrupted", "failed")} | {
    "running": "stopped",
    "crashed": "failed",
    "damaged": "failed",
}


def _link(folder: Path, path: Path) -> str:
    """A folder's name, leading to its report if there is one."""
    name = path.relative_to(folder)
    shown = str(name) if name.parts else path.resolve().name
    if not (path / "report.html").is_file():
        return shown
    return Markup('<a href="{}">{}</a>').format(quote(str(name / "report.html")), shown)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    """Like the table of other pages, with cells that may be markup."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name) for name in columns)
    cells = Markup('<th scope="row">{}</th>'), Markup("<td>{}</td>")
    body = Markup("\n").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(cells[place > 0].format(page.visible(value)) for place, value in enumerate(row))
        )
        for row in rows
    )
    return Markup(
        '<div class="card"><div class="scroll" tabindex="0"><table><thead><tr>{}</tr></thead>\n'
        "<tbody>{}</tbody></table></div></div>"
    ).format(head, body)
