"""What trackers share: the figures of a run's log, a recipe's settings one by one, how a tracker's errors are told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labwright import LabwrightError


@dataclass(frozen=True)
class Record:
    """A line of metrics.jsonl: `event` is train or evaluation, `split` what was measured, `train` for losses."""

    event: str
    split: str
    step: int
    values: Mapping[str, float]

    def tagged(self) -> dict[str, float]:
        """The figures by SPLIT/NAME, as trackers of one space of names take them."""
        return {f"{self.split}/{name}": value for name, value in self.values.items()}


def records(folder: Path) -> Iterator[Record]:
    """What a run's log holds by now; that of a resumed run has been cut back to its checkpoint when listeners hear."""
    file = folder / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []
    for line in lines:
        record = json.loads(line)
        step = record["step"]
        if record["event"] == "evaluation":
            values, split = record["metrics"], record["split"]
        else:
            values = {key: one for key, one in record.items() if key not in ("event", "step", "epoch", "seconds")}
            split = "train"
        # one that isn't finite is a text there
        yield Record(record["event"], split, step, {name: float(value) for name, value in values.items()})


def settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's settings by dotted path, without what only watches the run; a list of tables by their names."""
    return dict(_leaves({key: one for key, one in recipe.items() if key != "log"}, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list | tuple) and value and all(isinstance(one, Mapping) for one in value):
        value = {str(one.get("name", number)): one for number, one in enumerate(value)}
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        yield path, json.dumps(value, default=str)
    else:
        yield path, value if isinstance(value, bool | int | float | str) else str(value)


def kept(file: Path) -> dict[str, Any]:
    """What `keep` has written in a run's folder, or nothing. Raises LabwrightError for what it hasn't."""
    if not file.is_file():
        return {}
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
        return {"id": str(table.pop("id")), **table}
    except (ValueError, KeyError, AttributeError) as error:
        raise LabwrightError(f"{file} doesn't say which run to go on with; remove it to begin another.") from error


def keep(file: Path, **table: str) -> None:
    """Write down which run of a tracker this is, once: never over another file."""
    with file.open("x", encoding="utf-8") as opened:
        opened.write(json.dumps(table) + "\n")


@contextmanager
def beginning(logger: str) -> Iterator[None]:
    """Within it a tracker's package is imported and its run begun. Raises LabwrightError for whatever goes wrong."""
    try:
        yield
    except LabwrightError:
        raise
    except ImportError as error:
        said = f"logger {logger!r} can't be used ({error}): pip install 'labwright[{logger}]'."
        raise LabwrightError(said) from error
    except Exception as error:
        raise LabwrightError(f"logger {logger!r} can't begin: {_line(error)}. `log=[]` trains without it.") from error


@contextmanager
def under_way(logger: str) -> Iterator[None]:
    """Within it whatever a tracker raises is an OSError, which ends nothing but the calls of that hook."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"logger {logger!r}: {_line(error)}") from error


def _line(error: Exception) -> str:
    said = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
