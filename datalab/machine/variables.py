"""Variables of the user's shell that would lead S3 and PostgreSQL clients elsewhere."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Families that a service sets as a whole; AWS_PROFILE, AWS_ENDPOINT_URL_S3, PGSERVICE
# and MC_INSECURE are members that a laptop may have and a service has not.
OWNED_PREFIXES = ("AWS_", "PG", "MC_")
#: The environment is the whole process's: datalabs may be started side by side.
_ENVIRONMENT = threading.RLock()


@contextmanager
def without_strays() -> Iterator[None]:
    """Hide those variables, and the user's AWS files, from the libraries of this process.

    boto3 and libpq read them even where each setting is given: both refuse to work with
    an AWS_PROFILE or a PGSERVICE that names nothing.
    """
    with _ENVIRONMENT:
        strays = {name: os.environ.pop(name) for name in list(os.environ) if is_owned(name)}
        os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
        try:
            yield
        finally:
            del os.environ["AWS_CONFIG_FILE"], os.environ["AWS_SHARED_CREDENTIALS_FILE"]
            os.environ.update(strays)


def is_owned(name: str) -> bool:
    """Whether the variable belongs to one of the families."""
    return name.startswith(OWNED_PREFIXES)
