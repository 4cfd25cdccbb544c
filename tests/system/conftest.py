"""One guest for all tests of this folder: booting and installing take longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system import machine, manual
from tests.system.machine import Machine
from tests.system.parts import CONFIG, SIMULATOR, SOURCE, lay_out

UNAVAILABLE = machine.why_not()
LONGEST_S = 300
"""For one test, the boot before the first included, on a computer that is busy with other things."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip these tests, with the reason, where no guest can be booted; give them time where it can."""
    for item in items:
        if "guest" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(LONGEST_S))
            if UNAVAILABLE:
                item.add_marker(pytest.mark.skip(reason=UNAVAILABLE))


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted system with focusd installed as systemd/README.md says, not started; microscopes run in it."""
    layer = tmp_path_factory.mktemp("layer")
    lay_out(layer)
    with machine.booted(tmp_path_factory.mktemp("guest"), layer) as booted:
        booted.shell(manual.commands("Install"), folder=SOURCE)
        booted.write("/etc/systemd/system/microscope@.service", SIMULATOR)
        booted.write("/etc/focusd/focusd.toml", CONFIG.format(microscope=8300, http=8470))
        booted.run("systemctl", "start", "microscope@8300")
        yield booted
