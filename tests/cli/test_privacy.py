"""The home is its owner's alone, and no secret leaves it."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stockllm.cli import doctor
from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.settings_file import remember

SECRETS = {
    "newsapi_key": "hush-news-5f1d",
    "ncku_password": "hush-ncku-77aa",
    "openai_key": "hush-open-c0de",
    "hf_token": "hush-hub-beef",
}


@pytest.fixture
def any_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_whatever_the_umask_the_home_is_the_owners(
    any_umask: None, run: Callable[..., Any], home_dir: Path, tmp_path: Path
) -> None:
    from stockllm.nightly.journal import journal
    from stockllm.nightly.lock import hold

    prices = tmp_path / "2330.csv"
    prices.write_text("date,open,high,low,close,volume\n2025-01-02,100,101,99,100,1000\n")
    assert run("import", prices).exit_code == 0
    home = Home(home_dir)
    remember(home, {"language": "en"})
    with hold(home.refresh_lock, "a refresh"), journal(home.logs / "refresh.log"):
        logging.getLogger("stockllm").info("a line")
    assert mode(home_dir) == 0o700
    found = [path for path in home_dir.rglob("*") if path.name != "lock"]
    assert {path.name for path in found} >= {"store.sqlite", "settings.toml", "refresh.lock", "refresh.log"}
    for path in found:
        assert mode(path) == (0o700 if path.is_dir() else 0o600), path


def test_a_home_that_is_there_keeps_its_modes(any_umask: None, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(0o755)
    Home(tmp_path / "home").ensure()
    assert mode(tmp_path / "home") == 0o755
    assert mode(tmp_path / "home" / "logs") == 0o700


def test_the_doctor_warns_of_keys_that_others_can_read(home_dir: Path) -> None:
    def word(_: str, en: str) -> str:
        return en

    home = Home(home_dir).ensure()
    home.settings_file.write_text('language = "en"\nhf_token = "hush-hub-beef"\n')
    home.settings_file.chmod(0o640)
    found = doctor._privacy(home, word)
    assert found.mark == "bad"
    assert "hf_token" in found.detail
    assert "hush" not in found.detail
    assert found.advice == f"chmod 600 '{home.settings_file}'"
    home.settings_file.write_text('language = "en"\n')
    assert doctor._privacy(home, word).mark == "ok"
    home_dir.chmod(0o755)
    assert doctor._privacy(home, word).mark == "absent"


def test_no_secret_reaches_what_is_printed_or_kept(
    run: Callable[..., Any], home_dir: Path, tmp_path: Path
) -> None:
    home = Home(home_dir).ensure()
    prices = tmp_path / "2330.csv"
    prices.write_text("date,open,high,low,close,volume\n2025-01-02,100,101,99,100,1000\n")
    nowhere = "http://127.0.0.1:9"
    lines = [f'{key} = "{secret}"' for key, secret in SECRETS.items()]
    lines += [
        f'{name} = "{nowhere}"'
        for name in (
            "twse_url",
            "twse_openapi_url",
            "tpex_url",
            "tpex_openapi_url",
            "newsapi_url",
            "ncku_url",
        )
    ]
    lines += ["request_interval = 0.0", "request_retries = 0", "openai_retries = 0"]
    home.settings_file.write_text("\n".join(lines) + "\n")
    home.settings_file.chmod(0o600)
    said = ""
    for command in (
        ("import", prices),
        ("forecast", "2330", "--model", f"openai:{nowhere}/v1#name"),
        ("trade", "--broker", "ncku", "--account", "me", "--strategy", "four-points"),
        ("refresh",),
        ("schedule", "status"),
    ):
        result = run(*command)
        said += result.output + (repr(result.exception) if result.exception else "")
    said += repr(Settings.load(home)) + str(Settings.load(home).model_dump())
    for path in home_dir.rglob("*"):
        if path.is_file() and path != home.settings_file:
            said += path.read_bytes().decode("latin-1")
    for secret in SECRETS.values():
        assert secret not in said


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_of_a_wrong_kind_is_not_repeated(run: Callable[..., Any], home_dir: Path, key: str) -> None:
    home = Home(home_dir).ensure()
    for text in (f'{key} = ["hush-hush"]', f'{key} = "hush-hush', f"{key} = hush-hush"):
        home.settings_file.write_text(text)
        result = run("health")
        assert result.exit_code == 2
        assert "hush" not in result.output
