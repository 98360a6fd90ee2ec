"""What is minimised: what a config may say of it, a class a loss. ``tf_landslide.training.losses`` builds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tf_landslide.runs.sections.section import Section

BALANCED = "balanced"
PositiveWeight = Annotated[float, Field(gt=0)] | Literal["balanced"]
_POSITIVE_WEIGHT = Field(
    1.0, description="weight of a landslide pixel in the cross-entropy; balanced: of the others' number to theirs"
)


class _Loss(Section):
    """One loss and its settings."""

    @model_validator(mode="before")
    @classmethod
    def _of_one_section(cls, values: Any) -> Any:
        """Leave out what run folders hold of the time when all losses had the same settings, unused ones at these."""
        if not isinstance(values, Mapping) or values.get("name") not in ("bce", "dice"):
            return values
        unused = {"alpha": 0.5, "positive_weight": 1.0, "cross_entropy_weight": 1.0}
        return {k: v for k, v in values.items() if k in cls.model_fields or v != unused.get(k)}


class BCEConfig(_Loss):
    """Binary cross-entropy."""

    name: Literal["bce"] = "bce"
    positive_weight: PositiveWeight = _POSITIVE_WEIGHT


class DiceConfig(_Loss):
    """Dice."""

    name: Literal["dice"] = "dice"


class BCEDiceConfig(_Loss):
    """(1 - alpha) * weighted BCE + alpha * Dice."""

    name: Literal["bce_dice"] = "bce_dice"
    alpha: float = Field(0.5, ge=0, le=1, description="share of Dice")
    positive_weight: PositiveWeight = _POSITIVE_WEIGHT
    cross_entropy_weight: float = Field(
        1.0, gt=0, description="of the whole cross-entropy, both classes, beside Dice: 5 in the paper's code"
    )


class TverskyConfig(_Loss):
    """Dice with weights of its own for what is invented and missed."""

    name: Literal["tversky"] = "tversky"
    alpha: float = Field(0.3, ge=0, description="weight of false positives")
    beta: float = Field(0.7, ge=0, description="weight of false negatives")
    gamma: float = Field(1.0, gt=0, description="exponent; 0.75 for focal Tversky")

    @model_validator(mode="after")
    def _counts_errors(self) -> TverskyConfig:
        if self.alpha + self.beta == 0:
            raise ValueError("alpha and beta are both 0, so that no error would count")
        return self


class FocalConfig(_Loss):
    """Cross-entropy in which easy pixels count little."""

    name: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0, description="how much less easy pixels count; 0 for cross-entropy")
    alpha: float | None = Field(
        0.25, ge=0, le=1, description="weight of landslides, 1 - alpha of the rest; null for 1 of both"
    )


class SoftIoUConfig(_Loss):
    """Jaccard."""

    name: Literal["soft_iou"] = "soft_iou"


class LovaszConfig(_Loss):
    """The Lovász extension of Jaccard."""

    name: Literal["lovasz"] = "lovasz"


class BoundaryConfig(_Loss):
    """F1 of outlines."""

    name: Literal["boundary"] = "boundary"
    size: int = Field(3, ge=3, description="side in pixels of the window that makes an outline, odd")
    tolerance: int = Field(5, ge=1, description="side in pixels of the window within which outlines meet, odd")

    @field_validator("size", "tolerance")
    @classmethod
    def _odd(cls, side: int) -> int:
        if side % 2 == 0:
            raise ValueError(f"a window has an odd side, found {side}")
        return side


class _Term(_Loss):
    """A loss in a sum."""

    weight: float = Field(1.0, gt=0, description="of the term")


class BCETerm(BCEConfig, _Term): ...


class DiceTerm(DiceConfig, _Term): ...


class BCEDiceTerm(BCEDiceConfig, _Term): ...


class TverskyTerm(TverskyConfig, _Term): ...


class FocalTerm(FocalConfig, _Term): ...


class SoftIoUTerm(SoftIoUConfig, _Term): ...


class LovaszTerm(LovaszConfig, _Term): ...


class BoundaryTerm(BoundaryConfig, _Term): ...


Term = Annotated[
    BCETerm | DiceTerm | BCEDiceTerm | TverskyTerm | FocalTerm | SoftIoUTerm | LovaszTerm | BoundaryTerm,
    Field(discriminator="name"),
]


class SumConfig(_Loss):
    """A weighted sum of losses."""

    name: Literal["sum"] = "sum"
    terms: list[Term] = Field(min_length=1, description="losses with their settings, each with its weight (1)")


def _named(values: Any) -> Any:
    """The settings of a section that names no loss are those of the default one."""
    return {"name": DEFAULT.name, **values} if isinstance(values, Mapping) else values


DEFAULT = BCEDiceConfig()
LossUnion = (
    BCEConfig
    | DiceConfig
    | BCEDiceConfig
    | TverskyConfig
    | FocalConfig
    | SoftIoUConfig
    | LovaszConfig
    | BoundaryConfig
    | SumConfig
)
LossConfig = Annotated[LossUnion, Field(discriminator="name"), BeforeValidator(_named)]
"""Any of them, told apart by ``name``."""

LOSS_CONFIGS: dict[str, type[Section]] = {loss.model_fields["name"].default: loss for loss in get_args(LossUnion)}
"""The class of each, by name."""


def of_hard_masks(loss: LossUnion) -> list[str]:
    """The losses among one's parts that are defined on masks of 0 and 1 only: of sorted errors, of outlines."""
    parts = loss.terms if isinstance(loss, SumConfig) else [loss]
    return [part.name for part in parts if part.name in ("lovasz", "boundary")]


def is_balanced(loss: LossUnion) -> bool:
    """Whether a loss takes a weight from the data."""
    parts = loss.terms if isinstance(loss, SumConfig) else [loss]
    return any(getattr(part, "positive_weight", None) == BALANCED for part in parts)


def loss_settings(loss: LossUnion, balanced: float | None = None) -> dict[str, Any]:
    """A loss as ``get_loss`` takes it.

    Args:
        loss: of a config.
        balanced: what ``positive_weight: balanced`` came to.
    """

    def settled(values: dict[str, Any]) -> dict[str, Any]:
        if balanced is None or values.get("positive_weight") != BALANCED:
            return values
        return values | {"positive_weight": balanced}

    values = settled(loss.model_dump())
    return values | {"terms": [settled(term) for term in values["terms"]]} if "terms" in values else values


def loss_text(loss: LossUnion, balanced: float | None = None) -> str:
    """A loss and its settings on one line, for people; ``balanced`` as in ``loss_settings``."""

    def text(values: dict[str, Any]) -> str:
        return ", ".join(str(value) if key == "name" else f"{key} {shown(value)}" for key, value in values.items())

    def shown(value: Any) -> str:
        return f"{value} ({balanced:.4g})" if value == BALANCED and balanced is not None else str(value)

    if isinstance(loss, SumConfig):
        return " + ".join(f"{term.weight:g} * ({text(term.model_dump(exclude={'weight'}))})" for term in loss.terms)
    return text(loss.model_dump())
