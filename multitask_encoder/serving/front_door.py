"""Middleware of Serve's HTTP proxy, in front of the service: it reads bodies and words refusals.

Serve's proxy alone would accept bodies of any size, keep a replica waiting for a slow one, let
requests set their own time limit, and send no answer for a replica that ended. It loads this by

    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=multitask_encoder.serving.front_door:middlewares
"""

import asyncio
import json
import os
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CALLBACK = "multitask_encoder.serving.front_door:middlewares"
MAX_BODY_BYTES, MAX_BODY_BYTES_VARIABLE = 2**20, "MULTITASK_MAX_BODY_BYTES"
# For a body to arrive; and for the rest of a refused one, so that its sender reads the reason
# before the connection is closed.
BODY_SECONDS, REST_SECONDS = 30.0, 5.0
# All others are dropped: some would give commands to Serve.
HEADERS_PASSED_ON = (b"content-type", b"content-length", b"host")
# Serve's own refusals, which are not JSON, by status: our status and words.
REWORDED = {
    404: (503, "The service is not there: it is starting or ending."),
    408: (504, "The answer took too long."),
    429: (429, "Too many requests are waiting."),
    503: (503, "Too many requests are waiting, or no replica is there."),
}
UNEXPECTED = (500, "Something went wrong in the service.")
ENDED = (503, "The replica ended before it answered the request.")
RETRY_AFTER_SECONDS = 1


def middlewares() -> list[Middleware]:
    """For Serve's proxy."""
    limit = int(os.environ.get(MAX_BODY_BYTES_VARIABLE, MAX_BODY_BYTES))
    return [Middleware(FrontDoor, max_body_bytes=limit)]


class Refusal(Exception):
    """A request that goes no further, by HTTP status and reason; `unread` if more of its body may
    arrive."""

    def __init__(self, status: int, reason: str, unread: bool = True):
        self.status, self.reason, self.unread = status, reason, unread


class FrontDoor:
    """ASGI middleware: whole bodies of limited size go in, JSON comes out.

    Args:
        app (`ASGIApp`): the application behind it.
        max_body_bytes (`int`): a larger body is refused (413) once this much of it has arrived; at
            once if its length is announced.
        body_seconds (`float`): a body that takes longer to arrive is refused (408).
    """

    def __init__(
        self, app: ASGIApp, max_body_bytes: int = MAX_BODY_BYTES, body_seconds: float = BODY_SECONDS
    ):
        self.app, self.max_body_bytes, self.body_seconds = app, max_body_bytes, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await self._read(Headers(scope=scope), receive)
        except Refusal as refusal:
            await _refuse(refusal, receive, send)
            return
        if body is None:  # the client has left
            return
        passed_on = [pair for pair in scope["headers"] if pair[0].lower() in HEADERS_PASSED_ON]
        answer = JsonSend(send)
        await self.app({**scope, "headers": passed_on}, _replay(body, receive), answer)
        if not answer.started:
            await answer.say(*ENDED, retry=True)

    async def _read(self, headers: Headers, receive: Receive) -> bytes | None:
        """The body; None if the client left before all of it arrived.

        Raises:
            Refusal: a body that is too large, too slow, or compressed.
        """
        encoding = headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":  # a few bytes could become many
            raise Refusal(415, "The body should not be compressed.")
        too_large = Refusal(413, f"The body should have at most {self.max_body_bytes} bytes.")
        announced = headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > self.max_body_bytes:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part = message.get("body", b"")
                    size += len(part)
                    if size > self.max_body_bytes:
                        too_large.unread = message.get("more_body", False)
                        raise too_large
                    parts.append(part)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            reason = f"The body should arrive within {self.body_seconds:g} seconds."
            raise Refusal(408, reason) from None


class JsonSend:
    """ASGI's `send`, which replaces errors that are not JSON."""

    def __init__(self, send: Send):
        self._send, self._silent = send, False
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers(raw=message.get("headers", []))
            is_json = headers.get("content-type", "").startswith("application/json")
            if message["status"] >= 400 and not is_json:
                status, reason = REWORDED.get(message["status"], UNEXPECTED)
                self._silent = True
                await self.say(status, reason, retry=status in (429, 503))
            self.started = True
        if not self._silent:
            await self._send(message)

    async def say(self, status: int, reason: str, retry: bool) -> None:
        """Send a whole error; `retry` if another try may succeed."""
        extra = {"retry-after": str(RETRY_AFTER_SECONDS)} if retry else {}
        for message in _messages(status, reason, extra):
            await self._send(message)


def _messages(status: int, reason: str, extra: dict[str, str]) -> list[Message]:
    content = json.dumps({"detail": reason}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(content)), **extra}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return [
        {"type": "http.response.start", "status": status, "headers": raw},
        {"type": "http.response.body", "body": content},
    ]


async def _refuse(refusal: Refusal, receive: Receive, send: Send) -> None:
    """Say why, and close the connection. The rest of the body is read and discarded for a while:
    unread, it would make the network discard the answer."""
    start, body = _messages(refusal.status, refusal.reason, {"connection": "close"})
    await send(start)
    await send({**body, "more_body": True})
    try:
        async with asyncio.timeout(REST_SECONDS):
            while refusal.unread:
                message = await receive()
                is_part = message["type"] == "http.request"
                refusal.unread = is_part and message.get("more_body", False)
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _replay(body: bytes, receive: Receive) -> Receive:
    """ASGI's `receive` of a body that was read already, then of the connection's next messages."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again
