"""Registers the readers with ferbench; imports nothing heavy."""

from ferbench.hookspecs import Register, hookimpl


@hookimpl
def ferbench_register_datasets(register: Register) -> None:
    """Readers of official layouts; the data itself comes from its publishers, under their licences."""
    register("raf-db", "ferbench_fer_datasets.raf_db:RafDb", summary="RAF-DB basic: 12,271 + 3,068 aligned faces")
    register(
        "raf-db-original",
        "ferbench_fer_datasets.raf_db:RafDbOriginal",
        summary="RAF-DB basic: the original images, cut to the face box",
    )
    register(
        "fer2013",
        "ferbench_fer_datasets.fer2013:Fer2013",
        summary="FER2013 from its CSV file: 28,709 + 3,589, and 3,589 for validation",
    )
    register(
        "fer2013-folders",
        "ferbench_fer_datasets.fer2013_folders:Fer2013Folders",
        summary="FER2013 from folders of images, in the splits of the copy",
    )
    register(
        "affectnet",
        "ferbench_fer_datasets.affectnet:AffectNet",
        summary="AffectNet of 2021: 287,651 + 3,999 cut-out faces",
    )
    register(
        "affectnet-2017",
        "ferbench_fer_datasets.affectnet_2017:AffectNet2017",
        summary="AffectNet of 2017: original images, cut to the face box",
    )
    register(
        "affectnet-yolo",
        "ferbench_fer_datasets.affectnet_yolo:AffectNetYolo",
        summary="A derivative of AffectNet: re-uploads in YOLO's layout, names in data.yaml",
    )
    register(
        "affectnet-csv",
        "ferbench_fer_datasets.affectnet_csv:AffectNetCsv",
        summary="A derivative of AffectNet: re-uploads with labels.csv",
    )
    _register_ferplus(register)


def _register_ferplus(register: Register) -> None:
    """Register one reader for each rule and each of the two files of votes."""
    rules = {
        "": ("", "majority of votes"),
        "-probability": ("Probability", "shares of the strongest classes"),
        "-multi-target": ("MultiTarget", "shares of all classes with 30 % of the votes"),
        "-argmax": ("Argmax", "most votes of all ten columns"),
        "-argmax-emotions": ("ArgmaxEmotions", "most votes of the eight emotions"),
    }
    for suffix, (kind, text) in rules.items():
        target = f"ferbench_fer_datasets.ferplus:FerPlus{kind}"
        register(f"ferplus{suffix}", target, summary=f"FERPlus, fer2013new.csv and fer2013.csv: {text}")
        target = f"ferbench_fer_datasets.ferplus:FerPlusLabelCsv{kind}"
        register(f"ferplus-label-csv{suffix}", target, summary=f"FERPlus, folders with label.csv: {text}")
    register(
        "ferplus-leaf",
        "ferbench_fer_datasets.ferplus:FerPlusLeaf",
        summary="FERPlus as LEAF splits it: 28,236 + 3,137, majority of votes",
    )
    register("sfew", "ferbench_fer_datasets.sfew:Sfew", summary="SFEW 2.0: aligned faces from films, tested on Val")
    register("ck-plus", "ferbench_fer_datasets.ck_plus:CkPlus", summary="CK+: the peak frames of 327 posed sequences")
    register(
        "ck-plus-neutral",
        "ferbench_fer_datasets.ck_plus:CkPlusNeutral",
        summary="CK+: the peak frames, and the first of each sequence as neutral",
    )
    register(
        "ck-plus-48",
        "ferbench_fer_datasets.ck_plus_48:CkPlus48",
        summary="CK+48: the peak frames as re-uploaded, cut to faces of 48 px",
    )
    register("jaffe", "ferbench_fer_datasets.jaffe:Jaffe", summary="JAFFE: 213 posed expressions of ten women")
    register("kdef", "ferbench_fer_datasets.kdef:Kdef", summary="KDEF: 980 posed expressions of 70 people, frontal")
    register("kdef-all-angles", "ferbench_fer_datasets.kdef:KdefAllAngles", summary="KDEF: 4,900, from five angles")
    register("expw", "ferbench_fer_datasets.expw:ExpW", summary="ExpW: 91,793 faces from the web, cut to their boxes")
    register(
        "aff-wild2",
        "ferbench_fer_datasets.aff_wild2:AffWild2",
        summary="Aff-Wild2, EXPR: 585,317 training frames of videos, eight classes with other",
    )
    register("vggface2", "ferbench_fer_datasets.face_pools:VggFace2", summary="Pool: VGGFace2, its training people")
    register(
        "casia-webface",
        "ferbench_fer_datasets.face_pools:CasiaWebFace",
        summary="Pool: CASIA-WebFace in folders of people",
    )
    register(
        "casia-webface-112",
        "ferbench_fer_datasets.face_pools:CasiaWebFace112",
        summary="Pool: CASIA-WebFace aligned, as RecordIO",
    )
    register("celeba", "ferbench_fer_datasets.face_pools:CelebA", summary="Pool: CelebA, 202,599 aligned images")
    register("lfw", "ferbench_fer_datasets.face_pools:Lfw", summary="Pool: Labeled Faces in the Wild, 13,233 images")
