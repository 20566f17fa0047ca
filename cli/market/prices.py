"""``stockllm prices``: the stored bars of a company, on screen or as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli.output import banner, emit_json, open_store, show, table, text
from stockllm.data.errors import NotEnoughHistory, UsageError

if TYPE_CHECKING:
    from stockllm.data.records import Bar
    from stockllm.data.stores.bars import Revision


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("prices")(prices)


def prices(
    code: str = typer.Argument(..., metavar="CODE", help="A company, by code or name."),
    last: int | None = typer.Option(
        None, "--last", help="The newest N days: 20 where not given, all of them into a file."
    ),
    csv: str = typer.Option("", "--csv", metavar="OUT", help="Write a CSV that 'stockllm import' reads."),
    parquet: str = typer.Option("", "--parquet", metavar="OUT", help="Write a parquet file."),
    revisions: bool = typer.Option(
        False, "--revisions", help="Show what later imports replaced, and the bar of that day now."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Show the stored prices of a company in TWD, volume in shares (on screen in lots of 1,000)."""
    if last is not None and last < 1:
        raise UsageError(
            f"The number of days is 1 or more, not {last}.", zh=f"天數為 1 以上，而不是 {last}。"
        )
    if sum(map(bool, (csv, parquet, revisions))) > 1:
        raise UsageError(
            "--csv, --parquet and --revisions exclude each other: name one.",
            zh="--csv、--parquet 與 --revisions 不能並用：請擇一。",
        )
    store, settings = open_store()
    language = settings.language
    with store:
        company = store.resolve(code)
        bars = store.bars.bars(company.code)
        replaced = store.bars.revisions(company.code) if revisions else []
        simulated = store.simulated
    if not bars and not replaced:
        raise NotEnoughHistory(
            f"There are no prices of {company.code}: bring some in with 'stockllm import PATH'.",
            zh=f"沒有 {company.code} 的股價：請用 'stockllm import PATH' 匯入。",
        )
    chosen = bars[-(last or 20) :]
    if revisions:
        _revisions(bars, replaced, as_json=as_json, simulated=simulated, language=language)
    elif csv or parquet:
        rows = chosen if last else bars
        path = Path(csv or parquet)
        (_write_csv if csv else _write_parquet)(path, rows)
        _told(path, len(rows), as_json=as_json, language=language)
    elif as_json:
        emit_json({"code": company.code, "simulated": simulated, "prices": [_document(b) for b in chosen]})
    else:
        banner(simulated, language)
        table(_headers(language), [_row(bar, language) for bar in chosen], right=range(1, 6))


def _headers(language: str) -> list[str]:
    return text(
        "日期 開盤 最高 最低 收盤 成交張數 註記", "Date Open High Low Close Lots Notes", language
    ).split()


def _row(bar: Bar, language: str) -> tuple[object, ...]:
    flags = {
        "past_limit": ("超過漲跌幅", "past limit"),
        "off_tick": ("不在檔位", "off tick"),
        "repaired": ("已修復", "repaired"),
    }
    notes = text("、", ", ", language).join(text(*flags[flag], language) for flag in bar.flags)
    figures = (f"{price / 100:,.2f}" for price in (bar.open, bar.high, bar.low, bar.close))
    return (bar.date, *figures, f"{bar.volume / 1000:,.0f}", notes)


def _document(bar: Bar) -> dict[str, Any]:
    return {
        "date": bar.date.isoformat(),
        "open": bar.open / 100,
        "high": bar.high / 100,
        "low": bar.low / 100,
        "close": bar.close / 100,
        "volume_shares": bar.volume,
        "value": bar.value,
        "trades": bar.trades,
        "reference": None if bar.reference is None else bar.reference / 100,
        "flags": list(bar.flags),
        "source": bar.source,
    }


def _revisions(
    bars: list[Bar], replaced: list[Revision], *, as_json: bool, simulated: bool, language: str
) -> None:
    now = {bar.date: bar for bar in bars}
    if as_json:
        emit_json(
            {
                "simulated": simulated,
                "revisions": [
                    _document(each.bar)
                    | {
                        "arrived_at": each.arrived_at.isoformat(),
                        "replaced_at": each.replaced_at.isoformat(),
                        "now": _document(now[each.bar.date]) if each.bar.date in now else None,
                    }
                    for each in replaced
                ],
            }
        )
        return
    banner(simulated, language)
    if not replaced:
        show(text("沒有任何一天被取代過。", "No day was ever replaced.", language))
        return
    rows: list[tuple[object, ...]] = []
    for place, each in enumerate(replaced):
        note = text(f"{each.replaced_at:%Y-%m-%d} 前", f"until {each.replaced_at:%Y-%m-%d}", language)
        rows.append((*_row(each.bar, language)[:-1], f"{note} ({each.bar.source})"))
        if place + 1 == len(replaced) or replaced[place + 1].bar.date != each.bar.date:
            bar = now.get(each.bar.date)
            if bar is not None:
                rows.append((*_row(bar, language)[:-1], f"{text('現在', 'now', language)} ({bar.source})"))
    table(_headers(language), rows, right=range(1, 6))


def _columns(bars: list[Bar]) -> dict[str, list[Any]]:
    return {
        "date": [bar.date for bar in bars],
        "capacity": [bar.volume for bar in bars],
        "turnover": [bar.value for bar in bars],
        **{name: [getattr(bar, name) / 100 for bar in bars] for name in ("open", "high", "low", "close")},
        "transaction": [bar.trades for bar in bars],
    }


def _write_csv(path: Path, bars: list[Bar]) -> None:
    import csv
    import io

    text_ = io.StringIO()
    columns = _columns(bars)
    writer = csv.writer(text_, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(
        ["" if value is None else value for value in row] for row in zip(*columns.values(), strict=True)
    )
    _replace(path, text_.getvalue().encode())


def _write_parquet(path: Path, bars: list[Bar]) -> None:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _columns(bars)
    columns = {"code": [bar.code for bar in bars]} | columns
    columns["volume"] = columns.pop("capacity")
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    _replace(path, sink.getvalue())


def _replace(path: Path, data: bytes) -> None:
    """Write beside the place, then rename."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(
            f"{path} cannot be written ({error.strerror}): name another place.",
            zh=f"{path} 無法寫入（{error.strerror}）：請指定其他位置。",
        ) from error


def _told(path: Path, rows: int, *, as_json: bool, language: str) -> None:
    if as_json:
        emit_json({"path": str(path), "rows": rows})
    else:
        show(text(f"{path}：{rows:,} 筆日線。", f"{path}: {rows:,} bars.", language))
