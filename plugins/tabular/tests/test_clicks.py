"""Logs of clicks in the formats of Criteo's and Avazu's competitions, made up: they load as they were published."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest
from labwright_tabular.data.table import ClassTable

NUMBERS, CODES = [f"I{n}" for n in range(1, 14)], [f"C{n}" for n in range(1, 27)]
AVAZU = "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,device_id,"
AVAZU += "device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"


def code(levels: int) -> str:
    """A hash of eight signs, of so many that there are."""
    return f"{random.randrange(levels) * 2654435761 % 2**32:08x}"


def criteo(path: Path, rows: int) -> Path:
    """Tabs and no header: a label, 13 counts and 26 hashes, any of which may be missing."""
    lines = []
    for _ in range(rows):
        counts = [random.choice(["", str(random.randrange(-1, 500))]) for _ in NUMBERS]
        hashes = [random.choice(["", code(20 + 40 * place), code(20)]) for place, _ in enumerate(CODES)]
        lines.append("\t".join([str(int(random.random() < 0.25)), *counts, *hashes]))
    path.write_text("\n".join(lines) + "\n")
    return path


def avazu(path: Path, rows: int) -> Path:
    """A header, names of rows in 19 or 20 digits, an hour as YYMMDDHH, hashes, and codes that are numbers."""
    lines = [AVAZU]
    for number in range(rows):
        name, hour = random.randrange(10**18, 10**20), f"1410{21 + number * 10 // rows}{number % 24:02d}"
        where = [code(40) for _ in range(6)]
        device = ["a99f214a", code(rows), code(300), "1", random.choice("025")]
        codes = [random.choice(["15706", "15704", "20366"]), "320", "50", str(random.randrange(1700, 1730)), "0", "35"]
        behind = [random.choice(["-1", "100084"]), "79"]
        click = str(int(random.random() < 0.17))
        lines.append(",".join([str(name), click, hour, "1005", random.choice("01"), *where, *device, *codes, *behind]))
    with gzip.open(path, "wt") as file:
        file.write("\n".join(lines) + "\n")
    return path


def test_criteos_log_has_neither_a_header_nor_csv_in_its_name(tmp_path: Path) -> None:
    random.seed(0)
    file = criteo(tmp_path / "train.txt", 3000)
    data = ClassTable(path=file, columns=("Label", *NUMBERS, *CODES), target="Label")
    data.prepare()
    assert sum(len(data.split(part) or ()) for part in ("train", "valid", "test")) == 3000
    roles = {column.name: column.role for column in data.columns.used}
    assert {roles[name] for name in NUMBERS} == {"number"}
    assert {roles[name] for name in CODES} == {"category"}
    assert all(column.flagged for column in data.columns.used if column.role == "number")


def test_avazus_log_is_cut_where_its_days_are(tmp_path: Path) -> None:
    random.seed(0)
    file = avazu(tmp_path / "train.gz", 2000)
    data = ClassTable(path=file, target="click", time="hour", test=0.1)
    data.prepare()
    roles = {column.name: column.role for column in data.columns.columns}
    assert roles["id"] == "ignore"  # 19 digits are no number
    assert roles["site_id"] == "category"
    assert roles["hour"] == "number"
    train, test = data.split("train"), data.split("test")
    assert train is not None
    assert test is not None
    assert int(train.times.max()) < 14103000 <= int(test.times.min())
    assert len(test) == pytest.approx(200, abs=10)
