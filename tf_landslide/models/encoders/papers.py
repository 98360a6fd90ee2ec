"""Where the encoders that several families have were published."""

RESNET = "He et al. 2016, arXiv:1512.03385"
RESNET_V2 = "He et al. 2016, arXiv:1603.05027"
EFFICIENTNET = "Tan & Le 2019, arXiv:1905.11946"
INCEPTION = "Szegedy et al. 2017, arXiv:1602.07261"
SEGFORMER = "Xie et al. 2021, arXiv:2105.15203"
