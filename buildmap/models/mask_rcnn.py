"""Mask R-CNN with a branch of vertices: boxes proposed, then judged (He et al. 2017).

Of the keypoint paper's table 1, a threshold of 0.5 for overlapping boxes holds for proposals and for what is
found among them; at most 256 boxes are what is found, among four times as many proposals.

On ResNet-101 and three bands it has 64,147,546 parameters with masks alone, as many with vertices alone, and
66,772,827 with both.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers

from buildmap.models.blocks.precision import full_precision
from buildmap.models.boxes import best, boxes_of_cells, keep_best, per_area
from buildmap.models.instance_branches import Branches
from buildmap.models.instance_network import Objects
from buildmap.models.instance_targets import Regions
from buildmap.models.pyramid import FINEST, FIRST_SOUGHT, build_pyramid, cut_out, image_px, levels_by_size
from buildmap.models.region_network import Detector, Found, RegionNetwork
from buildmap.preset import Instances, Model

_RATIOS = (0.5, 1.0, 2.0)
"""Height to width of the boxes begun with, table 1."""
_PROPOSED_PER_LEVEL = 1000
_PROPOSED_PER_BUILDING = 4
"""Proposals of an image per building that it may have: the usual 1000 for 256."""
_REGION_PX = 7
_HIDDEN = 4
"""Hidden numbers of the box head per channel, 1024 for 256."""
_LEARNED_PER_BUILDING = 2
"""Proposals of an image that learn, per building that it may have: the usual 512 for 256."""
_MATCHES = {"fg_iou_thresh": 0.5, "bg_iou_thresh": 0.5, "positive_fraction": 0.25}
_PROPOSAL_MATCHES = {
    "fg_iou_thresh": 0.7,
    "bg_iou_thresh": 0.3,
    "batch_size_per_image": 256,
    "positive_fraction": 0.5,
}
"""Which boxes learn: torchvision's, as published."""
_UNUSED = {"pre_nms_top_n": {}, "post_nms_top_n": {}, "nms_thresh": 0.0}
"""Of torchvision's choice of proposals, for which there is one of our own that can be exported."""


class TwoStageDetector(Detector):
    """Faster R-CNN: a network that proposes boxes, and one that judges and mends them."""

    def __init__(self, instances: Instances, width: int) -> None:
        """Draw fresh weights.

        Args:
            instances: Boxes to begin with, and which to keep.
            width: Channels of features.
        """
        super().__init__()
        self._instances = instances
        sizes = tuple((side,) for side in instances.anchor_px)
        self.proposer = RegionProposalNetwork(
            AnchorGenerator(sizes, (_RATIOS,) * len(sizes)),
            RPNHead(width, len(_RATIOS)),
            **_PROPOSAL_MATCHES,
            **_UNUSED,
        )
        hidden = _HIDDEN * width
        self.judge = RoIHeads(
            None,
            TwoMLPHead(width * _REGION_PX**2, hidden),
            FastRCNNPredictor(hidden, 2),
            **_MATCHES,
            batch_size_per_image=_LEARNED_PER_BUILDING * instances.most,
            bbox_reg_weights=None,
            score_thresh=instances.score_min,
            nms_thresh=instances.nms_iou,
            detections_per_img=instances.most,
        )

    def forward(self, features: Sequence[Tensor]) -> list[Found]:
        """Find boxes in features (B, width, H / 2^k, W / 2^k), k = 2 first."""
        with full_precision(features[0]):
            features = [level.float() for level in features]
            logits, codes, anchors = self._propose(features)
            proposals = self._choose(logits, codes, anchors, image_px(features))
            class_logits, box_codes = self._judge(features, proposals)
            counts = [some.shape[0] for some in proposals]
            boxes = self.judge.box_coder.decode(box_codes, proposals)[:, 1]
            scores = class_logits.softmax(dim=1)[:, 1]
            return [
                self._keep(*one, image_px(features))
                for one in zip(torch.split(boxes, counts), torch.split(scores, counts), strict=True)
            ]

    def losses(
        self, features: Sequence[Tensor], objects: Sequence[Objects]
    ) -> tuple[dict[str, Tensor], list[Regions]]:
        """Give the losses over all images, and the proposals that hold a building.

        Which boxes learn is drawn from torch's generator.
        """
        targets = [{"boxes": one.boxes.float(), "labels": _labels(one)} for one in objects]
        with full_precision(features[0]):
            features = [level.float() for level in features]
            logits, codes, anchors = self._propose(features)
            proposals = self._choose(logits.detach(), codes.detach(), anchors, image_px(features))
            objectness, proposed = self._proposal_losses(logits, codes, torch.cat(anchors), targets)
            chosen, matched, labels, wanted = self.judge.select_training_samples(proposals, targets)
            classified, mended = fastrcnn_loss(*self._judge(features, chosen), labels, wanted)
        losses = {
            "objectness": objectness,
            "proposal": proposed,
            "classification": classified,
            "box": mended,
        }
        held = [torch.where(label > 0)[0] for label in labels]
        regions = [
            Regions(boxes=box[some], matched=match[some])
            for box, match, some in zip(chosen, matched, held, strict=True)
        ]
        return losses, regions

    def _propose(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Give logits (B, n), box codes (B, n, 4), and the boxes they are about, (n_l, 4) for each level."""
        sought = list(features[FIRST_SOUGHT - FINEST :])
        logits, codes = self.proposer.head(sought)
        anchors = boxes_of_cells(self.proposer.anchor_generator, sought)
        flat_logits, flat_codes = concat_box_prediction_layers(logits, codes)
        images = features[0].shape[0]
        return flat_logits.view(images, -1), flat_codes.view(images, -1, 4), anchors

    def _choose(
        self, logits: Tensor, codes: Tensor, anchors: Sequence[Tensor], image_px: tuple[int, int]
    ) -> list[Tensor]:
        """Give each image's proposals (n, 4), best first."""
        counts = [level.shape[0] for level in anchors]
        return [
            self._choose_one(one_logits.split(counts), one_codes.split(counts), anchors, image_px)
            for one_logits, one_codes in zip(logits, codes, strict=True)
        ]

    def _choose_one(
        self,
        logits: Sequence[Tensor],
        codes: Sequence[Tensor],
        anchors: Sequence[Tensor],
        image_px: tuple[int, int],
    ) -> Tensor:
        """Choose within each level first: boxes of different levels do not suppress each other."""
        kept = []
        for level_logits, level_codes, level_anchors in zip(logits, codes, anchors, strict=True):
            top = best(level_logits, per_area(_PROPOSED_PER_LEVEL, image_px))
            boxes = self.proposer.box_coder.decode_single(level_codes[top], level_anchors[top])
            kept.append(
                keep_best(
                    boxes,
                    level_logits[top].sigmoid(),
                    image_px,
                    score_min=0.0,
                    nms_iou=self._instances.nms_iou,
                )
            )
        boxes, scores = (torch.cat(parts) for parts in zip(*kept, strict=True))
        return boxes[best(scores, per_area(_PROPOSED_PER_BUILDING * self._instances.most, image_px))]

    def _proposal_losses(
        self, logits: Tensor, codes: Tensor, anchors: Tensor, targets: list[dict[str, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        of_images = [anchors] * len(targets)
        labels, matched = self.proposer.assign_targets_to_anchors(of_images, targets)
        wanted = self.proposer.box_coder.encode(matched, of_images)
        losses: tuple[Tensor, Tensor] = self.proposer.compute_loss(
            logits, codes.reshape(-1, 4), labels, list(wanted)
        )
        return losses

    def _judge(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Give class logits (n, 2) and box codes (n, 2 x 4) of boxes (n_i, 4) of each image."""
        levels = levels_by_size(torch.cat(list(boxes)), 0)
        hidden = self.judge.box_head(cut_out(features, boxes, levels, _REGION_PX))
        judged: tuple[Tensor, Tensor] = self.judge.box_predictor(hidden)
        return judged

    def _keep(self, boxes: Tensor, scores: Tensor, image_px: tuple[int, int]) -> Found:
        limits = self._instances
        boxes, scores = keep_best(boxes, scores, image_px, score_min=limits.score_min, nms_iou=limits.nms_iou)
        most = per_area(limits.most, image_px)
        return boxes[:most], scores[:most]


def build(model: Model, bands: int) -> RegionNetwork:
    """Put Mask R-CNN on a pyramid.

    Raises:
        MismatchError: If the network cannot be of this size, or weights are of another encoder.
        InputError: If a file of pretrained weights cannot be read.
        ResourceError: If pretrained weights cannot be downloaded.
    """
    instances = model.instances or Instances()
    pyramid, stride = build_pyramid(model, bands, len(instances.anchor_px))
    return RegionNetwork(
        pyramid=pyramid,
        detector=TwoStageDetector(instances, pyramid.width),
        branches=Branches(instances, pyramid.width, levels=levels_by_size),
        stride=stride,
    )


def _labels(objects: Objects) -> Tensor:
    """Give 1 for building, which is 0 for ground."""
    return torch.ones(len(objects.boxes), dtype=torch.int64, device=objects.boxes.device)
