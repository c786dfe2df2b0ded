"""What an error must tell: what it is about and what to do, in whatever words."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ferbench.errors import FerbenchError


@contextmanager
def refused(kind: type[FerbenchError], *facts: object) -> Iterator[None]:
    """Within it an error of this kind is raised whose text has all the facts: a file, a value, a command."""
    with pytest.raises(kind) as caught:
        yield
    missing = [str(fact) for fact in facts if str(fact) not in str(caught.value)]
    assert not missing, f"{missing} not in: {caught.value}"
