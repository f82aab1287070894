"""Data around data: texts of which nobody sees the personal data, the model and the run folder least of all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from labwright import Data, Finding, LabwrightError, Part, Port, listed, nearest
from labwright_tasks.around import Around
from labwright_tasks.folds import Refittable
from labwright_tasks.rewritten import Rewritten
from pydantic import Field
from torch import Tensor

from labwright_privacy.masking.finding import KINDS
from labwright_privacy.masking.pseudonyms import Pseudonyms, key_of

Kind = Literal["EMAIL", "IBAN", "MAC", "IP", "ID", "CARD", "PHONE"]
_KEPT = "masked.json"


class Masked(Around):
    """Other data of texts with its personal data replaced by pseudonyms, before anything is learned from them.

    What is found, by its form and its checksum: addresses of e-mail (EMAIL), bank accounts (IBAN), payment cards
    (CARD), addresses of machines (IP, MAC), national ids with a checksum (ID: Spanish DNI and NIE, Italian codice
    fiscale, French NIR, Polish PESEL, Brazilian CPF, Finnish henkilötunnus, German Steuer-ID) and phone numbers
    (PHONE). Names, streets and dates of birth are not: they need a model. Labels and names of files stay as they are.

    The same data has the same pseudonym, such as `PHONE_kqzvawbt`, by the key.

    Args:
        data: texts, or pairs of texts.
        secret: file with the key, 16 bytes or more that are kept apart from runs, and that predicting needs again. Left
            out, anybody who tries all numbers can turn pseudonyms back: give one for data that is personal indeed.
        kinds: what is masked.
        regions: countries, by their codes of ISO 3166, in whose ways phone numbers are found; those with "+" are found
            anywhere.
    """

    item = Port
    target = Port
    source = "the data it masks"
    licence = "that of the data it masks"

    def __init__(
        self,
        data: Annotated[Data, Part("data")],
        *,
        secret: Path | None = None,
        kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = KINDS,  # type: ignore[assignment]
        regions: tuple[str, ...] = ("US", "GB", "DE", "FR", "ES", "IT", "PL", "BR"),
    ) -> None:
        if not isinstance(data, Rewritten) or isinstance(data, Masked):
            raise LabwrightError(
                f"task.data: {type(data).__name__} has no texts that could be masked: it has no `rewrite`. Texts and "
                'pairs of texts have; data around other data goes outside: { name = "fold", data = { name = '
                '"privacy/masked", data = ... } }.'
            )
        _check_regions(regions)
        super().__init__(data)
        self.secret = secret
        self.pseudonyms = Pseudonyms(key_of(secret), kinds, regions)
        data.rewrite = self.pseudonyms
        self.read_counts = ""  # what was masked in what `prepare` or `on` read, in a sentence
        self._other_key = False

    def __getattr__(self, name: str) -> Any:
        """What a task may ask of this sort of data beside what all data has."""
        if name.startswith("_") or name == "data":
            raise AttributeError(name)
        return getattr(self.data, name)

    def prepare(self) -> None:
        self.data.prepare()
        self._read("its texts" if self.in_memory else "those of its texts that were read to begin with")

    def refit(self, rows: Mapping[str, Tensor]) -> None:
        """See `labwright_tasks.folds.Refittable`, which doesn't see what `__getattr__` gives."""
        if isinstance(self.data, Refittable):
            self.data.refit(rows)
            self.pseudonyms.counts.clear()  # the same texts once more

    def _read(self, texts: str) -> None:
        self.read_counts = f"masked in {texts}: {self.pseudonyms.told() or 'nothing was found'}."
        self.pseudonyms.counts.clear()

    def on(self, path: Path) -> Self:
        other = copy(self)
        other.data = self.data.on(path)
        other._read("its texts")
        return other

    def remarks(self) -> Sequence[str]:
        remarks = [*self.data.remarks(), self.read_counts, *self._of_key()]
        if self.secret is None:
            remarks.append(
                "pseudonyms are made without a secret, so that whoever tries all numbers can turn them back: "
                "task.data.secret=FILE names one."
            )
        return remarks

    def noticed(self) -> Sequence[str]:
        noticed = [*self.data.noticed()]
        if told := self.pseudonyms.told():
            noticed.append(f"masked: {told}.")
            noticed += self._of_key()
        self.pseudonyms.counts.clear()
        return noticed

    def _of_key(self) -> Sequence[str]:
        said = "task.data.secret is another than when the run began: its model knows no such pseudonym."
        return [said] if self._other_key else []

    def save(self, folder: Path) -> None:
        self.data.save(folder)
        about = {"key": self.pseudonyms.fingerprint()}  # and not what was found: that is each federated client's own
        (folder / _KEPT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        self.data.load(folder)
        about = json.loads((folder / _KEPT).read_text(encoding="utf-8"))
        self._other_key = about["key"] != self.pseudonyms.fingerprint()

    def checks(self) -> Iterable[Finding]:
        findings = [*self.data.checks()]
        self.pseudonyms.counts.clear()  # what is read once more isn't found anew
        return findings


def _check_regions(regions: Sequence[str]) -> None:
    import phonenumbers

    for region in regions:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            known = sorted(phonenumbers.SUPPORTED_REGIONS)
            raise LabwrightError(
                f"task.data.regions: no country is called {region!r}{nearest(region, known)} It is a code of ISO 3166 "
                f"such as {listed(known[:3])}."
            )
