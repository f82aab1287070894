"""Facts that nobody ever stated, in six languages: templates around dates, times, sums, shares and countries of CLDR.

They are for trying out, offline, what learns from words with tags or from questions: languages aren't like that.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from datetime import date, time, timedelta
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field

SOURCE = "sentences made from templates, around dates, numbers and names of Unicode CLDR, by way of Babel"
LICENCE = "Unicode License v3"
Language = Literal["de", "en", "es", "fr", "it", "nl"]
Languages = Annotated[
    tuple[Language, ...], Field(min_length=1, description="what texts are written in, one as likely as another.")
]
PARTS = ("train", "valid", "test")

_THINGS: dict[Language, tuple[str, ...]] = {
    "de": ("das Museum", "die Brücke", "die Bibliothek", "der Bahnhof", "das Theater", "der Hafen", "die Schule"),
    "en": ("the museum", "the bridge", "the library", "the station", "the theatre", "the harbour", "the school"),
    "es": ("el museo", "el puente", "la biblioteca", "la estación", "el teatro", "el puerto", "la escuela"),
    "fr": ("le musée", "le pont", "la bibliothèque", "la gare", "le théâtre", "le port", "l\u2019école"),
    "it": ("il museo", "il ponte", "la biblioteca", "la stazione", "il teatro", "il porto", "la scuola"),
    "nl": ("het museum", "de brug", "de bibliotheek", "het station", "het theater", "de haven", "de school"),
}
# what is said of a thing, and what is asked for it
_SAID: dict[Language, dict[str, tuple[str, str]]] = {
    "de": {
        "DATE": ("{thing} besteht seit dem {value}.", "Seit wann besteht {thing}?"),
        "TIME": ("{thing} schließt um {value} Uhr.", "Wann schließt {thing}?"),
        "MONEY": ("{thing} kostet {value} am Tag.", "Was kostet {thing} am Tag?"),
        "SHARE": ("{thing} hat {value} mehr Besuch.", "Wie viel mehr Besuch hat {thing}?"),
        "PLACE": ("Das Land, in dem {thing} steht, heißt {value}.", "Wie heißt das Land, in dem {thing} steht?"),
        "": ("{thing} hat {value} Räume.", ""),
    },
    "en": {
        "DATE": ("{thing} opened on {value}.", "When did {thing} open?"),
        "TIME": ("{thing} closes at {value}.", "When does {thing} close?"),
        "MONEY": ("{thing} costs {value} a day.", "What does {thing} cost a day?"),
        "SHARE": ("{thing} has {value} more visits.", "How many more visits has {thing}?"),
        "PLACE": ("The country where {thing} stands is called {value}.", "In which country does {thing} stand?"),
        "": ("{thing} has {value} rooms.", ""),
    },
    "es": {
        "DATE": ("{thing} existe desde el {value}.", "¿Desde cuándo existe {thing}?"),
        "TIME": ("{thing} cierra a las {value}.", "¿Cuándo cierra {thing}?"),
        "MONEY": ("{thing} cuesta {value} al día.", "¿Cuánto cuesta {thing} al día?"),
        "SHARE": ("{thing} tiene un {value} más de visitas.", "¿Cuántas visitas más tiene {thing}?"),
        "PLACE": ("El país donde está {thing} se llama {value}.", "¿Cómo se llama el país donde está {thing}?"),
        "": ("{thing} tiene {value} salas.", ""),
    },
    "fr": {
        "DATE": ("{thing} existe depuis le {value}.", "Depuis quand existe {thing}\u202f?"),
        "TIME": ("{thing} ferme à {value}.", "Quand ferme {thing}\u202f?"),
        "MONEY": ("{thing} coûte {value} par jour.", "Combien coûte {thing} par jour\u202f?"),
        "SHARE": ("{thing} compte {value} de visites en plus.", "Combien de visites en plus compte {thing}\u202f?"),
        "PLACE": ("Le pays où se trouve {thing} s\u2019appelle {value}.", "Dans quel pays se trouve {thing}\u202f?"),
        "": ("{thing} a {value} salles.", ""),
    },
    "it": {
        "DATE": ("{thing} esiste dal {value}.", "Da quando esiste {thing}?"),
        "TIME": ("{thing} chiude alle {value}.", "Quando chiude {thing}?"),
        "MONEY": ("{thing} costa {value} al giorno.", "Quanto costa {thing} al giorno?"),
        "SHARE": ("{thing} ha il {value} di visite in più.", "Quante visite in più ha {thing}?"),
        "PLACE": ("Il paese in cui si trova {thing} si chiama {value}.", "Come si chiama il paese in cui è {thing}?"),
        "": ("{thing} ha {value} sale.", ""),
    },
    "nl": {
        "DATE": ("{thing} bestaat sinds {value}.", "Sinds wanneer bestaat {thing}?"),
        "TIME": ("{thing} sluit om {value}.", "Wanneer sluit {thing}?"),
        "MONEY": ("{thing} kost {value} per dag.", "Hoeveel kost {thing} per dag?"),
        "SHARE": ("{thing} heeft {value} meer bezoek.", "Hoeveel meer bezoek heeft {thing}?"),
        "PLACE": ("Het land waar {thing} staat heet {value}.", "In welk land staat {thing}?"),
        "": ("{thing} heeft {value} zalen.", ""),
    },
}
LANGUAGES: tuple[Language, ...] = tuple(_SAID)
KINDS = ("DATE", "TIME", "MONEY", "SHARE", "PLACE")  # of what can be asked for; a number of rooms is of none, ""
_CURRENCIES = ("EUR", "USD", "GBP", "CHF", "JPY", "SEK", "PLN", "INR", "BRL", "CAD")
_FIRST_DAY, _DAYS = date(1700, 1, 1), 118_000
_TENTHS = {0: "test", 1: "valid"}  # of the values, by a hash; the others are for learning


@dataclass(frozen=True)
class Fact:
    """What is said of a thing: `before`, `value` and `behind` are the sentence, `question` asks for the value."""

    thing: str
    kind: str
    before: str
    value: str
    behind: str
    question: str


class Facts:
    """Facts of one part of the data. No value, in whatever form or language, is in two parts, but numbers of rooms."""

    def __init__(self, part: str, seed: int, languages: tuple[Language, ...]) -> None:
        self.part, self.seed, self.languages = part, seed, languages
        self.draws = random.Random(f"{seed} {part}")  # noqa: S311 - nothing is kept secret

    def language(self) -> Language:
        return self.draws.choice(self.languages)

    def things(self, language: Language, count: int) -> list[str]:
        return self.draws.sample(_THINGS[language], count)

    def fact(self, language: Language, thing: str, kind: str) -> Fact:
        said, asked = _SAID[language][kind]
        before, behind = said.split("{value}")
        before, question = before.replace("{thing}", thing), asked.replace("{thing}", thing)
        value = self._value(language, kind)
        return Fact(thing, kind, before[0].upper() + before[1:], value, behind.replace("{thing}", thing), question)

    def _value(self, language: Language, kind: str) -> str:
        """A value as the language writes it, in one of several forms."""
        from babel import dates, numbers

        match kind:
            case "DATE":
                day = self._drawn(kind, lambda: _FIRST_DAY + timedelta(self.draws.randrange(_DAYS)))
                form: Any = self.draws.choice(("medium", "long"))
                return dates.format_date(day, form, language)
            case "TIME":
                minute = self._drawn(kind, lambda: self.draws.randrange(24 * 60))
                return dates.format_time(time(*divmod(minute, 60)), "short", locale=language)
            case "MONEY":
                coins, currency = self._drawn(  # the smallest there are: what yen would round off is in other parts
                    kind, lambda: (self.draws.randrange(100, 500_000), self.draws.choice(_CURRENCIES))
                )
                amount = coins / 10 ** numbers.get_currency_precision(currency)
                of_names: Any = self.draws.choice(("standard", "name"))
                return numbers.format_currency(amount, currency, locale=language, format_type=of_names)
            case "SHARE":
                thousandths = self._drawn(kind, lambda: self.draws.randrange(1, 1000))
                return numbers.format_percent(thousandths / 1000, locale=language, decimal_quantization=False)
            case "PLACE":
                return _countries(language)[self._drawn(kind, lambda: self.draws.choice(_codes()))]
            case _:
                return numbers.format_decimal(self.draws.randrange(2, 20_000), locale=language)

    def _drawn(self, kind: str, draw: Any) -> Any:
        """What is drawn until it is of this part."""
        while True:
            value = draw()
            if _TENTHS.get(zlib.crc32(f"{self.seed} {kind} {value}".encode()) % 10, "train") == self.part:
                return value


@cache
def _countries(language: Language) -> dict[str, str]:
    from babel import Locale

    names = Locale.parse(language).territories
    return {code: name for code, name in names.items() if code.isalpha() and len(code) == 2}


@cache
def _codes() -> tuple[str, ...]:
    return tuple(sorted(set.intersection(*(set(_countries(language)) for language in LANGUAGES)) - {"ZZ", "XA", "XB"}))
