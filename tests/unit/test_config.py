"""Settings are checked before anything is started, and what is wrong is said in plain words."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from focusd.config import Config, Limits, MicroscopeSettings, is_loopback
from focusd.configfile import load_config
from focusd.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "deploy" / "focusd.example.toml"
SMALLEST = "[microscope]\nlimits.working_distance_mm = [4.0, 30.0]\n"


def write(folder: Path, text: str) -> Path:
    """Write a configuration file."""
    path = folder / "focusd.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_smallest_file_is_enough(tmp_path: Path) -> None:
    """Only the limits have no default; the state directory lies beside the file."""
    config = load_config(write(tmp_path, SMALLEST))

    assert config.microscope.limits.working_distance_mm == (4.0, 30.0)
    assert config.store.directory == tmp_path / "state"


def test_the_example_file_shows_every_default(tmp_path: Path) -> None:
    """The example file loads, equals the defaults, and names every key that has a default."""
    limits = Limits(working_distance_mm=(4.0, 30.0))
    defaults = Config(microscope=MicroscopeSettings(limits=limits))

    config = load_config(write(tmp_path, EXAMPLE.read_text(encoding="utf-8")))

    assert config.model_copy(update={"store": defaults.store}) == defaults
    shown = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    expected = defaults.model_dump(mode="json", exclude_none=True)
    assert {section: set(keys) for section, keys in shown.items()} == {
        section: set(keys) for section, keys in expected.items()
    }


def test_a_watched_folder_lies_beside_the_file_unless_it_is_told_from_the_root(tmp_path: Path) -> None:
    """As the state directory does; it need not be there."""
    source = SMALLEST + '[frames]\nsource = "folder"\n[folder]\n'

    beside = load_config(write(tmp_path, source + 'path = "frames"\npatterns = ["*.tif"]\n'))
    from_root = load_config(write(tmp_path, source + 'path = "/data"\n'))

    assert (beside.folder.path, beside.folder.patterns) == (tmp_path / "frames", ("*.tif",))
    assert from_root.folder.path == Path("/data")


@pytest.mark.parametrize(
    ("refocus", "mode"), [("", "checkpoint"), ("[refocus]\nmode = 'immediate'", "immediate")]
)
def test_with_a_stream_nothing_moves_but_at_checkpoints_unless_it_is_asked_for(
    tmp_path: Path, refocus: str, mode: str
) -> None:
    """Nobody says where a frame begins; what is written in the file counts."""
    bridge = SMALLEST.replace("[microscope]", "[microscope]\ndriver = 'bridge'")
    source = "[frames]\nsource = 'stream'\n"

    assert load_config(write(tmp_path, bridge + source + refocus)).refocus.mode == mode
    assert load_config(write(tmp_path, bridge)).refocus.mode == "immediate"


@pytest.mark.parametrize(
    ("keys", "port"),
    [("", 8300), ('driver = "bridge"\n', 8460), ('driver = "bridge"\nport = 9000\n', 9000)],
)
def test_each_driver_has_a_port_of_its_own(tmp_path: Path, keys: str, port: int) -> None:
    """A port that is given counts."""
    assert load_config(write(tmp_path, SMALLEST + keys)).microscope.port == port


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "microscope is required"),
        ("[microscope]\nprot = 1\n" + SMALLEST[13:], "microscope.prot is not a setting; did you mean port?"),
        (
            SMALLEST + "port = 0",
            "microscope.port must be greater than or equal to 1 (allowed: >= 1 and <= 65534), got 0",
        ),
        (
            SMALLEST + "[scan]\nwidth = 10",
            "scan.width must be greater than or equal to 64 (allowed: >= 64 and <= 32768)",
        ),
        (
            SMALLEST + "[frames]\nsource = 'folder'",
            'folder.path is required with frames.source = "folder"',
        ),
        (
            SMALLEST + "[frames]\nsource = 'stream'",
            'frames.source = "stream" needs microscope.driver = "bridge": a SharkSEM microscope tells of no',
        ),
        (SMALLEST + "[folder]\npatterns = []", "folder.patterns"),
        (SMALLEST + "[folder]\nsettle_s = 0", "folder.settle_s must be greater than or equal to 0.05"),
        (SMALLEST + "[scan]\nwidth = 'wide'", "scan.width must be a valid integer"),
        (SMALLEST + "[scan]\nbits_per_pixel = 12", "scan.bits_per_pixel must be 8 or 16, got 12"),
        (SMALLEST + "[scan]\ninterval_s = nan", "scan.interval_s"),
        (
            SMALLEST + "[scan]\nregion = {x = 900, y = 0, width = 512, height = 512}",
            "scan: region must lie inside x 0..1024, y 0..1024, got x 900..1412",
        ),
        (
            SMALLEST + "[drift]\nframes_below = 5",
            "drift: frames_below must be at most frames_window = 4, got 5",
        ),
        (SMALLEST + "[http]\nhost = '0.0.0.0'", "http: host must be a loopback address"),
        ("[microscope]\nlimits.working_distance_mm = [30, 4]", "with low below high, got [30, 4]"),
        ("[microscope]\nlimits.working_distance_mm = [4]", "microscope.limits.working_distance_mm"),
        ("[microscope", "is not TOML"),
    ],
)
def test_each_problem_names_the_field_and_what_it_may_hold(tmp_path: Path, text: str, sentence: str) -> None:
    """Wrong keys, types and ranges are each one sentence."""
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))

    assert sentence in str(caught.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Nobody has to mend a file one message at a time."""
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, SMALLEST + "port = 0\nchannel = -1\n[log]\nlevel = 'loud'"))

    assert len(caught.value.problems) == 3


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    """The message says that the file cannot be read, and why."""
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load_config(tmp_path / "none.toml")


def test_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable replaces one key and leaves the others."""
    monkeypatch.setenv("FOCUSD__HTTP__PORT", "9000")
    monkeypatch.setenv("FOCUSD__MICROSCOPE__LIMITS__WORKING_DISTANCE_MM", "[5, 20]")

    config = load_config(write(tmp_path, SMALLEST + "[http]\nmax_body_kib = 32"))

    assert (config.http.port, config.http.max_body_kib) == (9000, 32)
    assert config.microscope.limits.working_distance_mm == (5, 20)


def test_an_unknown_variable_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in a variable's name is not passed over in silence."""
    monkeypatch.setenv("FOCUSD__HTTP__PROT", "9000")

    with pytest.raises(ConfigError, match=r"FOCUSD__HTTP__PROT: there is no setting http\.prot"):
        load_config(write(tmp_path, SMALLEST))


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),  # noqa: S104 - it is what must be refused
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, private: bool) -> None:
    """Only addresses that cannot be reached from outside count as private."""
    assert is_loopback(host) is private


def test_the_token_may_be_a_credential_of_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What LoadCredential= brings is the token file, so an address beyond loopback may be listened on."""
    (tmp_path / "http-token").write_text("correct-horse-battery-staple", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    config = load_config(write(tmp_path, SMALLEST + '[http]\nhost = "192.0.2.7"\nport = 8471\n'))

    assert config.http.token_file == tmp_path / "http-token"
    assert config.http.port == 8471


def test_a_token_file_that_is_named_comes_before_the_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an operator writes down counts."""
    (tmp_path / "http-token").write_text("correct-horse-battery-staple", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    config = load_config(write(tmp_path, SMALLEST + '[http]\ntoken_file = "mine"\n'))

    assert config.http.token_file == tmp_path / "mine"


@pytest.mark.parametrize("directory", ["", "/nonexistent", "."])
def test_no_credential_means_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str
) -> None:
    """The unit asks for one in any case; most have none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", directory)

    assert load_config(write(tmp_path, SMALLEST)).http.token_file is None


def test_all_secrets_of_the_endpoint_may_be_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a name of its own."""
    for name in ("http-token", "http-read-token", "http-certificate", "http-private-key"):
        (tmp_path / name).touch()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    http = load_config(write(tmp_path, SMALLEST)).http

    assert (http.token_file, http.read_token_file, http.certificate_file, http.private_key_file) == (
        tmp_path / "http-token",
        tmp_path / "http-read-token",
        tmp_path / "http-certificate",
        tmp_path / "http-private-key",
    )


def test_a_credential_that_cannot_be_looked_at_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better no start than an endpoint without its token: the start then says that it cannot be read."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(loop))

    assert load_config(write(tmp_path, SMALLEST)).http.token_file == loop / "http-token"
