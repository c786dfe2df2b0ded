"""FR-pretrain+Mixup (SSFER), and the behaviour of its released code."""

import copy
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ferbench.contract.backbone import Network, token_backbone
from ferbench.contract.batch import Batch, Losses, MethodInfo, Views, strong, weak
from ferbench.contract.method import Method, MethodConfig
from ferbench.contract.optimizer import OptimizerSettings
from ferbench.contract.stage import Stage, StageContext
from ferbench_fr_pretrain_mixup.facemix import facemix_loss, iou, mix, mixed_cross_entropy
from ferbench_fr_pretrain_mixup.mae import Decoder, masked_mean, patchify, unpatchify, visible_patches

RECONSTRUCT, FACEMIX, PSEUDO_LABEL = "reconstruct", "facemix", "pseudo-label"
PRETRAINING_SCHEDULE = {"schedule": "cosine", "warmup": 0.0625}  # 50 of 800 epochs
GREY = 0.0  # normalised pixel value of hidden patches in the report


class Released(MethodConfig):
    """Options for differences of the authors' code from the paper."""

    in_place_mixing: bool = Field(
        False, description="mixing overwrites the real faces, so that their losses are those of mixed faces"
    )
    second_split: bool = Field(
        False, description="the pseudo-label stage uses a second draw of labeled images, so that the method sees more "
        "labels than the budget allows"
    )  # fmt: skip
    first_average: bool = Field(False, description="evaluate FaceMix's EMA instead of the model of the last stage")
    constant_rate: bool = Field(False, description="constant learning rate in the last stage")


class FRPretrainMixup(Method):
    """FR-pretrain+Mixup (SSFER; Song et al., arXiv 2410.17622): three stages on one vision transformer.

    The encoder first learns to reconstruct masked faces of all images, then from labels with FaceMix, then from
    pseudo-labels of its EMA. The option group `released` has the mistakes of the released code; see the README.
    """

    class Config(MethodConfig):
        """SSFER's options; the defaults are the paper's or, if it does not state them, its code's."""

        pretraining: float = Field(
            3.0, ge=0, description="steps of reconstruction as a multiple of the protocol's steps; 0 for none (our "
            "choice: the paper's 600 epochs of 1.25 million faces are too long for a table)"
        )  # fmt: skip
        mask_ratio: float = Field(0.75, gt=0, lt=1, description="share of hidden patches, as in MAE")
        decoder_width: float = Field(
            2 / 3,
            gt=0,
            description="width of the decoder relative to the encoder's, rounded to heads of 32 (512 / 768)",
        )
        decoder_depth: int = Field(8, ge=1, description="number of blocks of the decoder")
        normalize_patches: bool = Field(
            False, description="reconstruct patches normalised to mean 0 and variance 1 (an option of MAE)"
        )
        pretraining_rate: float = Field(3.4e-4, gt=0, description="peak learning rate of the reconstruction")
        finetuning_rate: float = Field(1.5e-4, gt=0, description="peak learning rate of both later stages")
        decay: float = Field(0.05, ge=0, description="weight decay of all stages")
        facemix_share: float = Field(
            0.25, gt=0, lt=1, description="share of the protocol's steps for FaceMix, the rest for pseudo-labels (the "
            "code's 100 and 50 epochs give 0.14 to 0.52 for 5 to 25 % of RAF-DB's labels)"
        )  # fmt: skip
        mixing: Literal["facemix", "mixup", "none"] = Field(
            "facemix", description="facemix = mixed and real faces, weighted by overlap; mixup = only mixed faces; "
            "none = only real faces"
        )  # fmt: skip
        label_smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing for mixed faces")
        threshold: float = Field(0.7, ge=0, le=1, description="smallest confidence of a pseudo-label")
        unlabeled_weight: float = Field(5.0, ge=0, description="weight of the loss on pseudo-labels")
        released: Released = Field(Released(), description="differences of the authors' code from the paper")

    config: Config
    runs_eagerly = "draws masks and shares in its losses"
    variants: ClassVar = {
        "described": {},
        "released": {"released": dict.fromkeys(Released.model_fields, True)},
    }
    requires = frozenset({"tokens", "boxes"})
    views = Views(labeled={"weak": weak()}, unlabeled={"weak": weak(), "strong": strong()})
    first_average: Network | None
    is_last_stage: Tensor  # () bool

    def setup(self, net: Network, info: MethodInfo) -> None:
        backbone = token_backbone(net.backbone)
        self.patch_size = backbone.patch_size
        self.decoder = Decoder(
            backbone.token_size,
            backbone.grid,
            backbone.patch_size,
            width=self.config.decoder_width,
            depth=self.config.decoder_depth,
        )
        self.first_average = (
            copy.deepcopy(net).eval().requires_grad_(False) if self.config.released.first_average else None
        )
        self.register_buffer("is_last_stage", torch.zeros((), dtype=torch.bool))

    # -- the stages --------------------------------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        c = self.config
        source = "the authors' code (MAE's and SSFER's scripts), with rates tuned as options"
        optimizer = {"optimizer": "adamw", "weight_decay": c.decay, "source": source}
        reconstruct = Stage(
            RECONSTRUCT,
            self.reconstruction_loss,
            Views(labeled={}, unlabeled={"weak": weak()}),
            data="all",
            parameters=lambda net: [*net.backbone.parameters(), *self.decoder.parameters()],  # type: ignore[union-attr]
            optimizer=OptimizerSettings(**optimizer, learning_rate=c.pretraining_rate, **PRETRAINING_SCHEDULE),
            share=c.pretraining,
            pretraining=True,
            options=("mask_ratio", "decoder_width", "decoder_depth", "normalize_patches"),
            show=self.pictures,
        )
        facemix = Stage(
            FACEMIX,
            self.facemix_loss,
            Views(labeled=self.views.labeled),
            data="labeled",
            parameters=lambda net: list(net.parameters()),
            optimizer=OptimizerSettings(**optimizer, learning_rate=c.finetuning_rate),
            share=c.facemix_share,
        )
        schedule = {"schedule": "constant", "warmup": 0.0} if c.released.constant_rate else {}
        pseudo_label = Stage(
            PSEUDO_LABEL,
            self.loss,
            self.views,
            data="relabeled" if c.released.second_split else "labeled+unlabeled",
            parameters=lambda net: list(net.parameters()),
            optimizer=OptimizerSettings(**optimizer, learning_rate=c.finetuning_rate, **schedule),
            share=1 - c.facemix_share,
        )
        return [reconstruct, facemix, pseudo_label] if c.pretraining else [facemix, pseudo_label]

    def start_stage(self, stage: Stage, context: StageContext) -> None:
        if stage.name == RECONSTRUCT:
            self.decoder.reset()  # here, because the seed of this stage is the same for all cells
        if stage.name == PSEUDO_LABEL:
            self.is_last_stage.fill_(True)
            if self.first_average is not None:
                self.first_average.load_state_dict(self.teacher.state_dict())

    @property
    def evaluates(self) -> str:
        return "EMA model after FaceMix's last step" if self.config.released.first_average else ""

    def evaluation_net(self) -> Network:
        if self.first_average is not None and bool(self.is_last_stage):
            return self.first_average
        return self.teacher

    # -- stage 0: masked faces ---------------------------------------------------------------------------------------

    def reconstruction_loss(self, batch: Batch) -> Losses:
        """Mean squared error on the hidden patches (MAE); the term `patch_mean` is that of each patch's mean colour."""
        assert batch.unlabeled is not None
        # Predictions of the decoder for hidden patches
        images = batch.unlabeled.images["weak"]
        predicted, hidden = self.reconstruct(images)
        # Squared error to their pixels (He et al., CVPR 2022, Section 3)
        target = patchify(images, self.patch_size)
        if self.config.normalize_patches:
            target = F.layer_norm(target, target.shape[-1:])
        loss = masked_mean((predicted - target).square(), hidden)
        of_colours = target.unflatten(-1, (-1, 3)).var(-2, unbiased=False)  # (B, L, 3)
        return Losses(loss, patch_mean=masked_mean(of_colours, hidden))

    def reconstruct(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return all patches (B, L, 3 p^2) as predicted by the decoder, and `hidden` (B, L), 1 for hidden patches."""
        visible = visible_patches(self.uniform(images, len(self.decoder.positions)), self.config.mask_ratio)
        predicted, hidden = self.decoder(self.net.encode(images, visible), visible)
        return predicted, hidden

    def pictures(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return rows of pictures: masked faces, their reconstructions, and the original faces."""
        assert batch.unlabeled is not None
        images = batch.unlabeled.images["weak"]
        predicted, hidden = self.reconstruct(images)
        patches, hidden = patchify(images, self.patch_size), hidden.unsqueeze(-1)
        if self.config.normalize_patches:
            predicted = predicted * patches.std(-1, keepdim=True) + patches.mean(-1, keepdim=True)
        filled = torch.where(hidden == 1, predicted, patches)
        rows = {"masked": torch.where(hidden == 1, GREY, patches), "reconstructed": filled}
        return {name: unpatchify(row, self.patch_size) for name, row in rows.items()} | {"original": images}

    # -- stage 1: FaceMix --------------------------------------------------------------------------------------------

    def facemix_loss(self, batch: Batch) -> Losses:
        """Loss on labeled faces mixed with the batch's flip; real faces have more weight if the boxes overlap less."""
        c, images, labels = self.config, batch.labeled.images["weak"], batch.labels
        # Without mixing: cross-entropy on real faces
        if c.mixing == "none":
            real = F.cross_entropy(self.forward_images(images).logits, labels)
            return Losses(real, real=real)
        # Mixed faces, by a share from Beta(1, 1), against mixed and smoothed labels
        share = torch.empty((), device=images.device).uniform_(generator=self.random)
        mixed_images = mix(images, share)
        seen = [mixed_images] if c.released.in_place_mixing or c.mixing == "mixup" else [mixed_images, images]
        logits = self.forward_images(torch.cat(seen)).logits.split(len(images))
        mixed = mixed_cross_entropy(logits[0], labels, share, c.label_smoothing)
        if c.mixing == "mixup":
            return Losses(mixed.mean(), mixed=mixed.mean())
        # Real faces, with more weight if the two boxes overlap less
        real = F.cross_entropy(logits[-1], labels, reduction="none")
        boxes = batch.labeled.boxes["weak"]
        overlap = iou(boxes, boxes.flip(0))
        total = facemix_loss(mixed, real, overlap)
        return Losses(total, mixed=mixed.mean(), real=real.mean(), overlap=overlap.mean())

    # -- stage 2: pseudo-labels --------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Losses:
        """Loss on labeled views, and on strong views with the EMA's confident predictions for weak views."""
        assert batch.unlabeled is not None
        # Pseudo-labels of the teacher, masked by its confidence
        with torch.no_grad():
            confidence, pseudo_label = self.teacher(batch.unlabeled.images["weak"]).probabilities.max(-1)
        mask = (confidence >= self.config.threshold).float()
        # Labeled and strong views in one forward, whatever the protocol's rule
        images = [batch.labeled.images["weak"], batch.unlabeled.images["strong"]]
        labeled, strong = self.forward_images(torch.cat(images)).logits.split([len(each) for each in images])
        # Cross-entropy on labeled images, and of strong views against pseudo-labels
        supervised = F.cross_entropy(labeled, batch.labels)
        pseudo = (F.cross_entropy(strong, pseudo_label, reduction="none") * mask).mean()
        total = supervised + self.config.unlabeled_weight * pseudo
        return Losses(total, pseudo_label=pseudo_label, mask=mask, supervised=supervised, unlabeled=pseudo)
