"""The server process behind ``HTTPS_PROXY``: local answers for the course's addresses.

Run as ``python -m datalab.local_sites --port PORT --datalab FOLDER``. The password
of the proxy and the address of the machine's own proxy come through the environment,
since arguments are visible to every user.
"""

import argparse
import asyncio
import os
import re
import signal
import ssl
import sys
from pathlib import Path

from aiohttp import web

from datalab.local_sites import ademe, faults
from datalab.local_sites.proxy import Proxy
from datalab.servers.internet import ADEME, DATA_GOUV, DATA_GOUV_FILES, HOSTS

OUTLINES_ID = "eb36371a-761d-44a8-93ec-3d728bec17ce"
OUTLINES_PATH = "/resources/contours-des-departements/departements-20180101-shp.zip"

PASSWORD = "DATALAB_PROXY_PASSWORD"  # noqa: S105  # the name of a variable
UPSTREAM = "DATALAB_PROXY_UPSTREAM"


def app(plan: faults.Faults) -> web.Application:
    """All sites, told apart by the name that the client asked for."""

    async def mark(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Made-Up"] = "yes: numbers invented for a course"

    whole = web.Application()
    whole.on_response_prepare.append(mark)
    whole.add_domain(ADEME, ademe.Api(plan).app())
    whole.add_domain(DATA_GOUV, _catalogue())
    whole.add_domain(DATA_GOUV_FILES, _Files(plan).app())
    return whole


def _catalogue() -> web.Application:
    async def resource(request: web.Request) -> web.Response:
        if request.match_info["id"] != OUTLINES_ID:
            return web.Response(status=404, text="The datalab does not have this resource.\n")
        raise web.HTTPFound(f"https://{DATA_GOUV_FILES}{OUTLINES_PATH}")

    site = web.Application()
    # the address of old, and the one that the site itself leads to today
    site.add_routes([web.get("/fr/datasets/r/{id}", resource)])
    site.add_routes([web.get("/api/1/datasets/r/{id}", resource)])
    return site


class _Files:
    """The files, each made when it is first asked for."""

    def __init__(self, plan: faults.Faults) -> None:
        self._plan = plan
        self._making: asyncio.Task[bytes] | None = None

    def app(self) -> web.Application:
        site = web.Application()
        site.add_routes([web.get(OUTLINES_PATH, self.outlines)])
        return site

    async def outlines(self, request: web.Request) -> web.StreamResponse:
        """The zipped shapefile, whole or from a byte on (``Range: bytes=N-``)."""
        if self._making is None or (self._making.done() and self._making.exception()):
            self._making = asyncio.create_task(_drawn())
        content = await asyncio.shield(self._making)
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        # a part that is asked for counts as the attempt after the fault, so that the next
        # download meets the fault again
        fault = self._plan.of_file(request.path) if request.method == "GET" else ""
        if request.method != "GET" or part is None or part[0] == "bytes=0-":
            return await faults.answer(request, content, "application/zip", fault, ranges=True)
        first, last = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
        if first > last:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(content)}"})
        return web.Response(
            status=206,
            body=content[first : last + 1],
            content_type="application/zip",
            headers={"Content-Range": f"bytes {first}-{last}/{len(content)}"},
        )


async def _drawn() -> bytes:
    # in a process of its own: geopandas would stay in the memory of this one
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "datalab.local_sites.outlines", stdout=asyncio.subprocess.PIPE
    )
    content, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("the outlines could not be drawn; see above")
    return content


async def serve(folder: Path, port: int, plan: faults.Faults) -> None:
    """Serve until SIGTERM.

    Parameters
    ----------
    folder
        Of the datalab; ``certs/internet.pem`` holds the key and certificate of HOSTS.
    port
        Of 127.0.0.1, for the proxy.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certs" / "internet.pem")
    runner = web.AppRunner(app(plan), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, shutdown_timeout=0.1).start()
    inside = int(runner.addresses[0][1])
    proxy = Proxy(os.environ[PASSWORD], dict.fromkeys(HOSTS, inside), os.environ.get(UPSTREAM, ""))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", port)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await ended.wait()
    server.close()


def main() -> int:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(description="Local answers for the course's addresses.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--datalab", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--faults", default=",".join(faults.PAGES), help="of each page in turn")
    parser.add_argument("--times", type=int, default=1, help="that an address fails in a row")
    given = parser.parse_args()
    pages = tuple(given.faults.split(","))
    if not set(pages) <= faults.KINDS:
        parser.error(f"--faults takes {', '.join(sorted(faults.KINDS - {''}))}")
    plan = faults.Faults(pages, given.times)
    try:
        asyncio.run(serve(given.datalab, given.port, plan))
    except OSError as error:
        print(f"port {given.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
