"""From single figures to tables: medians, quartiles, ratios within a round, and the machine they hold for."""

import datetime
import json
import os
import platform
import statistics
import subprocess
from pathlib import Path

from plan import MEASURES, REFERENCE

HERE = Path(__file__).parent
# of other scripts, repeated in RESULTS.md
BESIDE = (
    "FUSED.md",
    "AUTO.md",
    "STUDIES.md",
    "MANY_TRIALS.md",
    "PARETO.md",
    "LISTING.md",
    "PRIVATE.md",
    "RL.md",
    "PROCESSES.md",
    "PICTURES_BESIDE_PEERS.md",
    "ENCODERS.md",
    "GENERATING.md",
)
DISTRIBUTIONS = (
    "labwright", "torch", "lightning", "transformers", "accelerate", "pytorch-ignite", "fastai", "keras", "numpy",
)  # fmt: skip
EXPLANATION = """\
Every figure is a median over rounds, with the quartiles in brackets. The ratio is to the hand-written DataLoader loop
of the same round. Each measurement is a process of its own with one thread. The cost of a step is marginal: a fit of
2E epochs less a fit of E, divided by the steps of E, so that set-up and teardown don't count; "whole fit" is the CPU
time of the fit of E epochs in a warm process, where they do. The loss is measured after the fit over the same rows for
all: a contender whose loss is not low did not train."""


def markdown(results: dict[str, dict[str, dict]], machine: dict) -> str:
    """RESULTS.md: the machine, then one table for each measure."""
    versions = " · ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [
        "# What the training loop costs\n",
        f"{machine['date']} · {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB · "
        f"{machine['system']} · Python {machine['python']} · load at the start {machine['load']}  \n"
        f"{versions}  \n`{machine['command']}`\n",
        EXPLANATION + "\n",
    ]
    parts += [_table(measure, entries) for measure, entries in results.items()]
    parts += [file.read_text(encoding="utf-8") for name in BESIDE if (file := HERE / name).is_file()]
    return "\n".join(parts)


def one_line(measure: str, result: dict) -> str:
    """One result for the progress lines."""
    if "skipped" in result:
        return f"skipped: {result['skipped']}"
    return f"{_number(result['value'])} {MEASURES[measure].unit}"


def summary(values: list[float]) -> tuple[float, float, float]:
    """Median, first and third quartile."""
    if len(values) == 1:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def machine_facts(python: Path, command: str) -> dict:
    """What the figures hold for."""
    ask = (
        "import json, platform, sys, importlib.metadata as m\n"
        "def version(name):\n"
        "    try: return m.version(name)\n"
        "    except m.PackageNotFoundError: return None\n"
        "found = {name: version(name) for name in sys.argv[1:]}\n"
        "print(json.dumps([platform.python_version(), {k: v for k, v in found.items() if v}]))"
    )
    told = subprocess.run([str(python), "-c", ask, *DISTRIBUTIONS], check=True, capture_output=True, text=True)
    python_version, versions = json.loads(told.stdout)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": python_version,
        "versions": versions,
        "load": round(os.getloadavg()[0], 2),
        "command": command,
    }


def _table(measure: str, entries: dict[str, dict]) -> str:
    spec = MEASURES[measure]
    ran = [name for name, entry in entries.items() if entry["rounds"]]
    rounds = max(len(entry["rounds"]) for entry in entries.values())
    extra = {name: _extra(spec.kind, entries[name]["rounds"]) for name in ran}
    titles = list(next(iter(extra.values()), {}))
    header = ["contender", spec.unit, "ratio", *titles]
    lines = [
        f"## {spec.title}\n",
        f"`{measure}`, {rounds} round{'s' if rounds > 1 else ''}. Aim: {spec.aim}.\n",
        "| " + " | ".join(header) + " |",
        "| --- |" + " ---: |" * (len(header) - 1),
    ]
    for name in ran:
        values = [result["value"] for result in entries[name]["rounds"]]
        cells = [name, _spread(values), _spread(_ratios(entries, name)), *extra[name].values()]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"\nNot measured: {name} ({entry['skipped']})." for name, entry in entries.items() if "skipped" in entry]
    return "\n".join(lines) + "\n"


def _extra(kind: str, rounds: list[dict]) -> dict[str, str]:
    """Further columns: elapsed time of a step, CPU time of a whole fit, and the loss that shows it trained."""
    columns = {}
    if kind == "step":
        columns["elapsed µs"] = _number(statistics.median(result["wall"] for result in rounds))
        columns["whole fit, s"] = _number(statistics.median(result["whole"] for result in rounds))
    if kind != "start":
        columns["loss after"] = f"{statistics.median(result['loss'] for result in rounds):.4f}"
    return columns


def _ratios(entries: dict[str, dict], name: str) -> list[float]:
    """To the reference of the same round."""
    pairs = zip(entries[name]["rounds"], entries[REFERENCE]["rounds"], strict=False)
    return [mine["value"] / reference["value"] for mine, reference in pairs]


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    middle, low, high = summary(values)
    return f"{_number(middle)} [{_number(low)}, {_number(high)}]"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}"


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"
