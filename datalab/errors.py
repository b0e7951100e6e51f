"""The one error of this package: what was wrong, and what to do next."""


class DatalabError(Exception):
    """A situation that the user can mend.

    Parameters
    ----------
    problem
        What is wrong, naming the file, the port or the command.
    next_step
        What to do about it.
    """

    def __init__(self, problem: str, next_step: str) -> None:
        super().__init__(f"{problem}\n{next_step}")
        self.problem = problem
        self.next_step = next_step
