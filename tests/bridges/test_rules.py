"""What every bridge on ``focusd_bridge`` keeps: the protocol's rules, Python's age, and focus itself."""

from __future__ import annotations

import ast
import asyncio
import sys
from pathlib import Path

import pytest

from focusd.cli.bridge.bench import CheckOptions
from focusd.cli.bridge.run import Outcome
from tests.bridges.lab import Lab, served
from tests.bridges.process import BRIDGES, bridge_process
from tests.loopback.bench import DEPTH_OF_FIELD_UM, daemon, make_column
from tests.loopback.bridge_check_rig import failures, run, with_outcome
from tests.pythons import oldest_python

OPTIONS = CheckOptions(beyond_limits=True, side_px=128)


async def test_every_rule_is_kept_with_every_capability() -> None:
    """Only what cannot be checked where everything is there is skipped."""
    lab = Lab()
    with served(lab) as bridge:
        findings = await run(bridge.port, OPTIONS)

    assert failures(findings) == {}
    assert list(with_outcome(findings, Outcome.SKIP)) == ["frames", "capabilities"]
    assert len(lab.threads) == 1, "one thread calls the instrument"


async def test_the_example_is_a_good_bridge() -> None:
    """What a lab begins with keeps the rules, has no capabilities it does not need, and ends when told to."""
    with bridge_process(str(BRIDGES / "example_bridge.py")) as port:
        findings = await run(port, OPTIONS)

    assert failures(findings) == {}
    assert set(with_outcome(findings, Outcome.SKIP)) == {
        "stigmator", "auto-contrast", "blanker", "subscribe", "frames",
    }  # fmt: skip


async def test_the_example_runs_on_the_oldest_python() -> None:
    """The rules are kept there as well."""
    python = await asyncio.to_thread(oldest_python)
    with bridge_process(str(BRIDGES / "example_bridge.py"), python=python) as port:
        findings = await run(port, OPTIONS)

    assert failures(findings) == {}


@pytest.mark.parametrize("bits_per_pixel", [8, 16])
async def test_focus_is_found_through_it(tmp_path: Path, bits_per_pixel: int) -> None:
    """The daemon, four depths of field away, over real TCP; automatic contrast is let go afterwards."""
    column = make_column("gold", working_distance_mm=9.008)
    lab = Lab(column)
    with served(lab) as bridge:
        sections: dict[str, dict[str, object]] = {
            "microscope": {"driver": "bridge"},
            "scan": {"bits_per_pixel": bits_per_pixel},
        }
        async with daemon(bridge.port, tmp_path, **sections) as client:
            await client.until(lambda status: status["column"] is not None)
            _, answer = await client.call("POST", "v1/scans")

    assert answer["refocus"]["result"] == "refocused", answer["refocus"]["reason"]
    assert abs(column.true_defocus_um()) < DEPTH_OF_FIELD_UM
    assert "freeze_auto_contrast" in lab.calls
    assert not lab.frozen


async def test_several_clients_at_once_never_mean_several_calls_at_once() -> None:
    """Four runs of all rules beside each other: what one thread does, it does one after the other."""
    lab = Lab()
    options = CheckOptions(moves=False, side_px=128, timeout_s=20.0)
    with served(lab) as bridge:
        runs = await asyncio.gather(*(run(bridge.port, options) for _ in range(4)))

    assert [failures(findings) for findings in runs] == [{}] * 4
    assert lab.most_at_once == 1
    assert len(lab.threads) == 1


@pytest.mark.parametrize("path", sorted(BRIDGES.rglob("*.py")), ids=lambda path: path.name)
def test_it_is_written_for_python_38(path: Path) -> None:
    """No later syntax; what comes from elsewhere is imported by the bridges of vendors alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))

    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    if path.parent.name == "focusd_bridge":
        assert imported <= sys.stdlib_module_names
    assert isinstance(tree.body[0], ast.Expr), "it says what it is"
    assert any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body) or (
        path.name == "__init__.py"
    )
