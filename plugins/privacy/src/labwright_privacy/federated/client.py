"""A client of a real federation: it asks for rounds over HTTP, and sends what it learned of its own samples."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urlsplit

from labwright import LabwrightError, RunFailed
from torch import Tensor

from labwright_privacy.federated.local_training import ClientUpdate
from labwright_privacy.federated.messages import Unfit, most_bytes, read, update_written

_HELD = 60.0  # seconds for an answer; the server keeps a question for 20
_PAUSE = 0.5  # seconds before the next try
_AWAY = (502, 503, 504)  # what a proxy answers for a server that isn't there


@dataclass(frozen=True)
class Weights:
    """The weights of a round; of the last, after which there is none, too."""

    number: int
    ticket: str
    tensors: Mapping[str, Sequence[Tensor]]
    last: bool


class Client:
    """Client `number` of the server at `url`.

    `learned` is the digest of what its task learned; `patience` how many seconds it tries a server that isn't there.
    """

    def __init__(self, url: str, number: int, token: str, learned: str, patience: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise LabwrightError(
                f"{url!r} is no address of a server; it is as `federate serve` says it: http://HOST:PORT"
            )
        self.url, self.number, self.patience = url.rstrip("/"), number, patience
        self.headers = {"Authorization": f"Bearer {token}", "Learned": learned}

    def next_round(self, after: str, like: Mapping[str, Sequence[Tensor]]) -> Weights:
        """Another round than that of the ticket. Raises RunFailed if the server is gone, or has another model."""
        while True:
            status, headers, body = self._ask(f"round?client={self.number}&after={after}", None, most_bytes(like))
            if status in (200, 410):
                try:
                    tensors, ticket = read(body, like), headers.get("Ticket", "")
                    return Weights(int(headers.get("Round", 0)), ticket, tensors, last=status == 410)
                except Unfit as reason:
                    raise RunFailed(
                        f"the weights of {self.url} aren't this recipe's: {reason}. Server and clients need the same "
                        "task and model."
                    ) from reason

    def send(self, ticket: str, update: ClientUpdate) -> bool:
        """Send what was learned in a round; whether it came in time."""
        body = update_written(update)
        status, _, _ = self._ask(f"update?client={self.number}&ticket={ticket}", body, 2**16)
        return status == 202

    def _ask(self, path: str, body: bytes | None, most: int) -> tuple[int, Message, bytes]:
        """The status, headers and the body. A server that can't be reached is tried again."""
        request = urllib.request.Request(f"{self.url}/{path}", data=body, headers=self.headers)  # noqa: S310 - see above
        given_up = time.monotonic() + self.patience
        while True:
            try:
                with _DIRECT.open(request, timeout=_HELD) as answer:
                    return answer.status, answer.headers, answer.read(most + 1)
            except urllib.error.HTTPError as error:
                with error:
                    words = error.read(most + 1)
                if error.code in (409, 410):
                    return error.code, error.headers, words
                if error.code not in _AWAY:
                    reason = words[:500].decode("utf-8", "replace")
                    raise RunFailed(f"{self.url} refuses this client ({error.code}): {reason}.") from error
                failed: Exception = error
            except (OSError, http.client.HTTPException) as error:
                failed = error
            if time.monotonic() >= given_up:
                why = getattr(failed, "reason", None) or failed
                raise RunFailed(f"{self.url} can't be reached for {self.patience:g} s: {why}.") from failed
            time.sleep(_PAUSE)


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the address is meant as it is given
