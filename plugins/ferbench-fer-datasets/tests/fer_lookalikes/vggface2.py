"""VGGFace2: people in folders of train and of test, beside lists and boxes."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image


def build(root: Path) -> dict[str, list[Expected]]:
    """Two images of each of three training people."""
    names = [f"n{person:06d}/{number:04d}_01.jpg" for person in (2, 3, 4) for number in (1, 12)]
    for name in names:
        write_image(root / "data" / "train" / name)
    write_image(root / "data" / "test" / "n000001" / "0001_01.jpg")
    write(root / "meta" / "identity_meta.csv", 'Class_ID, Name, Sample_Num, Flag, Gender\nn000002, "A", 2, 1, f\n')
    write(root / "meta" / "train_list.txt", "".join(f"{name}\n" for name in names))
    write(root / "bb_landmark" / "loose_bb_train.csv", 'NAME_ID,X,Y,W,H\n"n000002/0001_01",1,1,5,5\n')
    write(root / "data" / "train" / "n000002" / ".DS_Store")
    return {"vggface2": [Expected(name, "unlabeled", None, shade_of(name)) for name in names]}
