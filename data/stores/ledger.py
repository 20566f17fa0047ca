"""The ledger: every forecast, frozen with all that made it, so that it can be scored later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from stockllm.data import clock
from stockllm.data.blobs import pack, unpack
from stockllm.data.database import Database
from stockllm.data.errors import StoreError
from stockllm.data.records import PathForecast
from stockllm.data.schema import current_forecasts, forecasts
from stockllm.data.stores.standing import Frozen, Reason, why_not
from stockllm.market.moments import Moment

_SUMMARY = tuple(
    forecasts.c[name]
    for name in (
        "id",
        "code",
        "as_of",
        "made_at",
        "model",
        "adapter",
        "horizon",
        "paths",
        "simulated",
        "due",
        "moment",
        "seed",
    )
)


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One forecast without its paths. ``due`` is the last day it speaks of.

    ``why_not`` is why it cannot count whatever becomes of it, None where it can.
    """

    id: int
    code: str
    as_of: date
    made_at: datetime
    model: str
    adapter: str | None
    horizon: int
    paths: int
    simulated: bool
    due: date
    moment: Moment = "evening"
    seed: int = 0
    why_not: Reason | None = None


class LedgerStore:
    """The frozen forecasts of a store. Triggers in the database refuse to change or delete one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def seen_until(self) -> datetime | None:
        """The latest moment of which the store gives evidence, for ``freeze``; see ``data.clock``."""
        with self._database.read() as connection:
            return clock.seen_until(connection)

    def freeze(self, forecast: PathForecast, data_hash: str, witnessed: datetime | None = None) -> int:
        """Write a forecast for good; its id, which is the old one where an equal key is there.

        ``data_hash`` is a digest of the bars the model saw. The key is every argument of ``find``.
        ``witnessed`` is ``seen_until`` from before the forecast was made: a forecast counts only where
        that lies before its first session too, whatever the clock said. None for old forecasts.
        ValueError where shapes disagree or ``made_at`` has no time zone.
        """
        shape = (forecast.paths, len(forecast.dates))
        if forecast.prices.shape != (*shape, 4) or forecast.volumes.shape != shape or not all(shape):
            raise ValueError(
                f"prices {forecast.prices.shape} and volumes {forecast.volumes.shape} for {shape}"
            )
        if forecast.made_at.tzinfo is None:
            raise ValueError("made_at has no time zone")
        if forecast.known_until is not None and forecast.known_until.tzinfo is None:
            raise ValueError("known_until has no time zone")
        key = _key(
            code=forecast.code,
            as_of=forecast.as_of,
            dates=forecast.dates,
            model=forecast.model,
            model_hash=forecast.model_hash,
            adapter=forecast.adapter,
            adapter_hash=forecast.adapter_hash,
            prompt=forecast.prompt,
            paths=forecast.paths,
            seed=forecast.seed,
            data_hash=data_hash,
            moment=forecast.moment,
        )
        row = {
            "key": key,
            "code": forecast.code,
            "name": forecast.name,
            "market": forecast.market,
            "as_of": forecast.as_of,
            "last_close": int(forecast.last_close),
            "dates": json.dumps([day.isoformat() for day in forecast.dates]),
            "due": forecast.dates[-1],
            "made_at": forecast.made_at.isoformat(),
            "model": forecast.model,
            "model_hash": forecast.model_hash,
            "adapter": forecast.adapter,
            "adapter_hash": forecast.adapter_hash,
            "prompt": forecast.prompt,
            "paths": forecast.paths,
            "horizon": forecast.horizon,
            "seed": int(forecast.seed),
            "data_hash": data_hash,
            "simulated": int(forecast.simulated),
            "parse_failures": int(forecast.parse_failures),
            "prices": pack(forecast.prices),
            "volumes": pack(forecast.volumes),
            "moment": forecast.moment,
            "known_until": forecast.known_until.isoformat() if forecast.known_until else None,
            "witnessed": witnessed.isoformat() if witnessed else None,
        }
        with self._database.write() as connection:
            clock.saw(connection, forecast.made_at)
            known = connection.scalar(_by_key(key))
            if known is not None:
                return int(known)
            (new,) = connection.execute(sa.insert(forecasts), row).inserted_primary_key or (0,)
            return int(new)

    def get(self, id: int) -> PathForecast:
        """The forecast as it was frozen. StoreError where there is none of this id."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(forecasts).where(forecasts.c.id == id)).one_or_none()
        if row is None:
            raise StoreError(
                f"There is no forecast {id} in the ledger: list the ones there are.",
                zh=f"帳本中沒有編號 {id} 的預測：請先列出現有的預測。",
            )
        return _forecast(row)

    def find(
        self,
        *,
        code: str,
        as_of: date,
        dates: Sequence[date],
        model: str,
        model_hash: str,
        adapter: str | None,
        adapter_hash: str | None,
        prompt: str,
        paths: int,
        seed: int,
        data_hash: str,
        horizon: int | None = None,
        moment: Moment = "evening",
    ) -> int | None:
        """The id of the forecast made from exactly this, None where there is none.

        ``horizon`` is the number of ``dates``; where given and another, nothing is found.
        """
        if horizon is not None and horizon != len(dates):
            return None
        key = _key(
            code=code,
            as_of=as_of,
            dates=dates,
            model=model,
            model_hash=model_hash,
            adapter=adapter,
            adapter_hash=adapter_hash,
            prompt=prompt,
            paths=paths,
            seed=seed,
            data_hash=data_hash,
            moment=moment,
        )
        with self._database.read() as connection:
            found = connection.scalar(_by_key(key))
        return None if found is None else int(found)

    def show(self, code: str, id: int) -> None:
        """Make a frozen forecast the one that ``latest`` gives among those of its day.

        A repeated request finds its old entry, and what was asked for last is what is to be seen.
        """
        row = {"code": code, "forecast_id": id}
        with self._database.write() as connection:
            connection.execute(sa.insert(current_forecasts).prefix_with("OR REPLACE"), row)

    def latest(self, code: str, model: str | None = None) -> tuple[int, PathForecast] | None:
        """The forecast of ``code`` from the latest ``as_of``.

        Where several are, the one asked for last (``show``), else the last one frozen.
        """
        shown = sa.select(current_forecasts.c.forecast_id).where(current_forecasts.c.code == code)
        query = sa.select(forecasts).where(forecasts.c.code == code)
        if model is not None:
            query = query.where(forecasts.c.model == model)
        query = query.order_by(
            forecasts.c.as_of.desc(),
            (forecasts.c.id == sa.func.coalesce(shown.scalar_subquery(), 0)).desc(),
            forecasts.c.id.desc(),
        ).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row.id, _forecast(row))

    def on(self, code: str, evening: date) -> PathForecast | None:
        """The forecast of ``code`` made as of ``evening``: the one asked for last, else the last frozen."""
        shown = sa.select(current_forecasts.c.forecast_id).where(current_forecasts.c.code == code)
        query = sa.select(forecasts).where(forecasts.c.code == code, forecasts.c.as_of == evening)
        query = query.order_by(
            (forecasts.c.id == sa.func.coalesce(shown.scalar_subquery(), 0)).desc(), forecasts.c.id.desc()
        ).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _forecast(row)

    def list(self, code: str | None = None, limit: int = 100) -> list[LedgerRow]:
        """The last ``limit`` forecasts, of ``code`` or of all, the last frozen first."""
        query = sa.select(*_SUMMARY).order_by(forecasts.c.id.desc()).limit(limit)
        if code is not None:
            query = query.where(forecasts.c.code == code)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        judged = self.standings(code)
        return [
            LedgerRow(
                **(
                    dict(row)
                    | {
                        "made_at": datetime.fromisoformat(row["made_at"]),
                        "simulated": bool(row["simulated"]),
                        "why_not": judged.get(row["id"]),
                    }
                )
            )
            for row in rows
        ]

    def standings(self, code: str | None = None) -> dict[int, Reason | None]:
        """Why each forecast cannot count, None where it can; by id, of ``code`` or of all."""
        columns = (
            "id",
            "code",
            "as_of",
            "made_at",
            "model",
            "adapter",
            "horizon",
            "paths",
            "moment",
            "witnessed",
        )
        first = sa.func.json_extract(forecasts.c.dates, "$[0]").label("first")
        query = sa.select(*(forecasts.c[name] for name in columns), first).order_by(forecasts.c.id)
        if code is not None:
            query = query.where(forecasts.c.code == code)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return why_not(
            Frozen(
                row.id,
                row.code,
                row.as_of,
                date.fromisoformat(row.first),
                row.moment,
                row.model if row.adapter is None else f"{row.model}+{row.adapter}",
                row.horizon,
                row.paths,
                datetime.fromisoformat(row.made_at),
                datetime.fromisoformat(row.witnessed) if row.witnessed else None,
            )
            for row in rows
        )


def _by_key(key: str) -> sa.Select[Any]:
    return sa.select(forecasts.c.id).where(forecasts.c.key == key)


def _key(**fields: Any) -> str:
    """A digest of the fields by name; equal exactly where all of them are."""
    fields["as_of"] = fields["as_of"].isoformat()
    fields["dates"] = [day.isoformat() for day in fields["dates"]]
    fields["paths"], fields["seed"] = int(fields["paths"]), int(fields["seed"])
    if fields["moment"] == "evening":  # the keys of the forecasts from before there were others
        del fields["moment"]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _forecast(row: sa.Row[Any]) -> PathForecast:
    return PathForecast(
        code=row.code,
        name=row.name,
        market=row.market,
        as_of=row.as_of,
        last_close=row.last_close,
        dates=tuple(date.fromisoformat(day) for day in json.loads(row.dates)),
        prices=unpack(row.prices),
        volumes=unpack(row.volumes),
        made_at=datetime.fromisoformat(row.made_at),
        model=row.model,
        model_hash=row.model_hash,
        adapter=row.adapter,
        adapter_hash=row.adapter_hash,
        prompt=row.prompt,
        seed=row.seed,
        simulated=bool(row.simulated),
        parse_failures=row.parse_failures,
        moment=row.moment,
        known_until=datetime.fromisoformat(row.known_until) if row.known_until else None,
    )
