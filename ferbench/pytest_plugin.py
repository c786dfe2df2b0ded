"""The conformance suite for plugin authors: `pytest --ferbench NAME` adds one test per check."""

from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the conformance suite."""
    parser.addoption("--ferbench", metavar="NAME", help="also run ferbench's conformance suite on this plugin")
    parser.addoption("--ferbench-slow", action="store_true", help="also run its checks that start processes")
    parser.addoption("--ferbench-root", metavar="DIR", type=Path, help="folder with the images of the checked dataset")


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Append the suite's checks to the collected tests."""
    name = config.getoption("--ferbench")
    if name:
        items.extend(_checks(session, config, name))


def _checks(session: pytest.Session, config: pytest.Config, name: str) -> Iterator[pytest.Item]:
    # Imported only if needed, because every pytest in this environment loads this module.
    from ferbench.conformance.checks import planned_checks
    from ferbench.discovery.loader import load_registry
    from ferbench.errors import FerbenchError

    try:
        slow, root = config.getoption("--ferbench-slow"), config.getoption("--ferbench-root")
        checks = list(planned_checks(load_registry(), name, slow=slow, root=root))
    except FerbenchError as error:
        raise pytest.UsageError(f"--ferbench {name}: {error}") from None
    for title, check in checks:
        yield ConformanceItem.from_parent(session, name=f"ferbench[{title}]", check=check)


class ConformanceItem(pytest.Item):
    """One check of the suite as a test."""

    def __init__(self, *, check: object, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self._check = check

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return what pytest prints next to the outcome."""
        return self.session.path, None, self.name

    def runtest(self) -> None:
        """Run the check; its finding is the text of the failure."""
        result = self._check()  # type: ignore[operator]
        if not result.ok:
            pytest.fail(str(result), pytrace=False)
