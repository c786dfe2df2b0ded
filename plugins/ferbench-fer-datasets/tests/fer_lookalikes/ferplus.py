"""FERPlus as fer2013new.csv beside fer2013.csv: a row without a name, so that names are no row numbers, a name that
occurs twice, a row with nine votes, ties, and rows where unknown or NF is among the strongest.
"""

from collections.abc import Mapping
from pathlib import Path

from fer_lookalikes.expected import Expected, write
from fer_lookalikes.fer2013 import SPLITS, pixels

RULES = ("", "-probability", "-multi-target", "-argmax", "-argmax-emotions")
HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"

Label = str | Mapping[str, float] | None

# By hand, from the words of each rule. Single votes do not count in the first three.
ROWS: tuple[tuple[str, str, str, tuple[Label, ...]], ...] = (
    # 4 of 9 votes are no majority; 4 + 3 are three quarters.
    (
        "Training",
        "fer0000000",
        "4,0,0,1,3,2,0,0,0,0",
        (None, {"neutral": 4 / 7, "anger": 3 / 7}, {"neutral": 4 / 7, "anger": 3 / 7}, "neutral", "neutral"),
    ),
    # 6 of 8 votes are three quarters.
    ("Training", "fer0000001", "6,0,1,1,0,0,0,0,2,0", ("neutral",) * 5),
    ("Training", "", "0,0,0,0,0,0,0,0,0,10", (None,) * 5),
    # Half of the votes are no majority.
    (
        "Training",
        "fer0000002",
        "5,5,0,0,0,0,0,0,0,0",
        (None, {"neutral": 0.5, "happiness": 0.5}, {"neutral": 0.5, "happiness": 0.5}, "neutral", "neutral"),
    ),
    ("Training", "fer0000002", "0,9,0,0,0,0,0,0,0,0", ("happiness",) * 5),
    # Four emotions are too many.
    ("Training", "fer0000003", "0,0,4,2,2,2,0,0,0,0", (None, None, None, "surprise", "surprise")),
    # Unknown is the strongest, NF is kept beside it.
    ("PublicTest", "fer0000004", "1,1,1,1,0,0,0,0,4,2", (None, None, None, None, "neutral")),
    # Emotions with as many votes as unknown and NF come first.
    (
        "PublicTest",
        "fer0000005",
        "0,0,0,0,0,2,2,2,2,2",
        (None, {"disgust": 2 / 6, "fear": 2 / 6, "contempt": 2 / 6}, None, "disgust", "disgust"),
    ),
    # 30 % of 9 votes are less than 3; unknown is among the first, not before them.
    (
        "PrivateTest",
        "fer0000006",
        "3,0,0,0,3,0,1,0,3,0",
        (None, {"neutral": 0.5, "anger": 0.5}, {"neutral": 0.5, "anger": 0.5}, "neutral", "neutral"),
    ),
    # NF is the second, and nothing comes after it.
    ("PrivateTest", "fer0000007", "0,0,0,0,0,0,0,6,0,4", ("contempt",) * 5),
    ("PrivateTest", "fer0000008", "2,2,2,2,2,0,0,0,0,0", (None, None, None, "neutral", "neutral")),
    # No emotion has a vote.
    ("PrivateTest", "fer0000009", "0,0,0,0,0,0,0,0,3,7", (None, None, None, None, "neutral")),
)


def build(root: Path) -> dict[str, list[Expected]]:
    votes = [HEADER, *(f"{usage},{name and name + '.png'},{counts}" for usage, name, counts, _ in ROWS)]
    images = ["emotion,pixels,Usage", *(f"0,{pixels(20 * i)},{row[0]}" for i, row in enumerate(ROWS))]
    write(root / "fer2013new.csv", "\r\n".join(votes))
    write(root / "fer2013.csv", "\n".join(images) + "\n")
    return {f"ferplus{rule}": list(_samples(i)) for i, rule in enumerate(RULES)}


def _samples(rule: int) -> list[Expected]:
    return [
        Expected(f"row{i:05d}", SPLITS[usage], label, 20 * i)
        for i, (usage, _, _, labels) in enumerate(ROWS)
        if (label := labels[rule])
    ]
