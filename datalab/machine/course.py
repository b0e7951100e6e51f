"""Whether this datalab is the course's, or a package that somebody installed for a project."""

from functools import cache
from importlib.util import find_spec

#: Left out of the package, and what they import.
OF_THE_COURSE = ("datalab.samples", "datalab.local_sites", "aiohttp", "numpy", "pyarrow")


@cache
def is_the_course() -> bool:
    """Whether the course's data, and its answers for official addresses, can be made here.

    A project that is not the course has data of its own. It gets the same people, buckets
    and rights, and the buckets are empty.
    """
    return all(find_spec(name) for name in OF_THE_COURSE)
