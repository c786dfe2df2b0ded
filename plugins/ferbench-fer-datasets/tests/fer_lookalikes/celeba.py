"""CelebA: aligned images in a folder of the same name, beside lists of one and of two header lines."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image


def build(root: Path) -> dict[str, list[Expected]]:
    """Five images of three partitions."""
    names = [f"{number:06d}.jpg" for number in range(1, 6)]
    base = root / "celeba"
    for name in names:
        write_image(base / "img_align_celeba" / "img_align_celeba" / name)
    write(base / "list_eval_partition.txt", "".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))
    write(base / "list_attr_celeba.txt", "5\nMale Smiling \n" + "".join(f"{name} -1  1\n" for name in names))
    write(base / "list_bbox_celeba.txt", "5\nimage_id x_1 y_1 width height\n000001.jpg    95  71 226 313\n")
    write(base / "identity_CelebA.txt", "000001.jpg 2880\n")
    write(base / "img_align_celeba" / ".DS_Store")
    return {"celeba": [Expected(name, "unlabeled", None, shade_of(name)) for name in names]}
