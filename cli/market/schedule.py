"""``stockllm schedule``: refresh every evening, by a daemon or by the machine's own scheduler."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import typer

from stockllm.cli.market.refresh import duration
from stockllm.cli.output import emit_json, open_store, say, show, table, text
from stockllm.nightly.names import OUTCOME_NAMES, STEP_NAMES

if TYPE_CHECKING:
    from datetime import datetime

    from stockllm.data.settings import Settings
    from stockllm.data.store import Store
    from stockllm.data.stores.refreshes import RefreshRow


def register(app: typer.Typer) -> None:
    """Add the commands as a group."""
    group = typer.Typer(
        name="schedule",
        help="Refresh every evening; status takes --json.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("run")(run)
    group.command("install")(install)
    group.command("uninstall")(uninstall)
    group.command("status")(status)
    app.add_typer(group)


def run() -> None:
    """Stay and refresh every evening of a trading day, at once where one was missed; SIGTERM ends it."""
    from stockllm.nightly.host import Host
    from stockllm.nightly.journal import journal

    store, settings = open_store(create=True)
    language = settings.language
    home = store.home
    with store:
        following = _clock(_next(store, settings))
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in _SIGNALS}
    try:
        log = home.logs / "schedule.log"
        with journal(log), Host(home, settings, "stockllm schedule run"):
            say(
                text(
                    f"排程進行中，下次更新：{following}（台北時間）；紀錄檔：{log}",
                    f"On schedule; next refresh {following} (Taipei). The log is {log}.",
                    language,
                )
            )
            stop.wait()
            say(text("正在結束……", "Ending ...", language))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def install(
    scheduler: str = typer.Option(
        "", "--with", metavar="systemd|cron", help="Which scheduler; default: what this machine has."
    ),
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
) -> None:
    """Let this machine refresh every evening: shows the timer or crontab line, asks, writes it."""
    from stockllm.nightly.install import entry
    from stockllm.nightly.install import install as write

    store, settings = open_store(create=True)
    language = settings.language
    with store:
        store.expect_simulated(False)
        new = entry(store.home, settings.refresh_at, scheduler)
    show(new.shown())
    if not yes and not typer.confirm(text("要寫入嗎？", "Write it?", language), err=True):
        say(text("沒有寫入任何內容。", "Nothing was written.", language))
        raise typer.Exit(1)
    write(new)
    show(text("已安裝。", "Installed.", language))
    if new.kind == "systemd":
        say(
            text(
                "登出後也要執行，請下：loginctl enable-linger",
                "To run it while you are logged out: loginctl enable-linger",
                language,
            )
        )


def uninstall() -> None:
    """Take the timer or crontab line away again."""
    from stockllm.nightly.install import uninstall as remove

    store, settings = open_store(create=True)
    store.close()
    kinds = remove()
    gone, none = ("已移除：", "Removed: "), ("沒有安裝任何排程。", "Nothing was installed.")
    show(text(*(gone if kinds else none), settings.language) + ", ".join(kinds))


def status(as_json: bool = typer.Option(False, "--json", help="Print one JSON document on stdout.")) -> None:
    """Show who hosts the schedule, the next refresh, and how the last ones went, step by step."""
    from datetime import UTC, datetime

    from stockllm.nightly.install import installed
    from stockllm.nightly.lock import holder
    from stockllm.nightly.refresh import document
    from stockllm.nightly.times import missed

    store, settings = open_store()
    language = settings.language
    now = datetime.now(UTC)
    with store:
        host, busy = holder(store.home.schedule_lock), holder(store.home.refresh_lock)
        kinds = installed()
        behind = missed(store, settings.refresh_at, now)
        following = _next(store, settings)
        rows = store.refreshes.list(limit=5)
    if as_json:
        emit_json(
            {
                "at": f"{settings.refresh_at:%H:%M}",
                "next": following.isoformat(),
                "missed": behind.isoformat() if behind else None,
                "host": _holder(host),
                "refreshing": _holder(busy),
                "installed": list(kinds),
                "refreshes": [document(row) for row in rows],
            }
        )
        return
    hosts = [*([f"{host.who} ({host.pid})"] if host else []), *kinds]
    listed = ", ".join(hosts) or text("無", "nobody", language)
    show(text(f"排程由：{listed}", f"Hosted by: {listed}", language))
    following_at = _clock(following)
    show(text(f"下次更新：{following_at}（臺北）", f"Next refresh: {following_at} (Taipei)", language))
    if behind:
        show(
            text(
                f"{_clock(behind)} 的更新尚未完成；可執行 stockllm refresh",
                f"The refresh of {_clock(behind)} has not been done; run 'stockllm refresh'",
                language,
            )
        )
    if busy:
        show(text(f"更新進行中（程序 {busy.pid}）", f"A refresh is under way (process {busy.pid})", language))
    for row in rows[:1]:
        _last(row, language)
    if len(rows) > 1:
        show()
        headers = text("開始 收盤日 結果 歷時", "Started Evening Outcome Took", language)
        table(headers.split(), [_line(row, language) for row in rows])


def _last(row: RefreshRow, language: str) -> None:
    show()
    took = _line(row, language)
    heading = text("上次更新", "Last refresh", language)
    show(f"{heading}: {took[0]}  {took[2]}  {took[3]}")
    headers = text("步驟 結果 歷時 說明", "Step Outcome Took Result", language)
    table(
        headers.split(),
        [
            (
                text(STEP_NAMES.get(step.step, step.step), step.step, language),
                text(OUTCOME_NAMES[step.outcome], step.outcome, language),
                duration(step.seconds, language),
                text(step.zh, step.en, language),
            )
            for step in row.steps
        ],
    )


def _line(row: RefreshRow, language: str) -> tuple[Any, ...]:
    seconds = None if row.ended is None else (row.ended - row.started).total_seconds()
    outcome = text(OUTCOME_NAMES[row.outcome], row.outcome, language)
    return _clock(row.started), row.evening, outcome, duration(seconds, language)


def _next(store: Store, settings: Settings) -> datetime:
    from datetime import UTC, datetime

    from stockllm.nightly.times import next_due

    return next_due(store.calendar(), settings.refresh_at, datetime.now(UTC))


def _holder(held: Any) -> dict[str, Any] | None:
    if held is None:
        return None
    since = held.since.isoformat() if held.since else None
    return {"who": held.who, "pid": held.pid, "since": since}


def _clock(moment: datetime) -> str:
    from stockllm.collectors.clock import taipei

    return f"{taipei(moment):%Y-%m-%d %H:%M}"
