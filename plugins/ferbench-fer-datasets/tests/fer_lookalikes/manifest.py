"""Anybody's manifest: all columns and one more, with empty fields."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

SAMPLES = [
    Expected("a.jpg", "train", "happiness", shade_of("a.jpg"), "s1", None, (1.0, 0.0, 3.0, 4.0)),
    Expected("b/b.png", "test", "fear", shade_of("b.png"), None, "v7"),
    Expected("b/c.jpg", "unlabeled", None, shade_of("c.jpg")),
    Expected("b/d.jpg", "train", "sadness", shade_of("d.jpg"), "s2"),
    Expected("b/e.jpg", "validation", "fear", shade_of("e.jpg"), "s2", "v8"),
]


def build(root: Path) -> dict[str, list[Expected]]:
    lines = ["path,label,split,subject,video,x0,y0,x1,y1,remark"]
    for sample in SAMPLES:
        write_image(root / sample.id)
        box = sample.box or ("",) * 4
        fields = (sample.id, sample.label or "", sample.split, sample.subject or "", sample.video or "", *box, "!")
        lines.append(",".join(map(str, fields)))
    write(root / "manifest.csv", "\n".join(lines) + "\n")
    return {"manifest": SAMPLES}
