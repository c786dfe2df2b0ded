"""FER2013 as icml_face_data.csv: columns in another order with spaces before their names; train.csv, test.csv too."""

from pathlib import Path

from fer_lookalikes.expected import Expected, write
from fer_lookalikes.fer2013 import rows, samples


def build(root: Path) -> dict[str, list[Expected]]:
    tables = {
        "icml_face_data.csv": ["emotion, Usage, pixels", *(f"{e},{usage},{grey}" for e, usage, grey in rows())],
        "train.csv": ["emotion,pixels", *(f"{e},{grey}" for e, usage, grey in rows() if usage == "Training")],
        "test.csv": ["pixels", *(grey for _, usage, grey in rows() if usage != "Training")],
    }
    for name, lines in tables.items():
        write(root / name, "\n".join(lines) + "\n")
    return {"fer2013": samples()}
