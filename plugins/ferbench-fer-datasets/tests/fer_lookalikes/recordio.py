"""A pool as RecordIO under a name of anybody's."""

from pathlib import Path

from fer_lookalikes import casia_webface_112
from fer_lookalikes.expected import Expected


def build(root: Path) -> dict[str, list[Expected]]:
    (samples,) = casia_webface_112.build(root).values()
    return {"recordio": [sample._replace(id=f"faces_webface_112x112/{sample.id}") for sample in samples]}
