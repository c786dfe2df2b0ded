"""The base class of models for untrusted files."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Unknown fields, NaN and infinity are errors; values are not converted to other types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
