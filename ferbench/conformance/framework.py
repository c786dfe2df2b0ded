"""What a check is: a function that fails by raising, with what it protects and how to mend what it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ferbench.discovery.foreign_code import describe, text_of
from ferbench.errors import FerbenchError

Outcome = Literal["ok", "warning", "failed"]
Found = str | None


class Doubt(str):
    """What a check returns if it saw nothing wrong and nothing that proves the opposite; shown as a warning."""


@dataclass(frozen=True)
class CheckResult:
    """One thing that was checked of one registered name."""

    name: str
    outcome: Outcome
    detail: str = ""
    protects: str = ""
    mend: str = ""

    @property
    def ok(self) -> bool:
        """Whether the check found nothing wrong; a warning does not make a plugin fail."""
        return self.outcome != "failed"

    def __str__(self) -> str:
        return f"{self.detail}\n    why: {self.protects}\n remedy: {self.mend}"


@dataclass(frozen=True)
class Check:
    """A check of one kind of plugin.

    `function` is given the kind's case (the loaded target and what its checks share). It returns a detail, None or a
    `Doubt`, or raises: an AssertionError with what was found, or whatever a stranger's code raises.
    A `slow` check starts processes; it runs only if it is asked for.
    """

    name: str
    protects: str
    mend: str
    function: Callable[[Any], Found]
    slow: bool = False

    def run(self, title: str, case: object) -> CheckResult:
        """Check a case; whatever is raised is what was found."""
        try:
            detail = self.function(case)
        except (Exception, SystemExit) as error:
            own = isinstance(error, FerbenchError | AssertionError) and text_of(error)
            text = text_of(error) if own else describe(error)
            return CheckResult(title, "failed", text, self.protects, self.mend)
        outcome: Outcome = "warning" if isinstance(detail, Doubt) else "ok"
        return CheckResult(title, outcome, detail or "", self.protects, self.mend)


class Checks(list[Check]):
    """The checks of one kind, in the order in which they run."""

    def add(
        self, name: str, *, protects: str, mend: str, slow: bool = False
    ) -> Callable[[Callable[[Any], Found]], Callable[[Any], Found]]:
        """Make the function below a check."""

        def added(function: Callable[[Any], Found]) -> Callable[[Any], Found]:
            self.append(Check(name, protects, mend, function, slow))
            return function

        return added
