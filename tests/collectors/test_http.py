"""The one way out: spacing, budgets and bars that outlive the process, and faults told apart."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from itertools import pairwise
from threading import Thread

import pytest
from standin import FAULTS, FakeClock, StandIn
from standin.faults import LINE

from stockllm.collectors import http
from stockllm.collectors.failures import Blocked, BudgetSpent, NoData, Outage, SiteFailure, Unreadable
from stockllm.collectors.http import NEWSAPI, TPEX, TWSE, Answer, Door, Web, tls_context
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.data.stores.requests import Budget, Refusal, Reservation

URL = "/rwd/zh/afterTrading/MI_INDEX"
DAY = {"date": "20250409", "type": "ALLBUT0999", "response": "json"}


def ask(web: Web, site: http.Site = TWSE) -> Answer:
    def do(door: Door) -> Answer:
        answer = door.get(web.settings.twse_url + URL, DAY)
        answer.json()
        return answer

    return web.ask(site, "a list", do)


def gaps(site: StandIn) -> list[float]:
    at = [seen.at for seen in site.seen]
    return [(later - earlier).total_seconds() for earlier, later in pairwise(at)]


def test_requests_lie_three_seconds_apart(web: Web, site: StandIn, clock: FakeClock) -> None:
    for _ in range(4):
        ask(web)
    assert gaps(site) == [3, 3, 3]
    assert clock.slept == [3, 3, 3]
    clock.sleep(60)
    ask(web)
    assert clock.slept[-1] == 60  # nobody waits for a queue that is empty


def test_each_site_has_its_own_queue(web: Web, site: StandIn) -> None:
    ask(web, TWSE)
    ask(web, TPEX)
    assert gaps(site) == [0]


def test_a_restart_does_not_jump_the_queue(
    real_store: Store, site: StandIn, settings: Settings, clock: FakeClock
) -> None:
    for _ in range(3):
        with Web(real_store.requests, settings, clock) as web:
            ask(web)
    with Store.open(real_store.home) as other, Web(other.requests, settings, clock) as web:
        ask(web)
    assert gaps(site) == [3, 3, 3]


def test_two_processes_share_one_queue(real_store: Store, clock: FakeClock) -> None:
    """Both reserve at the same moment; the store's lock puts one behind the other."""
    places: list[datetime] = []

    def reserve() -> None:
        with Store.open(real_store.home) as store:
            for _ in range(10):
                place = store.requests.reserve("twse", "x", now=clock.now(), interval=timedelta(seconds=3))
                assert isinstance(place, Reservation)
                places.append(place.at)

    threads = [Thread(target=reserve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [later - earlier for earlier, later in pairwise(sorted(places))] == [timedelta(seconds=3)] * 19


def test_a_clock_put_back_does_not_stop_the_queue(
    real_store: Store, site: StandIn, settings: Settings, clock: FakeClock
) -> None:
    late = FakeClock(datetime(2026, 4, 9, 18, 30))
    with Web(real_store.requests, settings, late) as web:
        ask(web)
    with Web(real_store.requests, settings, clock) as web:
        ask(web)
        ask(web)
    assert clock.slept == [3]


@pytest.mark.parametrize("fault", [name for name in LINE if name != "invented_stat"])
def test_every_fault_of_the_line_is_what_it_is(
    web: Web, site: StandIn, real_store: Store, settings: Settings, fault: str
) -> None:
    if fault in ("hang", "drip"):
        web.settings = settings.model_copy(update={"request_timeout": 0.7, "answer_timeout": 0.7})
    site.order(*[fault] * 3)
    with pytest.raises(SiteFailure) as caught:
        ask(web)
    assert caught.value.outcome == FAULTS[fault]
    assert str(caught.value).startswith("The Taiwan Stock Exchange")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    log = real_store.requests.log(faults=True)
    assert {row.outcome for row in log} == {FAULTS[fault]}
    assert len(log) == len(site.seen) == (1 if isinstance(caught.value, Blocked) else 3)


@pytest.mark.parametrize("fault", ["500", "truncated", "cut_short", "reset", "empty", "chunked", "gzip"])
def test_one_failure_is_asked_again(web: Web, site: StandIn, clock: FakeClock, fault: str) -> None:
    site.order(fault)
    assert ask(web).status_code == 200
    assert len(site.seen) == (1 if FAULTS[fault] == "ok" else 2)


def test_waits_grow_between_attempts(web: Web, site: StandIn, clock: FakeClock) -> None:
    site.order("500", "500")
    ask(web)
    assert gaps(site) == [3, 6]


def test_no_retry_where_none_is_allowed(real_store: Store, site: StandIn, clock: FakeClock) -> None:
    site.order("500")
    settings = site.settings(request_retries=0)
    with Web(real_store.requests, settings, clock) as web, pytest.raises(Outage, match="HTTP 500"):
        ask(web)
    assert len(site.seen) == 1


def test_a_site_that_turns_us_away_is_left_alone(
    web: Web, site: StandIn, real_store: Store, settings: Settings, clock: FakeClock
) -> None:
    site.order("block_page")
    with pytest.raises(Blocked, match=r"web page in place of data. It is left alone until 2025-04-09 19:30"):
        ask(web)
    # Neither at once nor after a restart, and the other site not at all.
    for again in (web, Web(real_store.requests, settings, clock)):
        with pytest.raises(Blocked, match="left alone until"):
            ask(again)
    ask(web, TPEX)
    assert len(site.seen) == 2
    clock.sleep(3600)
    site.order("403")
    with pytest.raises(Blocked, match="HTTP 403") as caught:
        ask(web)
    assert caught.value.until == clock.now() + timedelta(hours=2)
    clock.sleep(7200)
    ask(web)
    site.order("307")
    with pytest.raises(Blocked) as caught:
        ask(web)
    assert caught.value.until == clock.now() + timedelta(hours=1)  # it had let us in between


def test_bars_grow_to_half_a_day(real_store: Store, clock: FakeClock) -> None:
    store = real_store.requests
    waits = [
        store.bar("twse", "so", now=clock.now(), pause=http.BAR, longest=http.LONGEST_BAR) - clock.now()
        for _ in range(6)
    ]
    assert [wait.total_seconds() / 3600 for wait in waits] == [1, 2, 4, 8, 12, 12]


def test_a_redirect_is_not_followed(web: Web, site: StandIn) -> None:
    site.order("307")
    with pytest.raises(Blocked):
        ask(web)
    assert [seen.path for seen in site.seen] == ["/twse" + URL]


def test_no_data_is_an_answer(web: Web, site: StandIn, real_store: Store) -> None:
    def nothing(door: Door) -> None:
        door.get(web.settings.twse_url + URL, DAY)
        raise NoData("Nothing.")

    with pytest.raises(NoData):
        web.ask(TWSE, "a list", nothing)
    assert [row.outcome for row in real_store.requests.log()] == ["no_data"]
    assert real_store.requests.log(faults=True) == []


def test_an_unknown_address_is_said_so(web: Web) -> None:
    def do(door: Door) -> Answer:
        return door.get(web.settings.twse_url + "/elsewhere")

    with pytest.raises(Unreadable, match="HTTP 404"):
        web.ask(TWSE, "a list", do)


def test_nobody_listens(real_store: Store, clock: FakeClock) -> None:
    settings = Settings(twse_url="http://127.0.0.1:1", request_retries=0)
    with Web(real_store.requests, settings, clock) as web, pytest.raises(Outage, match=r"refused"):
        ask(web)


def test_our_own_mistake_is_logged_and_not_hidden(web: Web, real_store: Store) -> None:
    def do(door: Door) -> None:
        door.get(web.settings.twse_url + URL, DAY)
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError):
        web.ask(TWSE, "a list", do)
    (row,) = real_store.requests.log()
    assert (row.outcome, row.detail) == ("unreadable", "ZeroDivisionError: ours")


# Budgets


def test_a_budget_of_a_day_is_one_of_any_24_hours(real_store: Store, clock: FakeClock) -> None:
    budget = [Budget(2, timedelta(hours=24))]

    def reserve() -> Reservation | Refusal:
        return real_store.requests.reserve(
            "newsapi", "x", now=clock.now(), interval=timedelta(seconds=3), budgets=budget
        )

    first = reserve()
    assert isinstance(first, Reservation)
    clock.sleep(3600)
    assert isinstance(reserve(), Reservation)
    clock.sleep(3600)
    refused = reserve()
    assert isinstance(refused, Refusal)
    assert (refused.kind, refused.until) == ("spent", first.at + timedelta(hours=24))
    clock.set(refused.until)
    assert isinstance(reserve(), Reservation)
    assert isinstance(reserve(), Refusal)


def test_a_request_that_was_never_answered_counts(real_store: Store, clock: FakeClock) -> None:
    """A process that was killed over a request left it in the log as sent."""
    store = real_store.requests
    for n in range(2):
        place = store.reserve("newsapi", "x", now=clock.now(), interval=timedelta(0))
        assert isinstance(place, Reservation), n
    assert [row.outcome for row in store.log()] == ["sent", "sent"]
    assert store.count("newsapi", since=clock.now() - timedelta(hours=1)) == 2
    assert store.prune(before=clock.now() + timedelta(hours=1)) == 2


def test_a_spent_budget_sends_nothing(real_store: Store, site: StandIn, clock: FakeClock) -> None:
    settings = site.settings(newsapi_requests_per_day=1)
    with Web(real_store.requests, settings, clock) as web:
        ask(web, NEWSAPI)
        with pytest.raises(BudgetSpent, match=r"1 requests in 24 h .* from 2025-04-10 18:30 \(Taipei\) on"):
            ask(web, NEWSAPI)
    assert len(site.seen) == 1


# TLS and settings


def test_one_flag_is_cleared_and_no_more() -> None:
    ours, usual = tls_context(), ssl.create_default_context()
    assert ours.verify_mode == ssl.CERT_REQUIRED
    assert ours.check_hostname
    assert ours.verify_flags == usual.verify_flags & ~ssl.VERIFY_X509_STRICT


def test_the_session_uses_that_context(web: Web) -> None:
    pool = web._session.get_adapter("https://www.twse.com.tw").poolmanager  # type: ignore[attr-defined]
    context = pool.connection_pool_kw["ssl_context"]
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT


def test_the_sites_of_the_settings() -> None:
    settings = Settings()
    urls = [getattr(settings, name) for name in type(settings).model_fields if name.endswith("_url")]
    assert len(urls) == 9
    assert all(url.startswith("https://") and not url.endswith("/") for url in urls)
    assert settings.request_interval == 3


@pytest.mark.parametrize("url", ["http://www.twse.com.tw", "ftp://x", "x", "https://"])
def test_no_address_without_encryption(url: str) -> None:
    with pytest.raises(ValueError, match="twse_url"):
        Settings(twse_url=url)
    assert Settings(twse_url=" http://localhost:8000/ ").twse_url == "http://localhost:8000"
