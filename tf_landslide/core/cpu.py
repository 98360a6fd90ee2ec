"""This machine's CPU: its name, and the instruction sets that kernels are chosen by."""

from __future__ import annotations

import platform
from pathlib import Path

INSTRUCTIONS = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16"),
    *("amx_tile", "amx_bf16", "amx_int8", "asimd", "sve"),
)


def cpu_name() -> str:
    said = _said()
    return said.get("model name") or platform.processor() or platform.machine()


def instructions() -> tuple[str, ...]:
    """Those of ``INSTRUCTIONS`` that the CPU has; none where the system does not say."""
    said = _said()
    flags = (said.get("flags") or said.get("Features") or "").split()
    return tuple(flag for flag in INSTRUCTIONS if flag in flags)


def _said() -> dict[str, str]:
    """What Linux says of the first core."""
    path = Path("/proc/cpuinfo")
    first = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if path.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first)}
