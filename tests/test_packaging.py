"""The wheel holds every package and asset, and works without the checkout."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("market", "data", "collectors", "forecaster", "trading", "nightly", "tui", "cli")

#: A folder with more Python files than this wants inner rooms.
MOST_FILES = 25


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy so that no build folder is left in it."""
    import shutil

    source = tmp_path_factory.mktemp("source") / "stockllm"
    skipped = shutil.ignore_patterns(
        ".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", "*.egg-info"
    )
    shutil.copytree(ROOT, source, symlinks=True, ignore=skipped)
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--disable-pip-version-check", "-w", str(target), str(source)],
        check=True,
        capture_output=True,
        timeout=240,
    )
    (built,) = target.glob("stockllm-*.whl")
    return built


def test_every_module_and_asset_is_in_the_wheel(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", *ROOMS], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    wanted = {f"stockllm/{path}" for path in tracked if path}
    assert wanted, "git lists no files of the rooms"
    assert wanted - inside == set()


def test_every_package_is_declared() -> None:
    declared = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    )
    found = {
        "stockllm." + ".".join(init.parent.relative_to(ROOT).parts)
        for room in ROOMS
        for init in (ROOT / room).rglob("__init__.py")
    }
    assert found == declared


def test_no_folder_holds_more_files_than_a_reader_can_survey() -> None:
    folders = [path for room in (*ROOMS, "tests") for path in (ROOT / room).rglob("*/") if path.is_dir()]
    crowded = {folder: len(list(folder.glob("*.py"))) for folder in (*folders, *map(ROOT.joinpath, ROOMS))}
    assert {str(folder): count for folder, count in crowded.items() if count > MOST_FILES} == {}


def test_an_installed_wheel_finds_its_base_model_and_makes_a_store(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    # Ahead of the editable install: a path entry wins over its finder for a package found there.
    program = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]; "
        f"sys.path.insert(0, {str(site)!r})\n"
        "from stockllm.data.paths import Home\n"
        "from stockllm.data.store import Store\n"
        "from stockllm.forecaster.models.registry import base_model_dir\n"
        "Store.open(Home.locate()).close()\n"
        "print(base_model_dir())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "STOCKLLM_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(site)
    assert (tmp_path / "home" / "store.sqlite").is_file()
