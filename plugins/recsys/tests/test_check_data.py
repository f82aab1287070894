"""What check-data says of ratings: a user with nearly everything, and no complaint about what isn't comparable."""

from __future__ import annotations

from pathlib import Path

from labwright_recsys.data.interactions import OwnInteractions
from labwright_tasks.checking.look import look


def test_a_user_with_nearly_all_items_is_named(tmp_path: Path) -> None:
    rows = [f"u{user},i{item}" for user in range(20) for item in range(20) if (user * 7 + item * 3) % 5 == 0]
    rows += [f"robot,i{item}" for item in range(18)]
    (tmp_path / "log.csv").write_text("user,item\n" + "\n".join(rows) + "\n")
    data = OwnInteractions(file=tmp_path / "log.csv")
    data.prepare()
    found = look(data, most=10_000, seed=0, say=str)
    (finding,) = [finding for finding in found.findings if finding.check == "interactions"]
    assert "1 users interact with more than 80% of all items: robot 18" in finding.sentence
    assert set(found.skipped) == {"balance", "labels", "outliers", "drift"}
