"""One key after another: no key is lost, and none reaches what was in front before the last one was done.

Textual hands a key to whatever has the focus when it arrives. A key typed in the instant after one that
opens a box would go to what was there before: ``/2330`` in one burst would filter by nothing and open tab 2.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.widgets import Input

#: A screen that does not come up holds the keyboard no longer than this.
_PATIENCE_S = 2.0


async def passed(pump: MessagePump) -> None:
    """Returns when ``pump`` has handled all that was waiting there."""
    there = asyncio.Event()
    if pump.call_later(there.set):
        await there.wait()


class KeysInTurn(App[None]):
    """An app in which a key waits for what the keys before it do to the focus.

    Keys of lists and charts are done as they come and never wait, so that who holds one down is not
    held up. A key in a box of text, and enter, may open or close something: the next one waits for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: deque[events.Key | events.Paste] = deque()
        self._waiting: asyncio.Task[None] | None = None

    @property
    def keys_held(self) -> bool:
        """Whether keys were typed that nobody has got yet, or the last one is not done."""
        return self._waiting is not None or bool(self._held)

    async def on_event(self, event: events.Event) -> None:
        """Keys wait for their turn; all else is Textual's."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            await super().on_event(event)
        elif self._waiting is not None or not self._built:
            self._held.append(event)
            if self._waiting is None:
                self._wait_for(self)
        else:
            await self._hand_on(event)

    @property
    def _built(self) -> bool:
        """Whether the screen on top is built; before that it has no focus."""
        return bool(self.screen_stack) and self.screen.is_mounted

    async def _hand_on(self, event: events.Key | events.Paste) -> None:
        target = self.focused or self.screen
        typing = isinstance(target, Input)
        # Up through the widgets and back to the app others may overtake a key: what is bound is done now.
        done = not typing and isinstance(event, events.Key) and await self._bound(event)
        if not done:
            await super().on_event(event)
        if typing or isinstance(event, events.Paste) or event.key == "enter" or not self._built:
            self._wait_for(target)

    async def _bound(self, event: events.Key) -> bool:
        """Whether a binding took the key, priority ones first."""
        if self.screen.maximized is not None:
            return False  # escape is Textual's then
        if event.key == "escape":
            self.screen.clear_selection()
        return await self._check_bindings(event.key, priority=True) or await self._check_bindings(event.key)

    def _wait_for(self, target: MessagePump) -> None:
        self._waiting = asyncio.create_task(self._done(target), name="the last key")

    async def _done(self, target: MessagePump) -> None:
        """Until the key has gone up from ``target`` to the app, and what was posted there over it as well."""
        path: list[MessagePump] = [target]
        while path[-1] is not self and path[-1]._parent is not None:
            path.append(path[-1]._parent)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                for _ in ("the key", "what it caused"):
                    for pump in path:
                        await passed(pump)
                while not self._built:
                    await passed(self.screen)
                await passed(self)  # a screen that was just built asks the app for its focus
        if not self.call_later(self._go_on):
            self._waiting = None

    async def _go_on(self) -> None:
        self._waiting = None
        while self._held and self._waiting is None:
            if self._built:
                await self._hand_on(self._held.popleft())
            else:
                self._wait_for(self)
