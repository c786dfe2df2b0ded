"""Train face-recognition weights: a backbone learns to distinguish people from renders without expression labels.

The loss is ArcFace's (Deng et al., CVPR 2019, Eq. 3): features and people are unit vectors, the angle between an image
and its person is enlarged by a margin m, and cosines times s are the logits of a cross-entropy.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
import safetensors.torch
import torch
import torch.nn.functional as F
from scipy.stats import mannwhitneyu
from torch import Tensor, nn

from ferbench.contract.backbone import Backbone
from ferbench.data.augment.weak import Weak
from ferbench.data.prepare.decode import decode_face, resized
from ferbench.discovery.loader import load_registry
from ferbench.errors import DataError
from ferbench.execution.build import build_backbone
from ferbench.records.files import write_together

EMBEDDING = 128
HELD_OUT = 0.05
"""Share of people that are held out from training, to evaluate the net."""
PAIRS = 20_000


@dataclass(frozen=True)
class Settings:
    """The settings of the training, which the card lists."""

    size: int = 48
    epochs: int = 20
    batch: int = 128
    learning_rate: float = 4e-3
    weight_decay: float = 0.02
    scale: float = 30.0
    margin: float = 0.3
    padding: int = 2
    seed: int = 0


@dataclass(frozen=True)
class People:
    """Faces (N, S, S, 3) uint8 and the index of the person of each (N,) int64."""

    images: Tensor
    person: Tensor

    @classmethod
    def read(cls, folder: Path, size: int) -> People:
        """The faces that `render --n-identities` wrote; raises DataError if there are none."""
        path = folder / "identities.parquet"
        if not path.is_file():
            raise DataError(
                f"{folder}: no identities.parquet; make it with `ferbench synthfaces render --n-identities`"
            )
        table = pq.read_table(path, columns=["image", "subject"])
        images = [resized(decode_face(image["bytes"]).image, size) for image in table["image"].to_pylist()]
        person = table["subject"].combine_chunks().dictionary_encode().indices.to_numpy()
        return cls(torch.from_numpy(np.stack(images)), torch.from_numpy(person.astype(np.int64)))

    def of(self, wanted: Tensor) -> People:
        """The faces of the people whose entry in `wanted` (P,) is true."""
        kept = wanted[self.person]
        return People(self.images[kept], self.person[kept])


class ArcFace(nn.Module):
    """The loss of Eq. 3 for features (B, D) and people (B,); the embedding is BatchNorm, a linear layer, BatchNorm."""

    def __init__(self, features: int, people: int, scale: float, margin: float) -> None:
        super().__init__()
        self.embedding = nn.Sequential(
            nn.BatchNorm1d(features), nn.Linear(features, EMBEDDING, bias=False), nn.BatchNorm1d(EMBEDDING)
        )
        self.people = nn.Parameter(torch.randn(people, EMBEDDING))
        self.scale, self.margin = scale, margin

    def forward(self, features: Tensor, person: Tensor) -> Tensor:
        cosine = F.linear(F.normalize(self.embedding(features)), F.normalize(self.people)).clamp(-1, 1)
        return F.cross_entropy(arcface_logits(cosine, person, self.scale, self.margin), person)


def arcface_logits(cosine: Tensor, person: Tensor, scale: float, margin: float) -> Tensor:
    """Cosines (B, P) to logits (B, P): s cos(angle + m) for each image's own person, s cos(angle) for others.

    Above an angle of pi - m, where the cosine would rise again, it falls linearly (as in the authors' code).
    """
    own = cosine.gather(1, person[:, None])
    sine = (1 - own.square()).clamp_min(0).sqrt()
    enlarged = own * math.cos(margin) - sine * math.sin(margin)
    enlarged = torch.where(own > -math.cos(margin), enlarged, own - margin * math.sin(margin))
    return scale * cosine.scatter(1, person[:, None], enlarged)


def pretrain(backbone: Backbone, people: People, settings: Settings) -> Iterator[dict[str, float]]:
    """Train a backbone in place; yields number, loss and AUC of pairs of held-out people after each epoch."""
    generator = torch.Generator().manual_seed(settings.seed)
    torch.manual_seed(settings.seed)
    count = int(people.person.max()) + 1
    held_out = torch.zeros(count, dtype=torch.bool)
    held_out[torch.randperm(count, generator=generator)[: round(HELD_OUT * count)]] = True
    seen, unseen = people.of(~held_out), people.of(held_out)
    person = (~held_out).cumsum(0)[seen.person] - 1
    head = ArcFace(backbone.feature_size, int((~held_out).sum()), settings.scale, settings.margin)
    backbone.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        [*backbone.parameters(), *head.parameters()], settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps = settings.epochs * (len(person) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, steps, pct_start=0.1)
    weak = Weak(settings.padding, crop_probability=1.0)
    for epoch in range(1, settings.epochs + 1):
        total = 0.0
        backbone.train()
        batches = torch.randperm(len(person), generator=generator)[: len(person) // settings.batch * settings.batch]
        for rows in batches.split(settings.batch):
            views, _ = weak(seen.images[rows], generator)
            loss = head(backbone(_normalised(backbone, views)), person[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        yield {
            "epoch": epoch,
            "loss": total * settings.batch / len(batches),
            "auc": verification(backbone, head, unseen, generator),
        }


@torch.no_grad()
def verification(backbone: Backbone, head: ArcFace, people: People, generator: torch.Generator) -> float:
    """Probability that two faces of one person are nearer than two of different people: area under the ROC curve."""
    backbone.eval()
    head.eval()
    parts = people.images.split(500)
    vectors = torch.cat([F.normalize(head.embedding(backbone(_normalised(backbone, part)))) for part in parts])
    head.train()
    first, second = torch.randint(len(vectors), (2, PAIRS), generator=generator)
    order = people.person.argsort(stable=True)
    first = torch.cat([first, order[:-1]])  # neighbours in this order are mostly the same person
    second = torch.cat([second, order[1:]])
    kept = first != second
    same, likeness = (
        (people.person[first] == people.person[second])[kept],
        (vectors[first] * vectors[second]).sum(1)[kept],
    )
    ranks = mannwhitneyu(likeness[same].numpy(), likeness[~same].numpy())
    return float(ranks.statistic) / float(same.sum() * (~same).sum())


def weights(backbone: Backbone) -> bytes:
    """The backbone as a safetensors file: equal nets give equal bytes."""
    return safetensors.torch.save({name: value.contiguous() for name, value in backbone.state_dict().items()})


def card(backbone: str, settings: Settings, people: People, epochs: list[dict[str, float]], sha256: str) -> str:
    """The card of the file, as JSON."""
    content = {
        "backbone": backbone,
        "people": int(people.person.max()) + 1,
        "images": len(people.images),
        "labels": "who is shown; no expression",
        "loss": "ArcFace (Deng et al., CVPR 2019)",
        "settings": asdict(settings),
        "held-out people: AUC of pairs": round(epochs[-1]["auc"], 4),
        "last loss": round(epochs[-1]["loss"], 4),
        "licence": "CC0-1.0",
        "sha256": sha256,
    }
    return json.dumps(content, indent=2) + "\n"


def _normalised(backbone: Backbone, images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (backbone.mean, backbone.std))
    return (images.permute(0, 3, 1, 2).float() / 255 - mean) / std


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.argument("backbone")
@click.option(
    "--epochs", type=click.IntRange(min=1), default=Settings.epochs, show_default=True, help="Passes over the faces."
)
@click.option("--margin", type=float, default=Settings.margin, show_default=True, help="Margin of the angle.")
@click.option("--rate", type=float, default=Settings.learning_rate, show_default=True, help="Peak learning rate.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for weights and card."
)
def main(folder: Path, backbone: str, epochs: int, margin: float, rate: float, out: Path) -> None:
    """Train BACKBONE to distinguish the people in FOLDER; write weights and a card. Reads no expression labels."""
    settings = Settings(epochs=epochs, margin=margin, learning_rate=rate)
    people = People.read(folder, settings.size)
    torch.manual_seed(settings.seed)
    net = build_backbone(load_registry(), backbone, settings.size, None)
    history = []
    for row in pretrain(net, people, settings):
        history.append(row)
        click.echo(f"epoch {row['epoch']}: loss {row['loss']:.3f}, AUC of held-out people {100 * row['auc']:.1f} %")
    content = weights(net)
    stem, sha256 = backbone.replace("/", "-"), hashlib.sha256(content).hexdigest()
    about = card(backbone, settings, people, history, sha256)
    write_together(out, {f"{stem}.safetensors": content, f"{stem}.json": about.encode()})
    click.echo(f"{out / stem}.safetensors: sha256 {sha256}")


if __name__ == "__main__":
    main()
