"""``focusd score`` on files of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from focusd.focus.measure import measure
from focusd.focus.metrics import METRICS
from focusd.frame import ScanRegion
from tests.unit.cli.conftest import Focusd
from tests.unit.imagefile.headers import ZEISS
from tests.unit.imagefile.tiff_bytes import ASCII, tiff

ROWS, COLUMNS = 96, 128


@pytest.fixture
def sharp() -> NDArray[np.uint8]:
    """Give an image with plenty of detail, under little noise."""
    rng = np.random.default_rng(3)
    detail = cv2.GaussianBlur(rng.normal(0.0, 1.0, (ROWS, COLUMNS)), (0, 0), 1.2)
    image = 128.0 + 40.0 * detail / detail.std() + rng.normal(0.0, 1.0, detail.shape)
    grey: NDArray[np.uint8] = np.clip(image, 1, 254).astype(np.uint8)
    return grey


@pytest.fixture
def folder(tmp_path: Path, sharp: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a sharp, a blurred, a 16-bit and a blank image, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    images = {
        "sharp.png": sharp,
        "blurred.png": cv2.GaussianBlur(sharp, (0, 0), 3.0),
        "deep.tif": sharp.astype(np.uint16) * 257,
        "blank.png": np.full((ROWS, COLUMNS), 128, np.uint8),
    }
    for name, image in images.items():
        assert cv2.imwrite(name, image)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_table_holds_what_the_daemon_would_find(focusd: Focusd, sharp: NDArray[np.uint8]) -> None:
    """Shape, dtype, every metric's score by the daemon's own maths, and whether it can be judged."""
    result = focusd("score", "sharp.png", "deep.tif", "blank.png")

    assert result.exit_code == 0
    header, _, first, second, third = (line.split() for line in result.stdout.splitlines() if line.strip())
    names = [word for name in METRICS for word in name.split("_")]
    assert header == ["file", "rows", "x", "columns", "dtype", *names, "judgeable"]
    scores = measure(sharp, METRICS).scores
    expected = [f"{scores[name].value:.4g}" for name in METRICS]
    assert first == ["sharp.png", str(ROWS), "x", str(COLUMNS), "uint8", *expected, "yes"]
    assert second[:5] == ["deep.tif", str(ROWS), "x", str(COLUMNS), "uint16"]
    assert third[0] == "blank.png"
    assert third[-2:] == ["no:", "blank"]


@pytest.mark.usefixtures("folder")
def test_a_narrow_terminal_gets_a_line_for_each_metric(
    focusd: Focusd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is cut off or folded into columns of a few letters."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("focusd.cli.score.PIPE_WIDTH", 80)

    result = focusd("score", "sharp.png")

    first, *lines = result.stdout.splitlines()
    assert first == f"sharp.png: {ROWS} x {COLUMNS}, uint8, judgeable: yes"
    assert [line.split()[0] for line in lines] == list(METRICS)


@pytest.mark.usefixtures("folder")
def test_json_holds_scores_with_their_errors(focusd: Focusd, sharp: NDArray[np.uint8]) -> None:
    """A program gets unrounded numbers, only of the metrics it asked for."""
    result = focusd("score", "--json", "--metric", "band_ratio", "-m", "log_energy", "sharp.png")

    (item,) = json.loads(result.stdout)
    scores = measure(sharp, METRICS).scores
    assert item["file"] == "sharp.png"
    assert item["shape"] == [ROWS, COLUMNS]
    assert item["dtype"] == "uint8"
    assert item["judgeable"] is True
    assert item["reason"] is None
    assert list(item["scores"]) == ["band_ratio", "log_energy"]
    for name, score in item["scores"].items():
        assert score == {"value": scores[name].value, "standard_error": scores[name].standard_error}


@pytest.mark.usefixtures("folder")
def test_what_the_microscope_wrote_into_a_file_is_shown(
    focusd: Focusd, folder: Path, sharp: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The little that decides whether images may be compared in the table, all of it as JSON."""
    (folder / "zeiss.tif").write_bytes(tiff(sharp, changes={34118: (ASCII, ZEISS)}))

    table = focusd("score", "zeiss.tif", "sharp.png").stdout
    (told, silent) = json.loads(focusd("score", "--json", "zeiss.tif", "sharp.png").stdout)
    monkeypatch.setattr("focusd.cli.score.PIPE_WIDTH", 80)
    narrow = focusd("score", "zeiss.tif").stdout

    assert "microscope" in table
    assert "WD 5.012 mm, 0.5582 nm/px" in table
    assert narrow.startswith(
        f"zeiss.tif: {ROWS} x {COLUMNS}, uint8, WD 5.012 mm, 0.5582 nm/px, judgeable: yes"
    )
    assert silent["metadata"] == {}
    assert told["metadata"] == {
        "source": "ZEISS",
        "working_distance_mm": 5.012,
        "pixel_size_nm": 0.5582,
        "dwell_time_us": 0.1,
        "accelerating_voltage_kv": 1.5,
        "detector": "InLens",
        "stage_position": {
            "x_mm": 50.0753,
            "y_mm": -49.0,
            "z_mm": 0.25,
            "rotation_deg": 90.0,
            "tilt_deg": -0.1,
        },
        "acquired_at": "2026-01-22T21:48:36",
    }


@pytest.mark.usefixtures("folder")
def test_sharper_images_score_higher(focusd: Focusd) -> None:
    """The order of the scores is the order of the pictures."""
    result = focusd("score", "--json", "sharp.png", "blurred.png")

    sharp, blurred = json.loads(result.stdout)
    for name in ("log_energy", "band_ratio", "laplacian_variance"):
        assert sharp["scores"][name]["value"] > 2 * blurred["scores"][name]["value"]


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.usefixtures("folder")
def test_an_unreadable_file_is_named_and_the_others_are_scored(as_json: bool, focusd: Focusd) -> None:
    """One bad file among many costs one line each and the exit code, not the work."""
    files = ["notes.txt", "sharp.png", "missing.png", "."]

    result = focusd("score", *files, *(["--json"] if as_json else []))

    assert result.exit_code == 1
    assert [line.split(":")[1].strip() for line in result.stderr.splitlines()] == [
        "notes.txt",
        "missing.png",
        ".",
    ]
    if as_json:
        items = json.loads(result.stdout)
        assert [item["file"] for item in items] == files
        assert [bool(item.get("error")) for item in items] == [True, False, True, True]
    else:
        assert "sharp.png" in result.stdout
        assert "missing" not in result.stdout


@pytest.mark.usefixtures("folder")
def test_a_file_name_cannot_reach_the_terminal_raw(focusd: Focusd) -> None:
    """Names may hold any byte; escapes in them are shown and not obeyed."""
    name = "a\x1b[31m\nb.png"
    Path("sharp.png").rename(name)

    good = focusd("score", name, "-m", "tenengrad")
    bad = focusd("score", f"{name}x")

    for output in (good.stdout, bad.stderr):
        assert "\x1b" not in output
        assert "a\\x1b[31m\\nb.png" in output


def test_the_list_says_what_each_metric_is_good_for(focusd: Focusd) -> None:
    """Whoever sets ``drift.metric`` can choose."""
    result = focusd("score", "--list")

    assert result.exit_code == 0
    for name, metric in METRICS.items():
        (line,) = (line for line in result.stdout.splitlines() if line.split()[:1] == [name])
        assert metric.summary in line
        assert metric.good_for in line


@pytest.mark.parametrize("arguments", [(), ("--json",), ("x.png", "--metric", "beauty")])
def test_nothing_to_score_or_nothing_to_score_by_is_a_usage_error(
    arguments: tuple[str, ...], focusd: Focusd
) -> None:
    """2, before any file is opened."""
    result = focusd("score", *arguments)

    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.usefixtures("folder")
def test_a_region_and_the_filter_are_passed_on(focusd: Focusd, sharp: NDArray[np.uint8]) -> None:
    """Scores of a part of the image, high-passed, are those of that part by itself."""
    result = focusd("score", "--json", "--region", "40,16,80,72", "--high-pass", "8", "sharp.png", "deep.tif")

    eight, sixteen = json.loads(result.stdout)
    expected = measure(sharp, METRICS, region=ScanRegion(40, 16, 80, 72), high_pass_px=8.0).scores
    assert eight["shape"] == [72, 80]
    assert {name: score["value"] for name, score in eight["scores"].items()} == {
        name: expected[name].value for name in METRICS
    }
    band_ratio = sixteen["scores"]["band_ratio"]["value"]
    assert band_ratio == pytest.approx(eight["scores"]["band_ratio"]["value"], rel=1e-3)


@pytest.mark.parametrize(
    "option", [("--region", "64,64,64,64"), ("--high-pass", "50"), ("--region", "0,0,999999,64")]
)
@pytest.mark.usefixtures("folder")
def test_what_does_not_fit_an_image_is_said_of_that_image(option: tuple[str, str], focusd: Focusd) -> None:
    """A region outside it, or a filter wider than it, is the file's error: others may be larger."""
    result = focusd("score", *option, "sharp.png")

    assert result.exit_code == 1
    assert "sharp.png: " in result.stderr


@pytest.mark.parametrize(
    "option",
    [
        ("--region", "1,2,64"),
        ("--region", "0,0,63,64"),
        ("--region", "a,0,64,64"),
        ("--region", "-1,0,64,64"),
        ("--region", "0,0,64,64,"),
        ("--high-pass", "0"),
        ("--high-pass", "nan"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_region_or_filter_that_is_none_is_a_usage_error(option: tuple[str, str], focusd: Focusd) -> None:
    """2, naming the option."""
    result = focusd("score", *option, "sharp.png")

    assert result.exit_code == 2
    assert option[0] in result.stderr
