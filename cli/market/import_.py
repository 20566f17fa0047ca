"""``stockllm import``: take files in, and account for every row of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli.output import banner, counter, emit_json, show, store_to_fill, table, text
from stockllm.data.reasons import name_of

if TYPE_CHECKING:
    from stockllm.collectors.files.adjusted import Basis
    from stockllm.data.records import ImportReport

_COUNTS = ("read", "accepted", "unchanged", "revised", "repaired", "flagged", "quarantined")
_SHOWN = tuple(name for name in _COUNTS if name != "revised")  # a line of its own where there are any

#: The kinds of rows, in Traditional Chinese and English.
KINDS = {
    "prices": ("價格", "prices"),
    "adjusted": ("還原股價", "adjusted"),
    "flows": ("法人買賣超", "flows"),
    "world": ("國際行情", "world"),
    "futures": ("指數期貨", "futures"),
    "companies": ("公司", "companies"),
    "news": ("新聞", "news"),
}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("import")(import_)


def import_(
    paths: list[str] = typer.Argument(
        ...,
        metavar="PATH...",
        help="Prices: CSV (file or folder, code in the name) or parquet; world prices and index futures: "
        "CSV or parquet; company lists and news: JSON.",
    ),
    adjusted: bool = typer.Option(
        False, "--adjusted", help="Take prices as adjusted for dividends and splits, whatever they look like."
    ),
    traded: bool = typer.Option(False, "--traded", help="Take prices as traded, whatever they look like."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Import prices, the world's too, company lists and news; importing a file again changes nothing."""
    from stockllm.collectors.files.limits import Limits
    from stockllm.collectors.imports import import_paths
    from stockllm.data.errors import ImportFailed, UsageError

    if adjusted and traded:
        raise UsageError(
            "--adjusted and --traded exclude each other: name one, or neither to let the prices tell.",
            zh="--adjusted 與 --traded 不能並用：請擇一，或都不指定而由股價判斷。",
        )
    basis: Basis | None = "adjusted" if adjusted else "traded" if traded else None
    for given in paths:  # before anything is touched
        if not given.strip():
            raise UsageError(
                "A path is empty; nothing was imported: name a file or a folder.",
                zh="有一個路徑是空的，沒有匯入任何內容：請指定檔案或資料夾。",
            )
        if not os.path.exists(given):
            raise ImportFailed(
                f"There is no file or folder {given}; nothing was imported: check the path.",
                zh=f"沒有 {given} 這個檔案或資料夾，沒有匯入任何內容：請檢查路徑。",
            )
    with store_to_fill() as (store, settings):
        reports = import_paths(
            store, [Path(path) for path in paths], counter, basis=basis, limits=Limits.of(settings)
        )
        simulated = store.simulated
    totals = _totals(reports)
    if as_json:
        emit_json(
            {
                "simulated": simulated,
                "kinds": totals,
                "reports": [asdict(report) for report in reports],
            }
        )
        return
    banner(simulated, settings.language)
    _print(totals, settings.language)
    for report in reports:
        for note in report.notes:
            show(f"  {report.source}: {note.sentence(settings.language)}")


def _totals(reports: Iterable[ImportReport]) -> list[dict[str, Any]]:
    """One row per kind of file, in the order they came, with the reasons added up."""
    kinds: dict[str, dict[str, Any]] = {}
    for report in reports:
        row = kinds.setdefault(
            report.kind,
            {"kind": report.kind, "files": 0} | dict.fromkeys(_COUNTS, 0) | {"reasons": Counter()},
        )
        row["files"] += 1
        for name in _COUNTS:
            row[name] += getattr(report, name)
        row["reasons"].update(report.reasons)
    for row in kinds.values():
        row["reasons"] = dict(sorted(row["reasons"].items()))
    return list(kinds.values())


def _print(totals: Sequence[dict[str, Any]], language: str) -> None:
    headers = text(
        "種類 讀入 接受 不變 修復 標記 隔離",
        "Kind Read Accepted Unchanged Repaired Flagged Quarantined",
        language,
    ).split()
    rows: list[list[object]] = [
        [text(*KINDS[row["kind"]], language), *(row[name] for name in _SHOWN)] for row in totals
    ]
    if len(rows) > 1:
        rows.append([text("合計", "total", language), *(sum(row[name] for row in totals) for name in _SHOWN)])
    table(headers, rows, right=range(1, len(headers)))
    for row in totals:
        if row["revised"]:
            show(
                text(
                    f"  {KINDS[row['kind']][0]}：變更 {row['revised']} 筆，取代先前不同的值"
                    "（舊值保留；'stockllm imports undo' 可復原）",
                    f"  {KINDS[row['kind']][1]}: changed {row['revised']}, different from what was stored; "
                    "the older are kept, and 'stockllm imports undo' brings them back",
                    language,
                )
            )
        for reason, count in row["reasons"].items():
            words = f"{name_of(reason, language)} ({reason})"
            show(text(f"  隔離 {words}：{count}", f"  quarantined, {words}: {count}", language))
