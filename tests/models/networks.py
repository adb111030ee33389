"""One small network of every kind."""

from buildmap.preset import CannyMedian, GlobalBranch, Involution, Model
from tests.models import small_encoders
from tests.models.small_encoders import HRNET, MIT, RESNET, SWIN

small_encoders.register()

SMALL = {
    "lite": Model(name="lite", width=4, depth=2),
    "lite at full resolution": Model(name="lite", width=4, depth=2, stem_stride=1),
    "lite at quarter resolution": Model(name="lite", width=4, depth=3, stem_stride=4),
    "unet": Model(name="unet", encoder=RESNET),
    "unet of output stride 16": Model(name="unet", encoder=RESNET, output_stride=16),
    "unet-aspp": Model(name="unet-aspp", encoder=RESNET),
    "sci-net": Model(name="sci-net", encoder=RESNET),
    "pspnet": Model(name="pspnet", encoder=RESNET),
    "deeplabv3": Model(name="deeplabv3", encoder=RESNET),
    "deeplabv3plus": Model(name="deeplabv3plus", encoder=RESNET),
    "deeplabv3plus of output stride 8": Model(name="deeplabv3plus", encoder=RESNET, output_stride=8),
    "manet": Model(name="manet", encoder=RESNET),
    "segformer": Model(name="segformer", encoder=MIT),
    "hrnet": Model(name="hrnet", encoder=HRNET),
    "hr-mamba": Model(
        name="hr-mamba",
        encoder=HRNET,
        canny_median=CannyMedian(width=4, low=1.5, high=3.0, sigma=1.0),
        involution=Involution(kernel=3, group_channels=2, reduction=2),
        global_branch=GlobalBranch(width=4, states=2, kernel=4, expansion=2),
    ),
    "hr-mamba without its parts": Model(name="hr-mamba", encoder=HRNET),
    "danet": Model(name="danet", encoder=RESNET),
    "upernet": Model(name="upernet", encoder=SWIN),
    "esrgan": Model(name="esrgan", width=4, depth=1),
    "shallow-net": Model(name="shallow-net", width=4),
    "map-guided-deeplabv3": Model(name="map-guided-deeplabv3", width=4, depth=1, encoder=RESNET),
    "map-guided-shallow-net": Model(name="map-guided-shallow-net", width=4, depth=1),
    "enlarged-deeplabv3": Model(name="enlarged-deeplabv3", encoder=RESNET),
    "enlarged-shallow-net": Model(name="enlarged-shallow-net"),
}
