"""What a service of the SSP Cloud has, and the datalab's environment cut down to it.

Read in November 2026 in the public repositories of InseeFrLab: the chart
``jupyter-python`` 2.5.2 with library-chart 2.1.7 (``_secret.tpl``), the charts of
PostgreSQL, and images-datascience after pull request 399, which took ``mc`` away.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from datalab.machine.trust import BUNDLE_VARIABLES
from datalab.servers import Server
from datalab.servers.rights import STUDENT

NAMESPACE = f"user-{STUDENT}"

#: Variable of a service, what it holds, and who sets it.
VARIABLES = {
    "AWS_ACCESS_KEY_ID": ("key of seven days", "library-chart"),
    "AWS_SECRET_ACCESS_KEY": ("its secret", "library-chart"),
    "AWS_SESSION_TOKEN": ("its token", "library-chart"),
    "AWS_DEFAULT_REGION": ("`us-east-1`", "library-chart"),
    "AWS_S3_ENDPOINT": ("host of the store, without `https://`", "library-chart"),
    "AWS_ENDPOINT_URL": ("its address, with a slash at the end", "library-chart"),
    "S3_ENDPOINT": ("the same", "library-chart"),
    "AWS_PATH_STYLE_ACCESS": ("`true`", "library-chart"),
    "AWS_WORKING_DIRECTORY_PATH": ("empty", "library-chart"),
    "KUBERNETES_NAMESPACE": ("`user-` and the name of the user and the bucket", "library-chart"),
}
#: The same of a PostgreSQL service, if the user has one: `--with postgresql`.
DATABASE_VARIABLES = {
    name: (text, "chart of PostgreSQL")
    for name, text in {
        "PGHOST": "host of the server",
        "PGPORT": "its port",
        "PGUSER": "a role that owns its database, and may make neither roles nor databases",
        "PGPASSWORD": "its password",
        "PGDATABASE": "its database",
    }.items()
}
#: The same of a service with Spark, `--with spark`.
SPARK_VARIABLES = {
    "SPARK_REMOTE": (
        "address of Spark; the platform's service `jupyter-pyspark` finds its own without it",
        "datalab",
    )
}
#: What the course's own datalab has and a service has not.
NEVER = (
    "MY_BUCKET",
    "PROJECT_BUCKET",
    "SCRATCH_BUCKET",
    "MY_TOKEN_FILE",
    "COLLEAGUE_TOKEN_FILE",
    "AMQP_URL",
    "AMQP_EXCHANGE",
    "NOTIFICATION_ARN",
    "AWS_VIRTUAL_HOSTING",
)
#: Not the platform's, and no service works on a laptop without them: how this machine
#: reaches its store (whose authority only this machine knows) and a package index, ...
NETWORK = (
    *BUNDLE_VARIABLES,
    *("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"),
)
#: ... and what every process of a machine has.
MACHINE = (
    *("HOME", "USER", "LOGNAME", "SHELL", "PATH", "PWD", "TMPDIR", "TZ"),
    *("LANG", "LANGUAGE", "TERM", "COLUMNS", "LINES", "DISPLAY", "WAYLAND_DISPLAY", "CI"),
)
MACHINE_PREFIXES = ("LC_", "XDG_", "PIP_", "UV_", "DATALAB_", "JUPYTER_", "PYTHON")
GONE = "mc"  # the program that the images had until September 2026


def service_environment(
    values: Mapping[str, str | None],
    servers: Iterable[Server],
    path: str,
    services: Collection[str] = (),
) -> dict[str, str | None]:
    """Of a datalab's variables those of a service; all others are to be unset.

    Parameters
    ----------
    values
        What a laptop has.
    servers
        Those of the datalab.
    path
        ``PATH`` of a service, see :func:`path_without`.
    services
        Keys of the servers that the user has a service of as well.
    """
    kept: dict[str, str | None] = {name: values[name] for name in NETWORK if name in values}
    for server in servers:
        if server.key in services or not server.of_a_service:
            kept |= server.service_variables()
    return {
        **{name: None for name in [*values, *os.environ] if not is_of_the_machine(name)},
        **kept,
        "KUBERNETES_NAMESPACE": NAMESPACE,
        "PATH": path,
    }


def is_of_the_machine(name: str) -> bool:
    """Whether a variable is kept as it is."""
    return name in (*MACHINE, *NETWORK) or name.startswith(MACHINE_PREFIXES)


def path_without(program: str, path: str, shadows: Path) -> str:
    """``path``, in which ``program`` is not found.

    A folder that holds it is replaced by one below ``shadows`` with links to all else.
    """
    folders = []
    for folder in map(Path, path.split(os.pathsep)):
        if (folder / program).exists():
            shadow = shadows / "-".join(folder.absolute().parts[1:])
            shadow.mkdir(parents=True, exist_ok=True)
            for other in folder.iterdir():
                link = shadow / other.name
                if other.name != program and not link.is_symlink():
                    link.symlink_to(other)
            folders.append(str(shadow))
        else:
            folders.append(str(folder))
    return os.pathsep.join(folders)
