"""The one kind of failure that this program has, and the one way to tell it."""


class ProjectError(Exception):
    """Something that whoever runs the program has to mend or to decide.

    Parameters
    ----------
    what
        What happened, in a sentence.
    step
        What to do next, in a sentence.
    """

    def __init__(self, what: str, step: str) -> None:
        super().__init__(f"{what}\n{step}")
