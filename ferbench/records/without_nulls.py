"""Base class for the parts of a record that have gained fields since 0.1."""

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from ferbench.contract.strict import Strict


class WithoutNulls(Strict):
    """Omits null fields when written, so that records older than a field keep their bytes."""

    @model_serializer(mode="wrap")
    def _without_nulls(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}
