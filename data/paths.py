"""Where files lie: the one place that knows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from stockllm.data.errors import StoreError, UsageError
from stockllm.data.private import private_folder


@dataclass(frozen=True)
class Home:
    """The folder that holds all state of one stockllm: store, adapters, logs and settings."""

    root: Path

    @classmethod
    def locate(cls, demo: bool = False) -> Home:
        """``STOCKLLM_HOME``, else the platform's folder for user data; the demo lives in its ``demo``.

        Touches no file. UsageError where no home directory can be made out (no HOME, an unknown user).
        """
        named = os.environ.get("STOCKLLM_HOME", "").strip()
        try:
            if named:
                root = Path(named).expanduser().absolute()
            else:
                from platformdirs import user_data_path

                root = user_data_path("stockllm", appauthor=False).expanduser()
        except (RuntimeError, KeyError) as error:
            raise UsageError(
                "There is no home directory of this user: set STOCKLLM_HOME to a folder for stockllm's data.",
                zh="找不到這位使用者的家目錄：請把 STOCKLLM_HOME 設為存放 stockllm 資料的資料夾。",
            ) from error
        return cls(root / "demo" if demo else root)

    @property
    def store(self) -> Path:
        """The database."""
        return self.root / "store.sqlite"

    @property
    def adapters(self) -> Path:
        """One folder per trained adapter."""
        return self.root / "adapters"

    @property
    def logs(self) -> Path:
        """One file per training run."""
        return self.root / "logs"

    @property
    def forecast_cache(self) -> Path:
        """Forecasts of past evenings that backtests made; may be deleted at any time."""
        return self.root / "cache" / "forecasts"

    @property
    def refresh_lock(self) -> Path:
        """Held by the process that refreshes."""
        return self.root / "refresh.lock"

    @property
    def schedule_lock(self) -> Path:
        """Held by the process that hosts the schedule."""
        return self.root / "schedule.lock"

    @property
    def settings_file(self) -> Path:
        """The user's settings; may be absent."""
        return self.root / "settings.toml"

    @property
    def closed_days_file(self) -> Path:
        """Days on which the market was closed or open against the rules; may be absent."""
        return self.root / "calendar.toml"

    def ensure(self) -> Home:
        """Make the folders that are missing, for the user alone. StoreError where that cannot be done."""
        try:
            for folder in (self.root, self.adapters, self.logs):
                private_folder(folder)
        except OSError as error:
            raise StoreError(
                f"The folder {self.root} cannot be made ({_cause(error)}): "
                "set STOCKLLM_HOME to a folder that can be written.",
                zh=(
                    f"無法建立資料夾 {self.root}（{_cause(error)}）：請把 STOCKLLM_HOME 設為可寫入的資料夾。"
                ),
            ) from error
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise StoreError(
                f"The folder {self.root} cannot be written: "
                "change its permissions, or set STOCKLLM_HOME to a folder that can be written.",
                zh=(f"資料夾 {self.root} 無法寫入：請修改其權限，或把 STOCKLLM_HOME 設為可寫入的資料夾。"),
            )
        return self


def _cause(error: OSError) -> str:
    """The system's word for it, with the path it is about, in one clause."""
    text = error.strerror or type(error).__name__
    return f"{text}: {error.filename}" if error.filename else text
