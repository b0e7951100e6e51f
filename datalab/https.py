"""Ask a server over HTTPS, by no other way than the one that is named."""

import ssl
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT = 5.0  # seconds


def get(url: str, authority: Path, proxy: str = "", timeout: float = TIMEOUT) -> tuple[int, bytes]:
    """Status and body of an answer; status 0 if there is none.

    Parameters
    ----------
    authority
        PEM file. A server whose certificate it does not vouch for has not answered.
    proxy
        URL of the proxy to go through; by default none.
    timeout
        Seconds.
    """
    context = ssl.create_default_context(cafile=str(authority))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": proxy} if proxy else {}),
        urllib.request.HTTPSHandler(context=context),
    )
    try:
        with opener.open(url, timeout=timeout) as answer:
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (urllib.error.URLError, OSError):
        return 0, b""
