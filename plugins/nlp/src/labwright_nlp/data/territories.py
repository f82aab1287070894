"""What CLDR calls territories, languages, scripts and currencies in one language, and in another."""

from __future__ import annotations

from typing import Any

from labwright import LabwrightError, LeftOut, nearest
from labwright_tasks.tables import Table

from labwright_nlp.data.text_pairs import Pairs
from labwright_nlp.data.texts import Length, Share
from labwright_nlp.tokenizing import Case, Kind, Pretrained, Vocabulary

_TABLES = ("territories", "languages", "scripts", "currencies")


class Territories(Pairs):
    """Names to translate, offline: CLDR's territories, languages, scripts and currencies in two languages, by Babel.

    A name that stands in a table twice counts once, and one that is translated as another was is left out, so that no
    name of either language is in two parts. Parts are chosen by a hash of the name.

    Args:
        source: the language of the names, a locale such as en, pt_BR or zh_Hant.
        target: the language of their translations, another locale.

    Raises LabwrightError for a locale that Babel doesn't have, and for one that is both.
    """

    source = "Unicode CLDR, by way of Babel"
    licence = "Unicode License v3"

    def __init__(
        self,
        *,
        source: str = "en",
        target: str = "de",
        valid: Share = 0.1,
        test: Share = 0.1,
        tokenizer: Kind = "char",
        vocabulary: Vocabulary = 1000,
        pretrained: Pretrained = None,
        case: Case = "keep",
        length: Length = 64,
    ) -> None:
        super().__init__(
            valid=valid,
            test=test,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            pretrained=pretrained,
            case=case,
            length=length,
        )
        self.locales = source, target

    def rows(self) -> dict[str, Table]:
        first, second = (
            _locale(name, setting) for name, setting in zip(self.locales, ("source", "target"), strict=True)
        )
        if first == second:
            raise LabwrightError(f"task.data.target: given {self.locales[1]!r}, which is task.data.source too.")
        pairs: dict[str, str] = {}
        others, taken = 0, set()
        for kind in _TABLES:
            there, here = getattr(first, kind), getattr(second, kind)
            for name in sorted(there.keys() & here.keys()):
                text, translation = there[name], here[name]
                if text in pairs:
                    continue
                if translation in taken:
                    others += 1
                    continue
                pairs[text] = translation
                taken.add(translation)
        table = Table("the names in Babel", {"text": [*pairs], "translation": [*pairs.values()]}, range(len(pairs)))
        rows, self._left_out = self._cleaned(table)
        if others:
            self._left_out = [*self._left_out, LeftOut(others, "names", "translated as another one")]
        return {"train": rows}


def _locale(name: str, setting: str) -> Any:
    from babel import Locale, UnknownLocaleError
    from babel.localedata import locale_identifiers

    try:
        return Locale.parse(name)
    except (UnknownLocaleError, ValueError) as error:
        known = locale_identifiers()
        raise LabwrightError(
            f"task.data.{setting}: Babel has no locale {name!r}{nearest(name, known)} It has {len(known):,}, such as "
            "de, en, fr, ja, pt_BR, zh_Hant."
        ) from error
