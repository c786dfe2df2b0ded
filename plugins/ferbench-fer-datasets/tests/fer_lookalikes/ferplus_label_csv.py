"""FERPlus as folders with label.csv: no header, face boxes in quotes, other votes than in fer2013new.csv."""

from pathlib import Path

from fer_lookalikes import ferplus
from fer_lookalikes.expected import Expected, write, write_image
from fer_lookalikes.ferplus import RULES, Label

FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
BOX = (0.0, 4.0, 46.0, 48.0)

# The other file has 4,0,0,1,3,2,0,0,0,0 for this image. 3 of 8 votes are more than 30 %, 5 less than three quarters.
FIRST: tuple[str, str, str, tuple[Label, ...]] = (
    "Training",
    "fer0000000",
    "5,0,0,1,3,1,0,0,0,0",
    ("neutral", {"neutral": 5 / 8, "anger": 3 / 8}, {"neutral": 5 / 8, "anger": 3 / 8}, "neutral", "neutral"),
)
# Names occur once in these lists, and each has an image.
ROWS = (FIRST, *(row for i, row in enumerate(ferplus.ROWS) if row[1] and i not in (0, 3)))


def build(root: Path) -> dict[str, list[Expected]]:
    samples: dict[str, list[Expected]] = {f"ferplus-label-csv{rule}": [] for rule in RULES} | {"ferplus-leaf": []}
    lines: dict[str, list[str]] = {usage: [] for usage in FOLDERS}
    for i, (usage, name, counts, labels) in enumerate(ROWS):
        lines[usage].append(f'{name}.png,"(0, 4, 46, 48)",{counts}')
        write_image(root / "data" / FOLDERS[usage] / f"{name}.png", 20 * i, "PNG")
        split = ferplus.SPLITS[usage]
        for rule, label in zip(RULES, labels, strict=True):
            if label:
                samples[f"ferplus-label-csv{rule}"].append(Expected(name, split, label, 20 * i, box=BOX))
        if labels[0]:
            trained_on = split.replace("validation", "train")
            samples["ferplus-leaf"].append(Expected(name, trained_on, labels[0], 20 * i, box=BOX))
    for usage, folder in FOLDERS.items():
        write(root / "data" / folder / "label.csv", "\n".join(lines[usage]) + "\n")
    return samples
