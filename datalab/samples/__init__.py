"""The objects that a store has from the start, made up in memory."""

from collections.abc import Iterator

from datalab.samples.columns import MADE_UP, Sample

__all__ = ["MADE_UP", "Sample", "all_samples"]


def all_samples() -> Iterator[tuple[str, Sample]]:
    """Each object with the name of its bucket, in the order of upload."""
    from datalab.samples.earth import samples_earth  # after the first have been put
    from datalab.samples.insee import samples

    for sample in samples():
        yield "donnees-insee", sample
    for sample in samples_earth():
        yield "earth-science", sample
