"""News: each article once, with the companies it was found for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import sqlalchemy as sa

from stockllm.data.database import Database
from stockllm.data.records import Article
from stockllm.data.schema import article_companies, articles

# Parameters that say where a reader came from, not what is read.
_TRACKING = ("utm_", "fbclid", "gclid", "mc_cid", "mc_eid", "igshid", "yptr", "guccounter", "guce_")

# A syndicated article appears under other addresses within days; a column's standing title comes
# back in other weeks with other text.
_SAME_TITLE_WITHIN = timedelta(days=7)

# NewsAPI's word for an article its publisher took back.
_NO_TITLE = frozenset({"", "removed"})


class NewsStore:
    """The news of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, given: Iterable[Article], code: str) -> tuple[int, int]:
        """Take in articles found for ``code``, all or none; the number of new and of known ones.

        An article is known where one has the same address, tracking parameters aside, or the same
        title within seven days; it is then linked to ``code`` too, and counts as known.
        ValueError where ``published_at`` has no time zone.
        """
        now = datetime.now(UTC).isoformat()
        new = known = 0
        with self._database.write() as connection:
            link = sa.insert(article_companies).prefix_with("OR IGNORE")
            for article in given:
                published = _utc(article.published_at)
                url_key, title_key = normalise_url(article.url), normalise_title(article.title)
                key = _find(connection, url_key, title_key, published)
                if key is None:
                    row = {
                        "url_key": url_key,
                        "title_key": title_key,
                        "url": article.url,
                        "title": article.title,
                        "source": article.source,
                        "author": article.author,
                        "published_at": published.isoformat(timespec="microseconds"),
                        "language": article.language,
                        "description": article.description,
                        "content": article.content,
                        "arrived_at": now,
                    }
                    (key,) = connection.execute(sa.insert(articles), row).inserted_primary_key or (0,)
                    new += 1
                else:
                    known += 1
                connection.execute(link, {"code": code, "article": key})
        return new, known

    def articles(
        self, code: str, limit: int = 50, language: Literal["zh", "en"] | None = None
    ) -> list[Article]:
        """The last ``limit`` articles found for ``code``, newest first; times are in UTC."""
        query = (
            sa.select(articles)
            .join(article_companies, article_companies.c.article == articles.c.id)
            .where(article_companies.c.code == code)
            .order_by(articles.c.published_at.desc(), articles.c.id.desc())
            .limit(limit)
        )
        if language is not None:
            query = query.where(articles.c.language == language)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [
            Article(
                row.url,
                row.title,
                row.source,
                datetime.fromisoformat(row.published_at),
                row.language,
                row.description,
                row.content,
                row.author,
            )
            for row in rows
        ]


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("published_at has no time zone")
    return moment.astimezone(UTC)


def _find(connection: sa.Connection, url_key: str, title_key: str, published: datetime) -> Any:
    """The id of the article already kept that this one repeats."""
    key = connection.scalar(sa.select(articles.c.id).where(articles.c.url_key == url_key))
    if key is None and title_key not in _NO_TITLE:
        query = sa.select(articles.c.id, articles.c.published_at).where(articles.c.title_key == title_key)
        for row in connection.execute(query.order_by(articles.c.id)):
            if abs(datetime.fromisoformat(row.published_at) - published) <= _SAME_TITLE_WITHIN:
                return row.id
    return key


def normalise_url(url: str) -> str:
    """``url`` as addresses are compared: no scheme, ``www.``, fragment, tracking or last slash."""
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "").removeprefix("www.")
        port = parts.port
    except ValueError:  # not an address; it still tells two articles apart
        return url.strip()
    if not host:
        return url.strip()
    query = sorted(
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if not name.lower().startswith(_TRACKING)
    )
    place = host if port in (None, 80, 443) else f"{host}:{port}"
    return place + parts.path.rstrip("/") + ("?" + urlencode(query) if query else "")


def normalise_title(title: str) -> str:
    """``title`` as titles are compared: one width and case, letters and digits alone."""
    return "".join(c for c in unicodedata.normalize("NFKC", title).casefold() if c.isalnum())
