"""News as NewsAPI gives it, in the reference's two layouts.

``[{"name_zh", "name_en", "code", "news": [article, ...]}, ...]``, or ``news_zh`` and ``news_en`` in
place of ``news``. The code may be a warrant's, so a company is known by its names first. Which
language an article is in is read off its text: the layout tells it for few, and not always truly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from stockllm.collectors.files.company_list import by_name, code_of, names_of
from stockllm.collectors.files.limits import cut
from stockllm.collectors.files.prices_csv import LONGEST_RAW
from stockllm.data.errors import UnknownCompany
from stockllm.data.records import Article
from stockllm.market.companies import Company, is_ordinary_share

if TYPE_CHECKING:
    from stockllm.data.store import Store

NEWS_KEYS = ("news", "news_zh", "news_en")

_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_LATIN = re.compile(r"[A-Za-z]")
# Chinese headlines about hardware are half Latin letters; English ones hold the odd Chinese name.
_ZH_SHARE = 0.15
# Half a surrogate pair is no character: no file and no database takes it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


@dataclass(frozen=True)
class NewsEntry:
    """The news of one entry of a file.

    ``company`` is None where the store knows none of its names; ``label`` is what the file calls
    it. ``unreadable`` are articles without an address, a title or a time, as (line, text): the
    line is the article's place in the whole file, from 1.
    """

    label: str
    company: Company | None
    articles: list[Article] = field(default_factory=list)
    unreadable: list[tuple[int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.articles) + len(self.unreadable)


def news_entries(document: object) -> list[Mapping[str, Any]] | None:
    """The entries of a news file, None where ``document`` is something else."""
    entries = [document] if isinstance(document, dict) else document
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    lists = [entry[key] for entry in entries for key in NEWS_KEYS if key in entry]
    if not lists or not all(news is None or isinstance(news, list) for news in lists):
        return None
    return entries


def read_entries(entries: Sequence[Mapping[str, Any]], store: Store) -> list[NewsEntry]:
    """Every entry with its company and its articles, in the order of the file; none is left out."""
    found = []
    line = 0
    for entry in entries:
        names, code = names_of(entry), code_of(entry)
        label = " ".join(dict.fromkeys(names)) or code or "?"
        news = NewsEntry(label, _company(names, code, store))
        for key in NEWS_KEYS:
            for raw in entry.get(key) or ():
                line += 1
                article = _article(raw)
                if article is None:
                    news.unreadable.append((line, cut(str(raw), LONGEST_RAW)))
                else:
                    news.articles.append(article)
        found.append(news)
    return found


def language_of(text: str) -> Literal["zh", "en"]:
    """The language of ``text``, by the share of Chinese characters among its letters."""
    chinese, latin = len(_CJK.findall(text)), len(_LATIN.findall(text))
    return "zh" if chinese and chinese >= _ZH_SHARE * (chinese + latin) else "en"


def _company(names: Sequence[str], code: str, store: Store) -> Company | None:
    company = by_name(names, store)
    if company is None and is_ordinary_share(code):
        try:
            company = store.resolve(code)
        except UnknownCompany:
            return None
    return company


def _article(raw: object) -> Article | None:
    """An article, None where what must be there is missing."""
    if not isinstance(raw, dict):
        return None
    title, url = _plain(raw.get("title")), _plain(raw.get("url"))
    published = _moment(raw.get("publishedAt"))
    if not title or not url or published is None:
        return None
    source = raw.get("source")
    description = _plain(raw.get("description"))
    return Article(
        url=url,
        title=title,
        source=_plain(source.get("name") if isinstance(source, dict) else source),
        published_at=published,
        language=language_of(f"{title} {description}"),
        description=description,
        content=_plain(raw.get("content")),
        author=_plain(raw.get("author")),
    )


def _plain(value: object) -> str:
    """Text on one line without control characters: it will be shown on a terminal."""
    return _CONTROL.sub(" ", value).strip() if isinstance(value, str) else ""


def _moment(value: object) -> datetime | None:
    """An aware time; without a zone it is taken for UTC, NewsAPI's own."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # a day that UTC has no number for
        return None
