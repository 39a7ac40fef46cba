"""Downloads an http(s) URL with limits on time and bytes and, if asked for, from public addresses only."""

from __future__ import annotations

import ipaddress
import os
import re
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ImageError
from .decoding import describe_source

if TYPE_CHECKING:
    import asyncio
    import ssl

    import httpx

T = TypeVar("T")

FETCH_TIMEOUT_S = 20.0
MAX_FETCH_BYTES = 64 * 2**20

# Networks that Python counts as global though they aren't public: Azure's internal services, IPv6 site-local addresses,
# and IPv6 networks that contain IPv4 addresses.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",
        "fec0::/10",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "192.0.0.0/24",
        "2002::/16",
        "2001::/32",
        "::/96",
    )
)


@dataclass(frozen=True, slots=True)
class FetchRules:
    """Where a URL, and every redirect of it, may lead. Never to an address that is not public, and through no proxy.

    hosts: these names alone, in lower case; None for any.
    ports: these alone; None for any.
    max_redirects: more are an error.
    """

    hosts: frozenset[str] | None = None
    ports: frozenset[int] | None = frozenset({80, 443})
    max_redirects: int = 5

    def check(self, url: httpx.URL) -> None:
        """Raises ImageError for a URL that is not to be asked."""
        if url.scheme not in ("http", "https"):
            raise ImageError(f"{url.scheme!r} is not a scheme that is fetched: http and https are")
        if url.userinfo:
            raise ImageError("a URL with a user's name or password is not fetched here")
        host = url.raw_host.decode("ascii").lower()
        if self.hosts is not None and host not in self.hosts:
            raise ImageError(f"{host!r} is not one of the hosts that are fetched from here")
        if self.ports is not None and _port(url) not in self.ports:
            raise ImageError(f"port {_port(url)} is not one that is fetched from here")


_PUBLIC = FetchRules(ports=None, max_redirects=20)


def fetch(
    url: str,
    *,
    timeout_s: float = FETCH_TIMEOUT_S,
    max_bytes: int = MAX_FETCH_BYTES,
    private_addresses: bool = True,
) -> bytes:
    """The body of an http(s) URL, redirects followed.

    timeout_s: limit for the whole download, name resolution included.
    private_addresses: whether hosts may have addresses that aren't public: loopback, private and link-local networks,
        cloud metadata. If not, this is checked for redirects too, the connection is made to the address that was
        checked, and proxies of the environment are not used, since they would resolve the name again.

    Raises:
        ImageError: anything went wrong: a status other than 2xx, a body over `max_bytes`, a timeout, a host that can't
            be reached, a redirect to another scheme, a proxy or a certificate file that can't be used. The message
            names the URL.
    """
    rules = None if private_addresses else _PUBLIC
    return _on_loop(afetch(url, rules=rules, timeout_s=timeout_s, max_bytes=max_bytes))


async def afetch(url: str, *, rules: FetchRules | None, timeout_s: float, max_bytes: int) -> bytes:
    """`fetch` for asyncio. rules: None for any address, and the environment's proxies."""
    name = describe_source(url)
    try:
        return await _download(url, name, timeout_s, max_bytes, rules)
    except ImageError:
        raise
    except TimeoutError:
        raise ImageError(f"{name}: not received within {timeout_s:g} s") from None
    # A URL, the environment's proxies and certificates, and redirects make httpx and its dependencies raise nearly
    # anything: ValueError, ImportError, SSLError, IDNAError, exception groups.
    except Exception as error:
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        message = _without_password(str(cause) or type(cause).__name__)
        raise ImageError(f"{name}: can't be fetched: {message}") from error


async def _download(url: str, name: str, timeout_s: float, max_bytes: int, rules: FetchRules | None) -> bytes:
    import asyncio

    import httpx

    # No compression, as a small compressed body could decompress to more than any limit.
    headers = {"accept-encoding": "identity", "user-agent": "jina-embeddings-vllm"}

    async def body() -> bytes:
        async with (
            _client(rules) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            if not response.is_success:
                status = f"{response.status_code} {response.reason_phrase}".strip()
                raise ImageError(f"{name}: HTTP status {status}")
            received = bytearray()
            async for chunk in response.aiter_raw():
                received += chunk
                if len(received) > max_bytes:
                    raise ImageError(f"{name}: over {max_bytes} bytes, the most that is fetched")
            return bytes(received)

    try:
        # httpx's timeouts are for each read; cancelling the task limits the whole download.
        return await asyncio.wait_for(body(), timeout_s)
    except httpx.TooManyRedirects as error:
        raise ImageError(f"{name}: too many redirects") from error


def _client(rules: FetchRules | None) -> httpx.AsyncClient:
    import httpx

    if rules is None:
        return httpx.AsyncClient(verify=_ssl_context(), timeout=None, follow_redirects=True)
    return httpx.AsyncClient(
        transport=_public_transport(rules),
        trust_env=False,
        timeout=None,
        follow_redirects=True,
        max_redirects=rules.max_redirects,
    )


def _public_transport(rules: FetchRules) -> httpx.AsyncBaseTransport:
    import httpx

    class PublicTransport(httpx.AsyncHTTPTransport):
        """Resolves the host once, checks the address, and connects to that address (no DNS rebinding)."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            url = request.url
            rules.check(url)
            address = await _public_address(url.host, _port(url))
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
            return await super().handle_async_request(pinned)

    return PublicTransport(verify=_ssl_context())


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


async def _public_address(host: str, port: int) -> str:
    import asyncio

    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    for address in addresses:
        if not is_public(address):
            raise ImageError(f"{host!r} has the address {address}: only public addresses may be reached here")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is public: global by the address registries, and not in `_NOT_PUBLIC`."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC)


def _without_password(message: str) -> str:
    return re.sub(r"(?<=://)[^/?#\s]*@", "", message)


@cache
def _ssl_context() -> ssl.SSLContext:
    """Cached, since loading the certificates takes longer than many downloads."""
    import httpx

    return httpx.create_ssl_context()


def _on_loop(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    finally:
        # If the caller was interrupted, the download must stop.
        future.cancel()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all downloads, in a thread of its own, as the caller's thread may be running one already."""
    import asyncio

    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="jina-embeddings-fetch", daemon=True).start()
    return loop


if hasattr(os, "register_at_fork"):
    # A forked process inherits the loop without the thread that runs it.
    os.register_at_fork(after_in_child=_loop.cache_clear)
