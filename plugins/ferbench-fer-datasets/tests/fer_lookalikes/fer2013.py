"""FER2013 as fer2013.csv: ten rows of pixels in three splits, two of them with the same pixels."""

from pathlib import Path

from fer_lookalikes.expected import Expected, write

LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
SPLITS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
USAGES = ("Training",) * 6 + ("PublicTest",) * 2 + ("PrivateTest",) * 2


def pixels(shade: int) -> str:
    """The column of that name for a grey image."""
    return " ".join([str(shade)] * 2304)


def rows() -> list[tuple[int, str, str]]:
    """Emotion, usage and pixels."""
    return [(i % 7, usage, pixels(20 * min(i, 8))) for i, usage in enumerate(USAGES)]


def samples() -> list[Expected]:
    return [Expected(f"row{i:05d}", SPLITS[usage], LABELS[i % 7], 20 * min(i, 8)) for i, usage in enumerate(USAGES)]


def build(root: Path) -> dict[str, list[Expected]]:
    lines = ["emotion,pixels,Usage", *(f"{emotion},{grey},{usage}" for emotion, usage, grey in rows())]
    write(root / "fer2013/fer2013.csv", "\n".join(lines) + "\n")
    return {"fer2013": samples()}
