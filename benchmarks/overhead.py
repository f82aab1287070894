"""What a training framework costs: labwright and its peers beside the loop one would write by hand.

Each measurement is a process of its own with one thread; rounds are interleaved (A B C, A B C, ...); figures are
medians over rounds and ratios to the hand-written DataLoader loop of the same round. README.md says how to set it up.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

import report
from plan import CONTENDERS, MEASURES, REFERENCE

HERE = Path(__file__).resolve().parent
PEERS_PYTHON = HERE / ".venv" / "bin" / "python"
TIME_LIMIT = 1200  # seconds a child may take
EXAMPLE = """example:
  python benchmarks/overhead.py --only step,labwright,lightning --rounds 3
      the cost of a step, for labwright, Lightning and the hand-written loop
  python benchmarks/overhead.py --quick
      every contender for a few steps: does it all run?  (its figures mean nothing)"""


def main() -> None:
    """Measure, print the tables, and keep those of a full run."""
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the child is ended and its folder deleted
    warn_of_load()
    machine = report.machine_facts(options.python, command_line())
    results = run_rounds(options)
    text = report.markdown(results, machine)
    if options.json:
        print(json.dumps({"machine": machine, "measures": results}, indent=2))
    else:
        print(text)
    partial = options.quick or options.only
    target = options.out or (None if partial else HERE / "RESULTS.md")
    if target:
        target.write_text(text, encoding="utf-8")
        say(f"wrote {target.name}")


def parse_arguments() -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*MEASURES, *CONTENDERS]
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=[], metavar="NAME,...",
        help=f"measures ({', '.join(MEASURES)}) and contenders ({', '.join(CONTENDERS)}); the reference always runs",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (default: 5)")
    parser.add_argument("--quick", action="store_true", help="a few steps each, one round: checks that all of it runs")
    parser.add_argument("--json", action="store_true", help="print every single figure as JSON instead of tables")
    parser.add_argument("--out", type=Path, help="where the tables go (default: RESULTS.md, for a full run only)")
    parser.add_argument(
        "--output", choices=["terminal", "file"], default="terminal",
        help="what contenders write their progress to: a (pretended) terminal, so that bars are drawn, or a file",
    )  # fmt: skip
    parser.add_argument("--python", type=Path, default=PEERS_PYTHON, help="the Python that has the contenders")
    options = parser.parse_args()
    for name in options.only:
        if name not in names:
            parser.error(f"--only knows no {name!r}; there are {', '.join(names)}")
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; at least 1 is needed")
    if not options.python.exists():
        parser.error("the benchmarks' own environment is missing; benchmarks/README.md has the two lines that make it")
    if options.quick:
        options.rounds = 1
    return options


def chosen(only: list[str]) -> dict[str, list[str]]:
    """Measure -> contenders, as narrowed by --only; the reference is always among them."""
    measures = [name for name in MEASURES if name in only] or list(MEASURES)
    contenders = {name for name in CONTENDERS if name in only} or set(CONTENDERS)
    return {
        measure: [name for name in MEASURES[measure].contenders if name in contenders | {REFERENCE}]
        for measure in measures
    }


def run_rounds(options: argparse.Namespace) -> dict[str, dict[str, dict]]:
    """Measure -> contender -> {"rounds": [result, ...]} or {"skipped": why}."""
    plan = chosen(options.only)
    results = {measure: {name: {"rounds": []} for name in names} for measure, names in plan.items()}
    with tempfile.TemporaryDirectory(prefix="overhead-") as home:
        for number in range(1, options.rounds + 1):
            for measure, names in plan.items():
                for name in names:
                    entry = results[measure][name]
                    if "skipped" in entry:
                        continue
                    result = run_child(measure, name, options, Path(home))
                    if "skipped" in result:
                        entry["skipped"] = result["skipped"]
                    else:
                        entry["rounds"].append(result)
                    say(f"round {number}/{options.rounds}  {measure:12} {name:15} {report.one_line(measure, result)}")
    return results


def run_child(measure: str, name: str, options: argparse.Namespace, home: Path) -> dict:
    """One measurement in its own process: what child.py wrote, or why it wrote nothing."""
    spec = MEASURES[measure]
    with tempfile.TemporaryDirectory(dir=home) as folder:
        result = Path(folder) / "result.json"
        asked = {
            "contender": name, "kind": spec.kind, "work": spec.work, "quick": options.quick,
            "result": str(result), "folder": folder, "started": time.monotonic(),
        }  # fmt: skip
        command = [str(options.python), str(HERE / "child.py"), json.dumps(asked)]
        start = run_in_terminal if options.output == "terminal" else run_to_file
        code, tail = start(command, child_environment(home))
        if result.exists():
            return json.loads(result.read_text(encoding="utf-8"))
    return {"skipped": f"ended with status {code}: {last_line(tail)}"}


def child_environment(home: Path) -> dict[str, str]:
    """One thread, no GPU, nothing fetched, nothing written into the user's home."""
    folders = {name: str(home) for name in ("HF_HOME", "KERAS_HOME", "FASTAI_HOME", "MPLCONFIGDIR")}
    fixed = {
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1",
        "KERAS_BACKEND": "torch", "TERM": "xterm-256color",
    }  # fmt: skip
    return os.environ | folders | fixed


def run_in_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and the end of the output of a command that believes it writes to a terminal."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (30, 120))
    tail = bytearray()

    def drain() -> None:
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:  # the last writer has closed it
                return
            if not block:
                return
            tail.extend(block)
            del tail[:-4000]

    reader = threading.Thread(target=drain)
    process = subprocess.Popen(
        command, cwd=HERE, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    reader.start()
    try:
        code = process.wait(TIME_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
        tail.extend(f"\nstopped after {TIME_LIMIT} s".encode())
    finally:
        process.kill()  # nothing once it has ended; needed when this run is interrupted
    reader.join(timeout=5)
    os.close(ours)
    return code, tail.decode(errors="replace")


def run_to_file(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and the end of the output of a command that writes to a file, as a batch job does."""
    with tempfile.TemporaryFile() as output:
        try:
            code = subprocess.run(
                command, cwd=HERE, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                timeout=TIME_LIMIT, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return -9, f"stopped after {TIME_LIMIT} s"
        output.seek(max(0, output.seek(0, os.SEEK_END) - 4000))
        return code, output.read().decode(errors="replace")


def last_line(text: str) -> str:
    """The last line with something on it, without the codes that colour it."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines = [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]
    return lines[-1] if lines else "no output"


def warn_of_load() -> None:
    """Say so when the machine is busy with something else."""
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"the machine is busy (load {load:.1f}): figures will be noisy")


def command_line() -> str:
    """How this run was started, as someone else would type it."""
    return " ".join(["python", "benchmarks/overhead.py", *sys.argv[1:]])


def say(text: str) -> None:
    """Progress, for a person."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
