"""Anybody's manifest: all columns and one more, with empty fields."""

from pathlib import Path

from fer_lookalikes.expected import Expected, shade_of, write, write_image

SAMPLES = [
    Expected("face1.jpg", "train", "happiness", shade_of("face1.jpg"), "s1", None, (1.0, 0.0, 3.0, 4.0)),
    Expected("b/face2.png", "test", "fear", shade_of("face2.png"), None, "v7"),
    Expected("b/face3.jpg", "unlabeled", None, shade_of("face3.jpg")),
    Expected("b/face4.jpg", "train", "sadness", shade_of("face4.jpg"), "s2"),
    Expected("b/face5.jpg", "validation", "fear", shade_of("face5.jpg"), "s2", "v8"),
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
