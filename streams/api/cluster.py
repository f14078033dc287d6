"""Any worker answers any query: for its own partitions, and for the others' by asking them.

A request to another worker carries the partitions that it is to answer for. A worker that finds
them in a request answers for those alone, so nothing is asked twice, counted twice or sent round
in circles. How workers know each other is in `peers`.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Generic, NamedTuple, TypeVar

import aiohttp
import msgspec
import structlog
from yarl import URL

from streams.api.answer import Answer, Problem
from streams.api.asking import Ask
from streams.api.costs import COST_HEADER
from streams.api.peers import ASKER_HEADER, PARTITIONS_HEADER, SIGNATURE_HEADER, Peers
from streams.api.problems import ProblemError, refuse, unavailable
from streams.api.visibility import VISIBLE_HEADER
from streams.domain.counts import OTHER
from streams.domain.partial_counts import partition_of
from streams.domain.partition import CampaignPartition
from streams.domain.partition_host import PartitionHost

A = TypeVar("A", bound=Answer)

PEER_TIMEOUT = aiohttp.ClientTimeout(total=2.0)
LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes that are read of another worker's answer."""
RECEIVE_BUFFER = 32 * 1024
"""Bytes; the kernel takes twice as many."""
_MOST_WARNED = 1000
_PARTITIONS = re.compile(r"\d{1,9}(,\d{1,9})*", re.ASCII)
# What a worker says of the request rather than of its partitions.
_OF_THE_REQUEST = {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT}

log = structlog.get_logger(__name__)


class Gathered(NamedTuple, Generic[A]):
    """The answers of those who had one, and the partitions that nobody answered for."""

    parts: list[A]
    missing: list[int]


class Cluster:
    """The partitions of this worker and of the others.

    Args:
        holder: knows who holds what.
        peers: decides which workers are asked, and how.
        located: whether a campaign's id tells its partition; if not, it may be in any.
        tls: how the certificates of other workers are checked; null for those of the system.
    """

    def __init__(
        self,
        holder: PartitionHost,
        peers: Peers,
        *,
        located: bool,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._holder = holder
        self._peers = peers
        self._warned: set[str] = set()
        self._located = located
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def stop(self) -> None:
        """Close the connections to other workers."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def everywhere(self) -> list[int]:
        """Return all partitions."""
        return list(range(self._holder.partitions()))

    def holders(self) -> list[list[int]]:
        """Return the partitions that anybody holds, by holder, this worker first."""
        ready, peers = self._holder.ready(), self._holder.peers()
        elsewhere: dict[str, list[int]] = {}
        for number, url in peers.items():
            if number not in ready:
                elsewhere.setdefault(url, []).append(number)
        return [sorted(ready), *elsewhere.values()]

    def homes_of(self, campaign_id: str) -> list[int]:
        """Return the partitions in which a campaign may be.

        Raises:
            ProblemError: 503, if it is not known yet how many partitions there are.
        """
        count = self._holder.partitions()
        if not count:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the worker is starting: it knows no partitions yet, try again in a moment",
                {"Retry-After": "1"},
            )
        if campaign_id == OTHER or not self._located:
            return list(range(count))
        return [partition_of(campaign_id, count)]

    @staticmethod
    def is_asked_by_worker(ask: Ask) -> bool:
        """Tell whether another worker asks, which adds up the answers of several."""
        return _restriction(ask.headers) is not None

    async def gather(
        self,
        ask: Ask,
        wanted: Iterable[int],
        answer: type[A],
        local: Callable[[Sequence[CampaignPartition]], Awaitable[A | None]],
    ) -> Gathered[A]:
        """Ask whoever holds the wanted partitions.

        Args:
            ask: the request, which goes to other workers as it came.
            wanted: the partitions that can have something to say.
            answer: what the answer is.
            local: answers for partitions that are here; null if they have nothing.

        Raises:
            ProblemError: if the request itself is wrong.
        """
        restriction = _restriction(ask.headers)
        wanted = [n for n in wanted if restriction is None or n in restriction]
        ready = self._holder.ready()
        missing = [n for n in wanted if n not in ready]
        parts = []
        here = [ready[n] for n in wanted if n in ready]
        if here and (own := await local(here)) is not None:
            parts.append(own)
        if missing and restriction is None:
            others = await self._gather_from_peers(ask, missing, answer)
            parts += others.parts
            missing = others.missing
        return Gathered(parts, missing)

    async def require(
        self,
        ask: Ask,
        wanted: Iterable[int],
        answer: type[A],
        local: Callable[[Sequence[CampaignPartition]], Awaitable[A | None]],
        otherwise: ProblemError,
    ) -> Gathered[A]:
        """Ask as `gather` does, for one thing that has to be somewhere.

        Raises:
            ProblemError: `otherwise`, if it is nowhere; 503, if it may be where nobody answered.
        """
        gathered = await self.gather(ask, wanted, answer, local)
        if not gathered.parts:
            raise unavailable(gathered.missing) if gathered.missing else otherwise
        return gathered

    async def _gather_from_peers(self, ask: Ask, away: list[int], answer: type[A]) -> Gathered[A]:
        holders: dict[str, list[int]] = {}
        missing = []
        peers = self._holder.peers()
        for number in away:
            if number in peers:
                holders.setdefault(peers[number].rstrip("/"), []).append(number)
            else:
                missing.append(number)
        answers = await asyncio.gather(
            *(self._ask_peer(url, numbers, ask, answer) for url, numbers in holders.items())
        )
        parts = [part for each in answers for part in each.parts]
        return Gathered(parts, sorted(missing + [n for each in answers for n in each.missing]))

    async def _ask_peer(
        self, url: str, numbers: list[int], ask: Ask, answer: type[A]
    ) -> Gathered[A]:
        reason = self._peers.why_not_ask(url)
        if reason is not None:
            if not self._peers.is_own(url):
                self._warn_once(url, numbers, reason)
            return Gathered([], numbers)
        try:
            status, body, cost = await self._fetch(url, numbers, ask)
            ask.budget.add(cost)
            if status == HTTPStatus.OK:
                part = msgspec.json.decode(body, type=answer)
                return Gathered([part], part.missing_partitions)
            if status == HTTPStatus.NOT_FOUND:
                return Gathered([], [])
            problem = msgspec.json.decode(body, type=Problem)
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, ValueError) as error:
            log.warning("worker does not answer", url=url, partitions=numbers, error=repr(error))
            return Gathered([], numbers)
        if status in _OF_THE_REQUEST:
            raise ProblemError(HTTPStatus(status), problem.detail)
        hint = "" if self._peers.sign else "; with http.cluster_secrets workers need no token"
        log.warning("worker refuses", url=url, partitions=numbers, error=problem.detail + hint)
        return Gathered([], numbers)

    def _warn_once(self, url: str, numbers: list[int], reason: str) -> None:
        if url in self._warned or len(self._warned) >= _MOST_WARNED:
            return
        self._warned.add(url)
        log.warning("worker is not asked", url=url, partitions=numbers, reason=reason)

    async def _fetch(self, url: str, numbers: list[int], ask: Ask) -> tuple[int, bytes, str]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    socket_factory=_open_socket, ssl=self._tls if self._tls is not None else True
                ),
                timeout=PEER_TIMEOUT,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        # Nothing of what the client sent, least of all its token.
        partitions = ",".join(map(str, numbers))
        headers = {PARTITIONS_HEADER: partitions, "Accept-Encoding": "identity"}
        visible = ask.caller.visible.header()
        if visible:
            headers[VISIBLE_HEADER] = visible
        nonce = ""
        if self._peers.sign:
            asker = ask.asker.header
            if asker:
                headers[ASKER_HEADER] = asker
            nonce, headers[SIGNATURE_HEADER] = self._peers.request(
                ask.method, url, ask.target, partitions, visible, asker
            )
        # Already encoded: anything else would normalise the path, and a campaign may be named `..`.
        target = URL(url + ask.target, encoded=True)
        async with self._session.request(
            ask.method, target, headers=headers, allow_redirects=False
        ) as response:
            body = await _read(response)
            signature = response.headers.get(SIGNATURE_HEADER, "")
            cost = response.headers.get(COST_HEADER, "")
        if nonce and not self._peers.is_answer(signature, nonce, response.status, body):
            raise ValueError(
                f"HTTP {response.status}, not signed by any of http.cluster_secrets: all workers "
                "need the same ones, and clocks that agree"
            )
        return response.status, body, cost


def _open_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """Open a socket that takes in little at a time: whoever floods it keeps nobody else waiting."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    return made


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            raise ValueError(f"an answer of more than {LARGEST_ANSWER} bytes")
    return bytes(body)


def _restriction(headers: Mapping[str, str]) -> set[int] | None:
    """Return the partitions that another worker asks for; null if it is no worker that asks."""
    value = headers.get(PARTITIONS_HEADER)
    if value is None:
        return None
    if not _PARTITIONS.fullmatch(value):
        refuse(f"{PARTITIONS_HEADER}: expected partition numbers, separated by commas")
    return {int(number) for number in value.split(",")}
