"""Machines: what one has, and how many a plan needs."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from mnemodex.schemas.artifacts import Frozen
from mnemodex.schemas.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

_UNITS = {"": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40, "GB": 10**9, "TB": 10**12}
_FORM = "write it as cores=32,memory=256GiB,gpus=1,disk=2TiB"

USABLE = 0.8
"""The part of a machine's memory that is planned with."""
BUSY = 0.7
"""The part of a machine's cores that is planned with for questions: beyond it they wait for each other."""


class Machine(Frozen):
    """What a machine has; memory and disk in bytes, a disk of None where nothing is said of it."""

    cores: int
    memory: int
    gpus: int = 0
    disk: int | None = None

    def __str__(self) -> str:
        gpus = f", {self.gpus} GPU{'s' if self.gpus > 1 else ''}" if self.gpus else ""
        return f"{self.cores} cores, {self.memory / (1 << 30):.0f} GiB{gpus}"

    @classmethod
    def here(cls, folder: Path | None = None) -> Machine:
        """Return this machine, with what is free of the disk that a folder is on, or will be on."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        existing = None if folder is None else next(path for path in (folder, *folder.parents) if path.exists())
        disk = None if existing is None else shutil.disk_usage(existing).free
        return cls(cores=len(os.sched_getaffinity(0)), memory=memory, disk=disk)

    @classmethod
    def parse(cls, text: str) -> Machine:
        """Return the machine of a text such as `cores=32,memory=256GiB,gpus=1,disk=2TiB`.

        Cores and memory that are left out are as here.

        Raises:
            UserError: it says something else.
        """
        given: dict[str, int] = {}
        for part in text.split(","):
            name, _, value = part.strip().partition("=")
            number = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)", value)
            unit = _UNITS.get(number[2].upper()) if number else None
            if (
                name not in cls.model_fields
                or number is None
                or unit is None
                or (name in {"cores", "gpus"} and number[2])
            ):
                raise UserError(f"--machine {text!r}: {part!r} says nothing of a machine; {_FORM}")
            given[name] = int(float(number[1]) * unit)
            if given[name] < (0 if name == "gpus" else 1):
                raise UserError(
                    f"--machine {text!r}: {name} is {value}; give 1 or more, as {_FORM.removeprefix('write it as ')}"
                )
        return cls.here().model_copy(update=given)
