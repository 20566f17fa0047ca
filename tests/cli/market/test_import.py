"""``stockllm import``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from stockllm.data.paths import Home
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar

HEADER = ",date,capacity,turnover,open,high,low,close,change,transaction"
GOOD = (
    "2026-03-02,1000000,100500000,100.0,101.0,99.5,100.5,0.5,800",
    "2026-03-03,1100000,110500000,100.5,102.0,100.0,101.0,0.5,900",
    "2026-03-04,1200000,120500000,101.0,101.5,100.0,100.0,-1.0,950",
)
ZERO = "2026-03-05,0,0,0.0,0.0,0.0,0.0,0.0,0"
SATURDAY = "2026-03-07,1000,100000,100.0,101.0,99.5,100.5,0.5,8"


def prices(folder: Path, code: str, rows: Sequence[str]) -> Path:
    """A prices file in the reference's layout."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{code}.csv"
    path.write_text(
        "\n".join([HEADER, *(f"{i},{row}" for i, row in enumerate(rows))]) + "\n", encoding="utf-8"
    )
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two companies' prices: six good rows, two bad ones."""
    prices(tmp_path / "prices", "2330", [*GOOD, ZERO])
    prices(tmp_path / "prices", "2317", [*GOOD, SATURDAY])
    return tmp_path / "prices"


def test_every_row_is_accounted_for(document: Callable[..., Any], folder: Path, home_dir: Path) -> None:
    report = document("import", folder, "--json")
    assert report["simulated"] is False
    (kind,) = report["kinds"]
    assert kind["kind"] == "prices"
    assert kind["read"] == 8
    assert (kind["accepted"], kind["unchanged"], kind["quarantined"]) == (6, 0, 2)
    assert kind["reasons"] == {"not_a_session": 1, "zero_price": 1}
    assert sum(r["read"] for r in report["reports"]) == 8
    with Store.open(Home(home_dir), create=False) as store:
        assert store.bars.count() == 6


def test_a_first_import_that_is_refused_leaves_no_store(
    refused: Callable[..., str], run: Callable[..., Any], folder: Path, tmp_path: Path, home_dir: Path
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("[{", encoding="utf-8")
    refused("import", wrong, code=1)
    assert not home_dir.exists()
    # A folder that was there before stays, and so does a store with something in it.
    home_dir.mkdir()
    (home_dir / "settings.toml").write_text("", encoding="utf-8")
    refused("import", wrong, code=1)
    assert [path.name for path in home_dir.iterdir()] == ["settings.toml"]
    assert run("import", folder).exit_code == 0
    refused("import", wrong, code=1)
    with Store.open(Home(home_dir), create=False) as store:
        assert store.bars.count() == 6


def test_importing_again_changes_nothing(document: Callable[..., Any], folder: Path, home_dir: Path) -> None:
    document("import", folder, "--json")
    (kind,) = document("import", folder, folder / "2330.csv", "--json")["kinds"]
    # The file that was named twice is read once.
    assert (kind["accepted"], kind["unchanged"]) == (0, 6)
    with Store.open(Home(home_dir), create=False) as store:
        assert store.bars.count() == 6
        assert len(store.bars.quarantined()) == 2


def test_the_table_names_each_kind_and_reason(
    run: Callable[..., Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    companies = tmp_path / "list.json"
    companies.write_text(json.dumps([{"name_zh": "台積電"}, {"code": 3711}]), encoding="utf-8")
    result = run("import", folder, companies)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["Kind", "Read", "Accepted", "Unchanged", "Repaired", "Flagged", "Quarantined"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:4]}
    assert rows["prices"][:3] == ["8", "6", "0"]
    assert rows["companies"][0] == "2"
    assert rows["total"][0] == "10"
    assert "  quarantined, zero price (zero_price): 1" in lines
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "zh")
    assert "合計" in run("import", folder, companies).stdout


def test_an_absent_path_is_said_before_anything_is_touched(
    refused: Callable[..., str], folder: Path, tmp_path: Path, home_dir: Path
) -> None:
    said = refused("import", folder, tmp_path / "nowhere.csv", code=1)
    assert "nowhere.csv" in said
    assert not home_dir.exists()


def test_an_empty_path_is_not_the_current_folder(
    refused: Callable[..., str], folder: Path, home_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert "empty" in refused("import", "")
    assert not home_dir.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("2330.csv", b""),
        ("2330.csv", b",date,open,high,low\n0,2026-03-02,1,1,1\n"),
        ("list.json", b"{not json"),
        ("notes.txt", b"some words"),
        ("2330.parquet", b"PAR1 but not really"),
        ("2330.csv", b"\xff\xfe\x00\x01" * 50),
    ],
)
def test_files_that_cannot_be_taken_in_are_one_sentence(
    name: str, content: bytes, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert name in refused("import", path, code=1)


def test_an_empty_folder_is_one_sentence(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "hollow").mkdir()
    assert "hollow" in refused("import", tmp_path / "hollow", code=1)


def test_real_prices_do_not_join_simulated_ones(
    refused: Callable[..., str], folder: Path, simulated_home: Home
) -> None:
    with Store.open(simulated_home) as store:
        before = store.bars.count()
    assert "simulated" in refused("import", folder, "--json", code=1)
    with Store.open(simulated_home) as store:
        assert store.bars.count() == before


def test_a_home_that_is_a_file_is_one_sentence(
    refused: Callable[..., str], folder: Path, home_dir: Path
) -> None:
    home_dir.write_text("not a folder")
    assert "STOCKLLM_HOME" in refused("import", folder, code=1)


def test_the_real_prices_are_all_accounted_for(document: Callable[..., Any], shared_dir: Path) -> None:
    report = document("import", shared_dir / "market" / "prices", "--json")
    (kind,) = report["kinds"]
    assert kind["read"] == kind["accepted"] + kind["unchanged"] + kind["quarantined"]
    rows = sum(
        len(file.read_text("utf-8").splitlines()) - 1
        for file in (shared_dir / "market" / "prices").glob("*.csv")
    )
    assert kind["read"] == rows
    health = document("health", "--json")
    assert len(health["companies"]) == 41
    assert health["bars"] == kind["accepted"]
    assert health["quarantined"] == kind["quarantined"]


@pytest.fixture
def adjusted_file(tmp_path: Path) -> Path:
    """Forty days off the tick grid, in a CSV."""
    days = list(default_calendar().sessions(date(2026, 1, 5), date(2026, 3, 20)))[:40]
    lines = [f"{day},100.123,101.456,99.321,{100.111 + i / 1000:.3f},1000" for i, day in enumerate(days)]
    path = tmp_path / "2330.csv"
    path.write_text("\n".join(["date,open,high,low,close,volume", *lines]), encoding="utf-8")
    return path


def test_adjusted_prices_and_why_in_both_languages(
    run: Callable[..., Any],
    document: Callable[..., Any],
    adjusted_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = run("import", adjusted_file)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1].split() == ["adjusted", "40", "40", "0", "0", "0", "0"]
    assert "taken as adjusted prices because 100% of its prices lie off the tick grid" in result.stdout
    assert "adjusted prices: 1, 2026-01-05" in run("health").stdout
    assert document("health", "--json")["history"][0]["kind"] == "adjusted"
    text = adjusted_file.read_text(encoding="utf-8").replace("101.456", "101.789")
    adjusted_file.write_text(text, encoding="utf-8")
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "zh")
    said = run("import", adjusted_file).stdout
    assert "還原股價" in said
    assert "變更 40 筆" in said
    assert "視為還原股價，因為 100% 的價格不在升降單位上" in said
    assert "還原股價：1 檔" in run("health").stdout


def test_flags_say_what_prices_are(
    document: Callable[..., Any], refused: Callable[..., str], adjusted_file: Path, home_dir: Path
) -> None:
    report = document("import", adjusted_file, "--traded", "--json")
    assert [kind["kind"] for kind in report["kinds"]] == ["prices"]
    report = document("import", adjusted_file, "--adjusted", "--json")
    assert [kind["kind"] for kind in report["kinds"]] == ["adjusted"]
    assert "--adjusted" in report["reports"][0]["notes"][0]
    assert "--traded" in refused("import", adjusted_file, "--traded", "--adjusted", code=2)
