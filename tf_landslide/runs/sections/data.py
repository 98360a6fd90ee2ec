"""From stored bands to batches: what a config may say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, PlainValidator, field_validator, model_validator

from tf_landslide.bands.filters import WIDEST, WIDEST_MEDIAN, Bilateral
from tf_landslide.bands.layouts import LANDSLIDE4SENSE, BandLayout, get_layout, stated
from tf_landslide.bands.recipes import ChannelRecipe, channel_recipe
from tf_landslide.core.errors import LandslideError
from tf_landslide.data.augment.augmenter import check
from tf_landslide.data.groups import Groups, one_group
from tf_landslide.runs.sections.augmentation import AugmentationConfig
from tf_landslide.runs.sections.section import Section

Layout = Annotated[BandLayout, PlainValidator(get_layout), PlainSerializer(stated)]
"""A band layout: by name or as a mapping in YAML, and a ``BandLayout`` once it is read."""


class MedianConfig(Section):
    """Optional median filter on the bands, before the features."""

    size: int = Field(
        0,
        ge=0,
        le=WIDEST_MEDIAN,
        description=f"side of the window in pixels, odd, {WIDEST_MEDIAN} at most; 0 turns it off",
    )
    bands: list[str] | None = Field(None, min_length=1, description="the bands to filter; null for all")

    @field_validator("size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size and size % 2 == 0:
            raise ValueError(f"a median filter's window has an odd side, found {size}")
        return size


class BilateralConfig(Section):
    """Optional bilateral filter on the bands, after the median filter and before the features."""

    sigma_space: float = Field(0.0, ge=0, le=WIDEST, description="in pixels; 0 turns the filter off")
    sigma_value: float = Field(0.02, gt=0, description="in the unit of the bands, which must have one")
    bands: list[str] | None = Field(None, min_length=1, description="the bands to filter; null for all optical ones")

    @property
    def settings(self) -> Bilateral | None:
        """As a channel recipe takes it; None for none."""
        return Bilateral(self.sigma_space, self.sigma_value, tuple(self.bands or ())) if self.sigma_space else None


class GroupsConfig(Section):
    """Which patches belong together, by region or by source image."""

    file: str | None = Field(
        None, description="JSON of each patch's group, relative to the config or the data; null takes file names"
    )
    pattern: str | None = Field(
        None, description="regular expression; its one group, found in that name, is the patch's group"
    )

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        try:
            return pattern if pattern is None else one_group(pattern).pattern
        except LandslideError as error:
            raise ValueError(str(error).removeprefix("data.groups.pattern ")) from None

    @property
    def given(self) -> bool:
        """Whether any are asked for."""
        return self.file is not None or self.pattern is not None

    def read(self, data_dir: str | Path) -> Groups | None:
        """The groups of a dataset; None where none are asked for. Raises ``LandslideError`` as ``Groups.read``."""
        return Groups.read(self.file, self.pattern, data_dir)


class MiningConfig(Section):
    """Optional: patches that the model gets wrong are drawn more often."""

    share: float = Field(0, ge=0, lt=1, description="share of an epoch's patches drawn by their error; 0 turns it off")
    after_epochs: int = Field(5, ge=0, description="epochs that draw without it first")


class DataConfig(Section):
    """From stored bands to batches."""

    layout: Layout = Field(LANDSLIDE4SENSE, description="band layout: a name, a YAML file's path, or keys and values")
    channels: str | list[str] = Field(
        "six", description="recipe (six, fourteen, fourteen_stored, legacy_ratio) or list"
    )
    median: MedianConfig = MedianConfig()
    bilateral: BilateralConfig = BilateralConfig()
    augment: bool = Field(True, description="the eight flips and rotations")
    augmentation: AugmentationConfig = AugmentationConfig()
    positive_fraction: float | None = Field(None, ge=0, le=1, description="share of patches with landslides an epoch")
    mining: MiningConfig = MiningConfig()
    cache: Literal["memory", "disk", "none"] = Field(
        "memory", description="where channels (or bands) are kept: memory, disk (beside the run while it lasts) or none"
    )
    valid_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of train to validate on where no validation split with masks is there; "
        "whole groups where there are some",
    )
    valid_groups: list[str] | None = Field(
        None, min_length=1, description="groups of train to validate on, in place of a validation split"
    )
    groups: GroupsConfig = GroupsConfig()
    split_seed: int | None = Field(
        None, ge=0, description="of the draw of valid_share and of --folds; null takes training.seed"
    )
    allow_missing: bool = Field(False, description="take NaN as a missing value rather than as a fault")
    allow_duplicates: bool = Field(False, description="train although an image occurs twice, even in two splits")
    ignore: int | None = Field(
        None, description="value of mask pixels that are left out of loss, metrics and scores, e.g. 255"
    )
    normalise: bool = Field(True, description="channels by the training split's mean and deviation, inside the model")
    pad: bool = Field(False, description="mirror training patches at the bottom and right to a multiple of 32")
    strict: bool = Field(False, description="refuse values that are not those of the layout, rather than warn")

    @model_validator(mode="after")
    def _grouped(self) -> DataConfig:
        if self.valid_groups and self.valid_share is not None:
            raise ValueError("valid_groups and valid_share both choose what is validated on; leave one out")
        if self.valid_groups and not self.groups.given:
            raise ValueError("valid_groups are names of groups: say with groups.file or groups.pattern whose")
        return self

    @model_validator(mode="after")
    def _augmentable(self) -> DataConfig:
        if self.augmentation.settings.on:
            try:
                check(self.augmentation.settings, self.recipe)
            except LandslideError as error:
                raise ValueError(str(error).removeprefix("data.")) from None
        return self

    @property
    def divides_train(self) -> bool:
        """Whether validation is a part of the training split."""
        return self.valid_share is not None or self.valid_groups is not None

    def stored_split(self, split: str) -> str:
        """The split of the dataset that a split of the run is taken from."""
        return "train" if split == "valid" and self.divides_train else split

    @property
    def recipe(self) -> ChannelRecipe:
        """How the channels are made. Raises ``LandslideError`` for an unknown channel or band."""
        median = self.median
        return channel_recipe(self.layout, self.channels, median.size, median.bands, self.bilateral.settings)
