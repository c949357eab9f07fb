"""Which cells answer for which garment, and the losses of detection."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["assign", "detection_loss", "overlap"]


def overlap(a: Tensor, b: Tensor, *, generalized: bool = False) -> Tensor:
    """IoU of boxes x0 y0 x1 y1, broadcast over leading dimensions; GIoU (Rezatofighi et al., CVPR 2019) on request."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    union = (a[..., 2:] - a[..., :2]).prod(dim=-1) + (b[..., 2:] - b[..., :2]).prod(dim=-1) - shared
    iou = shared / union.clamp(min=1e-6)
    if not generalized:
        return iou
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(dim=-1)
    return iou - (hull - union) / hull.clamp(min=1e-6)


@torch.no_grad()
def assign(
    logits: Tensor, boxes: Tensor, centres: Tensor, strides: Tensor, true_boxes: Tensor, true_classes: Tensor
) -> tuple[Tensor, Tensor]:
    """Dynamic assignment for one photo (SimOTA, Ge et al., YOLOX, 2021).

    logits (a, c), boxes (a, 4), true_boxes (g, 4), true_classes (g,). Returns for each cell the index of its
    garment, -1 for background, and the IoU of its predicted box with that garment's.
    """
    owner = torch.full((len(logits),), -1, dtype=torch.long, device=logits.device)
    quality = torch.zeros(len(logits), device=logits.device)
    if len(true_boxes) == 0:
        return owner, quality
    offsets = torch.cat([centres[:, None] - true_boxes[None, :, :2], true_boxes[None, :, 2:] - centres[:, None]], dim=2)
    inside = offsets.amin(dim=2) > 0
    middle = (true_boxes[:, :2] + true_boxes[:, 2:]) / 2
    central = (centres[:, None] - middle[None]).abs().amax(dim=2) < 2.5 * strides.view(-1, 1)
    candidates = (inside | central).any(dim=1).nonzero().squeeze(1)
    if len(candidates) == 0:
        return owner, quality
    iou = overlap(boxes[candidates, None], true_boxes[None])
    chance = logits[candidates][:, true_classes]
    cost = F.binary_cross_entropy_with_logits(chance, iou, reduction="none") * (iou - chance.sigmoid()).abs()
    cost = cost + 3 * -(iou + 1e-7).log() + 1e5 * ~(inside & central)[candidates]
    counts = iou.topk(min(10, len(candidates)), dim=0).values.sum(dim=0).int().clamp(min=1)
    matched = torch.zeros_like(cost, dtype=torch.bool)
    for index, count in enumerate(counts.tolist()):
        matched[cost[:, index].topk(min(count, len(candidates)), largest=False).indices, index] = True
    contested = matched.sum(dim=1) > 1
    matched[contested] = F.one_hot(cost[contested].argmin(dim=1), len(true_boxes)).bool()
    taken = matched.any(dim=1)
    garment = matched[taken].float().argmax(dim=1)
    owner[candidates[taken]] = garment
    quality[candidates[taken]] = iou[taken].gather(1, garment[:, None]).squeeze(1)
    return owner, quality


def detection_loss(
    logits: Tensor,
    boxes: Tensor,
    centres: Tensor,
    strides: Tensor,
    truth: list[tuple[Tensor, Tensor]],
    *,
    known: Tensor,
) -> dict[str, Tensor]:
    """Quality focal loss (Li et al., NeurIPS 2020) and twice the GIoU loss, normalised by the summed quality.

    known (n, c) is 0 for classes that may be on a photo without a box: their scores are left alone.
    """
    target = torch.zeros_like(logits)
    box_loss = boxes.sum() * 0
    weight_sum = boxes.new_zeros(())
    for i, (true_boxes, true_classes) in enumerate(truth):
        owner, quality = assign(logits[i].detach(), boxes[i].detach(), centres, strides, true_boxes, true_classes)
        cells = (owner >= 0).nonzero().squeeze(1)
        if len(cells) == 0:
            continue
        garment = owner[cells]
        target[i, cells, true_classes[garment]] = quality[cells]
        weight = quality[cells].clamp(min=0.1)
        giou = overlap(boxes[i, cells], true_boxes[garment], generalized=True)
        box_loss = box_loss + ((1 - giou) * weight).sum()
        weight_sum = weight_sum + weight.sum()
    probability = logits.sigmoid()
    focal = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * (probability - target).abs().pow(2)
    focal = focal * known.unsqueeze(1)
    norm = weight_sum.clamp(min=1)
    return {"classes": focal.sum() / norm, "boxes": 2 * box_loss / norm}
