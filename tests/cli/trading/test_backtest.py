"""``stockllm backtest`` and ``outcomes`` as a user runs them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from stockllm.data.paths import Home
from stockllm.data.store import Store

from .test_trade import books

Run = Callable[..., Result]
PERIOD = ("--start", "2026-02-23", "--end", "2026-03-31")
EWMA = ("backtest", *PERIOD, "--model", "ewma", "--paths", "19")


def test_a_period_in_words_and_as_a_document(
    run: Run, document: Callable[..., Any], simulated_home: Home
) -> None:
    before = books(simulated_home)
    facts = document(*EWMA, "--strategy", "mean", "--min-edge", "off", "--json")
    assert facts["simulated"]
    assert facts["fills"] > 0
    assert facts["equity"][-1]["equity"] == facts["end_equity"]
    assert (facts["seen"], facts["model"], facts["cash_return"]) == (False, "ewma", 0.0)
    assert len(facts["codes"]) == 41
    assert books(simulated_home) == before, "a backtest leaves the store as it was"
    shown = run(*EWMA, "--strategy", "mean", "--min-edge", "off")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("SIMULATED")
    assert f"{facts['end_equity']:,}" in shown.stdout
    assert "No ex-dates" in shown.stdout


def test_the_report_is_whole_by_itself(run: Run, simulated_home: Home, tmp_path: Path) -> None:
    folder, lines = tmp_path / "a" / "report", tmp_path / "outcomes.jsonl"
    made = run(*EWMA, "--strategy", "edge", "--report", folder, "--outcomes", lines)
    assert made.exit_code == 0, made.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["backtest.html", "backtest.json", "equity.png"]
    assert (folder / "equity.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "backtest.html").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([^:"]*:)', page)) == {"data:"}
    assert "SIMULATED" in page
    # The picture's letters may spell anything.
    assert "http" not in re.sub(r'"data:[^"]*"', "", page)
    facts = json.loads((folder / "backtest.json").read_text(encoding="utf-8"))
    assert page.count("<tr>") > len(facts["trades"])
    kinds = [json.loads(line)["kind"] for line in lines.read_text(encoding="utf-8").splitlines()]
    assert kinds.count("forecast") > 400
    assert kinds.count("trade") == len(facts["trades"])


def test_a_model_that_has_read_the_period_is_no_test(
    run: Run, document: Callable[..., Any], simulated_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import date

    from stockllm.forecaster.sampling import cutoffs

    for known, mark in (
        (
            cutoffs.Cutoff(date(2026, 3, 2)),
            "This is no test: the model ewma was trained on days up to 2026-03-02",
        ),
        (cutoffs.Cutoff(known=False), "Nothing says until when ewma was trained"),
        (cutoffs.Cutoff(date(2026, 2, 20)), None),
    ):
        monkeypatch.setattr(cutoffs, "cutoff", lambda *_, known=known, **__: known)
        shown = run(*EWMA, "--strategy", "edge").stdout
        assert ("no test" in shown.lower()) == (mark is not None)
        if mark:
            assert shown.index(mark) < shown.index("Return")
        facts = document(*EWMA, "--strategy", "edge", "--json")
        assert facts["seen"] is (None if not known.known else mark is not None)
    assert not document(*EWMA, "--strategy", "four-points", "--json")["seen"], "it reads no forecast"


@pytest.mark.parametrize(
    ("arguments", "part", "code"),
    [
        (("--strategy", "martingale"), "choose among mean, four-points", 2),
        (("--cash", "-1"), "more than 0", 2),
        (("--cash", "lots"), "no whole number", 2),
        (
            ("--start", "2026-04-02", "--end", "2026-04-30", "--strategy", "hold"),
            "prices end on 2026-03-31",
            1,
        ),
        (
            ("--start", "2019-01-02", "--end", "2019-04-30", "--strategy", "hold"),
            "no prices of the sessions",
            1,
        ),
        (("--start", "2026-03-31", "--end", "2026-03-01"), "before it starts", 2),
        (("--start", "tomorrow"), "is no date", 2),
        (("--codes", "nobody"), "No ordinary share", 2),
        (("--model", "gpt"), "There is no model 'gpt'", 1),
        (("--discount", "1.2"), "from 0 to 1", 2),
        (("--outcomes", "/nowhere/at/all"), "folder that exists", 2),
        (("--settlement", "99"), "0 to 10", 2),
    ],
)
def test_what_cannot_be_traded(
    refused: Callable[..., str], simulated_home: Home, arguments: tuple[str, ...], part: str, code: int
) -> None:
    base = list(EWMA)
    for flag, value in zip(arguments[::2], arguments[1::2], strict=True):
        if flag in base:
            base[base.index(flag) + 1] = value
        else:
            base += [flag, value]
    before = books(simulated_home)
    assert part in refused(*base, code=code)
    assert books(simulated_home) == before
    assert not simulated_home.forecast_cache.exists()


def test_outcomes_of_the_ledger(run: Run, refused: Callable[..., str], simulated_home: Home) -> None:
    with Store.open(simulated_home) as store:
        evening = store.bars.days("2330")[-10]
    run("forecast", "2330", "--model", "ewma", "--paths", "9", "--as-of", evening)
    target = simulated_home.root / "out.jsonl"
    assert run("outcomes", target).exit_code == 0
    first = json.loads(target.read_text(encoding="utf-8").splitlines()[0])
    assert (first["kind"], first["as_of"]) == ("forecast", evening.isoformat())
    assert "choose among" in refused("outcomes", target, "--strategy", "none")
    assert "folder that exists" in refused("outcomes", simulated_home.root / "no" / "out")
