"""FERPlus as fer2013new.csv beside the folders that FERPlus's own script writes images to, without label.csv."""

from pathlib import Path

from fer_lookalikes import ferplus
from fer_lookalikes.expected import Expected, write, write_image
from fer_lookalikes.ferplus import HEADER, ROWS, RULES

FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
TWICE = {"row00003", "row00004"}
"""Of one name: the later image has overwritten the earlier."""


def build(root: Path) -> dict[str, list[Expected]]:
    lines = [HEADER]
    for i, (usage, name, counts, _) in enumerate(ROWS):
        lines.append(f"{usage},{name and name + '.png'},{counts}")
        if name:
            write_image(root / "data" / FOLDERS[usage] / f"{name}.png", 20 * i, "PNG")
    write(root / "fer2013new.csv", "\n".join(lines) + "\n")
    samples = {f"ferplus{rule}": list(ferplus._samples(i)) for i, rule in enumerate(RULES)}
    return {name: [sample for sample in rows if sample.id not in TWICE] for name, rows in samples.items()}
