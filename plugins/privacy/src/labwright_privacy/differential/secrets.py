"""The secret that noise and sampling are drawn from, outside the run folder; and the ledger of what was drawn with it.

Whoever has recipe and seed could draw the same noise and take it off again: so it is drawn from a file that stays with
the person who trained, mode 600, in LABWRIGHT_PRIVACY_SECRETS or the user's own data directory. Beside the secret the
file says which steps were made with it, so that steps whose checkpoint was lost are counted all the same.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy
from labwright import LabwrightError

from labwright_privacy.differential.accounting import Part

VARIABLE = "LABWRIGHT_PRIVACY_SECRETS"


def folder() -> Path:
    """Where secrets lie."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "labwright" / "privacy"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "labwright" / "privacy"


def name_of(run: str) -> str:
    """A name for the secret of a run's folder, which no other run has."""
    return f"{re.sub('[^A-Za-z0-9_-]+', '-', run)[:80]}-{secrets.token_hex(4)}"


def context(*settings: Any) -> str:
    """Settings as a text, the same for the same ones."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=repr).encode()).hexdigest()


@dataclass
class Secret:
    """A secret and its ledger: the parts that were drawn with it, by their keys."""

    name: str
    content: str
    where: Path
    parts: dict[str, Part] = field(default_factory=dict)

    @classmethod
    def new(cls, name: str, where: Path) -> Secret:
        """A secret that nobody has had before, written down. Raises LabwrightError where it can't be."""
        made = cls(name, secrets.token_hex(32), where)
        made.write()
        return made

    @classmethod
    def kept(cls, name: str, where: Path) -> Secret | None:
        """The secret of that name; None: it isn't there. Raises LabwrightError for one that others may read."""
        file = _file(name, where)
        try:
            status = file.stat()
            told: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            parts = {part["key"]: Part(**part) for part in told["parts"]}
            content = str(told["secret"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LabwrightError(
                f"{file} can't be read as a secret of labwright-privacy: {error}. Move it away to go on without it."
            ) from error
        if os.name == "posix" and status.st_mode & 0o077:
            raise LabwrightError(
                f"{file} may be read by others, who could take the noise off the weights again: chmod 600 {file}, if "
                "nobody has read it; else move it away and begin a new run."
            )
        return cls(name, content, where, parts)

    def write(self) -> None:
        """Write it down for its owner alone, in one piece. Raises LabwrightError where it can't be."""
        file = _file(self.name, self.where)
        text = json.dumps({"secret": self.content, "parts": [asdict(part) for part in self.parts.values()]}, indent=1)
        try:
            self.where.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside = file.with_name(f".{file.name}.{os.getpid()}")
            beside.unlink(missing_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
                out.write(text + "\n")
            beside.replace(file)
        except OSError as error:
            raise LabwrightError(
                f"the secret of this run can't be written to {self.where}: {error.strerror}. Set {VARIABLE} to a "
                "folder of your own that isn't part of what you hand on."
            ) from error

    def digest(self, *texts: str) -> bytes:
        """32 bytes that follow from the texts for whoever has the secret, and look random to all others."""
        key = bytes.fromhex(self.content)
        return hmac.new(key, json.dumps(texts).encode(), hashlib.sha256).digest()

    def seed(self, *texts: str) -> int:
        """A seed of a generator, as `digest`; of one on the CPU PyTorch takes 32 bits, which can be tried out."""
        return int.from_bytes(self.digest(*texts)[:8], "big") >> 1

    def generator(self, *texts: str) -> numpy.random.Generator:
        """Random numbers that follow from the texts, as `digest`, by a key of 128 bits."""
        return numpy.random.Generator(numpy.random.Philox(key=int.from_bytes(self.digest(*texts)[:16], "big")))


def check_name(name: str) -> None:
    """Raises LabwrightError for a name that would lead elsewhere."""
    if not re.fullmatch(r"[\w-][\w.-]{0,99}", name):
        raise LabwrightError(f"method.secret: {name!r}; letters, digits, dots, - and _ make the name of a secret.")


def _file(name: str, where: Path) -> Path:
    check_name(name)
    return where / f"{name}.json"
