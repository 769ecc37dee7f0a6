"""``edgeskin bundle``, and ``--require-signature`` of every command that opens a bundle."""

import shutil
import stat
import sys
from pathlib import Path

import pytest

from tests.conftest import run_cli

pytestmark = pytest.mark.hazard("H-07")

REQUIRED = {
    "predict": ("predict", "examples/lesion.jpg"),
    "report": ("report", "examples/lesion.jpg", "-o", "{out}/report.html"),
    "compare": ("compare", "examples/lesion.jpg", "examples/lesion.jpg"),
    "info": ("info",),
    "bench": ("bench", "--repeats", "10", "--rounds", "1"),
}


def test_keys_are_made_once_and_the_private_one_is_private(tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="the extra sign is not installed")
    key = tmp_path / "fleet"
    done = run_cli("bundle", "keygen", key)
    assert done.stdout == f"{key}\n{key}.pub\n"
    if sys.platform != "win32":
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    content = key.read_bytes()
    again = run_cli("bundle", "keygen", key)
    assert (again.returncode, again.stdout, key.read_bytes()) == (1, "", content)
    assert str(key) in again.stderr


def test_a_bundle_is_signed_verified_and_signed_anew(
    micro_bundle: Path, signing_keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = signing_keys
    unsigned = run_cli("bundle", "verify", micro_bundle, "--key", public)
    assert (unsigned.returncode, unsigned.stdout) == (3, "")
    signed = run_cli("bundle", "sign", micro_bundle, "--key", private)
    assert (signed.returncode, signed.stdout) == (0, f"{micro_bundle / 'signature.json'}\n")
    verified = run_cli("bundle", "verify", micro_bundle, "--key", public)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "micro 0" in verified.stdout
    other = tmp_path / "other"
    assert run_cli("bundle", "keygen", other).returncode == 0
    assert run_cli("bundle", "sign", micro_bundle, "--key", other).returncode == 0
    assert run_cli("bundle", "verify", micro_bundle, "--key", f"{other}.pub").returncode == 0
    assert run_cli("bundle", "verify", micro_bundle, "--key", public).returncode == 3


def test_what_is_not_sound_is_not_signed(
    micro_bundle: Path, signing_keys: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (micro_bundle / "signature.json").symlink_to(tmp_path / "elsewhere")
    command = ("bundle", "sign", micro_bundle, "--key", signing_keys[0])
    assert run_cli(*command).returncode == 0  # the link is replaced, and not followed
    assert (tmp_path / "elsewhere").read_text() == "precious"
    (micro_bundle / "folder").mkdir()
    assert run_cli(*command).returncode == 3
    (micro_bundle / "folder").rmdir()
    (micro_bundle / "int8.bin").write_bytes(b"0" * (micro_bundle / "int8.bin").stat().st_size)
    assert run_cli(*command).returncode == 3
    assert run_cli("bundle", "sign", tmp_path / "nowhere", "--key", signing_keys[0]).returncode == 3
    assert run_cli("bundle", "sign", micro_bundle, "--key", signing_keys[1]).returncode in (2, 3)


@pytest.mark.parametrize("command", REQUIRED)
def test_a_command_that_requires_a_signature(
    command: str, signed_bundle: Path, signing_keys: tuple[Path, Path], tmp_path: Path
) -> None:
    arguments = [one.format(out=tmp_path) for one in REQUIRED[command]]
    options = [*arguments, "--bundle", signed_bundle, "--require-signature", signing_keys[1]]
    assert run_cli(*options).returncode == 0
    (signed_bundle / "signature.json").unlink()
    refused = run_cli(*options)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "signature.json" in refused.stderr


def test_the_environment_requires_a_signature(
    signed_bundle: Path, signing_keys: tuple[Path, Path], tmp_path: Path
) -> None:
    key = {"EDGESKIN_REQUIRE_SIGNATURE": str(signing_keys[1])}
    command = ("predict", "examples/lesion.jpg", "--bundle")
    assert run_cli(*command, signed_bundle, **key).returncode == 0
    assert run_cli(*command, "default", **key).returncode == 3
    # A variable that is empty, as by a mistake in a script, does not switch the requirement off.
    assert run_cli(*command, "default", EDGESKIN_REQUIRE_SIGNATURE="").returncode == 2
    assert run_cli(*command, "default", EDGESKIN_REQUIRE_SIGNATURE=str(tmp_path / "none")).returncode == 2
    assert run_cli(*command, signed_bundle, "--require-signature", "").returncode == 2


def test_no_cache_is_used_or_made(
    signed_bundle: Path, signing_keys: tuple[Path, Path], tmp_path: Path
) -> None:
    """One in which the networks of both precisions are mixed up would change the answer."""
    cache = tmp_path / "edgeskin"
    assert run_cli("prepare", "--bundle", signed_bundle, XDG_CACHE_HOME=str(tmp_path)).returncode == 0
    one, other = sorted(cache.iterdir())
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    command = ("predict", "examples/lesion.jpg", "--bundle", signed_bundle, "--json")
    required = ("--require-signature", signing_keys[1])

    def probabilities(*options: str | Path, **environment: str) -> str:
        return run_cli(*command, *options, **environment).stdout.partition('"probabilities"')[2][:200]

    right = probabilities()
    assert probabilities(*required, XDG_CACHE_HOME=str(tmp_path)) == right
    assert probabilities(XDG_CACHE_HOME=str(tmp_path)) != right
    shutil.rmtree(cache)
    for options in (command, ("prepare", "--bundle", signed_bundle)):
        done = run_cli(*options, *required, "--cache-dir", cache)
        assert (done.returncode, done.stdout) == (2, "")
    assert run_cli("prepare", "--bundle", signed_bundle, *required).returncode == 2
    assert not cache.exists()


def test_without_cryptography_nothing_is_taken_for_signed(
    signed_bundle: Path, signing_keys: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "cryptography.py").write_text("raise ImportError")
    without = {"PYTHONPATH": str(tmp_path)}
    commands = (
        ("predict", "examples/lesion.jpg", "--bundle", signed_bundle, "--require-signature", signing_keys[1]),
        ("bundle", "verify", signed_bundle, "--key", signing_keys[1]),
        ("bundle", "sign", signed_bundle, "--key", signing_keys[0]),
        ("bundle", "keygen", tmp_path / "new"),
    )
    for command in commands:
        done = run_cli(*command, **without)
        assert (done.returncode, done.stdout) == (2, "")
        assert "pip install cryptography" in done.stderr
    assert run_cli("predict", "examples/lesion.jpg", "--bundle", signed_bundle, **without).returncode == 0


def test_the_bundles_of_the_package_are_verified_by_name_and_never_signed(
    signing_keys: tuple[Path, Path],
) -> None:
    private, public = signing_keys
    for command, key, code in (("sign", private, 2), ("verify", public, 3)):
        done = run_cli("bundle", command, "default", "--key", key)
        assert done.returncode == code, done.stderr
