"""Running ``stockllm`` inside the test's process, in a home of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from stockllm.cli.main import app
from stockllm.collectors.simulated import SimulatedMarket, simulate, write
from stockllm.data.paths import Home

Run = Callable[..., Result]


@pytest.fixture
def run(home_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run("health", "--json")``: the command in English, its exit code, stdout and stderr."""
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "en")

    def invoke(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def document(run: Run) -> Callable[..., Any]:
    """The one JSON document of a command that has to succeed."""

    def of(*arguments: object) -> Any:
        result = run(*arguments)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return of


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """The one sentence on stderr of a command that has to fail with ``code``."""

    def sentence(*arguments: object, code: int = 2) -> str:
        result = run(*arguments)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        lines = result.stderr.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("stockllm: ")
        return lines[0]

    return sentence


@pytest.fixture(scope="session")
def small_market() -> SimulatedMarket:
    """Sixty sessions of the simulated market."""
    return simulate(date(2026, 3, 31), 60, 11)


@pytest.fixture
def simulated_home(home_dir: Path, small_market: SimulatedMarket) -> Home:
    """A STOCKLLM_HOME whose store holds ``small_market``."""
    home = Home(home_dir)
    write(small_market, home)
    return home
