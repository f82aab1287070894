"""The pictures of docs/: of each recipe what it makes; of the terminal, reports and lists of runs how they look.

`python docs/pictures.py` trains and takes all of them, in ten minutes of one core; `python docs/pictures.py NAME ...`
those that are named. It needs chromium. The runs lie in runs/pictures; what is there already isn't trained again.
"""

from __future__ import annotations

import html
import json
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyte
from PIL import Image, ImageChops

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
RUNS = ROOT / "runs" / "pictures"
LARGEST = 20_000  # bytes
WIDTH = 480  # pixels, of a picture of a recipe


@dataclass(frozen=True)
class Card:
    """A card of a run's report.

    Args:
        title: what its title begins with.
        settings: overrides that make the run short.
        width: of the page that it is taken from, in pixels: a narrow one shows larger letters.
        shown: of pictures, passages or rows so many are kept; 0 keeps all.
    """

    title: str
    settings: tuple[str, ...] = ()
    width: int = WIDTH
    shown: int = 0


RECIPES = {
    "vision/digits-mlp": Card("Training loss"),
    "vision/digits": Card("Confusion matrix", ("train.epochs=8",)),
    "vision/digits-mae": Card("Filled in", ("train.epochs=10",), shown=6),
    "vision/shapes-detection": Card("Pictures", ("train.epochs=4",), shown=6),
    "vision/shapes-segmentation": Card("Worst examples", ("train.epochs=4",), shown=6),
    "gan/digits": Card("Samples", ("train.epochs=50", "task.judge_epochs=10", "task.film=0"), width=700),
    "nlp/languages": Card("Worst mistakes", ("train.epochs=3",), shown=7),
    "nlp/synthetic-questions": Card("Worst answers", ("train.epochs=2",), shown=4),
    "nlp/pydoc": Card("Written by the model", ("train.steps=200",), shown=1),
    "tabular/diabetes": Card("Predicted against true"),
    "recsys/synthetic": Card("Items by popularity", ("train.epochs=3",)),
    "rl/cartpole-ppo": Card("The policy"),
}


RATES = ("0.001", "0.003", "0.03")


def main(names: list[str]) -> None:
    """Take the pictures that are named, or all."""
    PICTURES.mkdir(exist_ok=True)
    RUNS.mkdir(parents=True, exist_ok=True)
    for name in names or makers():
        saved(makers()[name](), name.replace("/", "-"), WIDTH if name in RECIPES else 800)


def makers() -> dict[str, Callable[[], Image.Image]]:
    """What takes each picture, by its name."""
    made: dict[str, Callable[[], Image.Image]] = {name: partial(of_recipe, name, RECIPES[name]) for name in RECIPES}
    for dark, mode in ((False, "light"), (True, "dark")):
        made |= {
            f"terminal-{mode}": partial(of_terminal, dark),
            f"report-{mode}": partial(of_report, dark),
            f"runs-{mode}": partial(of_runs, dark),
            f"study-{mode}": partial(of_study, dark),
        }
    return made


def of_recipe(name: str, card: Card) -> Image.Image:
    """What a recipe makes: a card of its report, without title and note."""
    page = trained(name, card.settings, name.replace("/", "-")) / "report.html"
    if f"<h3>{card.title}" not in page.read_text(encoding="utf-8"):
        raise SystemExit(f"{page} has no card whose title begins with {card.title!r}")
    return photographed(page, card.width, alone(card))


def trained(name: str, settings: tuple[str, ...], folder: str) -> Path:
    where = RUNS / folder
    if not (where / "report.html").is_file():
        labwright("run", name, *settings, "--folder", str(where))
    return where


def labwright(*words: str) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "labwright", *words], check=True, cwd=RUNS, env=environment)


def alone(card: Card) -> str:
    """Markup that leaves a report's page with one card."""
    return f"""<script>
const card = [...document.querySelectorAll(".card")].find(
  one => (one.querySelector("h3")?.textContent || "").trim().startsWith({json.dumps(card.title)}));
document.querySelector("main").replaceChildren(card);
if ({card.shown}) for (const kind of ["figure", "tbody tr"])
  [...card.querySelectorAll(kind)].slice({card.shown}).forEach(one => one.remove());
</script>
<style>
body {{ background: var(--card) }} main {{ padding: 0; max-width: none }}
.card {{ border: 0; padding: .7rem }} .card > h3, .card > .small, .card > p.small {{ display: none }}
.sideways {{ overflow: hidden; margin: 0 }} .sideways > * {{ min-width: 0 }} .drawing.paper {{ padding: 0 }}
</style>"""


def of_report(dark: bool) -> Image.Image:
    """The head of a run's report."""
    file = trained("vision/digits", RECIPES["vision/digits"].settings, "vision-digits") / "report.html"
    return photographed(file, 960, dark=dark, height=1000)


def of_runs(dark: bool) -> Image.Image:
    """Runs over one another."""
    page = RUNS / "rates.html"
    if not page.is_file():
        runs = [trained("vision/digits-mlp", ("train.epochs=5", f"optimizer.lr={lr}"), f"lr-{lr}") for lr in RATES]
        labwright("runs", "report", *map(str, runs), "--out", str(page))
    return photographed(page, 960, dark=dark, height=900)


def of_study(dark: bool) -> Image.Image:
    """What a search found."""
    page = RUNS / "studies" / "searched" / "report.html"
    if not page.is_file():
        recipe = ("vision/digits-mlp", "task.data.valid=0.2", "train.epochs=2")
        labwright("tune", *recipe, "--trials", "12", "--name", "searched")
    return photographed(page, 960, dark=dark, height=1000)


# --------------------------------------------------------------------------------------------------- pages as pictures


def photographed(file: Path, width: int, added: str = "", *, dark: bool = False, height: int = 1600) -> Image.Image:
    """A page as chromium shows it, twice as fine, down to where nothing follows or to `height`."""
    with tempfile.TemporaryDirectory() as scratch:
        page, shot = Path(scratch, "page.html"), Path(scratch, "page.png")
        page.write_text(file.read_text(encoding="utf-8").replace("</body>", f"{added}</body>"), encoding="utf-8")
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=2")
        scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        where = (f"--screenshot={shot}", f"--window-size={width},{height}", str(page))
        subprocess.run(["chromium", *options, scheme, *where], check=True, capture_output=True)
        image = Image.open(shot).convert("RGB")
    empty = Image.new("RGB", image.size, image.getpixel((image.width - 1, image.height - 1)))
    _, _, _, bottom = ImageChops.difference(image, empty).getbbox() or (0, 0, 0, image.height)
    return image.crop((0, 0, image.width, min(image.height, bottom + 24)))


def saved(image: Image.Image, name: str, width: int) -> None:
    """Write a picture, as fine as its size allows."""
    image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    file = PICTURES / f"{name}.webp"
    for quality in range(90, 9, -5):
        image.save(file, quality=quality, method=6)
        if file.stat().st_size <= LARGEST:
            print(f"{file.name}: {image.width} x {image.height}, {file.stat().st_size:,} bytes, quality {quality}")
            return
    raise SystemExit(f"{file}: {file.stat().st_size:,} bytes; make it smaller")


# ------------------------------------------------------------------------------------------------------ the terminal

COLUMNS, ROWS = 100, 40
COLOURS = {  # of the pages that show it: ink, paper and what the names stand for
    False: {"default": "#1d1f23", "paper": "#ffffff", "green": "#17713f", "red": "#b3261e", "brown": "#8f5a00",
            "blue": "#2d62c9", "cyan": "#0b7285", "magenta": "#8a3fb0", "black": "#1d1f23", "white": "#62666e"},
    True: {"default": "#ebebe8", "paper": "#1c1e21", "green": "#6fcf9b", "red": "#ff8f85", "brown": "#f0c05a",
           "blue": "#82aaff", "cyan": "#66d9e8", "magenta": "#cf9bea", "black": "#62666e", "white": "#ebebe8"},
}  # fmt: skip


def of_terminal(dark: bool) -> Image.Image:
    """A terminal of 100 columns while a run is at its fourth epoch."""
    command = "labwright run vision/digits-mlp train.epochs=6"
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch, "terminal.html")
        body = f"<span style='opacity: .6'>$</span> <b>{html.escape(command)}</b>\n" + said(command, "epoch 4/6", dark)
        style = f"background: {COLOURS[dark]['paper']}; color: {COLOURS[dark]['default']}; margin: 0"
        pre = "font: 14px/1.5 'Liberation Mono', monospace; margin: 0; padding: 16px"
        page.write_text(f"<body style='{style}'><pre style=\"{pre}\">{body}</pre></body>", encoding="utf-8")
        return photographed(page, 880, dark=dark)


def said(command: str, until: str, dark: bool) -> str:
    """What stands on the terminal, as markup."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (ROWS, COLUMNS))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "OMP_NUM_THREADS": "1"}
    environment.pop("NO_COLOR", None)
    with tempfile.TemporaryDirectory() as scratch:
        program = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=scratch, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        while not re.search(until, "\n".join(screen.display)) and select.select([ours], [], [], 600)[0]:
            try:
                stream.feed(os.read(ours, 4096))
            except OSError:  # it has ended
                break
        program.kill()
        program.wait()
    os.close(ours)
    rows = [_row(screen.buffer[number], dark) for number in range(ROWS)]
    return "\n".join(rows).rstrip()


def _row(cells: dict[int, pyte.screens.Char], dark: bool) -> str:
    row = ""
    for column in range(COLUMNS):
        cell = cells[column]
        named = cell.fg.removeprefix("bright")
        colour = COLOURS[dark].get(named, f"#{named}")
        weight = "bold" if cell.bold else "normal"
        row += f"<span style='color: {colour}; font-weight: {weight}'>{html.escape(cell.data)}</span>"
    return re.sub(r"(<span [^>]*> </span>)+$", "", row)


if __name__ == "__main__":
    main(sys.argv[1:])
