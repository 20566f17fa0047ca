"""News through newsapi-python itself: whose turn it is, what it costs, and every refusal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from newsapi.newsapi_exception import NewsAPIException
from standin import FakeClock, StandIn

from stockllm.collectors.http import Web
from stockllm.collectors.news_api import collect_news, is_about, query, queue
from stockllm.data.records import Article
from stockllm.data.settings import Settings
from stockllm.data.store import Store
from stockllm.market.companies import COMPANIES, Company, resolve

TWO = COMPANIES[:2]

#: The codes that newsapi.org documents, with their status.
CODES = {
    "apiKeyMissing": 401,
    "apiKeyInvalid": 401,
    "apiKeyDisabled": 401,
    "apiKeyExhausted": 429,
    "rateLimited": 429,
    "maximumResultsReached": 426,
    "parameterInvalid": 400,
    "parametersMissing": 400,
    "upgradeRequired": 426,
    "unexpectedError": 500,
}


def refuse(site: StandIn, code: str) -> None:
    site.news_error = (CODES[code], {"status": "error", "code": code, "message": f"It is {code}."})


def test_all_companies_in_both_languages_within_a_day(web: Web, real_store: Store, site: StandIn) -> None:
    report = collect_news(web, real_store, COMPANIES)
    assert (report.turns, report.served, report.left, report.stopped) == (82, 82, 0, "")
    assert site.count(kind="news") == 82
    assert report.new == 82 * site.articles
    assert {seen.asked["language"] for seen in site.seen} == {"zh", "en"}
    assert all(seen.asked["pageSize"] == "100" for seen in site.seen)
    assert {a.language for a in real_store.news.articles("2330")} == {"zh", "en"}
    # The same news again are not new.
    web.clock.sleep(24 * 3600)
    site.articles = 0
    assert collect_news(web, real_store, TWO).new == 0


def test_the_budget_outlives_the_process_and_the_longest_unserved_come_first(
    real_store: Store, site: StandIn, settings: Settings, clock: FakeClock
) -> None:
    order: list[tuple[str, str]] = []

    def serve(n: int) -> None:
        with Web(real_store.requests, settings, clock) as web:
            report = collect_news(web, real_store, COMPANIES, limit=n)
            assert report.stopped == ""
        order.extend((seen.asked["q"], seen.asked["language"]) for seen in site.seen[-n:])

    for n in (30, 30, 22):
        serve(n)
    assert len(set(order)) == 82  # nobody twice before everybody once
    serve(18)
    assert order[82:] == order[:18]
    with Web(real_store.requests, settings, clock) as web:
        report = collect_news(web, real_store, COMPANIES)
    assert report.served == 0
    assert "100 requests in 24 h" in report.stopped
    assert report.again == site.seen[0].at + timedelta(hours=24)
    assert site.count(kind="news") == 100
    # From that moment on, as many as have grown old.
    clock.set(report.again)
    with Web(real_store.requests, settings, clock) as web:
        report = collect_news(web, real_store, COMPANIES)
    at = [seen.at for seen in site.seen]
    assert report.served == 82
    assert all(sum(t - timedelta(hours=24) < u <= t for u in at) <= 100 for t in at)


def test_only_what_is_newer_is_asked_for(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock
) -> None:
    collect_news(web, real_store, TWO)
    since = {seen.asked["from"] for seen in site.seen}
    assert all(clock.now() - _utc(text) < timedelta(days=29) for text in since)
    clock.sleep(24 * 3600)
    collect_news(web, real_store, TWO)
    later = {seen.asked["from"] for seen in site.seen[4:]}
    assert all(clock.now() - _utc(text) < timedelta(days=6) for text in later)


def _utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)


def test_without_a_key_nothing_is_asked(real_store: Store, site: StandIn, clock: FakeClock) -> None:
    with Web(real_store.requests, site.settings(newsapi_key=None), clock) as web:
        report = collect_news(web, real_store, COMPANIES)
    assert (report.served, report.left) == (0, 82)
    assert report.stopped.startswith("No news were fetched for want of a key")
    assert site.seen == []


@pytest.mark.parametrize("code", ["apiKeyMissing", "apiKeyInvalid", "apiKeyDisabled", "upgradeRequired"])
def test_a_refused_key_stops_the_round(web: Web, real_store: Store, site: StandIn, code: str) -> None:
    refuse(site, code)
    report = collect_news(web, real_store, TWO)
    assert (report.served, site.count()) == (0, 1)
    assert code in report.stopped or "plan" in report.stopped
    assert real_store.news_turns.all() == {}
    assert real_store.requests.log()[0].outcome == "refused"


def test_a_key_the_service_does_not_know(real_store: Store, site: StandIn, clock: FakeClock) -> None:
    with Web(real_store.requests, site.settings(newsapi_key="another"), clock) as web:
        report = collect_news(web, real_store, TWO)
    assert "does not accept the key (apiKeyInvalid)" in report.stopped
    assert "another" not in repr(report)
    assert all("another" not in repr(row) for row in real_store.requests.log())


@pytest.mark.parametrize(("code", "hours"), [("rateLimited", 12), ("apiKeyExhausted", 24)])
def test_a_used_up_allowance_says_when_it_resets(
    web: Web, real_store: Store, site: StandIn, clock: FakeClock, code: str, hours: int
) -> None:
    collect_news(web, real_store, TWO, limit=1)
    refuse(site, code)
    report = collect_news(web, real_store, TWO)
    assert report.again == clock.now() + timedelta(hours=hours)
    assert code in report.stopped
    site.news_error = None
    report = collect_news(web, real_store, TWO)
    assert (report.served, site.count()) == (0, 2)  # it is not asked before that
    clock.sleep(hours * 3600)
    report = collect_news(web, real_store, TWO)
    assert report.served == 4
    assert site.seen[2].asked["q"] != site.seen[0].asked["q"] or site.seen[2].asked != site.seen[0].asked


@pytest.mark.parametrize("code", ["parameterInvalid", "parametersMissing", "maximumResultsReached"])
def test_one_refused_search_does_not_hold_up_the_others(
    web: Web, real_store: Store, site: StandIn, code: str
) -> None:
    refuse(site, code)
    report = collect_news(web, real_store, TWO)
    assert (report.served, report.left, report.stopped, site.count()) == (0, 4, "", 4)
    assert len(report.failures) == 4
    assert {turn.outcome for turn in real_store.news_turns.all().values()} == {code}


@pytest.mark.parametrize(
    "error",
    [
        (500, {"status": "error", "code": "unexpectedError", "message": "Oops."}),
        (500, {"status": "error"}),  # newsapi-python's get_code() would raise KeyError
        (500, b"<html>oops</html>"),  # its json() would raise
        (503, b""),
        (200, {"status": "ok"}),
        (200, b"{"),
    ],
)
def test_a_service_in_trouble_is_left_for_the_next_run(
    web: Web, real_store: Store, site: StandIn, error: tuple[int, object]
) -> None:
    site.news_error = error
    report = collect_news(web, real_store, COMPANIES)
    assert (report.served, report.left, len(report.failures)) == (0, 82, 3)
    assert "3 times in a row" in report.stopped
    assert site.count() == 9
    assert real_store.news_turns.all() == {}
    site.news_error = None
    assert collect_news(web, real_store, TWO).served == 4


def test_the_library_raises_what_we_handle() -> None:
    assert issubclass(NewsAPIException, Exception)
    with pytest.raises(KeyError):
        NewsAPIException({"status": "error"}).get_code()


def test_articles_that_cannot_be_read_are_kept_apart(web: Web, real_store: Store, site: StandIn) -> None:
    good = {"title": "光寶科營收", "url": "https://a.example/1", "publishedAt": "2025-04-08T01:00:00Z"}
    removed = {"title": "[Removed]", "url": "https://removed.com", "publishedAt": "1970-01-01T00:00:00Z"}
    other = good | {"title": "別家公司", "url": "https://a.example/2"}
    bad = {"title": None, "url": "https://a.example/3", "publishedAt": "2025-04-08T01:00:00Z"}
    site.news_error = (200, {"status": "ok", "articles": [good, removed, other, bad, "text"]})
    report = collect_news(web, real_store, TWO, limit=1)
    assert (report.new, report.off_topic, report.unreadable) == (1, 1, 2)
    assert [row.reason for row in real_store.bars.quarantined(TWO[0].code)] == ["unreadable_article"] * 2
    assert [a.title for a in real_store.news.articles(TWO[0].code)] == ["光寶科營收"]


def test_what_is_searched_for() -> None:
    tsmc, giant = resolve("2330"), resolve("9921")
    assert query(tsmc, "zh") == '"台積電" OR "台積" OR "台灣積體電路"'
    assert query(tsmc, "en") == '"TSMC" OR "Taiwan Semiconductor"'
    assert query(giant, "en") == '("Giant") AND (Taiwan OR Taiwanese OR Taipei)'
    assert query(Company.bare("1101"), "zh").startswith('("1101") AND ')
    assert all(len(query(company, language)) <= 500 for company in COMPANIES for language in ("zh", "en"))


def test_whom_an_article_is_about() -> None:
    def article(title: str) -> Article:
        return Article("https://a.example", title, "x", datetime(2025, 4, 8, tzinfo=UTC), "en")

    ase = resolve("3711")
    assert is_about(article("ASE expands"), ase)
    assert is_about(article("日月光擴產"), ase)
    assert not is_about(article("A case of databases"), ase)
    assert is_about(article("臺積電法說"), resolve("2330"))
    assert is_about(replace(article("x"), content="about TSMC."), resolve("2330"))


def test_the_queue_starts_with_who_was_never_served(real_store: Store) -> None:
    at = datetime(2025, 4, 8, tzinfo=UTC)
    real_store.news_turns.serve(TWO[0].code, "zh", at, "ok", at)
    real_store.news_turns.serve(TWO[0].code, "en", at - timedelta(days=1), "ok")
    order = [(company.code, language) for company, language in queue(real_store, TWO)]
    assert order == [(TWO[1].code, "zh"), (TWO[1].code, "en"), (TWO[0].code, "en"), (TWO[0].code, "zh")]
    real_store.news_turns.serve(TWO[0].code, "zh", at, "ok", at - timedelta(days=9))
    assert real_store.news_turns.all()[TWO[0].code, "zh"].newest == at  # never back
