"""One process at a time in a folder. The kernel takes the lock back when its process ends, however it ends (flock)."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from labwright.base.errors import LabwrightError

PATIENCE = 15.0  # seconds: loader workers of a process that was killed hold its lock until they notice
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class Lock:
    """The lock of a run folder: the file `.lock` in it, which says who holds it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: int | None = None
        self._process = 0

    def acquire(self) -> None:
        """Take the lock, unless it is held already. Raises LabwrightError if another process, or trainer, holds it."""
        if self._held is not None:
            return
        try:
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise LabwrightError(f"can't write the run folder {self.folder}: {error.strerror}.") from error
        try:
            self._take(handle)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        except BaseException:
            os.close(handle)
            raise
        self._held, self._process = handle, os.getpid()

    def release(self) -> None:
        """Give the lock back, if it is held. A process that was forked from the holder only forgets it."""
        if self._held is None:
            return
        # the file of a forked process is the holder's own: emptying it would hide who holds the lock
        if self._process == os.getpid():
            with suppress(OSError):
                os.ftruncate(self._held, 0)
        os.close(self._held)
        self._held = None

    def __del__(self) -> None:
        if os is not None:  # nothing is left of modules when the interpreter ends, which gives every lock back
            self.release()

    def _take(self, handle: int) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                process, _, host = os.pread(handle, 200, 0).decode(errors="replace").strip().partition(" ")
                if _gone(process, host) and time.monotonic() < end:
                    time.sleep(0.05)
                    continue
                own = process == str(os.getpid()) and host == socket.gethostname()
                who = "this process itself" if own else f"process {process or 'unknown'} on {host or 'this machine'}"
                raise LabwrightError(
                    f"the run in {self.folder} is under way: {who} writes there. Wait for it, or end it."
                ) from error
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                unlocked = f"{self.folder} lies where there are no locks ({error.strerror})"
                logging.getLogger(__name__).warning("%s: see that no other process writes there.", unlocked)
            return


def _gone(process: str, host: str) -> bool:
    """Whether the process ran on this machine and is no more."""
    if host != socket.gethostname() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False
