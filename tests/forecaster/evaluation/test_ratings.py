"""The sheet for people's ratings: written for spreadsheets, read back as they leave it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from stockllm.data.errors import ImportFailed, StoreError, UsageError
from stockllm.forecaster.evaluation.quality import Ask, Quality, Sample
from stockllm.forecaster.evaluation.ratings import COLUMNS, krippendorff, read_sheet, summary, write_sheet

DAY = date(2026, 3, 31)


def made(count: int = 120) -> Quality:
    """Samples of two tasks, with what spreadsheets stumble over."""
    texts = ["+12 +45 -30 +20 3", '風險，"高"\n第二行', "=1+1", "plain"]
    samples = [
        Sample(task, "2330", DAY, f"問題 {task} {n}", "truth", texts[n % 4], 0.1)
        for n in range(count)
        for task in ("risk", "prices")
    ]
    return Quality("m", Ask(tasks=("prices", "risk")), (DAY, DAY), tuple(samples), None, False)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


@pytest.fixture
def fill(tmp_path: Path) -> Callable[..., Path]:
    """``fill(name, ratings)``: a copy of one sheet with these ratings, from the top."""
    target = tmp_path / "sheet.csv"
    write_sheet(made(), target)

    def copy(name: str, ratings: list[str], encoding: str = "utf-8-sig", delimiter: str = ",") -> Path:
        rows = rows_of(target)
        for row, rating in zip(rows, ratings, strict=False):
            row["rating"] = rating
        text = io.StringIO(newline="")
        sheet = csv.DictWriter(text, COLUMNS, delimiter=delimiter)
        sheet.writeheader()
        sheet.writerows(rows)
        (tmp_path / name).write_bytes(text.getvalue().encode(encoding))
        return tmp_path / name

    return copy


def test_a_sheet_opens_in_spreadsheets(tmp_path: Path) -> None:
    target = tmp_path / "sheet.csv"
    assert write_sheet(made(), target) == 100
    content = target.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in content
    rows = rows_of(target)
    assert len(rows) == len({row["id"] for row in rows}) == 100
    assert {row["task"] for row in rows[:2]} == {"prices", "risk"}  # by turns
    assert sum(row["task"] == "risk" for row in rows) == 50
    for row in rows:
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())
        assert row["rating"] == row["comment"] == ""
    assert '風險，"高"\n第二行' in {row["answer"] for row in rows}
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.csv"]


def test_an_answer_given_twice_is_rated_once(tmp_path: Path) -> None:
    one = made(1)
    assert (
        write_sheet(Quality("m", one.ask, one.period, one.samples * 3, None, False), tmp_path / "s.csv") == 2
    )


def test_no_sheet_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("mine")
    with pytest.raises(UsageError, match="may hold ratings"):
        write_sheet(made(), tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == "mine"
    with pytest.raises(StoreError, match="cannot be written"):
        write_sheet(made(), tmp_path / "none" / "s.csv")


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [("utf-8-sig", ","), ("utf-8", ";"), ("utf-16", "\t"), ("cp950", ",")],
)
def test_it_is_read_however_a_spreadsheet_saves_it(
    fill: Callable[..., Path], encoding: str, delimiter: str
) -> None:
    sheet = read_sheet(fill("filled.csv", ["5", "4.0", "３", "", " 1 "], encoding, delimiter))
    assert sorted(sheet.ratings.values()) == [1, 3, 4, 5]
    assert len(sheet.rows) == 100


@pytest.mark.parametrize("wrong", ["6", "0", "4.5", "good", "-1", "nan", "1e9"])
def test_a_wrong_rating_is_named_with_its_row(fill: Callable[..., Path], wrong: str) -> None:
    with pytest.raises(ImportFailed, match=rf"row 3: '{wrong}' is no rating") as raised:
        read_sheet(fill("wrong.csv", ["5", wrong]))
    assert raised.value.zh


def test_what_is_no_sheet(fill: Callable[..., Path], tmp_path: Path) -> None:
    def of(content: bytes) -> Path:
        (tmp_path / "x.csv").write_bytes(content)
        return tmp_path / "x.csv"

    for content, sentence in (
        (b"", "no rating sheet"),
        (b"a,b\n1,2\n", "no rating sheet"),
        (b"\x00\xff\x81\xff\xff", "no text|no rating sheet|no CSV"),
        (b"id,answer,rating\nx,y,5\nx,y,4\n", "there twice"),
        (b"id,answer,rating\n,y,5\n", "missing"),
        (b'id,answer,rating\nx,"y,5\n', "no CSV"),
    ):
        with pytest.raises(ImportFailed, match=sentence):
            read_sheet(of(content))
    with pytest.raises(ImportFailed, match="no rating in it"):
        read_sheet(fill("empty.csv", []))
    with pytest.raises(ImportFailed, match="cannot be read"):
        read_sheet(tmp_path / "none.csv")
    with pytest.raises(ImportFailed, match="cannot be read"):
        read_sheet(tmp_path)


def test_mean_and_agreement(fill: Callable[..., Path]) -> None:
    ann = read_sheet(fill("ann.csv", ["5", "4", "3", "2", "1"]))
    bob = read_sheet(fill("bob.csv", ["5", "4", "3", "3", "", "1"]))
    facts = summary([ann, bob])
    assert (facts["raters"], facts["samples"], facts["rated"], facts["ratings"]) == (2, 100, 6, 10)
    assert facts["mean"] == pytest.approx(3.1)
    assert facts["counts"] == {"1": 2, "2": 1, "3": 3, "4": 2, "5": 2}
    assert (facts["pairs"], facts["equal"], facts["within_one"]) == (4, 0.75, 1.0)
    assert 0.7 < facts["alpha"] < 1
    alone = summary([ann])
    assert (alone["mean"], alone["equal"], alone["alpha"]) == (3.0, None, None)


def test_sheets_of_other_samples_are_not_mixed(fill: Callable[..., Path], tmp_path: Path) -> None:
    first = read_sheet(fill("ann.csv", ["5"]))
    (tmp_path / "other.csv").write_text("id,answer,rating\nx,y,5\n")
    with pytest.raises(UsageError, match="different samples"):
        summary([first, read_sheet(tmp_path / "other.csv")])


def test_alpha_is_krippendorffs() -> None:
    # Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C/D: interval, 0.849.
    missing = np.nan
    table = np.array(
        [
            [1, 1, missing, 1],
            [2, 2, 3, 2],
            [3, 3, 3, 3],
            [3, 3, 3, 3],
            [2, 2, 2, 2],
            [1, 2, 3, 4],
            [4, 4, 4, 4],
            [1, 1, 2, 1],
            [2, 2, 2, 2],
            [missing, 5, 5, 5],
            [missing, missing, 1, 1],
            [missing, missing, 3, missing],
        ]
    )
    assert krippendorff(table) == pytest.approx(0.849, abs=5e-4)
    assert krippendorff(np.array([[1.0, 1.0], [4.0, 4.0]])) == 1.0
    assert krippendorff(np.array([[3.0, 3.0], [3.0, 3.0]])) is None
    assert krippendorff(np.array([[1.0, missing]])) is None
