"""The bad moments of a network, on purpose and in a fixed order.

What a program does about them can only be learned where they happen. Which request
fails is a matter of its address and of how often it was asked for, never of chance: a
notebook that runs twice meets the same faults twice.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from aiohttp import web

STALL_SECONDS = 60.0
RETRY_AFTER = 1  # seconds

#: What happens to the pages of a long answer, in turn; the first one always comes.
#: The names: an HTTP status, "break" (the connection ends in the middle of the body) and
#: "stall" (nothing more comes, and nothing ends).
PAGES = ("", "503", "", "429", "", "break", "stall", "")
FILE = ("break",)
KINDS = {"", "429", "503", "break", "stall"}


@dataclass
class Faults:
    """When a request fails, and how.

    Parameters
    ----------
    pages
        A fault, or "", for each page of a long answer; from the end on, again from
        the start.
    times
        How often an address fails before it answers once; then it begins anew.
    """

    pages: tuple[str, ...] = PAGES
    times: int = 1
    _asked: Counter[str] = field(default_factory=Counter)

    def of_page(self, address: str, number: int) -> str:
        """The fault of this request for page ``number`` (from 0), or ""."""
        return self._now(address, self.pages[number % len(self.pages)])

    def of_file(self, address: str) -> str:
        """The fault of this request for a file, or ""."""
        return self._now(address, FILE[0] if any(self.pages) else "")

    def _now(self, address: str, kind: str) -> str:
        if not kind:
            return ""
        asked = self._asked[address]
        self._asked[address] += 1
        return kind if asked % (self.times + 1) < self.times else ""


async def answer(
    request: web.Request, body: bytes, content_type: str, fault: str, *, ranges: bool = False
) -> web.StreamResponse:
    """Send ``body`` as it is meant to be, or as ``fault`` would have it."""
    headers = {"Accept-Ranges": "bytes"} if ranges else {}
    if fault == "429":
        return too_many(RETRY_AFTER)
    if fault == "503":
        return web.Response(status=503, text="The service is not available at the moment.\n")
    if not fault:
        return web.Response(body=body, content_type=content_type, headers=headers)
    broken = web.StreamResponse(headers={"Content-Type": content_type, **headers})
    broken.content_length = len(body)  # and this is what does not come
    await broken.prepare(request)
    await broken.write(body[: len(body) // 2])
    if fault == "stall":
        await asyncio.sleep(STALL_SECONDS)
    assert request.transport is not None
    request.transport.close()
    return broken


def too_many(seconds: int) -> web.Response:
    """The refusal of one who asks too often."""
    return web.Response(
        status=429,
        headers={"Retry-After": str(seconds)},
        text="Too many requests: wait before you ask again.\n",
    )
