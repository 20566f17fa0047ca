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

from stockllm.data.errors import StockllmError
from stockllm.data.records import PathForecast, PromptStyle, Series
from stockllm.data.store import Store
from stockllm.forecaster.forecast import LOOK_BACK, SHORTEST_LOOK_BACK, data_hash
from stockllm.forecaster.models import ModelRef
from stockllm.forecaster.sample import Paths
from stockllm.forecaster.samplers import Sampler, sampler_for
from stockllm.forecaster.windows import Window, open_window
from stockllm.market.calendar import TradingCalendar

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


class PastForecasts:
    """Forecasts by company and evening. ``prepare`` makes what is missing, ``of`` gives one."""

    def __init__(
        self,
        store: Store,
        ref: ModelRef,
        settings: Settings,
        series: Mapping[str, Series],
        calendar: TradingCalendar,
        first: date,
    ) -> None:
        """``first`` is the first evening: networks are trained on days up to it.

        ModelUnavailable or NotEnoughHistory where the model cannot be had.
        """

        def market(until: date) -> list[Series]:
            return [store.bars.series(code, end=until) for code in store.bars.codes()]

        self.store, self.ref, self.settings, self.series = store, ref, settings, series
        self.calendar = calendar
        self._simulated = store.simulated
        self._companies = {code: store.company(code) for code in series}
        self.sampler: Sampler = sampler_for(ref, until=first, market=market, prompt=settings.prompt)
        self.folder = store.home.forecast_cache / self._key()
        self.counts = {"ledger": 0, "cache": 0, "made": 0}
        self._known: dict[date, dict[str, PathForecast]] = {}

    def of(self, code: str, evening: date) -> PathForecast | None:
        """The forecast of ``code`` made on ``evening``; None where it had too little history."""
        return self._known.get(evening, {}).get(code)

    def prepare(self, evenings: Sequence[date], progress: Progress = lambda _done, _total: None) -> None:
        """Have the forecasts of every company that traded on each of ``evenings``.

        StockllmError where the cache cannot be written.
        """
        missing: list[Window] = []
        for evening in evenings:
            cached = self._read(evening)
            self._known[evening] = {}
            for window in self._windows(evening):
                digest = data_hash(window.history)
                drawn = cached.get(window.code)
                if drawn is not None and drawn[0] == digest and drawn[1] == window.future_dates:
                    self.counts["cache"] += 1
                    self._known[evening][window.code] = self._forecast(window, drawn[2], drawn[3])
                elif (known := self._in_ledger(window, digest)) is not None:
                    self.counts["ledger"] += 1
                    self._known[evening][window.code] = known
                else:
                    missing.append(window)
        for start in range(0, len(missing), TOGETHER):
            batch = missing[start : start + TOGETHER]
            drawn_now = self.sampler.sample(
                batch,
                paths=self.settings.paths,
                seed=self.settings.seed,
                progress=lambda done, start=start: progress(start + done, len(missing)),  # type: ignore[misc]
            )
            made_at = datetime.now(UTC).replace(microsecond=0)
            for window, paths in zip(batch, drawn_now, strict=True):
                self._known[window.origin][window.code] = self._forecast(window, paths, made_at)
            self.counts["made"] += len(batch)
            for evening in sorted({window.origin for window in batch}):
                self._write(evening)

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
        return PathForecast(
            code=window.code,
            name=window.name,
            market=window.market,
            as_of=window.origin,
            last_close=round(float(window.history.close[-1]) * 100),
            dates=window.future_dates,
            prices=drawn.prices.astype(np.int32),
            volumes=drawn.volumes,
            made_at=made_at,
            model=self.ref.name,
            model_hash=self.sampler.hash,
            adapter=self.ref.adapter,
            adapter_hash=self.sampler.adapter_hash,
            prompt=self.settings.prompt,
            seed=self.settings.seed,
            simulated=self._simulated,
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
        return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:32]

    def _path(self, evening: date) -> Path:
        return self.folder / f"{evening}.npz"

    def _read(self, evening: date) -> dict[str, tuple[str, tuple[date, ...], Paths, datetime]]:
        """What the cache holds of ``evening`` by code: hash, days, paths and when they were made."""
        try:
            with self._path(evening).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                about: list[dict[str, Any]] = json.loads(str(file["about"]))
                prices, volumes = file["prices"], file["volumes"]
            return {
                row["code"]: (
                    row["data_hash"],
                    tuple(date.fromisoformat(day) for day in row["dates"]),
                    Paths(prices[k], volumes[k]),
                    datetime.fromisoformat(row["made_at"]),
                )
                for k, row in enumerate(about)
            }
        except (
            OSError,
            ValueError,
            KeyError,
            IndexError,
            TypeError,
            EOFError,
            zipfile.BadZipFile,
            zlib.error,
        ):
            return {}  # absent, or damaged: it is made anew

    def _write(self, evening: date) -> None:
        """Keep all forecasts of ``evening``; the file appears whole or not at all."""
        known = [self._known[evening][code] for code in sorted(self._known[evening])]
        about = [
            {
                "code": made.code,
                "data_hash": data_hash(self.series[made.code].until(evening)),
                "dates": [day.isoformat() for day in made.dates],
                "made_at": made.made_at.isoformat(),
            }
            for made in known
        ]
        target = self._path(evening)
        draft = target.with_name(f".{target.stem}.{os.getpid()}.npz")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(
                draft,
                about=np.array(json.dumps(about)),
                prices=np.stack([made.prices for made in known]),
                volumes=np.stack([made.volumes for made in known]),
            )
            os.replace(draft, target)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise StockllmError(
                f"The forecasts cannot be kept in {self.folder} ({error.strerror or error}): free some room."
            ) from error
