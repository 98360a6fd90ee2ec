"""The paper's own encoders: those of segmentation_models.pytorch (smp), and SegFormer's as transformers has it.

Every layer with weights is named as its module there (``layer1.0.conv1``), so that a checkpoint's names are the layers'
names, and computes what it computes there: padding alike on both sides, epsilons, activations, initial weights.
"""

from __future__ import annotations

from functools import partial

from tf_landslide.models.encoders import papers
from tf_landslide.models.encoders.contract import Encoder
from tf_landslide.models.encoders.mix_transformer import SPECS as MIT
from tf_landslide.models.encoders.smp import classic, efficientnet, inception, mit, resnet

PREFIX, TRANSFORMERS = "smp_", "hf_"
_MIT_STRIDES = (4, 8, 16, 32)


def _resnets() -> dict[str, Encoder]:
    titles = {
        "resnet18": ("ResNet-18", papers.RESNET),
        "resnet34": ("ResNet-34", papers.RESNET),
        "resnet50": ("ResNet-50", papers.RESNET),
        "resnet101": ("ResNet-101", papers.RESNET),
        "resnext50": ("ResNeXt-50 32x4d", "Xie et al. 2017, arXiv:1611.05431"),
        "seresnet50": ("SE-ResNet-50", "Hu et al. 2018, arXiv:1709.01507"),
        "seresnext50": ("SE-ResNeXt-50 32x4d", "Hu et al. 2018, arXiv:1709.01507"),
    }
    encoders = {}
    for name, spec in resnet.SPECS.items():
        title, paper = titles[name]
        build = partial(resnet.resnet, spec=spec, name=PREFIX + name)
        encoders[PREFIX + name] = Encoder(build, f"{title} (smp)", paper, dilated=build)
    return encoders


ENCODERS = {
    **_resnets(),
    **{
        f"{PREFIX}{name}": Encoder(
            partial(classic.vgg, convolutions=convolutions, name=PREFIX + name),
            f"VGG-{name[3:]} (smp)",
            "Simonyan & Zisserman 2015, arXiv:1409.1556",
        )
        for name, convolutions in classic.VGG.items()
    },
    **{
        f"{PREFIX}{name}": Encoder(
            partial(classic.densenet, blocks=blocks, name=PREFIX + name),
            f"DenseNet-{name[8:]} (smp)",
            "Huang et al. 2017, arXiv:1608.06993",
        )
        for name, blocks in classic.DENSENET.items()
    },
    f"{PREFIX}mobilenetv2": Encoder(
        partial(classic.mobilenet_v2, name=f"{PREFIX}mobilenetv2"),
        "MobileNetV2 (smp)",
        "Sandler et al. 2018, arXiv:1801.04381",
    ),
    f"{PREFIX}efficientnetb0": Encoder(
        partial(efficientnet.efficientnet_b0, name=f"{PREFIX}efficientnetb0"),
        "EfficientNet-B0 (smp)",
        papers.EFFICIENTNET,
    ),
    f"{PREFIX}inceptionv4": Encoder(
        partial(inception.inception_v4, name=f"{PREFIX}inceptionv4"), "Inception-v4 (smp)", papers.INCEPTION
    ),
    f"{PREFIX}inceptionresnetv2": Encoder(
        partial(inception.inception_resnet_v2, name=f"{PREFIX}inceptionresnetv2"),
        "Inception-ResNet-v2 (smp)",
        papers.INCEPTION,
    ),
    **{
        f"{prefix}{name}": Encoder(
            partial(mit.mix_transformer, spec=MIT[name], dialect=dialect, name=prefix + name),
            f"Mix Transformer {name[-2:].upper()} ({library})",
            papers.SEGFORMER,
            strides=_MIT_STRIDES,
        )
        for prefix, dialect, library in ((PREFIX, mit.SMP, "smp"), (TRANSFORMERS, mit.TRANSFORMERS, "transformers"))
        for name in ("mit_b0", "mit_b1", "mit_b2", "mit_b3")
    },
}
