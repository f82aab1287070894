"""Where a study is kept: a journal file in its folder, or a database or gRPC proxy by its URL; and who drives it.

Optuna's journal and gRPC storages have no heartbeat: whoever runs trials renews a lease, in the study's system
attributes for `tune`, which runs them alone, and in the trial's where several machines share a study. What lies under a
lease that is over is taken over, once.
"""

from __future__ import annotations

import fcntl
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
from typing import Any
from urllib.parse import unquote

from labwright import LabwrightError
from labwright.engine import refuse_links
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage

from labwright_study.journal import Journal, opened_to_write, why

LEASE = "labwright:lease"
RELEASED: dict[str, Any] = {"owner": ""}  # the lease of what its owner has left
SECONDS = 60.0
PATIENCE = 10  # seconds until a server that doesn't answer isn't there
KINDS = "journal:FILE, grpc://HOST:PORT, sqlite:///FILE, postgresql+psycopg://... or mysql+pymysql://..."
EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql", "grpc": "grpc"}
USER = r"((?:^|://)[^/:@]*):(?!//)(.*)@"  # in a URL, or what was meant as one: the name, and the password
SECRETS = ("password", "passwd", "secret", "token")  # in names of a URL's parameters
ATTEMPTS = 20  # to open a database that others are opening
LIBRARIES = ("sqlalchemy", "grpc", "psycopg", "psycopg2", "pymysql")


def opened(url: str) -> BaseStorage:
    """The storage of a URL: `journal:PATH`, `grpc://HOST:PORT`, or a database, such as `sqlite:///FILE`.

    Raises LabwrightError if it can't be reached, or its driver isn't installed.
    """
    kind, _, rest = url.partition(":")
    shown = without_password(url)
    try:
        if kind == "journal" and rest:
            return _journal(Path(rest))
        if kind == "grpc":
            return _proxy(rest, shown)
        if "://" not in url:
            raise LabwrightError(f"given the storage {shown!r}; it is {KINDS}")
        return _database(url, _settings(kind.partition("+")[0]))
    except LabwrightError:
        raise
    except ImportError as error:
        extra = EXTRAS.get(kind.partition("+")[0])
        raise LabwrightError(
            f"the storage {shown!r} needs a package that isn't installed"
            + (f": `pip install 'labwright-study[{extra}]'` brings it." if extra else f": {_first_line(error, url)}")
        ) from error
    except Exception as error:
        raise LabwrightError(f"the storage {shown!r} can't be opened: {_first_line(error, url)}") from error


def is_there(url: str) -> bool:
    """Whether a storage could hold a study: a file that isn't there holds none, and isn't made by asking."""
    kind, _, rest = url.partition(":")
    if kind == "journal":
        return Path(rest).is_file()
    file = rest.removeprefix("///").partition("?")[0]
    return not (kind.startswith("sqlite") and file) or Path(file).is_file()


def _journal(file: Path) -> BaseStorage:
    try:
        return JournalStorage(Journal(file))
    except OSError as error:
        raise LabwrightError(f"the journal {file} can't be read: {why(error)}.") from error
    except LabwrightError:
        raise
    except Exception as error:  # an entry that Optuna can't make sense of
        raise LabwrightError(
            f"the journal {file} holds what no study has written: {type(error).__name__}: {error}."
        ) from error


def _database(url: str, settings: dict[str, Any]) -> BaseStorage:
    """A database's storage. Processes that make its tables at the same moment get in each other's way, and wait."""
    for attempt in range(1, ATTEMPTS):
        try:
            return RDBStorage(url, engine_kwargs=settings)
        except Exception as error:
            message = f"{error} {error.__cause__}".lower()
            if not any(word in message for word in ("already exists", "duplicate", "unique")):
                raise
            time.sleep(0.05 * attempt)
    return RDBStorage(url, engine_kwargs=settings)


def _proxy(address: str, shown: str) -> BaseStorage:
    host, colon, port = address.removeprefix("//").rstrip("/").rpartition(":")
    if not colon or not port.isdecimal():
        raise LabwrightError(f"given the storage {shown!r}; it is grpc://HOST:PORT")
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
            message = _first_line(cause, url)
            raise LabwrightError(
                f"the storage {without_password(url)!r} doesn't answer: {message} What was told is kept; the same "
                "command goes on."
            ) from error
        raise


def without_password(url: str) -> str:
    """A storage's URL as it may be shown: `***` for the password, wherever it stands."""
    if url.startswith("journal:"):
        return url
    shown = re.sub(USER, r"\1:***@", url)
    return re.sub(rf"(?i)([?&][^=&]*({'|'.join(SECRETS)})[^=&]*=)[^&]*", r"\1***", shown)


def _first_line(error: BaseException, url: str) -> str:
    """What an error says, without what libraries add about themselves, and without the URL's password."""
    if type(error).__module__.partition(".")[0] == "grpc":
        error = RuntimeError(getattr(error, "details", lambda: error)())
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    line = re.sub(r"^\(\w+(\.\w+)*\) | *\(Background on this error at: \S+\)$", "", line)  # SQLAlchemy's
    for secret in _secrets(url):
        line = line.replace(secret, "***")
    return line if line.endswith((".", "?", "!")) else line + "."


def _secrets(url: str) -> Iterator[str]:
    """The passwords in a URL, as they stand there and decoded, the longest first."""
    secrets = [secret for _, secret in re.findall(USER, url)]
    secrets += [value for _, value in re.findall(rf"(?i)[?&][^=&]*({'|'.join(SECRETS)})[^=&]*=([^&]*)", url)]
    yield from sorted({text for secret in secrets for text in (secret, unquote(secret)) if text}, key=len, reverse=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Within it no other process on this machine drives the study of that folder.

    Raises LabwrightError if one does, or if the folder can't be written or leads elsewhere.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        refuse_links(folder)
        lock = opened_to_write(folder / "lock")
    except OSError as error:
        raise LabwrightError(f"the folder {folder} can't be written: {why(error)}. Give another --name.") from error
    with lock as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            process = re.match(rb"\d{1,9}$", held.read(20).strip())
            raise LabwrightError(
                f"the study in {folder} is being run by process {process[0].decode() if process else 'unknown'}. Wait "
                "for it, or give another --name."
            ) from error
        held.truncate(0)
        held.write(str(os.getpid()).encode())
        held.flush()
        yield


@dataclass
class Lease:
    """What says that a study or a trial is being worked at. It is renewed three times in the seconds that it holds.

    Clocks of machines differ, so none is asked: a lease is over when it hasn't changed for as long as it holds by the
    clock of whoever looks at it, or, on the same machine, when its process is gone.
    """

    seconds: float = SECONDS
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
    _renewals: int = 0
    _seen: dict[int, tuple[Any, float]] = field(default_factory=dict)

    def now(self) -> dict[str, Any]:
        self._renewals += 1
        return {"owner": self.owner, "machine": _machine(), "seconds": self.seconds, "renewal": self._renewals}

    def over(self, trial: int, held: Mapping[str, Any] | None) -> bool:
        """Whether whoever held this lease of a trial is gone. To be asked again and again."""
        if held is not None and (not held["owner"] or _gone(held)):
            return True
        before, since = self._seen.get(trial, (RELEASED, 0.0))
        if before != held or (held is not None and held["owner"] == self.owner):
            self._seen[trial] = held, time.monotonic()
            return False
        return bool(time.monotonic() - since > self._holds(held))

    def held_by(self, held: Mapping[str, Any] | None) -> str:
        """Who else holds this lease of a study, in words; empty if nobody does, or a process here that is gone."""
        if not held or not held["owner"] or held["owner"] == self.owner or _gone(held):
            return ""
        host, process, _ = held["owner"].rsplit(":", 2)
        return f"process {process} on {host}"

    def watched(self, read: Callable[[], Any], say: Callable[[str], None]) -> tuple[str, Any]:
        """Like `held_by`, of the lease that `read` gives: it is watched until it changes or is over. And that lease."""
        held = read()
        if other := self.held_by(held):
            say(f"the study was being run by {other}; waiting up to {self._holds(held):g} s to see whether it still is")
        begun = time.monotonic()
        while other and time.monotonic() - begun <= self._holds(held):
            time.sleep(min(self._holds(held) / 20, 1.0))
            if (now := read()) != held:
                return self.held_by(now), now
        return "", held

    def _holds(self, held: Mapping[str, Any] | None) -> float:
        return float((held or {}).get("seconds", self.seconds))

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
