"""The losses once more, pixel by pixel in double precision, as their papers write them."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

Floats = NDArray[np.float64]


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > 0 else math.exp(logit) / (1 + math.exp(logit))


def pixels(logits: Tensor, target: Tensor, valid: Tensor) -> Iterator[tuple[float, float]]:
    """Yield logit and truth of each valid pixel."""
    triples = zip(logits.flatten().tolist(), target.flatten().tolist(), valid.flatten().tolist(), strict=True)
    return ((logit, truth) for logit, truth, counts in triples if counts)


def cross_entropy(logits: Tensor, target: Tensor, valid: Tensor) -> float:
    terms = [-math.log(sigmoid(z if y else -z)) for z, y in pixels(logits, target, valid)]
    return sum(terms) / len(terms)


def dice(logits: Tensor, target: Tensor, valid: Tensor) -> float:
    overlap = total = 0.0
    for z, y in pixels(logits, target, valid):
        overlap += sigmoid(z) * y
        total += sigmoid(z) + y
    return 1 - 2 * overlap / total


def weighted_cross_entropy(logits: Tensor, target: Tensor, valid: Tensor, prior: float = 0.1) -> float:
    """torch's cross-entropy of two classes, the background's logit 0, with weights of the classes."""
    both = torch.stack((torch.zeros_like(logits[:, 0]), logits[:, 0]), 1).double()
    truth = torch.where(valid, target.long(), -100)
    weight = torch.tensor([prior, 1 - prior], dtype=torch.float64)
    return float(torch.nn.functional.cross_entropy(both, truth, weight=weight))


def weighted_dice(logits: Tensor, target: Tensor, valid: Tensor, building_weight: float = 0.9) -> float:
    """Kang et al. equation 3, weights of building and background as in their section III-A."""
    building = dice(logits, target, valid)
    background = dice(-logits, 1 - target, valid)
    return building_weight * building + (1 - building_weight) * background


def noise_robust_dice(logits: Tensor, target: Tensor, valid: Tensor, gamma: float = 1.5) -> float:
    above = below = 0.0
    for z, y in pixels(logits, target, valid):
        above += abs(sigmoid(z) - y) ** gamma
        below += sigmoid(z) ** 2 + y**2
    return above / (below + 1e-5)


def exponential_logarithmic(logits: Tensor, target: Tensor, valid: Tensor) -> float:
    """Wong et al. 2018: L = 0.8 E_i[(-ln Dice_i)^0.3] + 0.2 E_x[w_l(x) (-ln p_l(x)(x))^0.3]."""
    seen = list(pixels(logits, target, valid))
    frequency = {label: sum(y == label for _, y in seen) for label in (0, 1)}
    dice_terms = []
    for label in (0, 1):
        probability = [sigmoid(z if label else -z) for z, _ in seen]
        is_label = [float(y == label) for _, y in seen]
        above = 2 * sum(p * d for p, d in zip(probability, is_label, strict=True)) + 1
        dice_terms.append((-math.log(above / (sum(probability) + sum(is_label) + 1))) ** 0.3)
    cross_terms = []
    for z, y in seen:
        weight = (sum(frequency.values()) / frequency[int(y)]) ** 0.5
        cross_terms.append(weight * (-math.log(sigmoid(z if y else -z))) ** 0.3)
    return 0.8 * sum(dice_terms) / 2 + 0.2 * sum(cross_terms) / len(cross_terms)


def pairwise_logit_adjusted(
    logits: Tensor, target: Tensor, valid: Tensor, building_prior: float = 0.1, temperature: float = 1.0
) -> float:
    """Kang et al. equation 1, second form: log(1 + (pi_y' / pi_y)^tau exp(f_y' - f_y)), f = (0, z)."""
    prior = {0: 1 - building_prior, 1: building_prior}
    terms = []
    for z, y in pixels(logits, target, valid):
        score = {0: 0.0, 1: z}
        true, other = int(y), 1 - int(y)
        margin = (prior[other] / prior[true]) ** temperature
        terms.append(math.log(1 + margin * math.exp(score[other] - score[true])))
    return sum(terms) / len(terms)


def boundary_alignment(
    logits: Tensor, target: Tensor, valid: Tensor, boundary_px: int = 3, tolerance_px: int = 5
) -> float:
    """Kang et al. equation 4, with the maps of Bokhovkin and Burnaev: valid ground is all there is."""
    probability = np.vectorize(sigmoid)(logits[:, 0].double().numpy())
    truth, counts = target.double().numpy(), valid.numpy()
    loss = 0.0
    for predicted_class, true_class in ((probability, truth), (1 - probability, 1 - truth)):
        predicted = _highest(1 - predicted_class, counts, boundary_px) - (1 - predicted_class)
        true = _highest(1 - true_class, counts, boundary_px) - (1 - true_class)
        wide, true_wide = _highest(predicted, counts, tolerance_px), _highest(true, counts, tolerance_px)
        precision = _share(predicted * true_wide, predicted, counts)
        recall = _share(true * wide, true, counts)
        loss += 1 - (2 * precision * recall / (precision + recall) if precision + recall else 0)
    return loss


def _share(part: Floats, whole: Floats, counts: NDArray[np.bool_]) -> float:
    return float(part[counts].sum() / whole[counts].sum()) if whole[counts].any() else 0.0


def _highest(values: Floats, counts: NDArray[np.bool_], size_px: int) -> Floats:
    """Give the highest value among valid pixels within a square around each valid pixel."""
    reach = size_px // 2
    highest = np.zeros_like(values)
    for chip, row, col in np.argwhere(counts):
        square = (
            chip,
            slice(max(row - reach, 0), row + reach + 1),
            slice(max(col - reach, 0), col + reach + 1),
        )
        highest[chip, row, col] = values[square][counts[square]].max()
    return highest


def boundary_distance(logits: Tensor, target: Tensor, valid: Tensor) -> float:
    """Weight each error by the inverse distance to the other class."""
    errors = weights = 0.0
    for logit, truth, seen in zip(logits[:, 0].numpy(), target.numpy() > 0.5, valid.numpy(), strict=True):
        building, ground = truth & seen, ~truth & seen
        if not (building.any() and ground.any()):
            continue
        apart = np.where(
            truth, ndimage.distance_transform_edt(~ground), ndimage.distance_transform_edt(~building)
        )
        probability = 1 / (1 + np.exp(-logit.astype(np.float64)))
        errors += (np.abs(probability - truth) / apart)[seen].sum()
        weights += (1 / apart)[seen].sum()
    return errors / weights
