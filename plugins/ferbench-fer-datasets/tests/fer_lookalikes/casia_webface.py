"""CASIA-WebFace: a folder for each person."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image


def build(root: Path) -> dict[str, list[Expected]]:
    """Two images of each of two people."""
    names = [f"{person}/{number:03d}.jpg" for person in ("0000045", "0000099") for number in (1, 2)]
    for name in names:
        write_image(root / "CASIA-WebFace" / name)
    write(root / "CASIA-WebFace" / "0000045" / "._001.jpg", "of another system")
    return {"casia-webface": [Expected(name, "unlabeled", None, shade_of(name)) for name in names]}
