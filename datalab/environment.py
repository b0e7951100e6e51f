"""The environment that a service of the SSP Cloud gives to notebooks, made locally."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from datalab import postgres, rabbitmq
from datalab.issuer import token_file
from datalab.minio import COLLEAGUE, PROJECT, REGION, SCRATCH, STUDENT, Keys
from datalab.strays import is_owned
from datalab.trust import BUNDLE_VARIABLES


def student_environment(
    folder: Path,
    token: Keys,
    port: int,
    postgres_port: int,
    postgres_password: str,
    broker: rabbitmq.Settings | None = None,
) -> dict[str, str | None]:
    """What differs from the present environment; None stands for a variable to unset.

    The names and forms are those that Onyxia injects (chart ``jupyter-python``): the
    endpoint bare in ``AWS_S3_ENDPOINT``, as a URL with a slash at the end in the others.
    MY_BUCKET, SCRATCH_BUCKET, PROJECT_BUCKET, the token files, those about trust and those
    about the broker, where there is one, are this course's additions.
    """
    host = f"127.0.0.1:{port}"
    url = f"https://{host}/"
    bundle = str(folder / "certs" / "bundle.pem")
    values: dict[str, str | None] = {name: None for name in os.environ if is_owned(name)}
    values |= {
        "AWS_ACCESS_KEY_ID": token.access_key,
        "AWS_SECRET_ACCESS_KEY": token.secret_key,
        "AWS_SESSION_TOKEN": token.token,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_S3_ENDPOINT": host,
        "AWS_ENDPOINT_URL": url,
        "S3_ENDPOINT": url,
        "AWS_PATH_STYLE_ACCESS": "true",
        "AWS_WORKING_DIRECTORY_PATH": "",
        "AWS_VIRTUAL_HOSTING": "FALSE",  # the same for GDAL
        "MC_HOST_s3": f"https://{token.access_key}:{token.secret_key}:{token.token}@{host}",
        # mc keeps aliases, keys included, in a folder: not the one of the user's home
        "MC_CONFIG_DIR": str(folder / "mc"),
        "MY_BUCKET": STUDENT,
        "SCRATCH_BUCKET": SCRATCH,
        "PROJECT_BUCKET": PROJECT,
        "MY_TOKEN_FILE": str(token_file(folder, STUDENT)),
        "COLLEAGUE_TOKEN_FILE": str(token_file(folder, COLLEAGUE)),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres_port),
        "PGUSER": postgres.STUDENT,
        "PGPASSWORD": postgres_password,
        "PGDATABASE": postgres.STUDENT,
        "PATH": search_path(folder),
        "AMQP_URL": broker.url() if broker else None,
        "AMQP_EXCHANGE": rabbitmq.EXCHANGE if broker else None,
        "NOTIFICATION_ARN": rabbitmq.NOTIFICATION_ARN if broker else None,
    }
    values |= dict.fromkeys(BUNDLE_VARIABLES, bundle)
    for name in ("NO_PROXY", "no_proxy"):
        # behind a proxy the lab is still reached directly, and what never exists (RFC 2606)
        # fails as it does without one
        others = [part for part in os.environ.get(name, "").split(",") if part]
        values[name] = ",".join(dict.fromkeys([*others, "127.0.0.1", "localhost", ".invalid"]))
    return values


def search_path(folder: Path, laptop: bool = True) -> str:
    """PATH of that environment: the datalab's programs, those of this Python, the user's.

    Only on a ``laptop`` it begins with ``mc``.
    """
    first = [str(folder / "bin-laptop")] if laptop else []
    first += [str(folder / "bin"), str(Path(sys.executable).parent)]
    return os.pathsep.join(dict.fromkeys([*first, *os.get_exec_path()]))


def apply(values: Mapping[str, str | None], environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` with ``values`` set, or unset where they are None."""
    merged: dict[str, str | None] = {**environment, **values}
    return {name: value for name, value in merged.items() if value is not None}
