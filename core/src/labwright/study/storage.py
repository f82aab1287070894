"""Where a study is kept: a journal file in its folder, or a database or gRPC proxy by its URL; and who drives it.

A journal is locked by the kernel, so that a lock is gone with its process. Optuna's journal and gRPC storages have no
heartbeat: whoever runs trials renews a lease, in the study's system attributes for `tune`, which runs them alone, and
in the trial's where several machines share a study. What lies under an expired lease is taken over, once.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import TrialState

from labwright.errors import LabwrightError

LEASE = "labwright:lease"
SECONDS = 60.0  # a lease holds that long, and is renewed three times in it


class Journal(BaseJournalBackend):
    """A journal file whose lock the kernel takes back when its process ends, however it ends (flock).

    What is written reaches the disk when a trial ends, not with every line: a process that dies loses nothing.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._inner = JournalFileBackend(str(file))

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        return self._inner.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with locked(self._file), self._file.open("ab") as journal:
            journal.write(lines.encode())
            journal.flush()
            if any("state" in log for log in logs):
                os.fsync(journal.fileno())


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Within it no other process writes the file."""
    with file.with_name(file.name + ".flock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def opened(url: str) -> BaseStorage:
    """The storage of a URL: `journal:PATH`, `grpc://HOST:PORT`, or a database, such as `sqlite:///FILE`.

    Raises LabwrightError if it can't be reached, or its driver isn't installed.
    """
    kind, _, rest = url.partition(":")
    try:
        if kind == "journal":
            file = Path(rest)
            file.parent.mkdir(parents=True, exist_ok=True)
            mended(file)
            return JournalStorage(Journal(file))
        if kind == "grpc":
            host, _, port = rest.removeprefix("//").partition(":")
            return GrpcStorageProxy(host=host, port=int(port))
        if "://" not in url:
            raise LabwrightError(
                f"given the storage {url!r}; it is journal:FILE, grpc://HOST:PORT, sqlite:///FILE, "
                "postgresql+psycopg://..., or mysql+pymysql://..."
            )
        timeout = {"connect_args": {"timeout": 60}} if kind == "sqlite" else {"pool_pre_ping": True}
        return RDBStorage(url, engine_kwargs=timeout)
    except LabwrightError:
        raise
    except ImportError as error:
        raise LabwrightError(f"the storage {url!r} needs a package that isn't installed: {error}") from error
    except Exception as error:
        raise LabwrightError(f"the storage {url!r} can't be opened: {type(error).__name__}: {error}") from error


def mended(file: Path) -> None:
    """Cut a line off a journal that was never finished, because the machine went down in the middle of it."""
    if not file.is_file() or not file.stat().st_size:
        return
    with locked(file), file.open("rb+") as journal:
        journal.seek(-1, os.SEEK_END)
        if journal.read(1) != b"\n":
            journal.seek(0)
            journal.truncate(journal.read().rfind(b"\n") + 1)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within it no other process on this machine drives the study of that folder. Raises LabwrightError if one does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            held.seek(0)
            raise LabwrightError(
                f"the study in {folder} is being run by process {held.read().strip() or 'unknown'}. Wait for it, or "
                "give another --name."
            ) from error
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        yield


@dataclass
class Lease:
    """What says that a study or a trial is being worked at, until it expires."""

    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
    seconds: float = SECONDS

    def now(self) -> dict[str, Any]:
        return {"owner": self.owner, "until": time.time() + self.seconds}

    def free(self, held: Any) -> bool:
        """Whether a lease that was read is over, or is one's own."""
        return not held or held["until"] < time.time() or held["owner"] == self.owner

    @contextmanager
    def renewed(self, renew: Callable[[], None]) -> Iterator[None]:
        """Within it `renew` is called again and again, in time."""
        over = threading.Event()

        def go_on() -> None:
            while not over.wait(self.seconds / 3):
                renew()

        renew()
        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def taken_over(study: optuna.Study, storage: BaseStorage, lease: Lease) -> int:
    """Fail the running trials whose leases are over, each once, and enqueue each again. Returns how many there were."""
    count = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        held = trial.system_attrs.get(LEASE)
        if held is None or lease.free(held) is False or held["owner"] == lease.owner:
            continue
        try:
            storage.set_trial_system_attr(trial._trial_id, "labwright:lost", held["owner"])
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except (optuna.exceptions.UpdateFinishedTrialError, RuntimeError):
            continue  # somebody else was faster, or its owner told it after all
        study.enqueue_trial(trial.params, user_attrs={"retry_of": trial.number})
        count += 1
    return count
