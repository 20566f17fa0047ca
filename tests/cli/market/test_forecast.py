"""``stockllm forecast``: the document, the tables, the picture, and one sentence for what cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from stockllm.data.paths import Home
from stockllm.data.records import BAND_LEVELS, Bar
from stockllm.data.store import Store
from stockllm.market.calendar import default_calendar
from stockllm.market.companies import Company
from stockllm.market.ticks import round_to_tick

Run = Callable[..., Result]
#: The naive baseline answers at once; what a model samples is tested with the sampler.
QUICK = ("--model", "ewma", "--paths", 19)
pytestmark = pytest.mark.usefixtures("simulated_home")


def test_the_document(document: Callable[..., Any]) -> None:
    (made,) = document("forecast", "2330", *QUICK, "--horizon", 3, "--json")
    assert list(made) == [
        "id", "code", "name", "market", "as_of", "last_close", "made_at", "moment", "known_until", "model",
        "model_hash", "adapter", "adapter_hash", "prompt", "seed", "paths", "horizon", "chance_of_rise",
        "chance_of_gain_past_costs", "round_trip_cost", "volume_unit", "simulated", "parse_failures",
        "candles", "bands", "knows",
    ]  # fmt: skip
    assert (made["code"], made["name"], made["market"]) == ("2330", "台積電", "TWSE")
    assert (made["model"], made["adapter"], made["prompt"]) == ("ewma", None, "compact")
    assert (made["paths"], made["horizon"], made["simulated"], made["parse_failures"]) == (19, 3, True, 0)
    days = [day.isoformat() for day in default_calendar().next_sessions(date.fromisoformat(made["as_of"]), 3)]
    assert [candle["date"] for candle in made["candles"]] == days
    for candle in made["candles"]:
        assert list(candle) == ["date", "open", "high", "low", "close", "volume"]
        assert candle["low"] <= min(candle["open"], candle["close"])
        assert candle["high"] >= max(candle["open"], candle["close"])
        assert isinstance(candle["volume"], int)
    assert list(made["bands"]) == ["close", "low", "high"]
    for band in made["bands"].values():
        assert [row.pop("date") for row in band] == days
        for row in band:
            assert list(row) == list(BAND_LEVELS)
            assert list(row.values()) == sorted(row.values())


def test_the_moment_is_chosen_and_said(run: Run, document: Callable[..., Any]) -> None:
    asked = ("forecast", "2330", *QUICK, "--horizon", 1)
    (made,) = document(*asked, "--json")
    assert (made["moment"], made["knows"]) == ("evening", ["prices"])
    assert made["known_until"] == "2026-03-31T23:59:59+08:00"
    said = run(*asked).stdout.splitlines()
    assert (
        "Moment: evening (by the clock and the store)  knows: prices  until 2026-03-31 23:59 in Taipei"
        in said
    )
    chosen = run(*asked, "--moment", "morning")
    assert "Moment: morning  knows: prices  until 2026-04-01 08:59 in Taipei" in chosen.stdout
    assert "The model ewma reads nothing of the night" in chosen.stderr


def test_the_morning_reads_the_night(run: Run, document: Callable[..., Any]) -> None:
    asked = (
        "forecast",
        "2330",
        "--model",
        "ewma+world",
        "--paths",
        19,
        "--horizon",
        1,
        "--moment",
        "morning",
    )
    (made,) = document(*asked, "--json")
    assert (made["moment"], made["knows"]) == ("morning", ["prices", "TX night", "SOX", "SPX", "TSM"])
    said = run(*asked).stdout
    assert "knows: prices, the TX night, SOX, SPX, TSM  until 2026-04-01 08:59 in Taipei" in said


def test_an_open_makes_it_a_forecast_at_the_open(run: Run) -> None:
    with Store.open(Home.locate()) as store:
        price = store.bars.bars("2330")[-1].close / 100
    result = run("forecast", "2330", *QUICK, "--open", f"台積電={price:g}", "--json")
    (made,) = json.loads(result.stdout)
    assert (made["moment"], made["knows"]) == ("open", ["prices"])
    assert "its forecast of the open is that of the evening" in result.stderr


def test_the_same_command_gives_the_same_document(document: Callable[..., Any]) -> None:
    asked = ("forecast", "2330", "2317", *QUICK, "--json")
    first = document(*asked)
    assert document(*asked) == first
    assert document(*asked, "--seed", 1) != first


def test_the_same_seed_samples_the_same_document_in_a_home_of_its_own(
    document: Callable[..., Any], home_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import shutil

    asked = ("forecast", "2330", "--model", "llama", "--paths", 5, "--horizon", 2, "--json")
    shutil.copytree(home_dir, tmp_path / "other")  # before anything is in the ledger
    (first,) = document(*asked)
    monkeypatch.setenv("STOCKLLM_HOME", str(tmp_path / "other"))
    (second,) = document(*asked)
    del first["made_at"], second["made_at"]
    assert first == second


def test_the_embedded_model_in_both_styles(document: Callable[..., Any]) -> None:
    for style in ("compact", "reference"):
        (made,) = document(
            "forecast", "2330", "--model", "llama", "--paths", 2, "--horizon", 1, "--prompt", style, "--json"
        )
        assert (made["model"], made["prompt"], made["parse_failures"]) == ("llama", style, 0)


def test_all_41(document: Callable[..., Any]) -> None:
    made = document("forecast", "--all", *QUICK, "--horizon", 1, "--json")
    assert len({forecast["code"] for forecast in made}) == 41


def test_a_document_says_what_made_it_and_what_it_comes_to(
    document: Callable[..., Any], home_dir: Path
) -> None:
    (made,) = document("forecast", "2330", *QUICK, "--horizon", 2, "--json")
    with Store.open(Home(home_dir)) as store:
        frozen = store.ledger.get(made["id"])
    assert made["last_close"] == frozen.last_close / 100
    assert (made["seed"], made["moment"]) == (3407, "evening")
    assert made["known_until"] == f"{made['as_of']}T23:59:59+08:00"
    assert (made["model_hash"], made["adapter_hash"]) == (frozen.model_hash, None)
    closes = frozen.prices[:, -1, 3]
    assert made["chance_of_rise"] == (closes > frozen.last_close).mean()
    gain = (closes > frozen.last_close * (1 + made["round_trip_cost"])).mean()
    assert made["chance_of_gain_past_costs"] == gain
    assert made["volume_unit"] == "shares"
    assert made["candles"][0]["volume"] == frozen.candles()[0].volume
    for band in made["bands"].values():
        for day in band:
            cents = [round(value * 100) for name, value in day.items() if name != "date"]
            assert cents == [round_to_tick(price) for price in cents]


def test_the_text_of_one_holds_what_the_table_of_all_holds(run: Run, document: Callable[..., Any]) -> None:
    (made,) = document("forecast", "2330", *QUICK, "--horizon", 2, "--json")
    one = run("forecast", "2330", *QUICK, "--horizon", 2).stdout
    assert f"chance of a rise {made['chance_of_rise']:.0%}" in one
    assert f"number {made['id']} in the ledger, seed 3407" in one
    assert "Forecast of the evening" in one
    lots = f"{made['candles'][0]['volume'] / 1000:,.0f}"
    assert lots in one.splitlines()[3].split()
    many = run("forecast", "2330", "2454", *QUICK, "--horizon", 2).stdout
    assert "P(>cost)" in many
    assert many.splitlines()[3].split()[-1] == str(made["id"])


def test_companies_by_any_name_each_once(document: Callable[..., Any]) -> None:
    made = document("forecast", "聯發科", "2454", "TSMC", *QUICK, "--json")
    assert [forecast["code"] for forecast in made] == ["2454", "2330"]


def test_as_of(document: Callable[..., Any]) -> None:
    (made,) = document("forecast", "2330", *QUICK, "--as-of", "2026-03-10", "--json")
    assert made["as_of"] == "2026-03-10"
    assert made["candles"][0]["date"] == "2026-03-11"


@pytest.mark.parametrize(
    ("language", "one", "many"),
    [
        (
            "zh",
            [
                "SIMULATED",
                "2330 台積電  2026-03-31 收盤",
                "2 日預測  模型 ewma  19 條路徑",
                "中位數",
                "不是投資建議",
            ],
            ["代號", "上漲機率", "聯發科", "不是保證"],
        ),
        (
            "en",
            ["SIMULATED", "2330 TSMC  close of 2026-03-31", "2-day forecast  model ewma  19 paths", "Median"],
            ["Code", "P(up)", "MediaTek", "no promise and no advice"],
        ),
    ],
)
def test_the_tables(
    run: Run, monkeypatch: pytest.MonkeyPatch, language: str, one: list[str], many: list[str]
) -> None:
    monkeypatch.setenv("STOCKLLM_LANGUAGE", language)
    alone = run("forecast", "2330", *QUICK, "--horizon", 2)
    assert alone.exit_code == 0
    assert [words for words in one if words not in alone.stdout] == []
    rows = alone.stdout.splitlines()
    assert [row[:10] for row in rows[3:5]] == ["2026-04-01", "2026-04-02"]
    beside = run("forecast", "2330", "2454", *QUICK, "--horizon", 2)
    assert [words for words in many if words not in beside.stdout] == []


def test_the_chart(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "chart.png"
    result = run("forecast", "2330", *QUICK, "--chart", target)
    assert result.exit_code == 0
    assert target.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert f"the chart is in {target}" in result.stderr
    # A drawing of lines has its words as comments.
    lines = tmp_path / "chart.svg"
    run("forecast", "2330", *QUICK, "--chart", lines)
    assert "Record: no forecast has been scored yet." in lines.read_text()


def test_warnings_are_few_and_beside_the_document(run: Run) -> None:
    result = run("forecast", "--all", *QUICK, "--horizon", 1, "--json")
    assert len(json.loads(result.stdout)) == 41
    told = result.stderr.splitlines()
    assert "SIMULATED" in told.pop(0)
    assert len(told) == 4
    assert all("ends on 2026-03-31" in line and "goes on from there" in line for line in told[:3])
    assert told[3] == "stockllm: and 38 more like these."


def test_all_leaves_out_who_has_too_little(run: Run, home_dir: Path) -> None:
    days = default_calendar().next_sessions(date(2026, 3, 1), 5)
    with Store.open(Home(home_dir)) as store:
        store.add_companies([Company.bare("1101")])
        store.bars.put(Bar("1101", day, 3000, 3100, 2900, 3050, 1000, "test") for day in days)
    too_few = "1101 has 5 trading days and this forecast reads 20"
    result = run("forecast", "--all", *QUICK, "--as-of", "2026-03-31", "--json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)) == 41
    assert f"left out: {too_few}" in result.stderr
    result = run("forecast", "1101", *QUICK)
    assert (result.exit_code, result.stdout) == (1, "")
    assert too_few in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "Name the companies to forecast, or pass --all"),
        (("2330", "--all"), 2, "not both"),
        (("2330", "--horizon", 0), 2, "The horizon is 1 to 60 trading days, not 0"),
        (("2330", "--paths", 0), 2, "The number of paths"),
        (("2330", "--seed", -1), 2, "The seed is a whole number"),
        (("2330", "--horizon", "five"), 2, "--horizon"),
        (("台積店",), 2, "2330"),
        (("2330", "--prompt", "poem"), 2, "no prompt style 'poem': choose compact or reference"),
        (("2330", "--as-of", "soon"), 2, "'soon' is no date"),
        (("2330", "--as-of", "2020-01-01"), 1, "no prices of 2330 台積電 up to 2020-01-01"),
        (("--all", "--as-of", "2020-01-01"), 1, "No company has enough prices"),
        (("2330", "--moment", "noon"), 2, "no moment 'noon': choose evening, morning or open"),
        (("2330", "--moment", "open"), 2, "needs the open of 2330"),
        (("2330", "--moment", "morning", "--open", "2330=900"), 2, "pass --moment open"),
        (("2330", "--open", "2330"), 2, "'2330' is no open: write it as CODE=PRICE"),
        (("2330", "--open", "2330=-5"), 2, "'2330=-5' is no open"),
        (("2330", "--open", "2330=nan"), 2, "'2330=nan' is no open"),
        (("2330", "--open", "2317=100"), 2, "--open names 2317, which is not forecast"),
        (("2330", "--open", "2330=7"), 2, "2330 cannot open at 7"),
        (("2330", "--model", "gpt"), 1, "no model 'gpt'"),
        (("2330", "--model", "llama+mine"), 1, "no adapter 'mine'"),
        (("2330", "--model", "ewma+mine"), 1, "takes no adapter"),
        (("2330", "--chart", "/nowhere/x.png"), 2, "The folder /nowhere for the chart does not exist"),
        (("2330", "2317", "--chart", "x.png"), 2, "--chart draws one company, and 2 were asked for"),
        (("--all", "--chart", "x.png"), 2, "--chart draws one company, and 41 were asked for"),
    ],
)
def test_one_sentence_and_nothing_written(
    refused: Callable[..., str], home_dir: Path, arguments: tuple[object, ...], code: int, words: str
) -> None:
    assert words in refused("forecast", *arguments, code=code)
    with Store.open(Home(home_dir)) as store:
        assert store.ledger.list() == []


def test_no_store(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STOCKLLM_HOME", str(tmp_path / "empty"))
    result = run("forecast", "2330")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "stockllm import" in result.stderr
