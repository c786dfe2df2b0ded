"""Labeled datasets joined by class names: the first is trained and tested on, the others are only trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ferbench.contract.dataset import Damage, Dataset, DatasetInfo, RankGroups, Sample
from ferbench.errors import UsageError
from ferbench.readers.paths import ImageFiles
from ferbench.records.cell import digest


@dataclass(frozen=True)
class Part:
    """A dataset of a join, and the class set of it that is used."""

    dataset: Dataset
    task: str
    class_names: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.dataset.info.name


class JoinedDataset(Dataset):
    """The first part with all its splits, and the training images of the others; ids are `part/id`.

    Each part is read from its own folder, as it was prepared. If the labels of one part must be drawn by video or
    subject, an image without one is its own group. Raises UsageError if parts cannot be joined: they have a class
    that the first lacks, different crops, or different groups.
    """

    def __init__(self, root: Path, name: str, parts: Sequence[Part]) -> None:
        super().__init__(root, name)
        self.parts = tuple(parts)
        self._refuse_other_classes()
        self.crop = self._crop()
        self.groups = self._groups()
        self.on_bad_record = "skip" if any(part.dataset.on_bad_record == "skip" for part in parts) else "stop"

    @property
    def info(self) -> DatasetInfo:
        first, infos = self.parts[0], [part.dataset.info for part in self.parts]
        others = ", ".join(f"{part.name} ({part.task} classes)" for part in self.parts[1:])
        return DatasetInfo(
            name=str(self.name),
            title=f"{self.name} ({' + '.join(info.name for info in infos)})",
            licence="; ".join(f"{info.name}: {info.licence}" for info in infos),
            classes={first.task: first.class_names},
            default_classes=first.task,
            family=infos[0].family,
            citation="; ".join(info.citation for info in infos if info.citation),
            gated=any(info.gated for info in infos),
            redistributable_labels=all(info.publishes_labels for info in infos),
            rule=f"{first.name} ({first.task} classes) with its splits, and the training images of {others}, by the "
            "names of classes",
            rank_groups=self.groups,
        )

    def samples(self) -> Iterator[Sample | Damage]:
        for part in self.parts:
            files = ImageFiles(part.dataset.root)
            for entry in part.dataset.samples():
                if isinstance(entry, Damage):
                    yield replace(entry, record=f"{part.name}/{entry.record}")
                elif part is self.parts[0] or (entry.split == "train" and entry.class_name in part.class_names):
                    yield self._sample(part, entry, files)

    def source_digest(self) -> str:
        return digest([[part.name, part.task, part.dataset.source_digest()] for part in self.parts])

    def _sample(self, part: Part, sample: Sample, files: ImageFiles) -> Sample | Damage:
        """A sample with the bytes of its image, which must be below the root of its part."""
        name = f"{part.name}/{sample.id}"
        try:
            image = files.read(sample)
        except (OSError, ValueError) as error:
            return Damage(name, str(error))
        return replace(
            sample,
            id=name,
            image=image,
            subject=self._group(part, sample, "subject"),
            video=self._group(part, sample, "video"),
            box=sample.box if part.dataset.crop == self.crop else None,  # images of uncropped parts are not cropped
        )

    def _group(self, part: Part, sample: Sample, kind: RankGroups) -> str | None:
        """The subject or video of a sample; its id if labels are drawn by this kind and the sample has none."""
        of = getattr(sample, kind) or (sample.id if self.groups == kind else None)
        return of and f"{part.name}/{of}"

    def _refuse_other_classes(self) -> None:
        first = self.parts[0]
        for part in self.parts[1:]:
            if more := [name for name in part.class_names if name not in first.class_names]:
                tasks = ", ".join(f"{part.name}@{task}" for task in part.dataset.info.classes)
                raise UsageError(
                    f"{self.root}: '{part.name}' has the class {', '.join(more)}, which '{first.name}' lacks; join "
                    f"another of its class sets ({tasks}), or omit it"
                )

    def _crop(self) -> float | None:
        found = {part.dataset.crop for part in self.parts} - {None}
        if len(found) > 1:
            ways = ", ".join(f"{part.name}: {part.dataset.crop}" for part in self.parts)
            raise UsageError(f"{self.root}: the datasets have different crops ({ways}); prepare them with one --crop")
        return next(iter(found), None)

    def _groups(self) -> RankGroups:
        found = {part.dataset.info.rank_groups for part in self.parts} - {"image"}
        if len(found) > 1:
            ways = ", ".join(f"{part.name} by {part.dataset.info.rank_groups}" for part in self.parts)
            raise UsageError(
                f"{self.root}: the labels of these datasets must be drawn by different groups ({ways}); join others"
            )
        return next(iter(found), "image")
