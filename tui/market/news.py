"""The news of a company, one article a line; what an article says, and the way to it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Static

from stockllm.market.companies import display
from stockllm.tui.drawing.table import Column, Line, Table
from stockllm.tui.look import text
from stockllm.tui.look.strings import t
from stockllm.tui.look.text import Language
from stockllm.tui.market.board import Detail


class NewsScreen(ModalScreen[None]):
    """The articles of ``detail``; enter opens one in the browser through ``visit``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n,q", "dismiss", "Close", id="news.close", tooltip="Close the news"),
        Binding("l", "app.language", "Language", id="news.language", tooltip="Chinese or English"),
    ]

    language: reactive[Language] = reactive("zh")

    def __init__(
        self, language: Language, detail: Detail, now: datetime, visit: Callable[[str], None]
    ) -> None:
        super().__init__()
        self.set_reactive(NewsScreen.language, language)
        self.detail = detail
        self.now = now
        self.visit = visit

    def compose(self) -> ComposeResult:
        with Vertical(id="news"):
            yield Table(id="news-list")
            yield Static(id="news-text", markup=False)
            yield Static(id="news-keys", classes="ask-keys")

    def on_mount(self) -> None:
        self.watch_language()
        self.query_one(Table).focus()

    def watch_language(self) -> None:
        if not self.query(Table):
            return
        language = self.language
        name = display(self.detail.company, language)
        box = self.query_one("#news")
        box.border_title = f"{t('panel.news', language)} {self.detail.company.code} {name}"
        columns = (
            Column(t("news.age", language), 10, "right"),
            Column(t("news.source", language), 16, rank=1),
            Column(t("news.title", language), 0),
        )
        lines = [
            Line(
                str(number),
                (
                    (text.age(article.published_at, self.now, language), "quiet"),
                    (article.source, "forecast"),
                    (" ".join(article.title.split()), "row"),
                ),
            )
            for number, article in enumerate(self.detail.news)
        ]
        self.query_one(Table).fill(columns, lines, t("news.none", language))
        self.query_one("#news-keys", Static).update(t("news.keys", language))
        self._say()

    @on(Table.Moved)
    def _say(self) -> None:
        key = self.query_one(Table).cursor
        if not key.isdecimal() or int(key) >= len(self.detail.news):
            return
        article = self.detail.news[int(key)]
        said = " ".join((article.description or article.content).split())
        self.query_one("#news-text", Static).update(
            Content.assemble(
                (" ".join(article.title.split()), "bold"),
                "\n",
                (f"{article.source} · {article.published_at.astimezone(self.now.tzinfo):%Y-%m-%d %H:%M}",
                 "$text-quiet"),
                "\n\n",
                said or t("news.no_text", self.language),
                "\n\n",
                (article.url, "$forecast"),
            )
        )  # fmt: skip

    @on(Table.Picked)
    def _picked(self, message: Table.Picked) -> None:
        self.visit(self.detail.news[int(message.key)].url)
