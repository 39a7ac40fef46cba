"""Who may talk to the page: itself, and programs; no page from elsewhere that a browser on this machine has open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class OwnOrigin:
    """ASGI middleware that refuses requests and sockets whose Origin is not among `hosts`, such as `localhost:8080`.

    Browsers let any page open a socket to any address; only the Origin says whose page it is. Programs send none.
    """

    def __init__(self, app: Any, hosts: frozenset[str]):
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._is_own(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            # Before it is accepted, this is answered with 403.
            await send({"type": "websocket.close", "code": 1008})
        else:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"the page can't be used from another origin"})

    def _is_own(self, scope: Scope) -> bool:
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        return all(urlsplit(origin).netloc.lower() in self._hosts for origin in origins)
