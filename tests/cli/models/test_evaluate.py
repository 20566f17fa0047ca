"""``stockllm evaluate``: the document, the table, the report, and a sentence for every refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stockllm.collectors.simulated import SimulatedMarket
from stockllm.data.paths import Home
from stockllm.data.store import Store

Run = Callable[..., Any]
FIGURES = {
    *("crps", "crps_ratio", "pinball", "coverage50", "coverage80", "coverage95", "mse", "rmse", "nrmse"),
    *("mase", "direction", "direction_ci", "rank_ic", "dm_p", "n", "parse_failures"),
}


@pytest.fixture
def period(small_market: SimulatedMarket) -> tuple[str, ...]:
    """Fifteen days at the end of the market, short and quick."""
    days = small_market.sessions
    return ("--start", str(days[-15]), "--end", str(days[-1]), "--horizon", "1,5", "--paths", "9")


def test_document(simulated_home: Home, document: Run, period: tuple[str, ...], tmp_path: Path) -> None:
    found = document(
        "evaluate", *period, "--codes", "2330,鴻海", "--models", "last,bootstrap", "--json", "--report",
        tmp_path / "report",
    )  # fmt: skip
    assert found["codes"] == ["2317", "2330"]
    assert list(found["models"]) == ["last", "bootstrap", "ewma"]
    assert found["best_baseline"].keys() == {"1", "5"}
    assert found["simulated"] is True
    for figures in found["models"].values():
        assert [figures[h]["n"] for h in ("1", "5")] == [30, 22]
        assert all(each.keys() >= FIGURES for each in figures.values())
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        "evaluation.json", "pit.png", "reliability.png", "report.md",
    ]  # fmt: skip
    assert json.loads((tmp_path / "report" / "evaluation.json").read_text("utf-8")) == found
    assert "SIMULATED" in (tmp_path / "report" / "report.md").read_text("utf-8")


def test_codes_may_stand_apart(simulated_home: Home, document: Run, period: tuple[str, ...]) -> None:
    found = document("evaluate", *period, "--models", "ewma", "--json", "--codes", "2330", "2317", "2330")
    assert found["codes"] == ["2317", "2330"]


@pytest.mark.parametrize("codes", [(), ("--codes", "all")])
def test_everybody_by_default(
    simulated_home: Home, document: Run, period: tuple[str, ...], codes: tuple[str, ...]
) -> None:
    found = document("evaluate", *period, "--models", "last", "--stride", 5, "--json", *codes)
    assert len(found["codes"]) == 41


@pytest.mark.parametrize(
    ("language", "words", "told"),
    [
        ("en", ["5 days, best baseline", "1 day, best", "Ratio", "no promise"], "drift, 15 windows"),
        ("zh", ["最佳基準", "比值", "承諾"], "drift，15 個視窗"),
    ],
)
def test_table(
    simulated_home: Home,
    run: Run,
    period: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    language: str,
    words: list[str],
    told: str,
) -> None:
    monkeypatch.setenv("STOCKLLM_LANGUAGE", language)
    result = run("evaluate", *period, "--codes", "2330", "--models", "ewma,drift")
    assert result.exit_code == 0, result.stderr
    assert "SIMULATED" in result.stdout
    assert [word for word in words if word not in result.stdout] == []
    assert told in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--start", "yesterday"), "'yesterday' is no date", 2),
        (("--start", "2027-01-01"), "before it starts", 2),
        (("--horizon", "1,x"), "'x' is no whole number", 2),
        (("--horizon", "0"), "1 to 60 trading days, not 0", 2),
        (("--horizon", "1,20"), "No forecast of 20 days fits", 2),
        (("--paths", "1"), "one path has no width", 2),
        (("--stride", "0"), "stride", 2),
        (("--prompt", "long"), "no prompt style", 2),
        (("--codes", "台積典"), "nearest", 2),
        (("--models", " , "), "No model was named", 2),
        (("--models", "gpt"), "There is no model 'gpt'", 1),
        (("--models", "ewma+mine"), "takes no adapter", 1),
        (("--models", "llama+mine"), "no adapter 'mine'", 1),
    ],
)
def test_refusals(
    simulated_home: Home,
    refused: Callable[..., str],
    period: tuple[str, ...],
    arguments: tuple[str, ...],
    words: str,
    code: int,
) -> None:
    given = ["--models", "ewma", *period]
    assert words in refused("evaluate", *given, *arguments, code=code)


def test_a_report_in_the_place_of_a_file(
    simulated_home: Home, refused: Callable[..., str], period: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert "names a folder" in refused("evaluate", *period, "--report", tmp_path / "file")


def test_no_held_out_company_has_prices(
    simulated_home: Home, refused: Callable[..., str], period: tuple[str, ...]
) -> None:
    assert "held out" in refused("evaluate", *period, "--codes", "held-out", code=1)


def test_what_the_base_model_has_read_is_refused(
    home_dir: Path, small_market: SimulatedMarket, refused: Callable[..., str]
) -> None:
    with Store.open(Home(home_dir)) as store:  # the same bars, in a store that takes them for real
        store.bars.put(bar for bar in small_market.bars if bar.code == "2330")
    days = small_market.sessions
    sentence = refused("evaluate", "--start", "2025-01-02", "--end", days[-1], "--models", "llama")
    assert "llama was trained on days up to" in sentence
    assert "--force" in sentence


def test_an_empty_store(home_dir: Path, refused: Callable[..., str]) -> None:
    period = ("--start", "2026-01-05", "--end", "2026-01-30")
    assert "no store" in refused("evaluate", *period, code=1)
    Store.open(Home(home_dir)).close()
    assert "holds no prices" in refused("evaluate", *period, code=1)
