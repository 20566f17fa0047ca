"""Single settings are changed, and nothing else in the user's file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from stockllm.data.errors import StoreError, UsageError
from stockllm.data.paths import Home
from stockllm.data.settings import Settings
from stockllm.data.settings_file import remember

WRITTEN = """\
# mine, do not touch
model = 'llama'   # the small one

newsapi_key = "secret"

[lists]
"半導體" = ["2330",
    "2454"]  # two are enough

[dashboard]
# where I was
company = "2330"
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


def test_a_file_is_made_where_there_is_none_and_nobody_else_may_read_it(home: Home) -> None:
    remember(home, {"language": "en", "dashboard": {"tab": "system", "spacing": 3}})
    settings = Settings.load(home)
    assert (settings.language, settings.dashboard.tab, settings.dashboard.spacing) == ("en", "system", 3)
    assert home.settings_file.stat().st_mode & 0o077 == 0


def test_comments_order_and_other_keys_stay(home: Home) -> None:
    home.settings_file.write_text(WRITTEN, encoding="utf-8")
    home.settings_file.chmod(0o640)
    remember(home, {"language": "en", "model": "llama", "dashboard": {"company": "2454", "period": "week"}})
    text = home.settings_file.read_text(encoding="utf-8")
    for line in WRITTEN.splitlines():
        if line != 'company = "2330"':
            assert line in text
    assert (
        text.index("# mine") < text.index("newsapi_key") < text.index("[lists]") < text.index("where I was")
    )
    settings = Settings.load(home)
    assert settings.dashboard.company == "2454"
    assert settings.dashboard.period == "week"
    assert settings.lists == {"半導體": ("2330", "2454")}
    assert settings.language == "en"
    assert home.settings_file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in home.root.iterdir() if path.name.startswith(".settings")] == []


def test_none_takes_a_key_out_and_a_list_is_replaced_as_a_whole(home: Home) -> None:
    home.settings_file.write_text(WRITTEN, encoding="utf-8")
    remember(home, {"model": None, "lists": {"半導體": ["2303"], "新": []}, "dashboard": {"company": None}})
    document = tomllib.loads(home.settings_file.read_text(encoding="utf-8"))
    assert "model" not in document
    assert document["lists"] == {"半導體": ["2303"], "新": []}
    assert document["dashboard"] == {}


def test_a_file_that_is_no_toml_is_left_alone(home: Home) -> None:
    home.settings_file.write_text("this is = = not", encoding="utf-8")
    with pytest.raises(UsageError, match=r"settings\.toml"):
        remember(home, {"language": "en"})
    assert home.settings_file.read_text(encoding="utf-8") == "this is = = not"


def test_a_folder_in_its_place_is_a_sentence(home: Home) -> None:
    home.settings_file.mkdir()
    with pytest.raises(StoreError, match=r"settings\.toml"):
        remember(home, {"language": "en"})


def test_a_link_stays_a_link(home: Home, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text('language = "zh"\n')
    home.settings_file.symlink_to(real)
    remember(home, {"language": "en"})
    assert home.settings_file.is_symlink()
    assert tomllib.loads(real.read_text()) == {"language": "en"}
