"""Downloads an http(s) URL with limits on time and bytes and, if asked for, from public addresses only."""

from __future__ import annotations

import ipaddress
import os
import re
import threading
from collections.abc import Coroutine
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
        "2002::/16",
        "2001::/32",
        "::/96",
    )
)


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
    name = describe_source(url)
    try:
        return _on_loop(_download(url, name, timeout_s, max_bytes, private_addresses))
    except ImageError:
        raise
    except TimeoutError:
        raise ImageError(f"{name}: not received within {timeout_s:g} s") from None
    # A URL, the environment's proxies and certificates, and redirects make httpx and its dependencies raise nearly
    # anything: ValueError, ImportError, SSLError, IDNAError, exception groups.
    except Exception as error:
        raise ImageError(
            f"{name}: can't be fetched: {_without_password(str(error) or type(error).__name__)}"
        ) from error


async def _download(url: str, name: str, timeout_s: float, max_bytes: int, private_addresses: bool) -> bytes:
    import asyncio

    import httpx

    # No compression, as a small compressed body could decompress to more than any limit.
    headers = {"accept-encoding": "identity", "user-agent": "jina-embeddings-vllm"}

    async def body() -> bytes:
        async with (
            _client(private_addresses) as client,
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


def _client(private_addresses: bool) -> httpx.AsyncClient:
    import httpx

    if private_addresses:
        return httpx.AsyncClient(verify=_ssl_context(), timeout=None, follow_redirects=True)
    return httpx.AsyncClient(transport=_public_transport(), trust_env=False, timeout=None, follow_redirects=True)


def _public_transport() -> httpx.AsyncBaseTransport:
    import httpx

    class PublicTransport(httpx.AsyncHTTPTransport):
        """Resolves the host once, checks the address, and connects to that address (no DNS rebinding)."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            url = request.url
            address = await _public_address(url.host, url.port or (443 if url.scheme == "https" else 80))
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": url.host},
            )
            return await super().handle_async_request(pinned)

    return PublicTransport(verify=_ssl_context())


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
