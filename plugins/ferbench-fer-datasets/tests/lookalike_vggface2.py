"""VGGFace2: people in folders of train and of test, beside lists and boxes."""

from pathlib import Path

from ferbench_fer_datasets.face_pools import VggFace2

from .expected2 import Expected, write_image, write_text

READER = VggFace2


def build(root: Path) -> list[Expected]:
    """Two images of each of three training people."""
    names = [f"n{person:06d}/{number:04d}_01.jpg" for person in (2, 3, 4) for number in (1, 12)]
    for name in names:
        write_image(root / "data" / "train" / name)
    write_image(root / "data" / "test" / "n000001" / "0001_01.jpg")
    write_text(root / "meta" / "identity_meta.csv", 'Class_ID, Name, Sample_Num, Flag, Gender\nn000002, "A", 2, 1, f\n')
    write_text(root / "meta" / "train_list.txt", "".join(f"{name}\n" for name in names))
    write_text(root / "bb_landmark" / "loose_bb_train.csv", 'NAME_ID,X,Y,W,H\n"n000002/0001_01",1,1,5,5\n')
    write_text(root / "data" / "train" / "n000002" / ".DS_Store")
    return [Expected(name, "unlabeled") for name in names]
