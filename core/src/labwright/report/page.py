"""The pieces a report's page is put together from, as HTML. Every piece of text is escaped here and nowhere else."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

LONG = 24  # characters of a setting's name from which it may be broken after its dots
MANY = 8  # columns of a table from which on it scrolls rather than break its texts
STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f6f3; --card: #ffffff; --ink: #1d1f23; --soft: #62666e; --line: #e3e3dd; --code: #f1f1ec;
  --series-1: #2d62c9; --series-2: #c2570c; --series-3: #1c8455; --series-4: #8a3fb0;
  --finished: #17713f; --stopped: #2d62c9; --interrupted: #8f5a00; --failed: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131416; --card: #1c1e21; --ink: #ebebe8; --soft: #a2a6ae; --line: #32353a; --code: #26292d;
    --series-1: #82aaff; --series-2: #f2a365; --series-3: #6fcf9b; --series-4: #cf9bea;
    --finished: #6fcf9b; --stopped: #82aaff; --interrupted: #f0c05a; --failed: #ff8f85;
  }
}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif; font-variant-numeric: tabular-nums }
main { max-width: 68rem; margin: 0 auto; padding: 3rem 1.5rem 4rem }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -.02em; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; letter-spacing: -.01em; margin: 3rem 0 1rem }
h3 { font-size: .95rem; font-weight: 600; margin: 0 }
p { margin: .5rem 0 }
a { color: var(--series-1) }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: .87em }
pre { background: var(--code); border-radius: 8px; padding: 1rem 1.2rem; margin: 0; overflow-x: auto; line-height: 1.7 }
pre i { color: var(--soft); font-style: normal }
.soft { color: var(--soft) }
.top { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1rem }
.badge { border: 1.5px solid; border-radius: 99px; padding: .1rem .75rem; font-size: .85rem; font-weight: 600 }
.facts { display: flex; flex-wrap: wrap; gap: .3rem 2.2rem; margin: 1.2rem 0 0; color: var(--soft); font-size: .9rem }
.facts b { color: var(--ink); font-weight: 600 }
.charts, .cards { display: grid; gap: 1rem }
.charts { grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)) }
.cards { grid-template-columns: repeat(auto-fill, minmax(min(100%, 14rem), 1fr)) }
.pack { columns: 3 19rem; column-gap: 1rem; margin-bottom: -1rem }
.pack .card { break-inside: avoid; margin-bottom: 1rem }
.row { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 1rem }
.row .card { flex: 1 1 auto; width: max-content; min-width: min(100%, 22rem); max-width: 100% }
.row .card > p { width: 0; min-width: 100% }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.1rem 1.25rem;
  min-width: 0 }
section > .card:not(:last-child) { margin-bottom: 1rem }
.number { font-size: 1.9rem; font-weight: 600; line-height: 1.25; letter-spacing: -.02em }
.goal { border-color: var(--series-1); box-shadow: inset 0 0 0 1px var(--series-1) }
.goal .number { font-size: 2.5rem; line-height: 1.1; color: var(--series-1) }
.head { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: 0 1rem }
.small { font-size: .85rem; color: var(--soft) }
svg { display: block; width: 100%; height: auto; stroke-linejoin: round; stroke-linecap: butt }
.chart svg { max-width: none !important; margin-top: .6rem }
.key { display: inline-block; width: 1rem; height: 3px; border-radius: 2px; vertical-align: .25em;
  margin: 0 .4rem 0 .9rem }
.paper { background: #ffffff; border-radius: 8px; padding: .75rem; margin-top: .8rem }
.paper svg, .paper img { margin: 0 auto; max-width: 100% }
.paper img { display: block; height: auto }
.scroll { overflow-x: auto; margin-top: .4rem }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .82rem }
th, td { padding: .38rem .9rem .38rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
tr:last-child td { border-bottom: 0 }
th:last-child, td:last-child { padding-right: 0 }
.right { text-align: right; white-space: nowrap }
.many th, .many td { white-space: nowrap }
.pairs td { overflow-wrap: anywhere }
.pairs td:first-child { color: var(--soft); white-space: nowrap; overflow-wrap: normal }
.pairs td.long { white-space: normal }
.warning { border-color: var(--interrupted) }
details { margin-top: 1rem } summary { cursor: pointer; color: var(--soft); font-size: .9rem }
details > .card { margin-top: .7rem }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem }
@media print { body { background: none } .card { break-inside: avoid } }
"""


def escape(text: str) -> str:
    """A text as HTML; control characters are written out, as they would be invisible."""
    return html.escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda one: ascii(one[0])[1:-1], text))


def document(title: str, body: Iterable[str]) -> str:
    """A whole page that needs nothing from outside itself."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def heading(title: str, about: str, status: str, reason: str, facts: Mapping[str, str]) -> str:
    badge = f'<span class="badge" style="color: var(--{escape(status)})">{escape(status)}</span>'
    known = "".join(f"<span>{escape(name)} <b>{escape(value)}</b></span>" for name, value in facts.items())
    return (
        f'<header>\n<div class="top"><h1>{escape(title)}</h1>{badge}</div>\n'
        f'<p class="soft">{escape(about)}</p>\n'
        + (f"<p>{escape(reason)}</p>\n" if reason else "")
        + f'<div class="facts">{known}</div>\n</header>'
    )


def section(title: str, *content: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(content) + "\n</section>"


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def together(cards: Iterable[str], how: Literal["cards", "charts", "pack", "row"]) -> str:
    """Cards side by side: as equal columns, narrow or wide, packed by their heights, or each as wide as it needs."""
    return f'<div class="{how}">\n' + "\n".join(cards) + "\n</div>"


def headline(name: str, number: str, notes: Sequence[str], *, goal: bool) -> str:
    lines = "".join(f'<div class="small">{escape(note)}</div>' for note in notes)
    return (
        f'<div class="card{" goal" if goal else ""}"><h3>{escape(name)}</h3>'
        f'<div class="number">{escape(number)}</div>{lines}</div>'
    )


def chart(title: str, note: str, svg: str, legend: Sequence[str]) -> str:
    """`svg` is put in as it is."""
    keys = "".join(
        f'<span class="key" style="background: var(--series-{number % 4 + 1})"></span>{escape(name)}'
        for number, name in enumerate(legend)
    )
    return (
        f'<div class="card chart"><div class="head"><h3>{escape(title)}{f"<small>{keys}</small>" if keys else ""}</h3>'
        f'<span class="small">{escape(note)}</span></div>{svg}</div>'
    )


def picture(title: str, element: str, note: str, inches: float) -> str:
    """`element`, as wide as said, is put in as it is, on white: a figure's colours are made for paper."""
    return (
        f'<div class="card" style="flex-basis: {inches + 0.6:.2f}in"><h3>{escape(title)}</h3>{_note(note)}'
        f'<div class="paper">{element}</div></div>'
    )


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> str:
    """Numbers are aligned on the right, except in the first column, which says what a row is."""
    numeric = [column > 0 and all(_is_number(row[column]) for row in rows) for column in range(len(columns))]
    head = "".join(_cell("th", name, right=right) for name, right in zip(columns, numeric, strict=True))
    body = "".join(
        "<tr>" + "".join(_cell("td", one, right=right) for one, right in zip(row, numeric, strict=True)) + "</tr>\n"
        for row in rows
    )
    named = f"<h3>{escape(title)}</h3>" if title else ""
    many = ' class="many"' if len(columns) > MANY else ""
    return (
        f'<div class="card">{named}{_note(note)}<div class="scroll"><table{many}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div></div>"
    )


def pairs(title: str, values: Mapping[str, str]) -> str:
    rows = "".join(f"<tr>{_name(name)}<td>{escape(value)}</td></tr>\n" for name, value in values.items())
    return (
        f'<div class="card"><h3>{escape(title)}</h3><div class="scroll"><table class="pairs">{rows}</table></div></div>'
    )


def warning(title: str, text: str) -> str:
    return f'<div class="card warning"><h3>{escape(title)}</h3><p>{escape(text)}</p></div>'


def folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def commands(lines: Sequence[tuple[str, str]]) -> str:
    """Commands, each below what it is for."""
    return "<pre>" + "\n".join(f"<i># {escape(why)}</i>\n{escape(command)}" for why, command in lines) + "</pre>"


def closing(text: str) -> str:
    return f"<footer>{escape(text)}</footer>"


def _note(note: str) -> str:
    return f'<p class="small">{escape(note)}</p>' if note else ""


def _name(name: str) -> str:
    """What a value is the value of; a long path may be broken, so that it leaves room for the value."""
    if len(name) < LONG:
        return f"<td>{escape(name)}</td>"
    return f'<td class="long">{escape(name).replace(".", ".<wbr>")}</td>'


def _cell(tag: str, value: object, *, right: bool) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if _is_whole(value) else str(value)
    style = ' class="right"' if right else ""
    return f"<{tag}{style}>{escape(text)}</{tag}>"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return value in ("", "-") or value.replace(".", "", 1).replace("%", "", 1).lstrip("-+").isdigit()
    return isinstance(value, int | float) and not isinstance(value, bool)
