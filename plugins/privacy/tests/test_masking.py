"""Personal data in texts: checksums against published numbers, Faker's texts in eight locales, and what a run keeps."""

from __future__ import annotations

import inspect
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import labwright as lw
import pytest
from labwright_privacy.federated.messages import learned_by
from labwright_privacy.masking import checksums
from labwright_privacy.masking.finding import KINDS, find
from labwright_privacy.masking.pseudonyms import Pseudonyms

REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "PL", "BR")
LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pl_PL", "pt_BR")
EACH = 40  # texts of a kind and locale


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """A file of the data kept beside the repository; without it the test is left out."""

    def file(name: str) -> Path:
        path = Path(__file__).resolve().parents[4] / "shared" / "data" / name
        if not path.is_file():
            pytest.skip(f"needs {path}, which is kept beside the repository, not in it")
        return path

    return file


def found(text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in find(text, KINDS, REGIONS)]


# ------------------------------------------------------------------------------------------------------------ checksums


@pytest.mark.parametrize(
    ("rule", "number"),
    [
        (checksums.card, "4111111111111111"),  # the test numbers of card networks
        (checksums.card, "378282246310005"),
        (checksums.card, "5555555555554444"),
        (checksums.card, "6011111111111117"),
        (checksums.card, "30569309025904"),
        (checksums.iban, "GB82WEST12345698765432"),  # ISO 13616's and SWIFT's registry's examples
        (checksums.iban, "DE89370400440532013000"),
        (checksums.iban, "FR1420041010050500013M02606"),
        (checksums.iban, "NO9386011117947"),
        (checksums.iban, "MT84MALT011000012345MTLCAST001S"),
        (checksums.spanish_dni, "12345678Z"),  # the Ministerio del Interior's example
        (checksums.spanish_dni, "X1234567L"),
        (checksums.italian_codice_fiscale, "RSSMRA85T10A562S"),  # the Agenzia delle Entrate's example card
        (checksums.french_nir, "255081416802538"),  # of a public example card
        (checksums.polish_pesel, "44051401359"),  # gov.pl's example
        (checksums.brazilian_cpf, "11144477735"),  # the Receita Federal's example of the calculation
        (checksums.finnish_hetu, "131052-308T"),  # the Digital and Population Data Services Agency's example
        (checksums.german_tax_id, "86095742719"),  # the Bundeszentralamt's example of the check digit
        (checksums.german_tax_id, "65929970489"),
        (checksums.article, "9783161484100"),  # the ISBN agency's example
    ],
)
def test_published_numbers_are_right_and_one_wrong_digit_is_seen(rule: Callable[[str], bool], number: str) -> None:
    assert rule(number)
    for place, sign in enumerate(number):
        if sign.isdigit():
            wrong = f"{number[:place]}{(int(sign) + 1) % 10}{number[place + 1 :]}"
            assert not rule(wrong), wrong


# -------------------------------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("Write to o'brien+news@mail.example.co.uk.", [("EMAIL", "o'brien+news@mail.example.co.uk")]),
        ("GB82 WEST 1234 5698 7654 32 is mine", [("IBAN", "GB82 WEST 1234 5698 7654 32")]),
        ("10.0.0.7, fe80::1, ::ffff:10.0.0.1!", [("IP", "10.0.0.7"), ("IP", "fe80::1"), ("IP", "::ffff:10.0.0.1")]),
        ("00:1B:44:11:3A:B7 or 001b.4411.3ab7", [("MAC", "00:1B:44:11:3A:B7"), ("MAC", "001b.4411.3ab7")]),
        ("paid with 4111-1111-1111-1111", [("CARD", "4111-1111-1111-1111")]),
        ("(212) 555-0175 x12, +44 20 7946 0958", [("PHONE", "(212) 555-0175 x12"), ("PHONE", "+44 20 7946 0958")]),
        ("DNI 12345678-Z, CPF 111.444.777-35", [("ID", "12345678-Z"), ("ID", "111.444.777-35")]),
        ("ISBN 978-3-16-148410-0, 2026-11-29 12:30:15, v1.2.3.4.5, 1,000,000, 3.14159265", []),
        ("4111111111111112 and GB82WEST12345698765433 have a wrong digit", []),
        ("a::b, std::vector and 300.1.2.3 are no machines", []),
        ("see https://example.com/2016/12345678/4041234567", []),
        ("user@localhost and @handle", []),
    ],
)  # fmt: skip
def test_what_is_found_and_what_is_not(text: str, spans: list[tuple[str, str]]) -> None:
    assert found(text) == spans


def test_a_number_is_found_behind_any_count_of_others_that_are_none() -> None:
    # phonenumbers gives up after 65,535 of them by itself; the plan alone knows this number, its form doesn't tell
    none = "".join(f"{number}1, x\n" for number in range(1_000_000, 1_066_000))
    spans = find(none + "912 345 678", ("PHONE",), ("ES",))
    assert [span.start for span in spans] == [len(none)]


def values(locale: str) -> tuple[dict[str, Callable[[], str]], Callable[[], str]]:
    """What makes personal data of each kind in a locale, and texts around it that look like some."""
    from faker import Faker

    fake = Faker(locale)
    fake.seed_instance(1)
    ids = {"es_ES": ("nif", "nie"), "it_IT": ("ssn",), "fr_FR": ("ssn",), "pl_PL": ("pesel",), "pt_BR": ("cpf",)}
    kinds: dict[str, Callable[[], str]] = {
        "EMAIL": fake.email,
        "IBAN": fake.iban,
        "CARD": fake.credit_card_number,
        "PHONE": fake.phone_number,
        "IP": lambda: random.choice([fake.ipv4, fake.ipv6])(),
        "MAC": fake.mac_address,
    }
    if locale in ids:
        kinds["ID"] = lambda: getattr(fake, random.choice(ids[locale]))()
    beside: list[Callable[[], str]] = [
        fake.sentence, fake.word, fake.date, fake.time, fake.isbn13, fake.isbn10, fake.postcode, fake.street_address,
        fake.uuid4, fake.url, fake.ean13, lambda: fake.date("%d.%m.%Y"), lambda: fake.date("%d/%m/%Y"),
        lambda: f"{fake.pyint():,}", lambda: str(fake.pyint(0, 10**6)), lambda: f"{fake.pyint() / 100:.2f}",
        lambda: f"v{fake.pyint(0, 9)}.{fake.pyint(0, 30)}.{fake.pyint(0, 99)}",
    ]  # fmt: skip
    # words stand between numbers: of two in a row nobody can tell where one ends
    return kinds, lambda: " ".join(f"{random.choice(beside)()} {fake.word()}" for _ in range(3))


TEMPLATES = ("{}: {}. {}", "{} ({}) {}", "{}\n{}\n{}", '{}, "{}"; {}', "{} <{}> {}", "{} tel {}, {}")


@pytest.mark.parametrize("locale", LOCALES)
def test_precision_and_recall_on_texts_by_faker(locale: str) -> None:
    random.seed(1)
    kinds, beside = values(locale)
    right = missed = wrong = 0
    for kind, value in kinds.items():
        for _ in range(EACH):
            given = value()
            spans = found(random.choice(TEMPLATES).format(beside(), given, beside()))
            hit = (kind, given) in spans
            right, missed, wrong = right + hit, missed + (not hit), wrong + len(spans) - hit
    assert right / (right + missed) >= 0.99
    assert right / (right + wrong) >= 0.99


# ----------------------------------------------------------------------------------------------------------- pseudonyms


def test_the_same_data_has_the_same_pseudonym_by_its_key_alone() -> None:
    mask, other = Pseudonyms(b"key", KINDS, REGIONS), Pseudonyms(b"another", KINDS, REGIONS)
    first = mask("Anna@Example.org, 4111 1111 1111 1111")
    assert first == mask("anna@example.org, 4111-1111-1111-1111")
    assert first != other("anna@example.org, 4111-1111-1111-1111")
    assert mask("bob@example.org")[:6] == "EMAIL_"
    assert mask(first) == first  # what is masked has nothing left to find
    assert mask.told() == "3 EMAIL (2 different), 2 CARD (1 different)"
    mask.counts.clear()
    mask("anna@example.org anna@example.org")
    assert mask.told() == "2 EMAIL (1 different)"


# ----------------------------------------------------------------------------------------------------- data around data

PERSONAL = ("anna@example.org", "4111 1111 1111 1111", "+49 30 901820", "10.0.0.17")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [
        {"text": f"{word} number {number}, write to {PERSONAL[number % 4]} please", "label": label}
        for number in range(24)
        for word, label in (("good", "yes"), ("bad", "no"))
    ]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def recipe(path: Path, tokenizer: str = "word", **masked: Any) -> lw.Experiment:
    inner = {"name": "nlp/text-files", "path": str(path), "tokenizer": tokenizer, "length": 200}
    return lw.Experiment(
        task={"name": "classification", "data": {"name": "privacy/masked", "data": inner, **masked}},
        model={"name": "nlp/bag", "width": 4},
        loss="cross-entropy",
        optimizer="adamw",
        train={"steps": 2, "batch_size": 8},
        name="masked",
    )


def texts_of(experiment: lw.Experiment) -> str:
    data = experiment.prepared().data
    part = data.split("train")
    assert part is not None
    import torch

    return "\n".join(map(str, data.show(part.fetch(torch.arange(len(part)), 0, 0).inputs)))


@pytest.mark.parametrize("tokenizer", ["word", "char", "byte", "bpe"])
def test_no_batch_shows_personal_data(table: Path, tokenizer: str) -> None:
    shown = texts_of(recipe(table, tokenizer))
    assert not any(personal.split()[0] in shown for personal in PERSONAL)
    assert "EMAIL_" in shown
    assert "PHONE_" in shown


def test_a_run_folder_holds_no_personal_data_and_tells_how_much_was_masked(table: Path, tmp_path: Path) -> None:
    run = recipe(table).run(tmp_path / "run")
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(personal.encode() in content for personal in PERSONAL), file
    assert "masked in its texts: 12 EMAIL (1 different), 12 IP (1 different), 12 CARD (1 different), 12 PHONE (1 " in (
        " ".join(run.notes)
    )
    assert "masked in its texts" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_what_is_asked_of_a_run_is_masked_as_its_training_texts_were(
    table: Path, tmp_path: Path, labwright: Any
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(32)))
    recipe(table, secret=str(secret)).run(tmp_path / "run")
    data: Any = lw.load(tmp_path / "run").task.data
    assert data.show(data.parse("to ANNA@example.org")) == [
        Pseudonyms(data.pseudonyms.key, KINDS, REGIONS)("to anna@example.org")
    ]
    secret.write_bytes(bytes(32))
    said = labwright("predict", "run", "--text", "good, write to anna@example.org please")
    assert said.code == 0
    assert "masked: 1 EMAIL." in said.errors
    assert "task.data.secret is another than when the run began" in said.errors
    said = labwright("evaluate", "run", "--on", str(table))
    assert said.code == 0
    assert "task.data.secret is another than when the run began" in said.errors


def test_clients_of_a_federation_need_the_same_key_and_not_the_same_personal_data(table: Path, tmp_path: Path) -> None:
    def learned(path: Path, secret: bytes) -> str:
        (tmp_path / "secret").write_bytes(secret)
        return learned_by(recipe(path, "byte", secret=str(tmp_path / "secret")).prepared())

    other = tmp_path / "other.jsonl"
    other.write_text(table.read_text(encoding="utf-8").replace("anna@example.org", "nobody"), encoding="utf-8")
    assert learned(table, bytes(16)) == learned(other, bytes(16))
    assert learned(table, bytes(16)) != learned(table, bytes(17))


def test_of_texts_that_are_not_in_memory_those_are_counted_that_were_read(table: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    from pyarrow import Table

    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    parquet.write_table(Table.from_pylist(rows), tmp_path / "texts.parquet", row_group_size=2)
    inner = {"name": "nlp/parquet", "path": str(tmp_path / "texts.parquet"), "learn_from": 4}
    experiment = lw.Experiment(
        task={"name": "classification", "data": {"name": "privacy/masked", "data": inner}},
        model={"name": "nlp/bag", "width": 4},
        loss="cross-entropy",
        optimizer="adamw",
        train={"steps": 1},
    )
    assert "anna" not in texts_of(experiment)
    (said,) = (remark for remark in experiment.prepared().data.remarks() if remark.startswith("masked in"))
    assert said.startswith("masked in those of its texts that were read to begin with: ")


def test_pairs_are_masked_on_both_sides(table: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(json.dumps(row | {"translation": row["text"]}) + "\n" for row in rows), encoding="utf-8")
    experiment = lw.Experiment(
        task={
            "name": "sequence-to-sequence",
            "data": {"name": "privacy/masked", "data": {"name": "nlp/text-pairs", "path": str(pairs)}},
        },
        model={"name": "nlp/transformer", "width": 8, "depth": 1, "heads": 1},
        loss="cross-entropy",
        optimizer="adamw",
        train={"steps": 1, "batch_size": 8},
    )
    run = experiment.run(tmp_path / "run")
    for file in run.folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(personal.encode() in content for personal in PERSONAL), file
    assert any("masked in its texts: 24 EMAIL (1 different)" in note for note in run.notes)


def test_running_text_is_masked_too(tmp_path: Path) -> None:
    text = tmp_path / "letters.txt"
    text.write_text("Dear Anna, anna@example.org is your address.\n" * 60, encoding="utf-8")
    experiment = lw.Experiment(
        task={
            "name": "language-model",
            "data": {"name": "privacy/masked", "data": {"name": "nlp/plain-text", "path": str(text), "context": 16}},
        },
        model={"name": "nlp/gpt", "width": 8, "depth": 1, "heads": 1},
        loss="cross-entropy",
        optimizer="adamw",
        train={"steps": 1},
    )
    shown = texts_of(experiment)
    assert "EMAIL_" in shown
    assert "anna@" not in shown
    experiment.run(tmp_path / "run")  # the task asks for more of such data than all data has


def test_a_fold_goes_around_masked_data(table: Path) -> None:
    inner = {"name": "privacy/masked", "data": {"name": "nlp/text-files", "path": str(table)}}
    experiment = lw.Experiment(
        task={"name": "classification", "data": {"name": "fold", "number": 1, "data": inner}},
        model="nlp/bag",
        loss="cross-entropy",
        optimizer="adamw",
        train={"steps": 1},
    )
    assert "anna" not in texts_of(experiment)
    data = experiment.prepared().data
    (found,) = (remark for remark in data.remarks() if remark.startswith("masked"))
    assert "12 EMAIL (1 different)" in found
    assert not any(note.startswith("masked") for note in data.noticed())  # of texts that a fold has read once more


def test_data_with_folds_of_its_own_can_be_told_by_its_methods(table: Path) -> None:
    data = recipe(table).prepared().data
    assert inspect.getattr_static(
        data, "refit"
    )  # as Python 3.12 looks for a protocol's methods: without it a fold's vocabulary
    # would be that of what is held out as well
    data.checks()
    assert not any(note.startswith("masked") for note in data.noticed())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"name": "vision/digits"}}, "Digits has no texts that could be masked"),
        ({"data": {"name": "privacy/masked", "data": "nlp/languages"}}, "Masked has no texts that could be masked"),
        ({"data": {"name": "nlp/languages"}, "secret": "nowhere"}, "task.data.secret: 'nowhere' can't be read"),
        ({"data": {"name": "nlp/languages"}, "secret": "short"}, "'short' has 5 bytes; 16 or more can't be guessed"),
        ({"data": {"name": "nlp/languages"}, "secret": "."}, "Is a directory"),
        ({"data": {"name": "nlp/languages"}, "regions": ["UK"]}, "no country is called 'UK'"),
        ({"data": {"name": "nlp/languages"}, "regions": ["de"]}, "did you mean 'DE'?"),
        ({"data": {"name": "nlp/languages"}, "kinds": ["EMAILS"]}, "EMAIL"),
        ({"data": {"name": "nlp/languages"}, "kinds": []}, "kinds"),
        ({"data": {"name": "nlp/languages"}, "kinds": "EMAIL"}, "kinds"),
        ({"data": {"name": "nlp/languages"}, "names": True}, "names"),
        ({}, "data"),
    ],
)
def test_what_cannot_be_masked_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short").write_bytes(b"12345")
    with pytest.raises(lw.LabwrightError) as refused:
        lw.Experiment(
            task={"name": "classification", "data": {"name": "privacy/masked", **changes}},
            model="nlp/bag",
            loss="cross-entropy",
            optimizer="adamw",
            train={"steps": 1},
        )
    assert words in str(refused.value)


# ---------------------------------------------------------------------------------------- texts kept beside the project


def lines_of(name: str, shared: Callable[[str], Path]) -> Iterator[str]:
    import gzip

    with gzip.open(shared(name), "rt", encoding="utf-8") as file:
        for line in file:
            if name.endswith(".txt.gz"):
                yield line
                continue
            for value in json.loads(line).values():
                if isinstance(value, str):
                    yield value
                elif isinstance(value, list) and all(isinstance(word, str) for word in value):
                    yield " ".join(value)


@pytest.mark.long
def test_published_texts_have_hardly_anything_that_is_taken_for_personal_data(shared: Callable[[str], Path]) -> None:
    names = ["tiny_shakespeare/input.txt.gz", "wnut17_ner/train.jsonl.gz"]
    names += [f"mr_polarity/{part}.jsonl.gz" for part in ("train", "valid", "test")]
    names += [f"multi30k_en_de/{part}.jsonl.gz" for part in ("train", "valid", "test")]
    names += [f"xquad_en/{part}.jsonl.gz" for part in ("train", "test")]
    counts = Counter(span for name in names for line in lines_of(name, shared) for span in found(line))
    # eleven are numbers to call in advertisements, by reading them; the twelfth is a range of dates
    assert sum(counts.values()) <= 12
    assert {kind for kind, _ in counts} <= {"PHONE"}
