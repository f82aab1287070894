"""Ranks: the processes that train one run together, each on its share of every batch. Alone, nothing here does a thing.

How many there are is never in a recipe: it comes from the environment, as torchrun or Slurm's srun sets it. What the
first process decides or makes reaches the others through a store of texts, which is waited for as long as the first
lives; what is the same work on all goes through collectives, which have a time limit.
"""

from __future__ import annotations

import math
import os
import pickle
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count as numbers
from typing import Any, TypeVar

from labwright.base.errors import LabwrightError, RunFailed, words

# what plugins may use, see docs/reference
__all__ = ["any", "count", "first", "gathered", "leave", "number", "shared", "summed"]
T = TypeVar("T")
SECONDS = "LABWRIGHT_RANKS_SECONDS"  # the variable that says how long a collective may take
_FAILED = "failed"  # the key of what the first process to fail says


@dataclass
class _Group:
    """The processes this one has joined."""

    number: int
    count: int
    local: int  # this one's number on its machine
    store: Any
    calls: Iterator[int] = field(default_factory=numbers)  # of `by_first`, alike on all


_joined: _Group | None = None


def join() -> None:
    """Join the processes that the environment tells of, if it tells of others; once is enough.

    Raises LabwrightError for an environment that isn't whole, and RunFailed if the others don't come.
    """
    global _joined
    told = _told()
    if _joined is not None or told is None or told[1] == 1:
        return
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    number, count, local = told
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, _, _ = next(rendezvous("env://", number, count))
        # torchrun keeps one store over its restarts: what the processes before said is not for these
        store = PrefixStore(f"labwright/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        store.set(f"up/{number}", "1")
        store.wait([f"up/{other}" for other in range(count)])  # one may start long after another: no limit of ours
        limit = timedelta(seconds=_limit())
        dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=limit)
    except (RuntimeError, ValueError) as error:
        raise RunFailed(f"process {number} of {count} didn't find the others: {words(error)}.") from error
    _joined = _Group(number, count, local, PrefixStore("said", store))


def leave() -> None:
    """Wait until all have come here, then part: whoever starts them ends the others when one ends.

    Verbs do so by themselves; a program of your own that trains does it last.

    Example: `lw.ranks.leave()`
    """
    global _joined
    if _joined is None:
        return
    import torch.distributed as dist

    with suppress(RunFailed, RuntimeError):  # one that has failed has said so
        met("left")
    _joined = None
    dist.destroy_process_group()


def count() -> int:
    """How many processes train together; 1 where there is only this one.

    Example: `share = len(rows) / lw.ranks.count()`
    """
    return 1 if _joined is None else _joined.count


def number() -> int:
    """Which of the processes this is, from 0.

    Example: `mine = files[lw.ranks.number() :: lw.ranks.count()]`
    """
    return 0 if _joined is None else _joined.number


def local() -> int:
    """Which of those on its machine this is, from 0."""
    return 0 if _joined is None else _joined.local


def first() -> bool:
    """Whether this is the process that logs, writes and prints.

    Example: `if lw.ranks.first(): path.write_text(summary)`
    """
    return number() == 0


def by_first(act: Callable[[], T]) -> T:
    """What the first process makes, on all of them; an error of it is raised on all. It may take its time."""
    if _joined is None:
        return act()
    key = f"made/{next(_joined.calls)}"
    if not first():
        value, error = pickle.loads(_awaited(key))  # noqa: S301 - of our own first process
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]
    try:
        value = act()
    except Exception as error:
        told = error if isinstance(error, LabwrightError) else RunFailed(f"the first process failed: {words(error)}")
        _joined.store.set(key, pickle.dumps((None, told)))
        raise
    _joined.store.set(key, pickle.dumps((value, None)))
    return value


def shared(value: T) -> T:
    """The first process's value, on all of them. All have to ask.

    Example: `trial = lw.ranks.shared(study.ask() if lw.ranks.first() else None)`
    """
    return by_first(lambda: value)


def in_turn(act: Callable[[], None]) -> None:
    """Let the first process do something, then the others: what it fetched or kept they find."""
    by_first(act)
    if not first():
        act()


def summed(values: Sequence[float]) -> list[float]:
    """Numbers summed over all processes, in float64; all have to ask, for as many.

    Example: `correct, seen = lw.ranks.summed([correct, seen])`
    """
    if _joined is None:
        return list(values)
    import torch
    import torch.distributed as dist

    sums = torch.tensor(values, dtype=torch.float64)
    with guarded():
        dist.all_reduce(sums)
    return sums.tolist()


def any(flag: bool) -> bool:  # noqa: A001 - it is the word for it
    """Whether it is so on any of the processes; all have to ask.

    Example: `if lw.ranks.any(buffer_full): flush()`
    """
    return flag if _joined is None else summed([float(flag)])[0] > 0


def gathered(value: T) -> list[T]:
    """The values of all processes in the order of their numbers, on the first; an empty list on the others.

    Example: `rows = [row for part in lw.ranks.gathered(rows) for row in part]`
    """
    if _joined is None:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * _joined.count
    with guarded():
        dist.gather_object(value, values if first() else None)
    return values if first() else []


def met(place: str, word: str = "here", within: float = math.inf) -> list[str]:
    """Wait, in any thread, until all have come to a place, named once. Returns the word that each has left there.

    It is empty for one that didn't come within so many seconds. Raises RunFailed if one fails.
    """
    if _joined is None:
        return [word]
    _joined.store.set(f"{place}/{number()}", word)
    end = time.monotonic() + within
    return [_awaited(f"{place}/{other}", end).decode() for other in range(count())]


def speaks(message: str) -> bool:
    """Tell the others why this process fails; whether it is the one that says so to the person."""
    if _joined is None:
        return True
    mine = f"{number()}: {message}".encode()
    try:
        return bool(_joined.store.compare_set(_FAILED, "", mine.decode()) == mine)
    except RuntimeError:
        return first()  # the store was the first process's, and is gone with it


@contextmanager
def guarded() -> Iterator[None]:
    """Within it a collective that fails is told as what became of the others. Raises RunFailed."""
    try:
        yield
    except RuntimeError as error:
        if _joined is None:
            raise
        raise RunFailed(_what_happened(error)) from error


def _what_happened(error: Exception) -> str:
    """Why the others didn't answer: what one of them says, or which of them are missing."""
    group = _joined
    assert group is not None
    try:
        group.store.set(f"here/{group.number}", "1")
        end = time.monotonic() + 3  # one that failed says so before its connections close
        while time.monotonic() < end:
            if group.store.check([_FAILED]):
                return str(group.store.get(_FAILED).decode()).partition(": ")[2]
            time.sleep(0.05)
        missing = [str(other) for other in range(group.count) if not group.store.check([f"here/{other}"])]
    except RuntimeError:
        missing = ["0"]  # which keeps the store
    who = f"process {' and '.join(missing)} of {group.count} (counted from 0)" if missing else "the connection"
    said = words(error).partition(". This is typically")[0]  # what gloo adds is of no help
    return f"{who} ended, or didn't answer within {_limit():g} s (${SECONDS} sets the limit): {said}."


def _awaited(key: str, end: float = math.inf) -> bytes:
    """What another sets, nothing if it hasn't by the end. Raises RunFailed with what one says that fails meanwhile."""
    group, pause = _joined, 1e-4
    assert group is not None
    with guarded():
        while not group.store.check([key]):
            if group.store.check([_FAILED]):
                raise RuntimeError("one of them failed")
            if time.monotonic() > end:
                return b""
            time.sleep(pause)
            pause = min(2 * pause, 0.05)
        return group.store.get(key)  # type: ignore[no-any-return]


def _limit() -> float:
    return float(os.environ.get(SECONDS, "600"))


def _told() -> tuple[int, int, int] | None:
    """This process's number, how many there are, and its number on its machine, as torchrun or srun says."""
    env = os.environ
    if "RANK" in env and "WORLD_SIZE" in env:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        # of the step, which srun sets: in a batch script without srun there is one process, whatever was asked for
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
        env.setdefault("MASTER_ADDR", _first_host(env["SLURM_STEP_NODELIST"]))
        env.setdefault("MASTER_PORT", str(20000 + (int(env["SLURM_JOB_ID"]) * 7 + int(env["SLURM_STEP_ID"])) % 20000))
    else:
        return None
    for name in names:
        if not env.get(name, "").isdecimal():
            raise LabwrightError(
                f"the environment tells of several processes by {' and '.join(names[:2])}, but {name} is "
                f"{env.get(name)!r} and no number. torchrun sets all of them; unset them to train on one process."
            )
    return int(env[names[0]]), int(env[names[1]]), int(env[names[2]])


def _first_host(nodes: str) -> str:
    """The first name of Slurm's list of nodes, such as `node[03-05,9]`."""
    try:
        command = ["scontrol", "show", "hostnames", nodes]  # the one of this cluster, wherever it lies
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return re.sub(r"\[(\d+).*", r"\1", nodes.split(",")[0])
