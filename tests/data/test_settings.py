"""What a user may set."""

from __future__ import annotations

import pytest

from stockllm.data.errors import UsageError
from stockllm.data.paths import Home
from stockllm.data.settings import Settings


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"STOCKLLM_{name.upper()}", raising=False)


def write(home: Home, text: str) -> None:
    home.ensure().settings_file.write_text(text, encoding="utf-8")


def test_defaults_without_a_file(home: Home) -> None:
    settings = Settings.load(home)
    assert (settings.language, settings.up_colour, settings.model) == ("zh", "red", "auto")
    assert settings.newsapi_key is None


def test_file_then_variables(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, 'language = "en"\nup_colour = "green"\nmodel = "llama+測試"\n')
    monkeypatch.setenv("STOCKLLM_UP_COLOUR", "red")
    monkeypatch.setenv("STOCKLLM_HOME", "/somewhere")
    settings = Settings.load(home)
    assert (settings.language, settings.up_colour, settings.model) == ("en", "red", "llama+測試")


def test_a_key_is_not_printed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKLLM_NEWSAPI_KEY", "a-secret")
    settings = Settings.load(home)
    assert settings.newsapi_key is not None
    assert settings.newsapi_key.get_secret_value() == "a-secret"
    assert "a-secret" not in repr(settings)


def test_a_blank_key_is_none(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKLLM_NEWSAPI_KEY", " ")
    assert Settings.load(home).newsapi_key is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('language = "fr"', "'language'"),
        ("model = 3", "'model'"),
        ('model = ""', "'model'"),
        ('langauge = "en"', "'langauge'"),
        ("language = ", "cannot be read as TOML"),
        ("= 1", "cannot be read as TOML"),
    ],
)
def test_a_wrong_file_is_one_sentence(home: Home, text: str, part: str) -> None:
    write(home, text)
    with pytest.raises(UsageError) as caught:
        Settings.load(home)
    assert part in str(caught.value)
    assert str(home.settings_file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_not_text_at_all(home: Home) -> None:
    home.ensure().settings_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        Settings.load(home)


def test_a_folder_in_its_place(home: Home) -> None:
    home.settings_file.mkdir(parents=True)
    with pytest.raises(UsageError, match="cannot be read"):
        Settings.load(home)


def test_a_wrong_variable(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKLLM_LANGUAGE", "fr")
    with pytest.raises(UsageError, match="STOCKLLM_LANGUAGE"):
        Settings.load(home)


def test_how_to_trade(home: Home) -> None:
    assert (Settings.load(home).trade.strategy, Settings.load(home).trade.nightly) == ("edge", False)
    write(home, '[trade]\naccount = "me"\nposition_cap = 0.15\nminimum_edge = "off"\nnightly = true\n')
    trade = Settings.load(home).trade
    assert (trade.account, str(trade.position_cap), trade.minimum_edge) == ("me", "0.15", "off")


@pytest.mark.parametrize("text", ["stop = 0", "position_cap = 1.5", 'broker = "other"', "lots = 3"])
def test_limits_that_are_none(home: Home, text: str) -> None:
    write(home, f"[trade]\n{text}\n")
    with pytest.raises(UsageError, match="trade"):
        Settings.load(home)


def test_the_university_server(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKLLM_NCKU_URL", "http://192.0.2.1:8081/stock/api/v1/")
    monkeypatch.setenv("STOCKLLM_NCKU_PASSWORD", "a-secret")
    settings = Settings.load(home)
    assert settings.ncku_url == "http://192.0.2.1:8081/stock/api/v1"
    assert "a-secret" not in repr(settings)
    monkeypatch.setenv("STOCKLLM_NCKU_URL", "http://me:word@192.0.2.1/stock")
    with pytest.raises(UsageError) as refused:
        Settings.load(home)
    assert "word" not in str(refused.value)
