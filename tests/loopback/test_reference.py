"""What the last picture in focus looked like saves a refocus its first guess."""

from __future__ import annotations

from pathlib import Path

from tests.loopback.bench import DEPTH_OF_FIELD_UM, Client, connected, make_column

AWAY_DEPTHS = 11.0


async def second_scan_depths(client: Client) -> float:
    """Refocus, and tell how far from the start the second scan was taken."""
    _, record = await client.call("POST", "v1/refocuses?wait=true")
    assert record["result"] == "refocused", record["reason"]
    first, second, *_ = (float(scan["working_distance_mm"]) for scan in record["scans"])
    return abs(second - first) * 1000 / DEPTH_OF_FIELD_UM


async def test_the_second_scan_goes_as_far_as_focus_is(tmp_path: Path) -> None:
    """Learnt from the first success, known after a restart, gone with the baseline."""
    column = make_column(working_distance_mm=9.008)
    steps = []
    for _ in range(2):
        async with connected(
            column, tmp_path, refocus={"method": "spectral", "use_reference": True}
        ) as client:
            await client.call("POST", "v1/scans")
            column.set_working_distance(9.0 + AWAY_DEPTHS * DEPTH_OF_FIELD_UM / 1000)
            steps.append(await second_scan_depths(client))
    async with connected(column, tmp_path, refocus={"method": "spectral", "use_reference": True}) as client:
        (baseline,) = (await client.get("v1/baselines"))["baselines"]
        await client.call("DELETE", f"v1/baselines/{baseline['condition']}")
        column.set_working_distance(9.0 + AWAY_DEPTHS * DEPTH_OF_FIELD_UM / 1000)
        forgotten = await second_scan_depths(client)

    assert all(abs(step - AWAY_DEPTHS) < 2.5 for step in steps), steps
    assert forgotten < 7.5
