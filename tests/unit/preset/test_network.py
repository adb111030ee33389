"""How a preset says which network it is; what cannot be is refused."""

import pytest

from buildmap.preset import CannyMedian, GlobalBranch, Instances, Involution


def test_parts_say_what_is_given_of_each_building() -> None:
    given = {parts: Instances(parts=parts) for parts in ("mask", "keypoint", "mask+keypoint")}
    assert [name for name, table in given.items() if table.masks] == ["mask", "mask+keypoint"]
    assert [name for name, table in given.items() if table.keypoints] == ["keypoint", "mask+keypoint"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"roi_px": 0}, "roi_px 0 is not positive"),
        ({"nms_iou": 1.5}, "nms_iou 1.5"),
        ({"score_min": -0.1}, "score_min -0.1"),
        ({"anchor_px": ()}, "anchor_px"),
        ({"anchor_px": (32, 0)}, "anchor_px"),
        ({"mask_weight": -1.0}, "negative"),
    ],
)
def test_instances_that_cannot_be_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Instances(**wrong)  # type: ignore[arg-type]


def test_parts_of_hr_mamba_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"low 3.* and high 2.* in order"):
        CannyMedian(width=4, low=3, high=2, sigma=1)
    with pytest.raises(ValueError, match="kernel 4 is not odd"):
        Involution(kernel=4, group_channels=1, reduction=1)
    with pytest.raises(ValueError, match="states 0 is not positive"):
        GlobalBranch(width=1, states=0, kernel=1, expansion=1)
