"""Asks the API, for programs on the command line: no proxy, no redirect, no path made tidy."""

import http.client
import json
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from streams.errors import UsageError, UserError

CONNECT_WITHIN, ANSWER_WITHIN = 3.0, 10.0
"""Seconds. A worker asks the others before it answers, and may have thousands of windows to read;
what says nothing for longer does not speak HTTP."""


class ApiClient:
    """Asks one worker.

    Args:
        url: of its API.
        token: sent with each request, if there is one.
        tls: how its certificate is checked; null for the authorities that the system trusts.
    """

    def __init__(self, url: str, token: str | None, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._url = url.rstrip("/")
        self._headers = {"Accept": "application/json", "User-Agent": "campaign-streams"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def get(self, *segments: str, **parameters: str | int | None) -> dict[str, Any]:
        """Return the answer at a path, given as segments that are not encoded.

        Raises:
            UsageError: if the API does not take a parameter, or the URL is none.
            UserError: if there is no answer, or one that says why not.
        """
        return self._ask("GET", segments, parameters)

    def post(
        self, *segments: str, body: dict[str, Any] | None = None, **parameters: str | int | None
    ) -> dict[str, Any]:
        """Have something done at a path, and return the answer.

        Args:
            segments: of the path, not encoded.
            body: is sent as JSON, if there is one.
            parameters: of the query.

        Raises:
            UsageError: if the API does not take a parameter or the body, or the URL is none.
            UserError: if there is no answer, or one that says why not.
        """
        return self._ask("POST", segments, parameters, body)

    def delete(self, *segments: str, **parameters: str | int | None) -> dict[str, Any]:
        """Delete what is at a path; return the answer. Raises as `get` does."""
        return self._ask("DELETE", segments, parameters)

    def _ask(
        self,
        method: str,
        segments: Iterable[str],
        parameters: Mapping[str, str | int | None],
        body: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        given = {name: value for name, value in parameters.items() if value is not None}
        path = "/" + "/".join(quote(segment, safe="") for segment in segments)
        target = f"{path}?{urlencode(given)}" if given else path
        status, content = self._fetch(method, target, body)
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise self._stranger()
        if status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise self._refusal(status, str(answer.get("detail", status)))
        return answer

    def _stranger(self) -> UserError:
        return UserError(f"{self._url} is no campaign-streams API: check the URL (--url)")

    def _refusal(self, status: int, detail: str) -> UserError:
        if status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}:
            return UsageError(detail)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return UserError(f"{self._url}: {detail}; give one by --token-file")
        return UserError(detail)

    def _fetch(self, method: str, target: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        parts = urlsplit(self._url)
        kinds: dict[str, Callable[..., http.client.HTTPConnection]] = {
            "http": http.client.HTTPConnection,
            "https": partial(http.client.HTTPSConnection, context=self._tls),
        }
        try:
            kind, host, port = kinds.get(parts.scheme), parts.hostname, parts.port
        except ValueError:
            kind, host, port = None, None, None
        if kind is None or not host:
            raise UsageError(f"{self._url} is no URL such as http://127.0.0.1:8080 (--url)")
        connection = kind(host, port, timeout=CONNECT_WITHIN)
        try:
            connection.connect()
            connection.sock.settimeout(ANSWER_WITHIN)
            headers, content = self._headers, None
            if body is not None:
                headers = {**headers, "Content-Type": "application/json"}
                content = json.dumps(body)
            connection.request(method, parts.path + target, content, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UserError(
                f"no answer from {self._url} ({reason}): is a worker running there? (--url)"
            ) from None
        except http.client.HTTPException:
            raise self._stranger() from None
        finally:
            connection.close()
