"""Tables: the same rows out of every kind of file, and nothing swallowed, dropped or made up on the way."""

from __future__ import annotations

import codecs
import gzip
import json
import unicodedata
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labwright import LabwrightError, LeftOut
from labwright_tasks.cells import Cells, Coded
from labwright_tasks.delimited import Written
from labwright_tasks.opening import opened
from labwright_tasks.tables import Table, name_of, read_table

COLUMNS = {"text": "text", "label": "label"}
Read = Callable[..., Table]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """`read("rows.csv", "text,label\\n…")`: the table of a file with this content."""

    def table(
        name: str, content: str | bytes, columns: dict[str, str] = COLUMNS, named: tuple[str, ...] = (), **settings: Any
    ) -> Table:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        read = {key: settings.pop(key) for key in ("optional", "every") if key in settings}
        return read_table(tmp_path / name, columns, **read, written=Written(columns=named, **settings))

    return table


@pytest.fixture
def parquet(tmp_path: Path) -> Read:
    """`parquet(text=[…], label=[…])`: the table of a Parquet file with these columns, values or arrays of pyarrow."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    def table(**columns: Any) -> Table:
        files.write_table(pyarrow.table(columns), tmp_path / "rows.parquet")
        return read_table(tmp_path / "rows.parquet", {name: name for name in columns})

    return table


def fault(of: Callable[[], object]) -> str:
    with pytest.raises(LabwrightError) as caught:
        of()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_same_rows_come_out_of_every_kind_of_file(read: Read, parquet: Read) -> None:
    rows = [("a, b", "1"), ('say "no"', "0"), ("Größe\u2028", "1")]
    jsonl = "".join(json.dumps({"label": int(label), "text": text}, ensure_ascii=False) + "\n" for text, label in rows)
    csv = 'id,text,label\r\n7,"a, b",1\r\n8,"say ""no""",0\r\n9,Größe\u2028,1\r\n'
    tables = [
        read("rows.jsonl", jsonl),
        read("rows.json", jsonl),
        read("rows.jsonl.gz", gzip.compress(jsonl.encode())),
        read("packed.csv", gzip.compress(csv.encode())),  # a browser may take the ending away
        read("rows.csv", csv),
        read("rows.CSV", codecs.BOM_UTF8 + csv.encode()),
        read("rows.csv.gz", gzip.compress(csv.encode("utf-16"))),
        read("rows.tsv", 'label\ttext\n1\ta, b\n\n0\tsay "no"\n1\tGröße\u2028'),
        read("rows.dat", csv.replace(",", "|").replace("a|", "a,"), delimiter="|"),
        parquet(text=[text for text, _ in rows], label=[int(label) for _, label in rows]),
    ]
    for table in tables:
        assert list(zip(table["text"], table.names("label"), strict=True)) == rows, table.origin
    assert tables[4].where(1).endswith("rows.csv, line 3") and tables[7].where(2).endswith("rows.tsv, line 5")
    assert tables[-1].where(0).endswith("rows.parquet, row 1")


def test_a_quote_between_tabs_is_a_character(read: Read) -> None:
    texts = ['"Heroes is a song', "dull", 'no better song than "Heroes"', '"', '""', 'the "end"', '6"']
    table = read("rows.tsv", "text\tlabel\n" + "".join(f"{text}\tpos\n" for text in texts))
    assert table["text"] == texts
    quoted = read("quoted.tsv", '"text"\t"label"\n"a ""b""\tc"\t"pos"\nplain\tneg\n')  # as R writes them
    assert quoted["text"] == ['a "b"\tc', "plain"] and quoted["label"] == ["pos", "neg"]


def test_a_text_may_stand_on_several_lines_of_a_csv_file(read: Read) -> None:
    content = 'label,text\npos,"Dear Sir,\n\nthanks, ""bye"""\nneg,"Good film\nReally, good"\npos,"one, two\n"\n'
    table = read("rows.csv", content)
    assert table["text"] == ['Dear Sir,\n\nthanks, "bye"', "Good film\nReally, good", "one, two\n"]
    assert list(table.lines) == [2, 5, 7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('label,text\npos,"Heroes is a song\nneg,terrible\nneg,dull\npos,no better song than heroes"\nneg,bad\n',
         r"rows.csv, line 2: a quote opens a cell that goes on to line 5, and each line of it looks like a row"),
        ('text,label\n"Heroes is a song,pos\nterrible,neg\nof heroes",pos\nbad,neg\n', "line 2: a quote opens"),
        ('id,text\n3,fine\n4,"Heroes\n5,bad\n6,heroes"\n', "line 3: a quote opens a cell that goes on to line 5"),
        ('text,label\nfine,pos\n"Heroes,neg\nbad,neg\n', "line 3: a quote opens a cell and isn't closed up to the end"),
        ('text,label\n"Heroes,neg\n"bad, b",neg\n', "line 3: behind a quote that ends a cell stands 'bad, b\""),
        ('text,label\n"he said \\"hi\\", then",pos\n', "line 2: behind a quote that ends a cell stands 'hi"),
        ('text,label\na,"b" \n', "line 2: behind a quote"),
    ],
)  # fmt: skip
def test_a_stray_quote_swallows_no_rows(read: Read, content: str, message: str) -> None:
    columns = COLUMNS if "label" in content else {"text": "text", "user": "id"}
    assert message in fault(lambda: read("rows.csv", content, columns))


def test_quotes_within_a_cell_are_characters(read: Read) -> None:
    assert read("rows.csv", 'text,label\n6" of rain,a\nthe "end",b\n')["text"] == ['6" of rain', 'the "end"']


def test_a_row_has_as_many_cells_as_the_header(read: Read) -> None:
    assert "rows.csv, line 3: 3 cells below a header of 2, given 'good, very,1'. A cell with ','" in fault(
        lambda: read("rows.csv", "text,label\nfine,1\ngood, very,1\n")
    )
    assert "line 2: 1 cells below a header of 2" in fault(lambda: read("rows.csv", "text,label\nfine\n"))
    assert "line 2: 3 cells below a header of 2" in fault(lambda: read("rows.tsv", "text\tlabel\na\tb\t\n"))


def test_a_cell_may_be_long_and_the_csv_module_is_left_as_it_was(read: Read) -> None:
    import csv

    before, long = csv.field_size_limit(), "a " * 100_000
    assert read("rows.csv", f'text,label\n{long},1\n"{long}",0\n')["text"] == [long, long]
    assert csv.field_size_limit() == before


def test_a_column_is_there_once(read: Read, parquet: Read) -> None:
    assert "rows.csv: 2 columns are called 'text'" in fault(lambda: read("rows.csv", "text,text,label\na,b,1\n"))
    assert "'text' is in it twice" in fault(lambda: read("rows.jsonl", '{"text": "a", "text": "b", "label": 1}\n'))
    missing = r"there is no column 'text'; did you mean 'Text'? It has Text, label; task.data.text says which one"
    assert missing in fault(lambda: read("rows.csv", "Text,label\na,1\n"))
    assert missing in fault(lambda: read("rows.jsonl", '{"Text": "a", "label": 1}\n'))
    assert "Set task.data.delimiter to '\\t'" in fault(lambda: read("a.csv", "text\tlabel\na\t1\n", delimiter=","))
    assert read("rows.csv", "text,label,,\na,1,,\n").names("label") == ["1"]
    optional = read("rows.csv", "text,label\na,1\n", {"text": "text"}, optional={"label": "label", "id": "id"})
    assert "label" in optional and "id" not in optional


def test_labels_and_identifiers_have_one_spelling() -> None:
    composed, apart = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    assert name_of(apart) == composed
    assert [name_of(one) for one in (" pos ", "pos\u00a0", "pos\u200b", "\ufeffpos")] == ["pos"] * 4
    assert [name_of(one) for one in ("1", "1.0", "-1.00", "01", "1.5", "1.0a")] == ["1", "1", "-1", "01", "1.5", "1.0a"]
    assert [name_of(one) for one in ("True", "TRUE", "false", "truest")] == ["true", "true", "false", "truest"]


def test_labels_are_read_alike_from_every_kind_of_file(read: Read, parquet: Read) -> None:
    for values in ([1, 0], [1.0, 0.0], ["1", "0"], ["1.0", "0.0"], [True, False], ["True", "False"]):
        jsonl = "".join(json.dumps({"text": "a", "label": one}) + "\n" for one in values)
        csv = "text,label\n" + "".join(f"a,{one}\n" for one in values)
        expected = ["true", "false"] if str(values[0]) == "True" else ["1", "0"]
        assert read("rows.jsonl", jsonl).names("label") == expected
        assert read("rows.csv", csv).names("label") == expected
        assert parquet(text=["a", "a"], label=values).names("label") == expected


def test_identifiers_of_parquet_are_texts_whatever_their_type(parquet: Read) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    assert parquet(user=[b"u1", None, "ü".encode()])["user"] == ["u1", "", "ü"]
    assert parquet(user=[b"\xff\x00", b"u1"])["user"] == ["ff00", "7531"]  # as with UUIDs
    assert parquet(user=[1.0, float("nan"), None, 2.5])["user"] == ["1", "", "", "2.5"]
    assert parquet(user=pyarrow.array([1.0, 16777217.0]))["user"] == ["1", "16777217"]
    assert parquet(user=pyarrow.array(["b", "a", "b"]).dictionary_encode())["user"] == ["b", "a", "b"]
    assert parquet(user=[2**63 - 1, -5])["user"] == ["9223372036854775807", "-5"]
    assert parquet(user=[Decimal("12.00"), Decimal("0.50")]).names("user") == ["12", "0.50"]
    assert parquet(user=[date(2024, 5, 31)])["user"] == ["2024-05-31"]
    assert parquet(user=pyarrow.array([None, None]))["user"] == ["", ""]


def test_moments_of_parquet_keep_their_nanoseconds(parquet: Read) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    moments = pyarrow.array([1_700_000_000_000_000_001, -1, 2_000_000_000, None], pyarrow.timestamp("ns"))
    assert parquet(time=moments)["time"] == ["1700000000.000000001", "-0.000000001", "2", ""]
    assert parquet(time=pyarrow.array([0, 1700000000], pyarrow.timestamp("s")))["time"] == ["0", "1700000000"]
    zoned = datetime(2024, 5, 31, 2, tzinfo=UTC) + timedelta(milliseconds=250)
    assert parquet(time=[zoned])["time"] == ["1717120800.25"]


def test_a_number_that_is_not_exact_is_no_identifier(read: Read, parquet: Read) -> None:
    assert "row 1: column 'user' has 9007199254740992.0" in fault(lambda: parquet(user=[2.0**53]))
    assert "line 1: column 'label' has 1e+20" in fault(lambda: read("rows.jsonl", '{"text": "a", "label": 1e20}\n'))
    big = 1_500_000_000_000_000_017
    assert read("rows.jsonl", f'{{"text": "a", "label": {big}}}\n')["label"] == [str(big)]


def test_rows_that_lack_something_are_left_out_and_counted(read: Read, parquet: Read) -> None:
    jsonl = '{"text": "a", "label": 1}\n{"text": "b"}\n{"text": " ", "label": 1}\n{"text": "d", "label": NaN}\n'
    table, left = read("rows.jsonl", jsonl).filled("text", "label")
    assert table["text"] == ["a"] and list(table.lines) == [1]
    assert left[0] == LeftOut(1, "row", f"no text, as in {table.origin}, line 3")
    assert left[1] == LeftOut(2, "rows", f"no label, as in {table.origin}, line 2")
    whole, nothing = read("rows.csv", "text,label\na,1\n").filled("text", "label")
    assert whole["text"] == ["a"] and nothing == []
    assert "rows.csv: none of its 2 rows has a text and a label" in fault(
        lambda: read("rows.csv", "text,label\n,1\na,\n").filled("text", "label")
    )
    assert parquet(text=["a", None], label=[1, 2]).filled("text")[1][0].count == 1


def test_utf_8_is_tried_before_another_encoding(tmp_path: Path) -> None:
    for name, content, encoding in (
        ("a", "Größe".encode(), "cp1252"),
        ("b", "Größe".encode("cp1252"), "cp1252"),
        ("c", "日本".encode("iso2022-jp"), "iso2022-jp"),
        ("d", "Größe".encode("utf-16"), None),
        ("e", "Größe".encode("utf-32"), "utf-8"),
        ("f", "Größe".encode("utf-16-le"), "utf-16-le"),
        ("g", codecs.BOM_UTF8 + "Größe".encode(), "latin-1"),
    ):
        (tmp_path / name).write_bytes(content)
        assert opened(tmp_path / name, encoding).read() == ("日本" if name == "c" else "Größe"), name


@pytest.mark.parametrize("encoding", ["utf-16", "UTF-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8", None])
@pytest.mark.parametrize("text", ["text,label\na,1\n", "text,label\na,12\n", ""])
def test_ascii_is_utf_8_whatever_is_said_to_be_wider(text: str, encoding: str | None, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(text.encode("ascii"))  # of an even and of an odd number of bytes
    assert opened(tmp_path / "rows.csv", encoding).read() == text


@pytest.mark.parametrize("text", ["text,label\na,1\n", "Größe,label\na,1\n"])
def test_utf_16_that_does_not_say_its_order_is_answered(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(text.encode("utf-16-le"))
    message = fault(lambda: opened(tmp_path / "rows.csv", "utf-16"))
    assert "is no utf-16. It has no byte order mark: set task.data.encoding to utf-16-le or utf-16-be." in message
    assert opened(tmp_path / "rows.csv", "utf-16-le").read() == text


def test_bytes_that_are_no_text_are_answered_with_what_they_may_be(read: Read, tmp_path: Path) -> None:
    good = "text,label\nfine,1\n"
    western = good.encode() + "“Größe” 5 €,0\n".encode("cp1252")
    said = "rows.csv, line 3: the byte 0x93 is no utf-8. "
    assert said + "Set task.data.encoding to what it is in, such as cp1252." in fault(
        lambda: read("rows.csv", western, encoding="utf-8")
    )
    assert said + "It may be cp1252: convert it by `iconv -f CP1252 -t UTF-8 rows.csv`" in fault(
        lambda: opened(tmp_path / "rows.csv")
    )
    mixed = good.encode() + "Größe Größe Größe,0\n".encode() + b"na\xefve,0\n"
    assert "line 4: the byte 0xef is no utf-8. The rest of it is UTF-8: mend the 1 places" in fault(
        lambda: read("rows.csv", mixed, encoding="utf-8")
    )
    assert "such as gbk, shift_jis" in fault(
        lambda: read("rows.csv", good.encode() + b"\x81\x8d,0\n", encoding="utf-8")
    )
    assert "It seems to be no text" in fault(lambda: read("rows.csv", b"PK\x03\x04\x00\x00\xff"))
    assert "no encoding of text 'uft-8'" in fault(lambda: read("rows.csv", good, encoding="uft-8"))
    assert "no encoding of text 'hex'" in fault(lambda: read("rows.csv", good, encoding="hex"))
    assert "can't be read" in fault(lambda: read("torn.csv.gz", gzip.compress(western)[:-9]))
    assert "is a device, a pipe or a socket" in fault(lambda: opened(Path("/dev/null")))
    assert "is a folder; give the name of a file in it" in fault(lambda: opened(tmp_path))
    assert "did you mean 'rows.csv'?" in fault(lambda: opened(tmp_path / "row.csv"))


def test_what_is_no_table_is_answered(read: Read, parquet: Read) -> None:
    assert "rows.jsonl, line 2: no JSON" in fault(lambda: read("rows.jsonl", '{"text": "a", "label": 1}\n{"text"\n'))
    assert "rows.jsonl, line 1: a list; each line is an object" in fault(lambda: read("rows.jsonl", '["a", 1]\n'))
    assert "line 1: column 'text' has a list" in fault(lambda: read("rows.jsonl", '{"text": ["a"], "label": 1}\n'))
    assert "row 2: column 'text' has a list" in fault(lambda: parquet(text=[None, ["a"]]))
    assert "can't be read as Parquet" in fault(lambda: read("torn.parquet", b"PAR1 torn"))
    assert "no.csv'" in fault(lambda: read_table(Path("no.csv"), COLUMNS))
    assert "is a spreadsheet: save it as .csv. A table is read from .arrow, .csv" in fault(
        lambda: read("rows.xlsx", b"PK")
    )
    for name, content in (("rows.csv", ""), ("rows.csv", "text,label\n"), ("rows.tsv", "\n"), ("rows.jsonl", "\n")):
        with pytest.raises(LabwrightError, match=f"{name} has no rows"):
            read(name, content)
    assert "\ufffd" in read("rows.jsonl", '{"text": "\\ud800", "label": 1}\n')["text"][0]


def test_what_stands_between_cells_is_seen_and_told(read: Read) -> None:
    for name, content, words in (
        ("rows.csv", "text;label\na, b;1\n", "semicolons between cells"),
        ("rows.csv", "text\tlabel\na, b\t1\n", "tabs between cells"),
        ("rows.dat", "id::text::label\n1::a, b::1\n", "double colons between cells"),
        ("u.data", "text|label\na, b|1\n", "bars between cells"),
        ("rows.csv", "'text';'label'\n'a, b';1\n", "semicolons between cells, cells in single quotes"),
        ("rows.tsv", '"text"\t"label"\n"a, b"\t1\n', "cells in double quotes"),
    ):
        table = read(name, content)
        assert (table["text"], table["label"]) == (["a, b"], ["1"])
        assert table.remarks[0].startswith(f"{table.origin} is read with {words}; task.data."), table.remarks
    assert read("rows.csv", "text,label\na;b,1\n").remarks == ()
    assert read("rows.csv", "text;label\na, b;1\n", delimiter=";").remarks == ()


RATED = {"user": "user", "item": "item", "rating": "rating"}
FOUR = ("user", "item", "rating", "time")


@pytest.mark.parametrize(
    ("name", "sign"), [("u.data", "\t"), ("ratings.dat", "::"), ("r.csv", ","), ("r.csv", ";"), ("r", "|")]
)
def test_a_table_without_a_header_has_the_columns_that_are_named(read: Read, name: str, sign: str) -> None:
    rows = [["196", "242", "3", "881250949"], ["186", "302", "3.5", "891717742"], ["22", "377", "1", "878887116"]]
    content = "\n".join(map(sign.join, rows)) + "\n"
    table = read(name, content, RATED, named=FOUR)
    assert list(zip(*(table[column] for column in RATED), strict=True)) == [tuple(row[:3]) for row in rows]
    assert table.where(0).endswith("line 1") and len(table) == 3
    assert read(name, content, RATED, named=FOUR[:3])["item"] == ["242", "302", "377"]  # the time is passed over
    missing = fault(lambda: read(name, content, RATED))
    assert "The first row looks like data: name its columns in their order, such as task.data.columns='[\"us" in missing
    assert ", 4 cells for 5 columns, user, item, rating, time, more. Is" in fault(
        lambda: read(name, content, RATED, named=(*FOUR, "more"), delimiter=sign)
    )
    assert "there is no column 'rating'" in fault(lambda: read(name, content, RATED, named=("user", "item")))


def test_a_header_is_not_taken_for_data(read: Read) -> None:
    content = "userId,movieId,rating,time\n1,2,3,4\n5,6,7,8\n9,10,11,12\n"
    assert "line 1: movieId, rating, userId in the first row, where other rows have numbers: it seems" in fault(
        lambda: read("rows.csv", content, RATED, named=FOUR)
    )
    repeated = read("rows.csv", "user,item,rating\n1,2,3\n", RATED, named=FOUR[:3])
    assert repeated["user"] == ["1"] and "has a header, which task.data.columns repeats" in repeated.remarks[0]
    missing = "?,1,3\n1,2,3\n4,5,6\n"  # the first row says that something is missing
    assert read("rows.csv", missing, RATED, named=FOUR[:3])["user"] == ["?", "1", "4"]
    texts = read("rows.csv", "fine film,pos\nbad film,neg\n", named=("text", "label"))
    assert texts["label"] == ["pos", "neg"]


def test_a_first_row_in_quotes_on_two_lines_is_read_whole(read: Read) -> None:
    table = read("rows.csv", '"Dear Sir\nthanks",pos\nbad,neg\n', named=("text", "label"))
    assert table["text"] == ["Dear Sir\nthanks", "bad"] and list(table.lines) == [1, 3]


def test_quotes_are_as_the_setting_says(read: Read) -> None:
    content = 'text,label\n"Heroes" is a song,1\n'
    assert "behind a quote" in fault(lambda: read("rows.csv", content))
    assert read("rows.csv", content, quote="none")["text"] == ['"Heroes" is a song']
    assert read("rows.tsv", 'text\tlabel\n"a\tb"\t1\n', quote="double")["text"] == ["a\tb"]
    assert read("rows.csv", "text,label\n'it''s, so',1\n", quote="single")["text"] == ["it's, so"]
    assert "there is no column 'text'" in fault(lambda: read("rows.csv", '"text","label"\n"a",1\n', quote="none"))


def test_delimited_rows_are_those_of_the_csv_module(read: Read) -> None:
    import csv
    import io
    import random

    chance = random.Random(0)
    for sign, name in ((",", "rows.csv"), (";", "rows.csv"), ("|", "rows.txt"), ("\t", "rows.tsv")):
        rows = [["".join(chance.choices("ab \n\"'" + sign, k=5)) + "x" for _ in range(3)] for _ in range(60)]
        written = io.StringIO()
        csv.writer(written, delimiter=sign, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
        table = read(
            name, written.getvalue(), {key: key for key in "abc"}, named=tuple("abc"), quote="double", delimiter=sign
        )
        assert list(zip(*(table[key] for key in "abc"), strict=True)) == [tuple(row) for row in rows]


def test_encodings_that_are_plain_are_seen_and_told(read: Read) -> None:
    western = read("rows.csv", "text,label\n“Größe” — crème brûlée,1\n".encode("cp1252"))
    assert western["text"] == ["“Größe” — crème brûlée"]
    assert western.remarks == (f"{western.origin} is no UTF-8 and read as cp1252; task.data.encoding says otherwise.",)
    wide = read("rows.csv", "text,label\nplain enough,1\n".encode("utf-16-le"))
    assert wide["label"] == ["1"] and "read as utf-16-le" in wide.remarks[0]
    for text, encoding in (("日本語の文", "shift_jis"), ("Привет мир", "cp1251"), ("中文测试", "gbk")):
        message = fault(lambda text=text, encoding=encoding: read("r.csv", f"text,label\n{text},1\n".encode(encoding)))
        assert "Set task.data.encoding to" in message
        assert read("r.csv", f"text,label\n{text},1\n".encode(encoding), encoding=encoding)["label"] == ["1"]


def test_packed_tables_are_unpacked(tmp_path: Path) -> None:
    import bz2
    import lzma
    import zipfile

    plain = b"text,label\na,1\n"
    (tmp_path / "rows.csv.bz2").write_bytes(bz2.compress(plain))
    (tmp_path / "rows.csv.xz").write_bytes(lzma.compress(plain))
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as archive:
        archive.writestr("data/rows.csv", plain)
        archive.writestr("data/README", "read me")
        archive.writestr("__MACOSX/data/rows.csv", b"")
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("train.csv", plain)
        archive.writestr("test.csv.gz", gzip.compress(plain))
    for name in ("rows.csv.bz2", "rows.csv.xz", "one.zip", "one.zip/data/rows.csv", "two.zip/test.csv.gz"):
        assert read_table(tmp_path / name, COLUMNS)["label"] == ["1"], name
    assert read_table(tmp_path / "one.zip", COLUMNS).where(0).endswith("one.zip/data/rows.csv, line 2")
    assert "has test.csv.gz, train.csv. Name one, such as task.data.path=" in fault(
        lambda: read_table(tmp_path / "two.zip", COLUMNS)
    )
    assert "has no file 'tset.csv.gz'; did you mean 'test.csv.gz'?" in fault(
        lambda: read_table(tmp_path / "two.zip/tset.csv.gz", COLUMNS)
    )
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04 torn")
    assert "can't be read as a zip archive" in fault(lambda: read_table(tmp_path / "torn.zip", COLUMNS))


def test_zstandard_is_unpacked_by_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    (tmp_path / "rows.jsonl.zst").write_bytes(pyarrow.compress(b'{"text": "a", "label": 1}\n', "zstd", asbytes=True))
    assert read_table(tmp_path / "rows.jsonl.zst", COLUMNS)["text"] == ["a"]
    monkeypatch.setattr("labwright_tasks.opening.find_spec", lambda _: None)
    assert "needs the package zstandard or pyarrow: `pip install zstandard`" in fault(
        lambda: read_table(tmp_path / "rows.jsonl.zst", COLUMNS)
    )


def test_arrow_is_read_as_a_file_and_as_a_stream(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import feather

    rows = pyarrow.table({"label": [1, 0], "text": ["a", None], "id": [7, 8]})
    feather.write_feather(rows, tmp_path / "rows.feather")
    with pyarrow.ipc.new_stream(tmp_path / "stream.arrow", rows.schema) as stream:
        stream.write_table(rows)
    with pyarrow.ipc.new_file(tmp_path / "file.arrow", rows.schema) as file:
        file.write_table(rows)
    for name in ("rows.feather", "stream.arrow", "file.arrow"):
        table = read_table(tmp_path / name, COLUMNS)
        assert (table["text"], table["label"]) == (["a", ""], ["1", "0"]) and table.where(1).endswith("row 2")
        assert list(read_table(tmp_path / name, COLUMNS, every=True).columns) == ["label", "text", "id"]
    (tmp_path / "torn.arrow").write_bytes(b"ARROW1 torn")
    assert "can't be read as Arrow" in fault(lambda: read_table(tmp_path / "torn.arrow", COLUMNS))
    assert "task.data.columns: " in fault(
        lambda: read_table(tmp_path / "file.arrow", COLUMNS, written=Written(columns=("text", "label")))
    )


def test_several_files_are_one_table(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"part-{number:02}.csv").write_text(f"text,label\na{number},1\nb{number},0\n")
    table = read_table(tmp_path / "part-*.csv", COLUMNS)
    assert table["text"] == [f"{letter}{number}" for number in range(12) for letter in "ab"]
    assert table.where(23).endswith("part-11.csv, line 3")
    assert table.take([5, 0]).where(0).endswith("part-02.csv, line 3")
    assert table.origin.endswith("part-00.csv and 11 more")
    two = read_table([tmp_path / "part-03.csv", tmp_path / "part-01.csv"], COLUMNS)
    assert two["text"] == ["a3", "b3", "a1", "b1"]
    assert "no file is called as" in fault(lambda: read_table(tmp_path / "*.tsv", COLUMNS))
    (tmp_path / "part-99.csv").write_text("text,label\na\n")
    assert "part-99.csv, line 2: 1 cells" in fault(lambda: read_table(tmp_path / "part-*.csv", COLUMNS))


def test_every_column_is_there_if_that_is_asked_for(read: Read) -> None:
    table = read("rows.csv", "a;label;b\n1;x;2\n", {"target": "label"}, every=True)
    assert list(table.columns) == ["a", "label", "b"] and table["b"] == ["2"]
    lines = read("rows.jsonl", '{"label": 1}\n{"label": 2, "b": 3}\n', {"target": "label"}, every=True)
    assert lines["b"] == ["", "3"]
    assert "there is no column 'lable'; did you mean 'label'?" in fault(
        lambda: read("rows.csv", "a,label\n1,x\n", {"target": "lable"}, every=True)
    )


def test_bars_without_a_header_are_seen_though_cells_have_commas(read: Read) -> None:
    content = 'LJ001-0001|Printing, in the "only" sense|Printing, in\nLJ001-0002|in being modern.|in being modern.\n'
    table = read("metadata.csv", content, {"path": "id", "text": "text"}, named=("id", "raw", "text"), quote="none")
    assert table["text"] == ["Printing, in", "in being modern."] and table["path"][0] == "LJ001-0001"


def test_what_is_guessed_of_many_files_is_told_once(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text("text;label\na;1\n")
    (remark,) = read_table(tmp_path / "*.csv", COLUMNS).remarks
    assert remark.startswith(f"{tmp_path}/0.csv (and 2 more) is read with semicolons between cells")


def test_a_list_of_objects_is_a_table_as_well(read: Read) -> None:
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
    for content in (json.dumps(rows), json.dumps(rows, indent=2)):
        table = read("rows.json", content)
        assert (table["text"], table["label"]) == (["a", "b"], ["1", "0"])
        assert table.where(1).endswith("rows.json, row 2")
    assert "rows.json: no JSON (" in fault(lambda: read("rows.json", '[{"text": "a", "label": 1},'))
    assert "a list; each line is an object" in fault(lambda: read("rows.json", '["a", 1]\n'))


TEXTS = ["", "a", "é", "a", "日本", "plain", "", "plain"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=30), st.data())
def test_a_column_in_little_memory_is_the_list_of_its_cells(texts: list[str], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=20)) if texts else []
    cells = Cells(texts)
    for column in (cells, Coded.of(texts), Coded.of(cells)):
        assert [*column] == texts == column and column[1:3] == texts[1:3] and len(column) == len(texts)
        assert column.chosen(rows) == [texts[row] for row in rows] == [column[row] for row in rows]
        both = Cells(column)
        both.extend(column.chosen(rows))
        both.append("last")
        assert both == [*texts, *(texts[row] for row in rows), "last"]


def test_many_cells_are_read_back_whatever_they_are_put_together_with() -> None:
    texts = [f"{number} {'ä' if number % 5000 == 4999 else 'a'}" for number in range(12_000)]
    assert [*Cells(texts)] == texts and [*Cells(texts).chosen(range(12_000))] == texts


def test_ends_are_wider_where_four_bytes_are_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labwright_tasks.cells._WIDE", 6)
    cells = Cells(TEXTS[:3])
    narrow = cells._ends.itemsize
    cells.append(TEXTS[3])
    cells.extend(TEXTS[4:])
    assert cells == TEXTS and (narrow, cells._ends.itemsize) == (4, 8)


def test_names_that_become_equal_have_one_code() -> None:
    coded = Coded.of(["1.0", "b", "1", "b "]).renamed(["1", "b", "1", "b"])
    assert coded == ["1", "b", "1", "b"]
    assert coded.names == ["1", "b"] and coded.codes_N.tolist() == [0, 1, 0, 1]
    assert coded.chosen([3, 1, 0]).names == ["b", "1"] and coded.chosen([]).names == []
