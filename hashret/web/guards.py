"""What every request passes before it is looked at, and every answer after."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hashret.web.page_answers import answer_of
from hashret.web.problems import Problem, problem_of
from hashret.web.settings import Settings
from hashret.web.showing import STATIC_FILES

_log = logging.getLogger("hashret.web")

_SECURITY_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        b"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_OTHER_SITES = (b"cross-site", b"same-site")
_OPEN_TO_ALL = ("/healthz",)
_PARTS_OF_ERRORS = frozenset(f"/static/{name}" for name in STATIC_FILES)
"""What a page that refuses needs to be readable; the same on every server."""

_READING = ("GET", "HEAD", "OPTIONS")
_READING_BY_POST = ("/query", "/query_many")


class Guards:
    """Refuses what is not meant for this server, is too much, or takes too long.

    In this order: the Host header (a page of another origin that points a name of its own at this
    machine must not read what is here), the page that asks (another one's visitors must not work
    for it here, even if it cannot read the answer), the token, the length of the body and the time
    it takes to arrive, and the time until an answer begins. Every answer gets the headers that keep
    a browser from running or embedding what is in it.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Guard ``app``."""
        self._app = app
        self._settings = settings
        self._limits = settings.limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message = {**message, "headers": [*message["headers"], *_SECURITY_HEADERS]}
            await send(message)

        try:
            headers = dict(scope["headers"])
            self._check_head(scope)
            refuses = scope["path"] not in _PARTS_OF_ERRORS
            if refuses:
                self._check_host(headers.get(b"host", b""))
            _check_site(scope["method"], headers)
            if refuses:
                self._check_token(scope, headers)
            if scope["method"] == "HEAD":  # the same without the body, which the server leaves out
                scope = {**scope, "method": "GET"}
            body = _Body(receive, headers, self._limits.body_bytes, self._limits.body_seconds)
            try:
                async with asyncio.timeout(self._limits.request_seconds):
                    await self._app(scope, body.receive, send_guarded)
            except TimeoutError as error:
                raise Problem(
                    503,
                    f"The answer took more than {self._limits.request_seconds:g} s.",
                    "Ask for less, with a smaller radius, limit or batch.",
                    kind="TimeoutError",
                    headers={"Retry-After": "5"},
                ) from error
        except Exception as error:
            if begun:
                raise  # the connection ends, so that half an answer is not taken for one
            accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
            refusal = answer_of(problem_of(error), scope["path"], accept)
            await refusal(scope, receive, send_guarded)

    def _check_head(self, scope: Scope) -> None:
        parts = [scope["raw_path"], scope["query_string"], *map(b"".join, scope["headers"])]
        if sum(map(len, parts)) > self._limits.header_bytes:
            raise Problem(
                431,
                f"The head is longer than {self._limits.header_bytes:,} bytes.",
                "Send shorter headers, and what is long in the body.",
            )

    def _check_host(self, host: bytes) -> None:
        name = host.decode("latin-1").lower()
        name = name.partition("]")[0].lstrip("[") if name.startswith("[") else name.split(":")[0]
        if name == "localhost" or name in self._settings.hosts or _is_address(name):
            return
        raise Problem(
            421,
            f"This server does not answer to the name {name!r}.",
            "Use its address, or allow the name with `hashret serve --allow-host NAME`.",
            kind="HostError",
        )

    def _check_token(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        settings = self._settings
        path, method = scope["path"], scope["method"]
        reads = method in _READING or (method == "POST" and path.endswith(_READING_BY_POST))
        if path in _OPEN_TO_ALL or (reads and not settings.guards_reads):
            return
        if not (reads or settings.writable):
            raise Problem(
                403,
                "This server only answers: it is not writable.",
                "Start it with `hashret serve --writable` to add and remove items.",
                kind="NotWritableError",
            )
        given = _token_of(headers.get(b"authorization", b""), basic=reads)
        if settings.token is not None and given is not None:
            if hmac.compare_digest(given, settings.token.encode()):
                return
            message = "The token is another one."
        else:
            message = "This takes the token of the server."
        challenge = 'Basic realm="hashret: any name, and the token as the password"'
        remedy = "Send the header `Authorization: Bearer TOKEN`; `hashret serve` shows the token."
        if reads:
            remedy += " A browser asks for it as a password when the page is loaded again."
        raise Problem(
            401,
            message,
            remedy,
            kind="TokenError",
            headers={"WWW-Authenticate": challenge if reads else 'Bearer realm="hashret"'},
        )


def _check_site(method: str, headers: dict[bytes, bytes]) -> None:
    """Refuse what a browser sends for a page of another origin, but for following a link to here.

    Only browsers send these headers, and no page can change them.
    """
    site = headers.get(b"sec-fetch-site", b"")
    origin = headers.get(b"origin")
    follows = method == "GET" and headers.get(b"sec-fetch-mode") == b"navigate"
    if site not in _OTHER_SITES or follows:
        own = headers.get(b"host", b"").lower()
        # Forms of these pages hide their origin, as the pages want no referrer to be told.
        hidden = origin == b"null" and site == b"same-origin"
        if origin is None or hidden or origin.lower() in (b"http://" + own, b"https://" + own):
            return
    raise Problem(
        403,
        "A page of another site asks for this.",
        "Open the pages of this server, or ask from a program.",
        kind="OriginError",
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _token_of(authorization: bytes, *, basic: bool) -> bytes | None:
    """The token in a header.

    A browser asks its user for a name and a password and then sends them by itself, to this origin:
    that may read. What changes something takes a header that only its sender can have written.
    """
    scheme, _, value = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if basic and scheme.lower() == b"basic":
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return None
    return None


class _Body:
    """The body of a request as it arrives, no longer and no later than allowed."""

    def __init__(
        self, receive: Receive, headers: dict[bytes, bytes], most_bytes: int, seconds: float
    ) -> None:
        self._receive = receive
        self._most = most_bytes
        self._seconds = seconds
        self._left = most_bytes
        self._end: float | None = None
        self._whole = False
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > most_bytes:
            raise self._too_long()

    async def receive(self) -> Message:
        """The next part."""
        if self._whole:
            return await self._receive()
        loop = asyncio.get_running_loop()
        if self._end is None:
            self._end = loop.time() + self._seconds
        try:
            async with asyncio.timeout_at(self._end):
                message = await self._receive()
        except TimeoutError as error:
            raise Problem(
                408,
                f"The body did not arrive within {self._seconds:g} s.",
                "Send it faster, or less of it.",
                kind="TimeoutError",
                headers={"Connection": "close"},
            ) from error
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._too_long()
        self._whole = not message.get("more_body", False)
        return message

    def _too_long(self) -> Problem:
        return Problem(
            413,
            f"The body is longer than {self._most:,} bytes.",
            "Send smaller images, or fewer queries or items at a time.",
            headers={"Connection": "close"},
        )
