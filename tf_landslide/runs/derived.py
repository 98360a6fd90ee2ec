"""What ``environment.json`` says of a run that was made of other runs, without training: of which, and how."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from tf_landslide.runs import formats
from tf_landslide.runs.checked import checked


@dataclass(frozen=True)
class Member:
    """A run that another was made of.

    Attributes:
        run: its folder's name.
        sha256: of its ``model.keras``.
        threshold: its own.
        architecture, encoder: of its network.
    """

    run: str
    sha256: str
    threshold: float
    architecture: str
    encoder: str | None = None


@dataclass(frozen=True)
class Derived:
    """How a run was made of others.

    Attributes:
        members: those.
        threshold_from: where its threshold comes from, in words.
        average: of what of its members: ``probabilities`` or ``weights``.
        symmetries: that answers are averaged over: ``none``, ``flips`` or ``eight``.
        temperature: that logits are divided by; None for none.
        statistics: which were computed anew: ``batch_norm``, ``input`` or both.
        images: that they were computed from: folder, split and number.
        copies: see ``ModelCard``.
        same_network: whether it still is the network of its first member, with other weights.
        validation: what was measured while it was made.
    """

    members: tuple[Member, ...]
    threshold_from: str
    average: str = "probabilities"
    symmetries: str = "none"
    temperature: float | None = None
    statistics: str = ""
    images: str = ""
    copies: Annotated[int, Field(ge=1)] = 1
    same_network: bool = False
    validation: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, environment: dict[str, Any], origin: object) -> Derived | None:
        """What an environment says; None where it is of no derived run. Raises ``LandslideError`` where damaged."""
        for key in (formats.COMBINED, formats.ADAPTED):
            if key in environment:
                derived: Derived = checked(TypeAdapter(cls), environment[key], f"{origin}: {key}")
                return derived
        return None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def network(self) -> tuple[str, str | None]:
        """Architecture and encoder for the card: the members' common ones, else all of them as the architecture."""
        kinds = list(dict.fromkeys((m.architecture, m.encoder) for m in self.members))
        if len(kinds) == 1:
            return kinds[0]
        return ", ".join(" + ".join(filter(None, kind)) for kind in kinds), None

    def said(self) -> dict[str, Any]:
        """For the card, what holds of it."""
        several = len(self.members) > 1
        values = {
            "made_of": ", ".join(member.run for member in self.members),
            "sha256": ", ".join(member.sha256 for member in self.members),
            "average": f"of {self.average}" if several else "",
            "symmetries": self.symmetries if self.symmetries != "none" else "",
            "temperature": self.temperature,
            "statistics": self.statistics,
            "images": self.images,
            "threshold_from": self.threshold_from,
        }
        return {key: value for key, value in values.items() if value}
