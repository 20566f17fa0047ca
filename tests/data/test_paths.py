"""Where files lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stockllm.data.errors import StoreError
from stockllm.data.paths import Home


def test_variable_moves_all_state(home_dir: Path) -> None:
    home = Home.locate()
    assert home.root == home_dir
    for path in (home.store, home.adapters, home.logs, home.settings_file, home.closed_days_file):
        assert path.is_relative_to(home_dir)


def test_demo_lives_inside_and_apart(home_dir: Path) -> None:
    assert Home.locate(demo=True).root == home_dir / "demo"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_platform_folder_without_the_variable(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("STOCKLLM_HOME", raising=False)
    else:
        monkeypatch.setenv("STOCKLLM_HOME", value)
    root = Home.locate().root
    assert root.is_absolute()
    assert root.name == "stockllm"


def test_tilde_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOCKLLM_HOME", "~/somewhere")
    assert Home.locate().root == Path.home() / "somewhere"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STOCKLLM_HOME", "here")
    assert Home.locate().root == tmp_path / "here"


def test_locating_touches_nothing(home_dir: Path) -> None:
    Home.locate()
    assert not home_dir.exists()


def test_ensure_makes_folders_once_and_again(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "b")
    assert home.ensure() is home
    assert home.ensure().adapters.is_dir()
    assert home.logs.is_dir()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_home_in_the_way_of_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(StoreError, match="cannot be made") as caught:
        Home(tmp_path / name).ensure()
    assert "STOCKLLM_HOME" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Permission bits do not stop root, so the system's answer is put in its place.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StoreError, match=r"cannot be written: .*STOCKLLM_HOME"):
        Home(tmp_path).ensure()
