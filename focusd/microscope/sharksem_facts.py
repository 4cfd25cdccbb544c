"""What a SharkSEM server tells of itself, read once for each session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from focusd.microscope.interface import MicroscopeIdentity
from focusd.microscope.link import Answer, Link, call, optional
from focusd.microscope.sharksem_values import detector_names, printable
from focusd.protocol.sharksem_body import parse_map
from focusd.protocol.sharksem_functions import FUNCTIONS, Version, parse_version


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """Who answers, in which version, with which detectors.

    ``version`` is ``()`` for a server too old to tell; ``detectors`` are names by the number that
    DtSelect takes.
    """

    identity: MicroscopeIdentity
    version: Version
    detectors: Mapping[int, str]

    def supports(self, name: str) -> bool:
        """Tell whether the server is new enough for a function."""
        return _supports(self.version, name)

    def detector(self, selected: Answer | None) -> str | None:
        """Give the name of the detector that an answer to DtGetSelected means."""
        return None if selected is None else self.detectors.get(selected.integer())


def _supports(version: Version, name: str) -> bool:
    return version >= FUNCTIONS[name].since


async def read_facts(link: Link, *, timeout_s: float) -> SessionFacts:
    """Ask the server who it is.

    Servers before 1.0.5 know no version query and stay silent. GetWD, which all answer, is asked along
    with it: when its answer comes first, the version is not going to.
    """
    answers = await link.exchange(optional("TcpGetVersion"), call("GetWD"), timeout_s=timeout_s)
    version_text = _text(answers.get("TcpGetVersion"))
    version = parse_version(version_text)
    questions = ("TcpGetSWVersion", "TcpGetDevice", "TcpGetModel", "DtEnumDetectors")
    asked = [optional(name) for name in questions if _supports(version, name)]
    answers = await link.exchange(*asked, call("GetWD"), timeout_s=timeout_s)
    identity = MicroscopeIdentity(
        vendor="TESCAN",
        model=_text(answers.get("TcpGetModel")),
        serial=_text(answers.get("TcpGetDevice")),
        software_version=_text(answers.get("TcpGetSWVersion")),
        protocol_version=version_text,
    )
    detectors = answers.get("DtEnumDetectors")
    names = {} if detectors is None else detector_names(parse_map(detectors.text()))
    return SessionFacts(identity, version, names)


def _text(answer: Answer | None) -> str:
    return "" if answer is None else printable(answer.text())
