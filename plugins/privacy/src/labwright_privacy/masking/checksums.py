"""Numbers that prove themselves: cards, bank accounts and national ids by their published checksums.

Each rule takes the number without blanks and signs between, in capitals, and says whether it is one.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from datetime import date

_CARDS = (  # the digits that a network's cards begin with, and how many there are
    (range(4, 5), {13, 16, 19}),
    (range(51, 56), {16}),
    (range(2221, 2721), {16}),
    (range(34, 35), {15}),
    (range(37, 38), {15}),
    (range(300, 306), {14}),
    (range(36, 37), {14}),
    (range(38, 40), {14}),
    (range(1800, 1801), {15}),
    (range(2131, 2132), {15}),
    (range(35, 36), {16}),
    (range(6011, 6012), {16, 19}),
    (range(644, 660), {16, 19}),
    (range(62, 63), {16, 17, 18, 19}),
    (range(604, 605), {12}),
    (range(50, 51), {12, 13, 14, 15, 16, 17, 18, 19}),
    (range(56, 70), {12, 13, 14, 15, 16, 17, 18, 19}),
)

# ISO 13616, as SWIFT's registry has it: how long an account of each country is
_IBANS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SE": 24, "SI": 19,
    "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip


def luhn(number: str) -> bool:
    """ISO/IEC 7812-1, annex B: every second digit from the right is doubled."""
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def card(number: str) -> bool:
    """A payment card: the beginning and the length of a network's, and Luhn's digit."""
    number_of = number.removeprefix("0")  # Maestro's 0604
    known = any(
        len(number) in lengths and int(number_of[: len(str(begins.start))]) in begins for begins, lengths in _CARDS
    )
    # cards of 13 digits are gone, and articles aren't
    return known and luhn(number) and not (len(number) == 13 and article(number))


def article(number: str) -> bool:
    """An article of trade and no person's number: EAN-13, and ISBN-13 with it."""
    return len(number) == 13 and (_weighted(number, (1, 3) * 6) + int(number[-1])) % 10 == 0


def iban(account: str) -> bool:
    """ISO 13616: the length of its country's, and 1 as the rest by 97 (ISO/IEC 7064)."""
    if _IBANS.get(account[:2]) != len(account):
        return False
    return int("".join(str(int(sign, 36)) for sign in account[4:] + account[:4])) % 97 == 1


def spanish_dni(number: str) -> bool:
    """DNI and NIE: a letter for the rest of the number by 23; X, Y and Z of foreigners stand for 0, 1 and 2."""
    digits = number[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == number[-1]


def italian_codice_fiscale(code: str) -> bool:
    """Codice fiscale: the sixteenth letter is the sum of values of odd and even places by 26 (D.M. 23/12/1976)."""
    odd = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23]
    values = [ord(sign) - ord("0" if sign.isdigit() else "A") for sign in code[:15]]
    whole = sum(odd[value] if place % 2 == 0 else value for place, value in enumerate(values))
    return string.ascii_uppercase[whole % 26] == code[15]


def french_nir(number: str) -> bool:
    """NIR, the number of the social security: sex, year, month, department, and 97 minus the rest by 97."""
    body = number[:13].replace("2A", "19").replace("2B", "18")
    return 97 - int(body) % 97 == int(number[13:])


def polish_pesel(number: str) -> bool:
    """PESEL: a date of birth whose month tells the century, and a weighted sum by 10."""
    year, month, day = int(number[:2]), int(number[2:4]), int(number[4:6])
    century = {0: 1900, 1: 2000, 2: 2100, 3: 2200, 4: 1800}[month // 20]
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    return _is_date(century + year, month % 20, day) and _weighted(number, weights) % 10 == 0


def brazilian_cpf(number: str) -> bool:
    """CPF: two digits, each a weighted sum by 11 of those before it; never one digit alone."""
    checks = [_weighted(number, range(count + 1, 1, -1)) * 10 % 11 % 10 for count in (9, 10)]
    return len(set(number)) > 1 and checks == [int(number[9]), int(number[10])]


def finnish_hetu(number: str) -> bool:
    """Henkilötunnus: a date of birth, a sign for its century, and a sign for the rest of all digits by 31."""
    century = 1800 if number[6] == "+" else 2000 if number[6] in "ABCDEF" else 1900
    known = _is_date(century + int(number[4:6]), int(number[2:4]), int(number[:2]))
    return known and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(number[:6] + number[7:10]) % 31] == number[-1]


def german_tax_id(number: str) -> bool:
    """Steuer-ID: of the first ten digits one comes two or three times, and MOD 11,10 of ISO/IEC 7064."""
    counts = sorted(number[:10].count(digit) for digit in set(number[:10]))
    product = 10
    for digit in number[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    # of those from 2016 on a digit may come three times
    return number[0] != "0" and counts in ([1] * 8 + [2], [1] * 7 + [3]) and (11 - product) % 10 == int(number[10])


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _weighted(number: str, weights: Sequence[int]) -> int:
    return sum(weight * int(digit) for weight, digit in zip(weights, number, strict=False))


NATIONAL: dict[str, tuple[str, Callable[[str], bool]]] = {  # a name -> how it is written, and its rule
    "Spanish DNI and NIE": (r"(?:\d{8}|[XYZ]-?\d{7})-?[A-Z]", spanish_dni),
    "Italian codice fiscale": (r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]", italian_codice_fiscale),
    "French NIR": (
        r"[1-478] ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d",
        french_nir,
    ),
    "Polish PESEL": (r"\d{11}", polish_pesel),
    "Brazilian CPF": (r"\d{3}\.\d{3}\.\d{3}-\d\d|\d{11}", brazilian_cpf),
    "Finnish henkilötunnus": (r"\d{6}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]", finnish_hetu),
    "German Steuer-ID": (r"\d{2} ?\d{3} ?\d{3} ?\d{3}", german_tax_id),
}
