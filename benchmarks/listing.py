"""What fifty installed plugins cost `labwright list` and `--help`, beside none of them: wall time of whole commands.

The plugins are distributions as pip leaves them, each with a verb, a kind, five components, one of that kind, and a
recipe. No target is imported: what they name isn't there. The commands are interleaved; what is installed in the
environment besides is there both times.

Example: `.venv/bin/python benchmarks/listing.py --rounds 15`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLUGINS = 50
MENU = """\
from pathlib import Path
import labwright as lw

@lw.hookimpl
def labwright_kinds():
    yield lw.Kind("{name}", "labwright_{name}.kind:Base", "{name}-things", "`labwright {name}`")

@lw.hookimpl
def labwright_verbs():
    yield lw.Verb("{name}", "labwright_{name}.verb:verb", "made for a benchmark")

@lw.hookimpl
def labwright_components():
    yield lw.Component("{name}", "{name}/thing", "labwright_{name}.kind:Thing", "made for a benchmark")
    for number in range(4):
        yield lw.Component("model", f"{name}/net-{{number}}", "labwright_{name}.models:Net", "made for a benchmark")

@lw.hookimpl
def labwright_recipes():
    yield lw.Recipe("{name}/recipe", Path(__file__).parent / "recipe.toml", "made for a benchmark")
"""
ASKED = """\
import sys
from labwright.cli import main

sys.argv[0] = "labwright"
try:
    main()
finally:
    assert "torch" not in sys.modules
    imported = [name for name in sys.modules if name.startswith("labwright_d") and "." in name]
    assert all(name.endswith(".plugin") for name in imported), imported
"""


def install(site: Path, name: str) -> None:
    info, package = site / f"labwright_{name}-1.0.dist-info", site / f"labwright_{name}"
    info.mkdir()
    package.mkdir()
    stated = f"Metadata-Version: 2.1\nName: labwright-{name}\nVersion: 1.0\nRequires-Dist: labwright>=0.2,<0.3\n"
    (info / "METADATA").write_text(stated)
    (info / "entry_points.txt").write_text(f"[labwright]\n{name} = labwright_{name}.plugin\n")
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(MENU.format(name=name))
    subprocess.run([sys.executable, "-m", "compileall", "-q", package], check=True)  # as pip does it


def seconds(command: str, site: Path | None) -> float:
    environment = os.environ | {"COLUMNS": "120"}
    if site is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    begun = time.perf_counter()
    words = [sys.executable, "-c", ASKED, command]
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    spent = time.perf_counter() - begun
    assert ("d49" in said.stdout) == (site is not None), said.stderr
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch)
        for number in range(PLUGINS):
            install(site, f"d{number:02d}")
        for command in ("list", "--help"):
            spent: dict[Path | None, list[float]] = {None: [], site: []}
            for number in range(options.rounds + 1):  # the first warms up
                for where in (None, site) if number % 2 else (site, None):
                    found = seconds(command, where)
                    spent[where] += [found] if number else []
            ratios = sorted(many / none for many, none in zip(spent[site], spent[None], strict=True))
            without, beside = (statistics.median(spent[where]) * 1000 for where in (None, site))
            print(f"labwright {command}: none {without:.0f} ms, {PLUGINS} plugins {beside:.0f} ms")
            print(
                f"  ratio {statistics.median(ratios):.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}], {options.rounds} rounds"
            )


if __name__ == "__main__":
    main()
