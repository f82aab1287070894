"""A study's worker processes on the nodes of a Ray cluster.

Ray carries bytes: an actor on a node starts the same worker process that `tune --workers` starts, and hands on what it
is told and what it says. So a study on Ray is that study, and a node that is lost is a worker that died.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from labwright import LabwrightError
from labwright.cli.shared import say
from pydantic import Field

OBJECTS = 100 * 2**20  # bytes of shared memory of a Ray that is begun here: it carries a few lines of text
CPUS = 0.001  # of a node for each worker: always to be had when others are lost; of 0 Ray heeds no wish where to go
PATIENCE = 120.0  # seconds for a node to have room; then another is asked, or another worker has the trial
ANSWERS = 10.0  # seconds for a node to answer that a process has ended
LOST = -9  # what a process ended with whose node is gone


class Ray:
    """The nodes of a Ray cluster, on which the same is installed as here, and files have the same paths.

    Each worker goes to the node that has the fewest for its CPUs, whatever else runs there.

    Args:
        address: of a cluster, `ray://HOST:PORT`; left out, it is the one that this machine is in, and if there is none,
            one is begun here and ended with the study.
        gpus: how many GPUs, or what part of one, each worker has for itself.
    """

    def __init__(self, *, address: str | None = None, gpus: Annotated[float, Field(ge=0)] = 0.0) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        # under `uv run` Ray would upload this folder and start its workers by `uv run` too: they never begin
        os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        try:
            import ray
        except ImportError as error:
            raise LabwrightError("Ray isn't installed: pip install 'labwright-cluster[ray]'") from error
        self._ray: Any = ray
        self._gpus = gpus
        self._processes: list[RayProcess] = []
        try:
            self._connect(address)
        except Exception as error:
            where = f"Ray at {address!r} doesn't answer" if address else "Ray can't be begun here"
            raise LabwrightError(f"{where}: {_why(error)}") from error
        count = len(self._nodes())
        say(
            f"note: trials run on Ray, on {count} node{'s' * (count != 1)}; they repeat exactly if the nodes are "
            "alike, and with --asynchronous, where none waits for others, they don't"
        )

    def _connect(self, address: str | None) -> None:
        quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        try:
            self._ray.init(address or "auto", **quiet)
        except ConnectionError:
            if address:
                raise
            self._ray.init("local", object_store_memory=OBJECTS, include_dashboard=False, **quiet)

    def _nodes(self) -> dict[str, float]:
        """The nodes that a worker may run on, with their CPUs."""
        there = {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}
        nodes = {node: has["CPU"] for node, has in there.items() if has.get("CPU") and has.get("GPU", 0) >= self._gpus}
        if not nodes:
            raise LabwrightError(f"none of Ray's {len(there)} nodes has a CPU and {self._gpus:g} GPUs for a worker.")
        return nodes

    def begin(self, start: Callable[[], Any]) -> RayProcess:
        """Call `start`, which starts a worker process, on a node. Returns what stands for that process here."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        taken = Counter(process.node for process in self._processes if process.code is None)
        nodes = self._nodes()
        node = min(nodes, key=lambda node: taken[node] / nodes[node])
        actor = self._ray.remote(
            num_cpus=CPUS,
            num_gpus=self._gpus,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True),
        )(_Actor)
        self._processes.append(RayProcess(self._ray, actor.remote(start, str(Path.cwd())), node))
        return self._processes[-1]

    def close(self) -> None:
        """Leave the cluster, or end the one that was begun."""
        self._ray.shutdown()


class _Actor:
    """On a node: a worker process, for whoever isn't there. It can be told something while it is heard."""

    def __init__(self, start: Callable[[], Any], folder: str) -> None:
        os.chdir(folder)  # the folders of trials are told as they were given
        self.process = start()
        self._waiting: dict[int, bytes] = {}
        self._told = 0

    async def ready(self) -> None:
        """Answers once the process is begun."""

    async def tell(self, number: int, line: bytes) -> None:
        self._waiting[number] = line  # calls may overtake one another
        while self._told in self._waiting:
            self.process.tell(self._waiting.pop(self._told))
            self._told += 1

    async def hear(self) -> Any:
        return await asyncio.to_thread(self.process.hear)

    async def leave(self) -> None:
        self.process.leave()

    async def end(self, patience: float) -> Any:
        return await asyncio.to_thread(self.process.end, patience)


class RayProcess:
    """A worker process on a node, as if it were here: a pipe has what it says, and ends with it."""

    def __init__(self, ray: Any, actor: Any, node: str) -> None:
        self._ray, self._actor, self.node = ray, actor, node
        self._expected, self._told = False, 0
        self.code: int | None = None
        self._reads, writes = os.pipe()
        threading.Thread(target=self._listen, args=(writes,), daemon=True).start()

    def fileno(self) -> int:
        return self._reads

    def tell(self, line: bytes) -> None:
        with suppress(self._ray.exceptions.RayError):  # one that has died is noticed where it is listened to
            self._actor.tell.remote(self._told, line)
            self._told += 1

    def hear(self) -> bytes:
        return os.read(self._reads, 1 << 20)

    def leave(self) -> None:
        """Tell it nothing more: if it is idle, it ends by itself."""
        self._expected = True
        with suppress(self._ray.exceptions.RayError):
            self._actor.leave.remote()

    def end(self, patience: float = 0.0) -> int:
        """End it and its actor, if it hasn't ended within so many seconds. Returns its exit code."""
        if self.code is None:
            self._expected, self.code = True, LOST
            with suppress(self._ray.exceptions.RayError):
                self.code = int(self._ray.get(self._actor.end.remote(patience), timeout=patience + ANSWERS))
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(self._actor)
            os.close(self._reads)
        return self.code

    def _listen(self, writes: int) -> None:
        """Hand on what the process says, until it has ended or its node is gone."""
        with os.fdopen(writes, "wb", buffering=0) as pipe:
            try:
                self._ray.get(self._actor.ready.remote(), timeout=PATIENCE)
                while heard := self._ray.get(self._actor.hear.remote()):
                    pipe.write(heard)
                reason = "it ended; what it said is in Ray's logs"
            except self._ray.exceptions.GetTimeoutError:
                reason = f"it hasn't begun within {PATIENCE:g} s: there was no room, or Ray's logs say why"
            except (self._ray.exceptions.RayError, OSError) as error:
                reason = _why(error)
            if not self._expected:
                say(f"a worker on Ray's node {self.node[:8]} is gone: {reason}")


def _why(error: Exception) -> str:
    """What an error of Ray's says, in a line: of what broke in an actor the last one, else the first that says it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if "creation task" in lines[0]:
        return lines[-1]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
