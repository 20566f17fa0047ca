"""The forecasts of a past period, evening by evening, each from what was known on its evening alone.

What the ledger holds is used; what it lacks is sampled once and kept in the home's cache, under the
hashes of the bars, the model and the settings that made it. The ledger itself takes none of them: it
is the record of forecasts that were made ahead.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockllm.data.errors import StockllmError
from stockllm.data.records import BarSeries, PathForecast, PromptStyle
from stockllm.data.store import Store
from stockllm.forecaster.encoding.limits import LOOK_BACK, SHORTEST_LOOK_BACK, data_hash
from stockllm.forecaster.encoding.windows import Window, open_window
from stockllm.forecaster.forecast import path_forecast
from stockllm.forecaster.models.registry import ModelRef
from stockllm.forecaster.outlook.moments import outlook_of
from stockllm.forecaster.outlook.outlook import Outlook
from stockllm.forecaster.sampling.sample import Paths
from stockllm.forecaster.sampling.samplers import Sampler, sampler_for
from stockllm.market.calendar import TradingCalendar
from stockllm.market.moments import end_of

#: Windows sampled before they are kept: what Ctrl-C costs at most.
TOGETHER = 410

# What reading a file that was cut off, or is none of ours, may raise.
_DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)

#: Told (done, in all) windows.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What makes a forecast, besides the model and the bars."""

    horizon: int
    paths: int
    seed: int
    prompt: PromptStyle


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file of the cache: a row a company, and its paths in the same order."""

    about: list[dict[str, Any]]
    prices: NDArray[Any]
    volumes: NDArray[Any]


_NOTHING = np.zeros(0, dtype=np.int64)


class PastForecasts:
    """Forecasts by company and evening. ``prepare`` makes what is missing, ``of`` gives one."""

    def __init__(
        self,
        store: Store,
        ref: ModelRef,
        settings: Settings,
        series: Mapping[str, BarSeries],
        calendar: TradingCalendar,
        first: date,
    ) -> None:
        """``first`` is the first evening: networks are trained on days up to it.

        ModelUnavailable or NotEnoughHistory where the model cannot be had.
        """

        def market(until: date) -> list[BarSeries]:
            return [store.long_series(code, until) for code in store.codes_with_prices()]

        def outlook() -> Outlook:
            last = max((one.dates[-1] for one in series.values() if len(one)), default=first)
            return outlook_of(store, last, memory=None, until=end_of(last))

        self.store, self.ref, self.settings, self.series = store, ref, settings, series
        self.calendar = calendar
        self._simulated = store.simulated
        self._companies = {code: store.company(code) for code in series}
        self.sampler: Sampler = sampler_for(
            ref, until=first, market=market, prompt=settings.prompt, outlook=outlook
        )
        self.folder = store.home.forecast_cache / self._key()
        self.counts = {"ledger": 0, "cache": 0, "made": 0}
        self._evening: date | None = None
        self._loaded: dict[str, PathForecast] = {}
        self._prepared: dict[date, int] = {}

    def of(self, code: str, evening: date) -> PathForecast | None:
        """The forecast of ``code`` made on ``evening``, one of those prepared.

        None where it had too little history, or did not trade that evening. One evening is held in
        memory at a time: a year of the whole market would not fit.
        """
        if self._evening != evening:
            self._evening, self._loaded = evening, self._load(evening)
        return self._loaded.get(code)

    def prepare(self, evenings: Sequence[date], progress: Progress = lambda _done, _total: None) -> None:
        """Have the forecasts of every company that traded on each of ``evenings``.

        ``progress`` counts companies by evenings. StockllmError where the cache cannot be written.
        """
        each, total = len(self.series), len(self.series) * len(evenings)
        missing: list[Window] = []
        for number, evening in enumerate(evenings, 1):
            missing += self._missing(evening)
            if len(missing) >= TOGETHER or (missing and number == len(evenings)):
                before = number * each - len(missing)
                self._make(missing, lambda done, before=before: progress(before + done, total))  # type: ignore[misc]
                missing = []
            progress(number * each - len(missing), total)

    def _missing(self, evening: date) -> list[Window]:
        """What has to be sampled of ``evening``. What the ledger alone has goes into the cache."""
        about = {row["code"]: row for row in self._read(evening).about}
        self._prepared[evening] = 0
        found: list[PathForecast] = []
        missing: list[Window] = []
        for window in self._windows(evening):
            self._prepared[evening] += 1
            digest = data_hash(window.history)
            row = about.get(window.code)
            dates = [day.isoformat() for day in window.future_dates]
            if row is not None and (row["data_hash"], row["dates"]) == (digest, dates):
                self.counts["cache"] += 1
            elif (known := self._in_ledger(window, digest)) is not None:
                self.counts["ledger"] += 1
                found.append(known)
            else:
                missing.append(window)
        if found:
            self._write(evening, found)
        return missing

    def _make(self, windows: Sequence[Window], progress: Callable[[int], None]) -> None:
        """Sample ``windows``, all that is missing of their evenings, and keep them."""
        drawn = self.sampler.sample(
            windows, paths=self.settings.paths, seed=self.settings.seed, progress=progress
        )
        made_at = datetime.now(UTC).replace(microsecond=0)
        made: dict[date, list[PathForecast]] = {}
        for window, paths in zip(windows, drawn, strict=True):
            made.setdefault(window.origin, []).append(self._forecast(window, paths, made_at))
        for evening, forecasts in made.items():
            self._write(evening, forecasts)
        self.counts["made"] += len(windows)

    def window(self, code: str, evening: date) -> Window | None:
        """What a forecast of ``code`` on ``evening`` reads; None where it is too little, or nothing new."""
        series = self.series[code].until(evening)
        if not len(series) or series.dates[-1] != evening or len(series) < SHORTEST_LOOK_BACK:
            return None
        past = max(SHORTEST_LOOK_BACK, min(LOOK_BACK[self.settings.prompt], len(series)))
        dates = self._dates(evening)
        return open_window(series, self._companies[code], past, dates)

    def _windows(self, evening: date) -> Iterator[Window]:
        for code in sorted(self.series):
            window = self.window(code, evening)
            if window is not None:
                yield window

    def _dates(self, evening: date) -> tuple[date, ...]:
        return self.calendar.next_sessions(evening, self.settings.horizon)

    def _forecast(self, window: Window, drawn: Paths, made_at: datetime) -> PathForecast:
        own = self.settings
        return path_forecast(
            window, drawn, self.ref, self.sampler, own.prompt, own.seed, self._simulated, made_at
        )

    def _in_ledger(self, window: Window, digest: str) -> PathForecast | None:
        id = self.store.ledger.find(
            code=window.code,
            as_of=window.origin,
            dates=window.future_dates,
            model=self.ref.name,
            model_hash=self.sampler.hash,
            adapter=self.ref.adapter,
            adapter_hash=self.sampler.adapter_hash,
            prompt=self.settings.prompt,
            paths=self.settings.paths,
            seed=self.settings.seed,
            data_hash=digest,
        )
        return None if id is None else self.store.ledger.get(id)

    # The cache: a file an evening, in a folder a model and its settings.

    def _key(self) -> str:
        made_by = {
            "model": self.ref.name,
            "model_hash": self.sampler.hash,
            "adapter": self.ref.adapter,
            "adapter_hash": self.sampler.adapter_hash,
            "horizon": self.settings.horizon,
            "paths": self.settings.paths,
            "seed": self.settings.seed,
            "prompt": self.settings.prompt,
        }
        # Bars stand beside each forecast; what else was read changes with what has come in of it.
        kinds = ("adjusted", "flows", "world", "futures")
        if any(arrived := [self.store.arrivals.last(kind) for kind in kinds]):
            made_by["known"] = str(arrived)
        return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:32]

    def _path(self, evening: date) -> Path:
        return self.folder / f"{evening}.npz"

    def _load(self, evening: date) -> dict[str, PathForecast]:
        kept = self._read(evening)
        rows = {row["code"]: (k, row) for k, row in enumerate(kept.about)}
        found = {
            window.code: self._forecast(
                window, Paths(kept.prices[k], kept.volumes[k]), datetime.fromisoformat(row["made_at"])
            )
            for window in self._windows(evening)
            if window.code in rows
            for k, row in (rows[window.code],)
        }
        if len(found) < self._prepared.get(evening, 0):
            raise StockllmError(
                f"The forecasts of {evening} were taken out of {self.folder} meanwhile: run it again.",
                zh=f"{evening} 的預測同時被人從 {self.folder} 移走：請再執行一次。",
            )
        return found

    def _read(self, evening: date) -> _Kept:
        """What the cache holds of ``evening``; nothing where the file is absent or damaged."""
        try:
            with self._path(evening).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                kept = _Kept(json.loads(str(file["about"])), file["prices"], file["volumes"])
            for row in kept.about:
                row["code"], row["data_hash"], row["dates"], row["made_at"]
            if len(kept.prices) == len(kept.volumes) == len(kept.about):
                return kept
        except _DAMAGED:
            pass  # it is made anew
        return _Kept([], _NOTHING, _NOTHING)

    def _write(self, evening: date, made: Sequence[PathForecast]) -> None:
        """Keep forecasts of ``evening`` beside those of other companies; whole or not at all."""
        kept = self._read(evening)
        codes = {one.code for one in made}
        stay = [k for k, row in enumerate(kept.about) if row["code"] not in codes]
        about = [kept.about[k] for k in stay] + [
            {
                "code": one.code,
                "data_hash": data_hash(self.series[one.code].until(evening)),
                "dates": [day.isoformat() for day in one.dates],
                "made_at": one.made_at.isoformat(),
            }
            for one in made
        ]
        target = self._path(evening)
        draft = target.with_name(f".{target.stem}.{os.getpid()}.npz")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(
                draft,
                about=np.array(json.dumps(about)),
                prices=np.stack([kept.prices[k] for k in stay] + [one.prices for one in made]),
                volumes=np.stack([kept.volumes[k] for k in stay] + [one.volumes for one in made]),
            )
            os.replace(draft, target)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise StockllmError(
                f"The forecasts cannot be kept in {self.folder} ({error.strerror or error}): free some room.",
                zh=f"預測無法存放在 {self.folder}（{error.strerror or error}）：請騰出空間。",
            ) from error
