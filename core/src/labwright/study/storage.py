"""Where a study is kept: a journal file in its folder, or a database or gRPC proxy by its URL; and who drives it.

A journal is locked by the kernel, so that a lock is gone with its process. Optuna's journal and gRPC storages have no
heartbeat: whoever runs trials renews a lease, in the study's system attributes for `tune`, which runs them alone, and
in the trial's where several machines share a study. What lies under a lease that is over is taken over, once.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from labwright.errors import LabwrightError

LEASE = "labwright:lease"
RELEASED: dict[str, Any] = {"owner": "", "until": 0.0}  # the lease of what its owner has left
SECONDS = 60.0
PATIENCE = 10  # seconds until a server that doesn't answer isn't there
KINDS = "journal:FILE, grpc://HOST:PORT, sqlite:///FILE, postgresql+psycopg://... or mysql+pymysql://..."
EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql", "grpc": "grpc"}
LIBRARIES = ("sqlalchemy", "grpc", "psycopg", "psycopg2", "pymysql")


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
        try:
            with locked(self._file), self._file.open("rb+") as journal:
                _mend(journal)
                journal.write(lines.encode())
                journal.flush()
                if any("state" in log for log in logs):
                    os.fsync(journal.fileno())
        except OSError as error:
            raise LabwrightError(
                f"the journal {self._file} can't be written: {error}. What was told is kept; the same command goes on."
            ) from error


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
    shown = without_password(url)
    try:
        if kind == "journal" and rest:
            file = Path(rest)
            file.parent.mkdir(parents=True, exist_ok=True)
            mended(file)
            return JournalStorage(Journal(file))
        if kind == "grpc":
            return _proxy(rest)
        if "://" not in url:
            raise LabwrightError(f"given the storage {shown!r}; it is {KINDS}")
        return RDBStorage(url, engine_kwargs=_settings(kind.partition("+")[0]))
    except LabwrightError:
        raise
    except ImportError as error:
        extra = EXTRAS.get(kind.partition("+")[0])
        raise LabwrightError(
            f"the storage {shown!r} needs a package that isn't installed"
            + (f": `pip install 'labwright[{extra}]'` brings it." if extra else f": {_first_line(error)}")
        ) from error
    except Exception as error:
        raise LabwrightError(f"the storage {shown!r} can't be opened: {_first_line(error)}") from error


def _proxy(address: str) -> BaseStorage:
    host, colon, port = address.removeprefix("//").rstrip("/").rpartition(":")
    if not colon or not port.isdecimal():
        raise LabwrightError(f"given the storage 'grpc:{address}'; it is grpc://HOST:PORT")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        proxy = GrpcStorageProxy(host=host.strip("[]"), port=int(port))
    proxy.wait_server_ready(timeout=PATIENCE)
    return proxy


def _settings(database: str) -> dict[str, Any]:
    """What SQLAlchemy is told about a kind of database: how long to wait, and to look whether it is still there."""
    if database == "sqlite":
        return {"connect_args": {"timeout": 60}}
    waits = {"connect_args": {"connect_timeout": PATIENCE}} if database in EXTRAS else {}
    return {"pool_pre_ping": True, **waits}


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Within it a storage that ceases to answer is one message. Raises LabwrightError then."""
    try:
        yield
    except Exception as error:
        if isinstance(error, StorageInternalError) or type(error).__module__.partition(".")[0] in LIBRARIES:
            cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
            raise LabwrightError(
                f"the storage {without_password(url)!r} doesn't answer: {_first_line(cause)} What was told is kept; "
                "the same command goes on."
            ) from error
        raise


def without_password(url: str) -> str:
    return re.sub(r"(://[^/:@]*):.*@", r"\1:***@", url)


def _first_line(error: BaseException) -> str:
    """What an error says, without what libraries add about themselves."""
    if type(error).__module__.partition(".")[0] == "grpc":
        error = RuntimeError(getattr(error, "details", lambda: error)())
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    line = re.sub(r"^\(\w+(\.\w+)*\) | *\(Background on this error at: \S+\)$", "", line)  # SQLAlchemy's
    return line if line.endswith((".", "?", "!")) else line + "."


def mended(file: Path) -> None:
    """Cut a line off a journal that was never finished, because its process died in the middle of it."""
    if file.is_file():
        with locked(file), file.open("rb+") as journal:
            _mend(journal)


def _mend(journal: IO[bytes]) -> None:
    """Cut off an unfinished last line, and stand at the end."""
    size = end = journal.seek(0, os.SEEK_END)
    while end:
        begin = max(end - 4096, 0)
        journal.seek(begin)
        newline = journal.read(end - begin).rfind(b"\n")
        if newline >= 0:
            end = begin + newline + 1
            break
        end = begin
    if end < size:
        journal.truncate(end)
    journal.seek(end)


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
    """What says that a study or a trial is being worked at. It is renewed three times in the seconds that it holds.

    Clocks of machines differ: a lease is over when it hasn't changed for as long as it holds by the clock of whoever
    looks at it, or, on the same machine, when its process is gone.
    """

    seconds: float = SECONDS
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
    _seen: dict[int, tuple[Any, float]] = field(default_factory=dict)

    def now(self) -> dict[str, Any]:
        return {"owner": self.owner, "machine": _machine(), "until": time.time() + self.seconds}

    def over(self, trial: int, held: Mapping[str, Any] | None) -> bool:
        """Whether whoever held this lease of a trial is gone. To be asked again and again."""
        if held is not None and (held == RELEASED or _gone(held)):
            return True
        before, since = self._seen.get(trial, (RELEASED, 0.0))
        if before != held or (held is not None and held["owner"] == self.owner):
            self._seen[trial] = held, time.monotonic()
            return False
        return bool(time.monotonic() - since > self.seconds)

    def held_by(self, held: Mapping[str, Any] | None) -> str:
        """Who else holds this lease of a study, in words; empty if nobody does."""
        if not held or held["owner"] == self.owner or held["until"] < time.time() or _gone(held):
            return ""
        host, process, _ = held["owner"].rsplit(":", 2)
        return f"process {process} on {host}"

    @contextmanager
    def renewed(self, renew: Callable[[], None]) -> Iterator[None]:
        """Within it `renew` is called again and again, in time."""
        over = threading.Event()

        def go_on() -> None:
            while not over.wait(self.seconds / 3):
                with suppress(Exception):  # a server that is away for a moment may be back the next time
                    renew()

        renew()
        thread = threading.Thread(target=go_on, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _machine() -> str:
    """What processes have in common that know one another by their numbers."""
    try:
        return f"{socket.gethostname()}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()


def _gone(held: Mapping[str, Any]) -> bool:
    """Whether the process that held a lease ran on this machine and is no more."""
    if held.get("machine") != _machine():
        return False
    try:
        os.kill(int(held["owner"].rsplit(":", 2)[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
