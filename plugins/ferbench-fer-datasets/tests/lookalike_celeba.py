"""CelebA: aligned images in a folder of the same name, beside lists of one and of two header lines."""

from pathlib import Path

from ferbench_fer_datasets.face_pools import CelebA

from .expected2 import Expected, write_image, write_text

READER = CelebA


def build(root: Path) -> list[Expected]:
    """Five images of three partitions."""
    names = [f"{number:06d}.jpg" for number in range(1, 6)]
    base = root / "celeba"
    for name in names:
        write_image(base / "img_align_celeba" / "img_align_celeba" / name)
    write_text(base / "list_eval_partition.txt", "".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))
    write_text(base / "list_attr_celeba.txt", "5\nMale Smiling \n" + "".join(f"{name} -1  1\n" for name in names))
    write_text(base / "list_bbox_celeba.txt", "5\nimage_id x_1 y_1 width height\n000001.jpg    95  71 226 313\n")
    write_text(base / "identity_CelebA.txt", "000001.jpg 2880\n")
    write_text(base / "img_align_celeba" / ".DS_Store")
    return [Expected(name, "unlabeled") for name in names]
