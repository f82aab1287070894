"""What fifty installed plugins cost `labwright list`, beside none of them: wall time of whole commands, interleaved.

The plugins are distributions as pip leaves them, each with five components and a recipe, none of which imports torch.
What is installed in the environment besides is there both times.

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

MENU = """\
from pathlib import Path
import labwright as lw

@lw.hookimpl
def labwright_components():
    for number in range(5):
        yield lw.Component("model", f"{name}/net-{{number}}", "labwright_{name}.models:Net", "made for a benchmark")

@lw.hookimpl
def labwright_recipes():
    yield lw.Recipe("{name}/recipe", Path(__file__).parent / "recipe.toml", "made for a benchmark")
"""
ASKED = """\
import sys
from labwright.cli import main

sys.argv = ["labwright", "list"]
try:
    main()
finally:
    assert "torch" not in sys.modules
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


def seconds(site: Path | None) -> float:
    environment = os.environ | {"PYTHONPATH": str(site or "")}
    begun = time.perf_counter()
    said = subprocess.run([sys.executable, "-c", ASKED], env=environment, capture_output=True, text=True, check=True)
    spent = time.perf_counter() - begun
    assert ("d49/net-4" in said.stdout) == (site is not None), said.stderr
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--plugins", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch)
        for number in range(options.plugins):
            install(site, f"d{number:02d}")
        none, many = [], []
        for number in range(options.rounds + 1):  # the first warms up
            for where, spent in ((None, none), (site, many)) if number % 2 else ((site, many), (None, none)):
                found = seconds(where)
                spent += [found] if number else []
    ratios = sorted(one / other for one, other in zip(many, none, strict=True))
    without, beside = (statistics.median(one) * 1000 for one in (none, many))
    print(f"none {without:.0f} ms, {options.plugins} plugins {beside:.0f} ms")
    print(f"ratio {statistics.median(ratios):.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}], {options.rounds} rounds")


if __name__ == "__main__":
    main()
