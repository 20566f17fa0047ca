"""News of each company in Chinese and in English, through newsapi-python over our session.

NewsAPI's free plan allows 100 requests in 24 hours, and its own refusals speak of 50 in 12: so the
company and language longest unserved comes first, whatever a run cannot serve the next one does, and
a refusal says from when on. The store drops what it has (``NewsStore.put``); articles that do not
name the company at all are left out, since a search for «Giant» finds giants.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from stockllm.collectors.failures import (
    Blocked,
    BudgetSpent,
    Outage,
    Refused,
    SiteFailure,
    Unreadable,
    gave_up,
)
from stockllm.collectors.files import news_json
from stockllm.collectors.http import NEWSAPI, Answer, Door, Web
from stockllm.data.records import Article, QuarantinedRow
from stockllm.data.sentences import Sentence, in_chinese

if TYPE_CHECKING:
    from stockllm.data.store import Store
    from stockllm.market.companies import Company

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

#: How far back the free plan looks, less a day for the time zones, and how late its news are.
_REACH = timedelta(days=28)
_DELAY = timedelta(days=2)

#: NewsAPI's words for "not now", and how long to wait.
_LATER = {"rateLimited": timedelta(hours=12), "apiKeyExhausted": timedelta(hours=24)}
_KEY = frozenset({"apiKeyMissing", "apiKeyInvalid", "apiKeyDisabled"})

#: Failures in a row after which the rest is left for the next run.
_GIVE_UP = 3

#: Names that are also everyday words or other people's, and what must stand beside them.
_AMBIGUOUS: dict[Language, frozenset[str]] = {
    "zh": frozenset(("巨大", "所羅門", "新漢", "德律", "廣運", "聰泰", "慧友", "神達", "微星", "立端")),
    "en": frozenset(
        ("Giant", "Delta", "Solomon", "ASE", "MSI", "TRI", "YUAN", "InWin", "EDOM", "NEXCOM", "Onyx")
    ),
}
_BESIDE: dict[Language, str] = {
    "zh": "(股 OR 股價 OR 營收 OR 台股 OR 公司)",
    "en": "(Taiwan OR Taiwanese OR Taipei)",
}


@dataclass(frozen=True)
class NewsReport:
    """What a round of news brought.

    ``served`` turns of ``turns`` were answered, ``left`` were not. Of the articles ``new`` ones were
    kept, ``known`` ones were there already (and are linked to the company now), ``off_topic`` ones do
    not name it, ``unreadable`` ones are in quarantine. ``stopped`` says why the round ended early,
    in a sentence, with ``again`` the moment to go on; "" where all were served. ``failures`` are the
    sentences of single turns that failed.
    """

    turns: int = 0
    served: int = 0
    left: int = 0
    new: int = 0
    known: int = 0
    off_topic: int = 0
    unreadable: int = 0
    stopped: str = ""
    again: datetime | None = None
    failures: tuple[str, ...] = ()


def collect_news(
    web: Web,
    store: Store,
    companies: Sequence[Company],
    *,
    limit: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> NewsReport:
    """Serve the companies' turns, the longest unserved first, ``limit`` of them at most.

    Without a key nothing is asked and ``stopped`` says so. Every failure ends in the report: an
    unknown key, a used-up allowance and an unreachable site stop the round, a single company's
    refused search does not.
    """
    turns = queue(store, companies)[:limit]
    key = web.settings.newsapi_key
    if key is None:
        return NewsReport(
            len(turns),
            left=len(turns),
            stopped=Sentence(
                "No news were fetched for want of a key: get one at newsapi.org and set newsapi_key.",
                zh="沒有 NewsAPI 金鑰，未抓取新聞：請至 newsapi.org 取得並設定 newsapi_key。",
            ),
        )
    counts = dict.fromkeys(("served", "new", "known", "off_topic", "unreadable"), 0)
    failures: list[str] = []
    in_a_row = 0
    stopped, again = "", None
    for number, (company, language) in enumerate(turns):
        progress(number, len(turns))
        try:
            found = fetch_news(web, store, company, language, key.get_secret_value())
        except (Blocked, BudgetSpent) as halt:
            stopped, again = Sentence.of(halt), halt.until
            break
        except Refused as refused:
            if refused.code in _KEY or refused.code == "upgradeRequired":
                stopped = Sentence.of(refused)
                break
            # Its own search is at fault: the others must not wait behind it.
            store.news_turns.serve(company.code, language, web.clock.now(), refused.code)
            failures.append(Sentence.of(refused))
            continue
        except SiteFailure as failure:
            failures.append(Sentence.of(failure))
            in_a_row += 1
            if in_a_row == _GIVE_UP:
                stopped = gave_up(NEWSAPI.name, _GIVE_UP)
                break
            continue
        in_a_row = 0
        for name, count in _keep(web, store, company, language, found).items():
            counts[name] += count
        counts["served"] += 1
        progress(number + 1, len(turns))
    return NewsReport(
        turns=len(turns), left=len(turns) - counts["served"], stopped=stopped, again=again,
        failures=tuple(failures), **counts,
    )  # fmt: skip


def queue(store: Store, companies: Sequence[Company]) -> list[tuple[Company, Language]]:
    """Every company in every language, the longest unserved first, the never served before all."""
    served = store.news_turns.all()
    never = datetime.min.replace(tzinfo=UTC)
    turns = [(company, language) for company in companies for language in LANGUAGES]

    def age(turn: tuple[Company, Language]) -> datetime:
        known = served.get((turn[0].code, turn[1]))
        return known.served_at if known else never

    return sorted(turns, key=age)


def query(company: Company, language: Language) -> str:
    """What NewsAPI is asked for: the company's names in that language, any of them."""
    names = _names(company, language)
    sought = " OR ".join(f'"{name}"' for name in names)
    if _AMBIGUOUS[language].intersection(names) or any(name.isdecimal() for name in names):
        return f"({sought}) AND {_BESIDE[language]}"
    return sought


def fetch_news(
    web: Web, store: Store, company: Company, language: Language, key: str
) -> list[Mapping[str, Any]]:
    """The articles NewsAPI finds since the last time, newest first, at most 100.

    Refused with NewsAPI's own code where it will not; BudgetSpent where it says "not now".
    """
    from newsapi import NewsApiClient
    from newsapi.newsapi_exception import NewsAPIException

    now = web.clock.now()
    earliest = now - _REACH
    turn = store.news_turns.all().get((company.code, language))
    # An article that is dated ahead says nothing of what was read.
    newest = min(turn.newest, turn.served_at) if turn and turn.newest else None
    since = earliest if newest is None else max(earliest, min(newest, now) - _DELAY)

    def ask(door: Door) -> list[Mapping[str, Any]]:
        client = NewsApiClient(api_key=key, session=_Session(door, web.settings.newsapi_url))
        try:
            document = client.get_everything(
                q=query(company, language),
                language=language,
                from_param=since.strftime("%Y-%m-%dT%H:%M:%S"),
                sort_by="publishedAt",
                page_size=100,
            )
        except NewsAPIException as error:
            raise _refusal(web, error.get_exception()) from error
        articles = document.get("articles") if isinstance(document, dict) else None
        if not isinstance(articles, list):
            raise Unreadable(
                f"{NEWSAPI.name} answered {door.what} in a form that cannot be read: "
                "it is asked again on the next run; if that stays so, look for a newer stockllm.",
                zh=f"{NEWSAPI.name} 對{in_chinese(door.what)}的回應無法解讀：下次更新會再問；"
                "若一直如此，請更新 stockllm。",
            )
        return articles

    return web.ask(
        NEWSAPI,
        Sentence(f"news of {company.code} in {language}", zh=f" {company.code} 的新聞（{language}）"),
        ask,
    )


class _Session:
    """What newsapi-python takes for a requests session: its address is put in place of NewsAPI's."""

    def __init__(self, door: Door, base: str) -> None:
        self._door = door
        self._base = base

    def get(self, url: str, *, auth: Any, params: Mapping[str, Any], timeout: object = None) -> Answer:
        del timeout  # ours holds
        return self._door.get(url.replace("https://newsapi.org", self._base, 1), params, auth=auth)


def _refusal(web: Web, said: object) -> SiteFailure:
    """What an error document means. Its code may be absent, which newsapi-python does not expect."""
    document = said if isinstance(said, dict) else {}
    code = str(document.get("code") or "")
    message = " ".join(str(document.get("message") or "").split())[:200]
    if code in _LATER:
        until = web.bar(NEWSAPI, f"it says {code}.", _LATER[code])
        return BudgetSpent(
            f"{NEWSAPI.name} has no more requests for this key today ({code}): "
            f"the rest is asked for from {until.astimezone():%Y-%m-%d %H:%M} on.",
            until,
            zh=f"{NEWSAPI.name} 今天不再接受這把金鑰的請求（{code}）："
            f"其餘在 {until.astimezone():%Y-%m-%d %H:%M} 之後再問。",
        )
    if code in _KEY:
        return Refused(
            f"{NEWSAPI.name} does not accept the key ({code}): correct newsapi_key in settings.toml "
            "or in STOCKLLM_NEWSAPI_KEY.",
            code,
            zh=f"{NEWSAPI.name} 不接受這把金鑰（{code}）：請更正 settings.toml 的 newsapi_key"
            "或 STOCKLLM_NEWSAPI_KEY。",
        )
    if code == "upgradeRequired":
        return Refused(
            f"{NEWSAPI.name}'s plan of this key does not allow the search ({message}).",
            code,
            zh=f"這把金鑰的 {NEWSAPI.name} 方案不允許這樣搜尋（{message}）。",
        )
    if code in ("unexpectedError", ""):
        return Outage(
            f"{NEWSAPI.name} reports an error of its own ({message or 'no reason given'}).",
            zh=f"{NEWSAPI.name} 本身發生錯誤（{message or '沒有說明原因'}）。",
        )
    return Refused(
        f"{NEWSAPI.name} refuses the search ({code}: {message}).",
        code,
        zh=f"{NEWSAPI.name} 拒絕這次搜尋（{code}：{message}）。",
    )


def _keep(
    web: Web, store: Store, company: Company, language: Language, found: Sequence[Mapping[str, Any]]
) -> dict[str, int]:
    present = [raw for raw in found if not _removed(raw)]
    document = {"code": company.code, "name_zh": company.name_zh, "news": present}
    (entry,) = news_json.read_entries([document], store)
    own = [article for article in entry.articles if is_about(article, company)]
    now = web.clock.now()
    dates = (article.published_at for article in entry.articles)
    newest = max((at for at in dates if at <= now), default=None)
    source = f"NewsAPI {company.code} {language}"
    refused = [
        QuarantinedRow(source, line, company.code, None, "unreadable_article", raw)
        for line, raw in entry.unreadable
    ]
    with store.transaction():
        new, known = store.news.put(own, company.code)
        store.bars.quarantine(refused)
        store.news_turns.serve(company.code, language, now, "ok", newest)
    return {
        "new": new,
        "known": known,
        "off_topic": len(entry.articles) - len(own),
        "unreadable": len(refused),
    }


def _names(company: Company, language: Language) -> list[str]:
    """The names by which news in ``language`` call the company, each once."""
    chinese = [company.name_zh, company.listed_name, *(a for a in company.aliases if not a.isascii())]
    english = [company.name_en, *(a for a in company.aliases if a.isascii())]
    return list(dict.fromkeys(chinese if language == "zh" else english))


def is_about(article: Article, company: Company) -> bool:
    """Whether the article names the company, in either language; in Latin letters as a whole word."""
    text = _plain(f"{article.title} {article.description} {article.content}")
    for name in {_plain(name) for language in LANGUAGES for name in _names(company, language)}:
        if re.search(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])" if name.isascii() else name, text):
            return True
    return False


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("臺", "台")


def _removed(raw: object) -> bool:
    """Whether this stands where an article was that its publisher took back."""
    return isinstance(raw, dict) and raw.get("title") == "[Removed]"
