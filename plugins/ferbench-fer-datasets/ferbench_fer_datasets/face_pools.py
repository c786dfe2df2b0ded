"""Face-recognition datasets as unlabeled pools: images are streamed, identities are not read."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ferbench.contract.dataset import Damage, DatasetInfo
from ferbench.readers.folders import FolderStream
from ferbench.readers.recordio import RecordIOStream
from ferbench.readers.streams import Place
from ferbench.readers.tables import read_lines
from ferbench_fer_datasets.omitted import leave_folder

TEST = "people of the test set"


def _described(name: str, title: str, licence: str, citation: str, rule: str) -> DatasetInfo:
    return DatasetInfo(
        name, title, licence, classes={}, default_classes="", family=name, citation=citation, gated=True, rule=rule
    )


class VggFace2(FolderStream):
    """The people of the training set; those of the test set are kept for face recognition."""

    needs_name = False
    described = _described(
        "vggface2",
        "VGGFace2, train (8,631 people, loosely cropped)",
        "non-commercial research",
        "Cao et al., FG 2018",
        "every image of train",
    )

    def locate(self) -> Path:
        return self.require("train/n000002", hint="--root is the folder with train/n000002").parent

    def shards(self) -> Sequence[str]:
        leave_folder(self, self.folder / self.base.parent.relative_to(self.folder.resolve()) / "test", TEST)
        return super().shards()


class CasiaWebFace(FolderStream):
    """The images as they were published; those of `train.rec` are different."""

    needs_name = False
    described = _described(
        "casia-webface",
        "CASIA-WebFace (about 0.49 million images, 250 px)",
        "non-commercial research",
        "Yi et al., arXiv 1411.7923",
        "every image of the folders of people",
    )

    def locate(self) -> Path:
        hint = "--root is the folder with a folder for each person"
        return self.require("0000045", hint=hint).parent


class CasiaWebFace112(RecordIOStream):
    """The aligned images that InsightFace published."""

    needs_name = False
    described = _described(
        "casia-webface-112",
        "CASIA-WebFace (10,572 people, aligned, 112 px, RecordIO)",
        "non-commercial research",
        "Yi et al., arXiv 1411.7923; Deng et al., CVPR 2019",
        "every image of train.rec",
    )

    def locate(self) -> Path:
        hint = "--root is the folder faces_webface_112x112"
        return self.require("train.rec", hint=hint).parent


class CelebA(FolderStream):
    """The aligned images; if `list_eval_partition.txt` exists, all images in it must exist."""

    needs_name = False
    described = _described(
        "celeba",
        "CelebA (202,599 images of 10,177 people, aligned and cropped)",
        "non-commercial research (mmlab.ie.cuhk.edu.hk/projects/CelebA.html)",
        "Liu et al., ICCV 2015",
        "every image of img_align_celeba, whatever its partition",
    )

    def locate(self) -> Path:
        name = "img_align_celeba"
        return self.require(f"{name}/{name}", name, hint=f"--root is the folder that contains {name}")

    def places(self, shard: str) -> Iterator[Place | Damage]:
        seen = set()
        for place in super().places(shard):
            seen.add(place.id if isinstance(place, Place) else place.record)
            yield place
        if shard == "." and (partition := self.find("list_eval_partition.txt")):
            for number, line in read_lines(self.folder, partition):
                if (fields := line.split()) and fields[0] not in seen:
                    yield Damage(fields[0], f"is missing, but {partition.name}:{number} lists it")


class Lfw(FolderStream):
    """The whole dataset, in any of its alignments."""

    needs_name = False
    described = _described(
        "lfw",
        "Labeled Faces in the Wild (13,233 images of 5,749 people)",
        "research; the photographs are from the news, under the rights of their owners",
        "Huang et al., University of Massachusetts, Amherst, Technical Report 07-49, 2007",
        "every image of the folders of people",
    )

    def locate(self) -> Path:
        return self.require("Aaron_Eckhart", hint="--root is the folder with a folder for each person").parent
