"""The top command: help that costs nothing, and every way to go wrong ends in one sentence."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from stockllm.cli import main as main_module
from stockllm.cli import output
from stockllm.cli.main import GROUPS, app
from stockllm.data.errors import StoreError, UsageError

HEAVY = ("torch", "transformers", "pandas", "numpy", "sqlalchemy", "pydantic", "matplotlib", "textual")


def command(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``stockllm`` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "stockllm.cli.main", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env=os.environ | {"STOCKLLM_HOME": str(home)} | environment,
        check=False,
    )


def test_help_loads_nothing_heavy_and_answers_at_once(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "sys.argv = ['stockllm', '--help']\n"
        "from stockllm.cli.main import main\n"
        "try:\n    main()\nfinally:\n"
        f"    print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"
    for group in ("import", "companies", "health", "doctor", "demo"):
        assert group in done.stdout
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert cpu < 0.5, f"{cpu:.2f} s of CPU"
    assert not (tmp_path / "store.sqlite").exists()


@pytest.mark.parametrize("group", sorted(app_group.__name__.rsplit(".", 1)[1] for app_group in GROUPS))
def test_every_command_explains_itself(group: str) -> None:
    result = CliRunner().invoke(app, [group.rstrip("_"), "--help"])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Usage: ")
    assert "--json" in result.stdout or group in ("train", "pretrain")


def test_version(run: Callable[..., Any]) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("stockllm 0.")


def test_no_command_prints_the_help_on_stderr(run: Callable[..., Any]) -> None:
    result = run()
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Usage: stockllm")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--bogus"], "--bogus"),
        (["helth"], "Did you mean 'health'"),
        (["health", "--bogus"], "health --help"),
        (["import"], "PATH"),
        (["demo", "--sessions", "many"], "--sessions"),
        (["companies", "2330", "2317"], "2317"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], said: str, refused: Callable[..., str]) -> None:
    assert said in refused(*arguments)


def app_that(action: Callable[[], object]) -> typer.Typer:
    """An application whose one command does ``action``."""
    failing = typer.Typer(cls=main_module._OneSentence, rich_markup_mode=None)

    @failing.callback()
    def top() -> None:
        pass

    @failing.command("act")
    def act() -> None:
        action()

    return failing


def raising(error: BaseException) -> Callable[[], object]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (StoreError("The store is gone: find it."), 1, "stockllm: The store is gone: find it.\n"),
        (UsageError("Zero days: give one."), 2, "stockllm: Zero days: give one.\n"),
        (
            KeyboardInterrupt(),
            1,
            "stockllm: Stopped by Ctrl-C; nothing is half-written, run it again to finish.\n",
        ),
        (typer.Exit(3), 3, ""),
    ],
)
def test_errors_end_in_their_sentence_and_code(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "en")
    result = CliRunner().invoke(app_that(raising(error)), ["act"])
    assert (result.exit_code, result.stderr, result.stdout) == (code, said, "")


def test_errors_speak_the_language_of_the_settings(home_dir: Path) -> None:
    home_dir.mkdir()
    error = StoreError("The store is gone: find it.", zh="資料庫不見了：請找回來。")
    for language, said in (("zh", error.zh), ("en", str(error))):
        (home_dir / "settings.toml").write_text(f'language = "{language}"\n')
        assert CliRunner().invoke(app_that(raising(error)), ["act"]).stderr == f"stockllm: {said}\n"
    (home_dir / "settings.toml").write_text("language = \n")  # and where those cannot be read
    assert CliRunner().invoke(app_that(raising(error)), ["act"]).stderr == f"stockllm: {error.zh}\n"


def test_the_unexpected_is_logged_and_not_shown(home_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "en")
    result = CliRunner().invoke(app_that(raising(RuntimeError("first line\nsecond line"))), ["act"])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "second line" not in result.output
    (log,) = (home_dir / "logs").iterdir()
    assert result.stderr == (
        f"stockllm: An unexpected error stopped it (RuntimeError: first line); the details are in {log}.\n"
    )
    report = log.read_text("utf-8")
    assert "Traceback" in report
    assert "second line" in report


def test_the_unexpected_is_logged_elsewhere_where_the_home_is_a_file(
    home_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home_dir.write_text("not a folder")
    spare = tmp_path / "spare"
    monkeypatch.setattr(main_module.tempfile, "gettempdir", lambda: str(spare))
    result = CliRunner().invoke(app_that(raising(ValueError())), ["act"])
    assert result.exit_code == 1
    (log,) = spare.iterdir()
    assert str(log) in result.stderr


def test_a_reader_that_goes_away_is_met_with_silence(tmp_path: Path) -> None:
    script = f"{sys.executable} -m stockllm.cli.main companies | head -c 1 > /dev/null"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"STOCKLLM_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode in (0, 1)  # 0 where all was written before the reader went


def test_json_is_utf8_and_chinese_in_any_locale(tmp_path: Path) -> None:
    done = command("companies", "2330", "--json", home=tmp_path, PYTHONIOENCODING="latin-1", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["name_zh"] == "台積電"
    assert "台積電" in done.stdout
    plain = command("companies", "2330", home=tmp_path, PYTHONIOENCODING="latin-1", LC_ALL="C")
    assert plain.returncode == 0, plain.stderr
    assert "???" in plain.stdout


def test_tables_are_padded_by_terminal_cells(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["代號", "n"], [["台積電", 5], ["AB", 12345], [None, "x"]], right={1})
    assert capsys.readouterr().out == "代號        n\n台積電      5\nAB      12345\n-           x\n"


def test_the_banner_is_for_simulated_data_alone(capsys: pytest.CaptureFixture[str]) -> None:
    output.banner(False, "zh")
    assert capsys.readouterr().out == ""
    for language in ("zh", "en"):
        output.banner(True, language)
        assert capsys.readouterr().out.startswith("SIMULATED 模擬資料 ")
    output.banner(True, "en", err=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "SIMULATED" in captured.err


def test_json_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        output.emit_json({"ratio": float("nan")})
