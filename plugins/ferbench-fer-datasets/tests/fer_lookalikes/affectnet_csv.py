"""AffectNet with labels.csv: an index without a name in front, and labels that are not those of the folders."""

from pathlib import Path

from fer_lookalikes.expected import Expected, write, write_image

ROWS = {  # folder, label in the list
    "anger/image0000006.jpg": "surprise",
    "anger/image0000060.jpg": "anger",
    "contempt/image0000061.jpg": "contempt",
    "disgust/image0000062.jpg": "disgust",
    "fear/image0000063.jpg": "fear",
    "happy/image0000064.jpg": "happy",
    "neutral/image0000065.png": "neutral",
    "sad/image0000066.jpg": "sad",
}
WORDS = {"happy": "happiness", "sad": "sadness"}


def build(root: Path) -> dict[str, list[Expected]]:
    lines, samples = [",pth,label,relFCs"], []
    for number, (name, label) in enumerate(ROWS.items()):
        write_image(root / name, 30 * number)
        lines.append(f"{number},{name},{label},0.87{number}")
        samples.append(Expected(name, "train", WORDS.get(label, label), 30 * number))
    write(root / "labels.csv", "\n".join(lines) + "\n")
    return {"affectnet-csv": samples}
