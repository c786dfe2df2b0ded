"""Labels that count from another number: all of them say something else, and only one says nothing."""

import re

import numpy as np

from fer_lookalikes.affectnet import npy
from fer_lookalikes.damaging import Tree
from fer_lookalikes.expected import write

NUMBERS = (
    ("list_pa*_label.txt", r"(?m)^(\S+\s+)(\d+)()$"),
    ("*_labels.csv", r"(?m)^(.*,)(\d+)()$"),
    ("fer2013.csv", r"(?m)^()(\d)(,)"),
    ("icml_face_data.csv", r"(?m)^()(\d)(,)"),
    ("training.csv", r"(?m)^((?:[^,]*,){6})(\d+)(,)"),
    ("validation.csv", r"(?m)^((?:[^,]*,){6})(\d+)(,)"),
    ("label.lst", r"(?m)^(.* )(\d)()$"),
    ("*_emotion.txt", r"^(\s*)(\d)()"),
    ("labels/*.txt", r"(?m)^()(\d+)( )"),
    ("*_Set/*.txt", r"(?m)^()(-?\d+)()$"),
)
"""Lists, and where in a line the label stands."""


def shifted(tree: Tree) -> None:
    """All labels count from another number."""
    step = tree.chance.choice((-1, 1))
    for pattern, label in NUMBERS:
        for path in sorted(tree.root.rglob(pattern)):
            if path.name[0] != ".":
                moved = re.sub(label, lambda found: f"{found[1]}{int(found[2]) + step}{found[3]}", path.read_text())
                path.write_text(moved)
    for path in tree.root.rglob("*_exp.npy"):
        write(path, npy(np.asarray(str(int(np.load(path)) + step))))
