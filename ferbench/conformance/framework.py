"""The parts of a check: a function that raises if it fails, what the check protects, and a remedy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ferbench.discovery.foreign_code import describe, text_of
from ferbench.errors import FerbenchError

Outcome = Literal["ok", "warning", "failed"]
Found = str | None


class Doubt(str):
    """Returned by a check that found neither a fault nor a proof of the opposite; shown as a warning."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of one registered name."""

    name: str
    outcome: Outcome
    detail: str = ""
    protects: str = ""
    mend: str = ""

    @property
    def ok(self) -> bool:
        """Whether the check did not fail; a warning is not a failure."""
        return self.outcome != "failed"

    def __str__(self) -> str:
        return f"{self.detail}\n    why: {self.protects}\n remedy: {self.mend}"


@dataclass(frozen=True)
class Check:
    """A check of one kind of plugin.

    `function` receives the kind's case (the loaded target and objects that its checks share). It returns a detail, None
    or a `Doubt`; or it raises an AssertionError with its finding, or any error of the plugin's code. A `slow` check
    starts processes and runs only on request.
    """

    name: str
    protects: str
    mend: str
    function: Callable[[Any], Found]
    slow: bool = False

    def run(self, title: str, case: object) -> CheckResult:
        """Check a case; an error that is raised becomes the finding."""
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
        """Decorate a function to make it a check."""

        def added(function: Callable[[Any], Found]) -> Callable[[Any], Found]:
            self.append(Check(name, protects, mend, function, slow))
            return function

        return added
