"""Telling languages apart by their names for countries, languages and currencies, as CLDR has them."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

from labwright import LeftOut
from labwright_tasks.tables import Table
from pydantic import Field

from labwright_nlp.data.texts import Length, Share, Texts
from labwright_nlp.tokenizing import Case, Kind, Pretrained, Vocabulary, clean

LOCALES = (
    "bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "ga", "hr", "hu", "it", "lt", "lv",
    "mt", "nl", "pl", "pt", "ro", "sk", "sl", "sv",  # the official languages of the European Union
    "is", "nb", "sq", "sr", "tr", "uk",  # and of neighbours
)  # fmt: skip


class Languages(Texts):
    """Which of 30 languages a name is in: CLDR's names of territories, languages and currencies, out of Babel.

    They are the official languages of the European Union and six of its neighbours. A name that two of them share, in
    small letters or large, is left out. A tenth, by a hash of the name, is the test part.

    Args:
        valid: share of all names that is held out for validation; 0: none is.
        seed: each holds out other names, the test part's too, as for cross-validation; left out, the choice follows
            from the names alone.
    """

    source = "Unicode CLDR, by way of Babel"
    licence = "Unicode License v3"

    def __init__(
        self,
        *,
        valid: Share = 0.1,
        tokenizer: Kind = "char",
        vocabulary: Vocabulary = 1000,
        pretrained: Pretrained = None,
        case: Case = "lower",
        length: Length = 100,
        seed: Annotated[int, Field(ge=0)] | None = None,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            pretrained=pretrained,
            case=case,
            length=length,
            valid=valid,
            test=0.1,
            seed=seed,
        )

    def rows(self) -> dict[str, Table]:
        from babel import Locale

        used: dict[str, dict[str, str]] = defaultdict(dict)  # a name in lower case -> language -> as it is written
        for code in LOCALES:
            locale = Locale.parse(code)
            for table in (locale.territories, locale.languages, locale.currencies):
                for name in table.values():
                    used[clean(name, "lower")].setdefault(code, clean(name))
        shared = sum(len(written) > 1 for written in used.values())
        self.unused = [LeftOut(shared, "names", "the same in several languages")]
        alone = [next(iter(written.items())) for name, written in sorted(used.items()) if len(written) == 1 and name]
        columns = {"text": [name for _, name in alone], "label": [code for code, _ in alone]}
        return {"train": Table("the names in Babel", columns, range(len(alone)))}
