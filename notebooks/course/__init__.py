"""Helpers of the notebooks, shown once and read in one sitting."""


class CourseError(Exception):
    """Something that the reader can mend: one sentence on what is wrong, one on what to do.

    Parameters
    ----------
    problem, next_step
        The two sentences.
    """

    def __init__(self, problem: str, next_step: str) -> None:
        super().__init__(f"{problem} {next_step}")
        self.problem = problem
        self.next_step = next_step

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the two sentences, without the lines of this module."""
        return [self.problem, self.next_step]
