"""Fetching a photo by its address without being led into the network behind the endpoint.

The host is resolved here, every address found is checked, and the connection goes to the very
address that was checked, so that a name cannot answer differently the second time (DNS
rebinding). Each redirect starts over. Proxies of the environment are not used: they would
resolve the name again.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from houndsight._version import __version__
from houndsight.errors import RequestError
from houndsight.serving.addresses import Address, Network, is_odd_number, why_refused
from houndsight.serving.settings import ServingSettings

__all__ = ["Fetcher", "Resolver", "Target", "parse_target"]

Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Host and port -> its addresses; raises OSError when it has none."""

MAX_URL_CHARACTERS = 4096
_PORTS = {"http": 80, "https": 443}
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Target:
    """A photo's address, taken apart and allowed in form; its host is not resolved yet."""

    url: httpx.URL
    host: str
    port: int


def parse_target(text: str, settings: ServingSettings) -> Target:
    """Take an address apart.

    Raises:
        RequestError: 400; scheme, port, host or form is not allowed.
    """
    if len(text) > MAX_URL_CHARACTERS:
        raise RequestError(f"The address has over {MAX_URL_CHARACTERS:,} characters.")
    if any(ord(c) <= 32 or ord(c) == 127 or c == "\\" for c in text):
        raise RequestError("The address holds a space, a backslash or a control character.")
    try:
        url = httpx.URL(text)
        host, port = url.raw_host.decode("ascii"), url.port or _PORTS.get(url.scheme, 0)
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise RequestError(f"The address is not valid: {error}.") from error
    if url.scheme not in _PORTS:
        raise RequestError("The address must begin with http:// or https://.")
    if url.userinfo:
        raise RequestError("The address must not hold a user name or password.")
    if port not in settings.url_ports:
        allowed = ", ".join(str(p) for p in settings.url_ports)
        raise RequestError(f"Port {port} is not allowed; allowed: {allowed}.")
    if not host or "%" in host or is_odd_number(host):
        raise RequestError("The address needs a host name or a plain IP address.")
    return Target(url, host, port)


class Fetcher:
    """Fetches photos within the limits of `ServingSettings`; one for an endpoint's life."""

    def __init__(self, settings: ServingSettings, *, resolver: Resolver | None = None) -> None:
        self._settings = settings
        self._resolve = resolver or resolve
        self._allowed: tuple[Network, ...] = tuple(
            ipaddress.ip_network(network) for network in settings.url_networks if network
        )
        self._open_client: httpx.AsyncClient | None = None

    @property
    def _client(self) -> httpx.AsyncClient:
        # Made at the first fetch: reading the system's certificates takes a tenth of a second.
        if self._open_client is None:
            self._open_client = httpx.AsyncClient(
                trust_env=False,
                follow_redirects=False,
                timeout=self._settings.url_timeout_s,
                limits=httpx.Limits(max_keepalive_connections=0),
                headers={"user-agent": f"houndsight/{__version__}", "accept-encoding": "identity"},
            )
        return self._open_client

    async def close(self) -> None:
        """Close its connections."""
        if self._open_client is not None:
            await self._open_client.aclose()

    async def fetch(self, url: str) -> bytes:
        """The bytes at `url`.

        Raises:
            RequestError: 400 when the address is refused, 413 when the photo is too long, 502
                when the other side fails, 504 when it takes too long.
        """
        if not self._settings.urls:
            raise RequestError("This endpoint does not fetch photos by address.", status=403)
        try:
            async with asyncio.timeout(self._settings.url_timeout_s):
                return await self._follow(url)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise RequestError(
                f"The photo did not arrive within {self._settings.url_timeout_s:g} s.", status=504
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise RequestError("The photo could not be fetched.", status=502) from error

    async def _follow(self, url: str) -> bytes:
        for _ in range(self._settings.url_redirects + 1):
            target = parse_target(url, self._settings)
            addresses = await self._checked_addresses(target)
            content, redirect = await self._get_from_any(target, addresses)
            if content is not None:
                return content
            url = str(target.url.join(redirect))
        raise RequestError(
            f"The address redirects more than {self._settings.url_redirects} times.", status=502
        )

    async def _checked_addresses(self, target: Target) -> Sequence[Address]:
        """The addresses to connect to, at least one.

        Raises:
            RequestError: one of the host's addresses is refused, or it has none.
        """
        try:
            addresses: Sequence[Address] = [ipaddress.ip_address(target.host.strip("[]"))]
        except ValueError:
            try:
                addresses = await self._resolve(target.host, target.port)
            except (OSError, UnicodeError) as error:
                raise RequestError(f"{target.host} cannot be found.", status=502) from error
        # A host with one public and one private address is refused: nothing honest has both.
        for address in addresses:
            kind = why_refused(address, self._allowed)
            if kind is not None:
                raise RequestError(f"{target.host} leads to {kind}, which is not allowed.")
        if not addresses:
            raise RequestError(f"{target.host} cannot be found.", status=502)
        return addresses

    async def _get_from_any(
        self, target: Target, addresses: Sequence[Address]
    ) -> tuple[bytes | None, str]:
        """What the first address that takes the connection answers."""
        for address in addresses[:-1]:
            try:
                return await self._get(target, address)
            except httpx.ConnectError:
                continue  # such as IPv6 on a machine that has none
        return await self._get(target, addresses[-1])

    async def _get(self, target: Target, address: Address) -> tuple[bytes | None, str]:
        """The body, or None and where the answer redirects to."""
        pinned = target.url.copy_with(host=str(address))
        request = self._client.build_request(
            "GET",
            pinned,
            headers={"host": target.url.netloc.decode("ascii"), "accept": "image/*"},
            extensions={"sni_hostname": target.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return None, response.headers["location"]
            if response.status_code != 200:
                raise RequestError(
                    f"{target.host} answered with status {response.status_code}.", status=502
                )
            return await self._body(target, response), ""
        finally:
            await response.aclose()

    async def _body(self, target: Target, response: httpx.Response) -> bytes:
        limit = self._settings.url_max_bytes
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise RequestError(f"{target.host} sent the photo compressed.", status=502)
        content = bytearray()
        async for block in response.aiter_raw(65_536):
            content += block
            if len(content) > limit:
                raise RequestError(
                    f"The photo has over {limit:,} bytes, the most allowed.", status=413
                )
        return bytes(content)


async def resolve(host: str, port: int) -> Sequence[Address]:
    """The addresses of `host` by the system's resolver."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(entry[4][0]) for entry in found]
