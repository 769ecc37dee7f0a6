"""Signatures: the `model_signing` tool verifies ours, we verify the tool's, and both refuse alterations."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeskin.bundle.bundle import SHIPPED, open_bundle
from edgeskin.bundle.signature import read_public_key, sign, signed_hashes
from edgeskin.errors import BundleError, SettingError

pytest.importorskip("cryptography", reason="the extra sign is not installed")
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

pytestmark = pytest.mark.hazard("H-07")

TOOL = shutil.which(
    "model_signing", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
)
HASHES = {"manifest.json": "11" * 32, "fp32.bin": "22" * 32, "gate.md": "ab" * 32}


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path / "key", ec.generate_private_key(ec.SECP256R1()))


def write_keys(path: Path, key: Any, encryption: Any = None) -> tuple[Path, Path]:
    """A private key and its public key as PEM files."""
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, encryption or serialization.NoEncryption())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    path.write_bytes(private)
    path.with_suffix(".pub").write_bytes(public)
    return path, path.with_suffix(".pub")


def tool(*arguments: str | Path) -> int:
    """Run the reference implementation, and return its exit code."""
    if TOOL is None:
        pytest.skip("the tool model_signing is not installed (extra: reference)")
    done = subprocess.run([TOOL, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode


def verified_by_tool(folder: Path, key: Path) -> bool:
    signature = folder / "signature.json"
    return tool("verify", "key", folder, "--public_key", key, "--signature", signature) == 0


def verified_here(folder: Path, key: Path) -> bool:
    try:
        open_bundle(folder, require_signature=key).verify()
    except BundleError:
        return False
    return True


def sign_by_tool(folder: Path, key: Path) -> None:
    assert tool("sign", "key", folder, "--private_key", key, "--signature", folder / "signature.json") == 0


def sign_here(folder: Path, key: Path) -> None:
    open_bundle(folder).sign(key)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


TAMPERED: dict[str, Callable[[Path], object]] = {
    "nothing": lambda folder: None,
    "weights": lambda folder: flip(folder / "int8.bin"),
    "document": lambda folder: (folder / "gate.md").write_text("another"),
    "manifest": lambda folder: (folder / "manifest.json").write_bytes(
        (folder / "manifest.json").read_bytes() + b" "
    ),
    "extra": lambda folder: (folder / "extra.txt").write_text("more"),
    "missing": lambda folder: (folder / "gate.md").unlink(),
    "link": lambda folder: (folder / "link").symlink_to("int8.bin"),
    "swapped": lambda folder: shutil.copy(folder / "fp32.bin", folder / "int8.bin"),
}


@pytest.mark.parametrize("signer", [sign_here, sign_by_tool])
@pytest.mark.parametrize("change", TAMPERED)
def test_the_reference_tool_and_edgeskin_agree(
    signer: Callable[[Path, Path], None], change: str, micro_bundle: Path, keys: tuple[Path, Path]
) -> None:
    (micro_bundle / "gate.md").write_text("# Gate")
    signer(micro_bundle, keys[0])
    TAMPERED[change](micro_bundle)
    is_sound = change == "nothing"
    assert (verified_here(micro_bundle, keys[1]), verified_by_tool(micro_bundle, keys[1])) == (
        is_sound,
        is_sound,
    )


@pytest.mark.parametrize("signer", [sign_here, sign_by_tool])
def test_another_key_is_refused_by_both(
    signer: Callable[[Path, Path], None], micro_bundle: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    signer(micro_bundle, keys[0])
    _, other = write_keys(tmp_path / "other", ec.generate_private_key(ec.SECP256R1()))
    assert (verified_here(micro_bundle, other), verified_by_tool(micro_bundle, other)) == (False, False)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_copy_of_a_shipped_bundle_can_be_signed(name: str, tmp_path: Path, keys: tuple[Path, Path]) -> None:
    folder = tmp_path / "fleet"
    shutil.copytree(SHIPPED[name], folder)
    sign_here(folder, keys[0])
    assert verified_here(folder, keys[1])
    assert verified_by_tool(folder, keys[1])


def test_the_signature_is_one_of_ecdsa_over_the_envelope(keys: tuple[Path, Path]) -> None:
    """As the specifications have it, by `cryptography` and by hand."""
    whole = json.loads(sign("micro 0", HASHES, keys[0]))
    envelope = whole["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    signed = b"DSSEv1 28 application/vnd.in-toto+json " + str(len(payload)).encode() + b" " + payload
    public: Any = serialization.load_pem_public_key(keys[1].read_bytes())
    public.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed, ec.ECDSA(hashes.SHA256()))
    resources = json.loads(payload)["predicate"]["resources"]
    assert [one["name"] for one in resources] == ["fp32.bin", "gate.md", "manifest.json"]


def test_a_signature_gives_back_the_hashes(keys: tuple[Path, Path]) -> None:
    assert signed_hashes(sign("micro 0", HASHES, keys[0]), read_public_key(keys[1])) == HASHES


def resigned(keys: tuple[Path, Path], change: Callable[[dict[str, Any]], object]) -> bytes:
    """A signature whose statement was changed before it was signed with the right key."""
    whole = json.loads(sign("micro 0", HASHES, keys[0]))
    statement = json.loads(base64.b64decode(whole["dsseEnvelope"]["payload"]))
    change(statement)
    payload = json.dumps(statement).encode()
    private: Any = serialization.load_pem_private_key(keys[0].read_bytes(), None)
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    signature = private.sign(signed, ec.ECDSA(hashes.SHA256()))
    whole["dsseEnvelope"] |= {
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(whole).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda one: one.update(predicateType="https://model_signing/Digests/v0.1"),
        lambda one: one.update(predicateType="https://slsa.dev/provenance/v1"),
        lambda one: one.update(subject=[]),
        lambda one: one.update(subject=one["subject"] * 2),
        lambda one: one["subject"][0]["digest"].update(sha256="00" * 32),
        lambda one: one["predicate"]["resources"].reverse(),
        lambda one: one["predicate"]["resources"].append(one["predicate"]["resources"][0]),
        lambda one: one["predicate"]["resources"][0].update(algorithm="blake2b"),
        lambda one: one["predicate"]["resources"][0].update(digest="22" * 31),
        lambda one: one["predicate"]["resources"][0].update(digest=5),
        lambda one: one["predicate"]["resources"][0].update(name=[]),
        lambda one: one["predicate"].pop("resources"),
        lambda one: one["predicate"]["serialization"].update(method="shards"),
        lambda one: one["predicate"]["serialization"].update(allow_symlinks=True),
        lambda one: one["predicate"].update(serialization=None),
        lambda one: one.update(predicate=None),
    ],
)
def test_a_statement_that_does_not_fit_is_refused_though_it_is_signed(
    keys: tuple[Path, Path], change: Callable[[dict[str, Any]], object]
) -> None:
    key = read_public_key(keys[1])
    assert signed_hashes(resigned(keys, lambda one: None), key) == HASHES
    with pytest.raises(ValueError, match=r"\w"):
        signed_hashes(resigned(keys, change), key)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"),
        lambda one: one["dsseEnvelope"].update(payloadType="application/json"),
        lambda one: one["dsseEnvelope"].update(signatures=[]),
        lambda one: one["dsseEnvelope"].update(signatures=one["dsseEnvelope"]["signatures"] * 2),
        lambda one: one["dsseEnvelope"]["signatures"][0].update(sig=""),
        lambda one: one["dsseEnvelope"]["signatures"][0].update(sig="*"),
        lambda one: one["dsseEnvelope"]["signatures"][0].update(sig=None),
        lambda one: one["dsseEnvelope"].update(payload=base64.b64encode(b"{}").decode()),
        lambda one: one["dsseEnvelope"].update(payload=one["dsseEnvelope"]["payload"] + "\n"),
        lambda one: one.update(dsseEnvelope=[]),
        lambda one: one.pop("dsseEnvelope"),
    ],
)
def test_an_envelope_that_does_not_fit_is_refused(
    keys: tuple[Path, Path], change: Callable[[dict[str, Any]], object]
) -> None:
    whole = json.loads(sign("micro 0", HASHES, keys[0]))
    change(whole)
    with pytest.raises(ValueError, match=r"\w"):
        signed_hashes(json.dumps(whole).encode(), read_public_key(keys[1]))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 10**5, b'{"a": 1, "a": 2}'])
def test_what_is_no_signature_is_refused(keys: tuple[Path, Path], content: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        signed_hashes(content, read_public_key(keys[1]))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: ec.generate_private_key(ec.SECP384R1()), "secp384r1"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
        (ed25519.Ed25519PrivateKey.generate, "Ed25519"),
        (lambda: rsa.generate_private_key(65537, 2048), "RSA"),
    ],
)
def test_other_kinds_of_keys_are_refused_by_name(make: Callable[[], Any], named: str, tmp_path: Path) -> None:
    private, public = write_keys(tmp_path / "key", make())
    with pytest.raises(SettingError, match=rf"key\.pub: .*{named} key"):
        read_public_key(public)
    with pytest.raises(SettingError, match=rf"key: .*{named} key"):
        sign("micro 0", HASHES, private)


def test_what_is_no_key_is_refused(keys: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no key")
    for wrong in (keys[0], tmp_path / "text", tmp_path / "nowhere", tmp_path, b"", "", True):
        with pytest.raises(SettingError):
            read_public_key(wrong)  # type: ignore[arg-type]
    for wrong in (keys[1], tmp_path / "text", tmp_path / "nowhere"):
        with pytest.raises(SettingError):
            sign("micro 0", HASHES, wrong)


def test_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private, _ = write_keys(tmp_path / "key", key, serialization.BestAvailableEncryption(b"word"))
    with pytest.raises(SettingError, match="password"):
        sign("micro 0", HASHES, private)


def test_a_key_may_be_given_as_bytes(keys: tuple[Path, Path]) -> None:
    content = sign("micro 0", HASHES, keys[0].read_bytes())
    assert signed_hashes(content, read_public_key(keys[1].read_bytes())) == HASHES
