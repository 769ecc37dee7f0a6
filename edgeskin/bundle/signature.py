"""Signatures of bundles in the OpenSSF Model Signing format 1.0, with ECDSA P-256 keys.

``signature.json`` is a Sigstore bundle 0.3: a DSSE envelope around an in-toto statement that lists the
SHA-256 of every other file in the folder. `model_signing` verifies these signatures, and its own are
verified here (https://github.com/ossf/model-signing-spec). This module needs the extra ``sign``.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeskin.bundle.plain_data import read_json
from edgeskin.errors import SettingError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

SIGNATURE = "signature.json"
CURVE = "secp256r1"
_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
_LARGEST_KEY = 2**14

Key = str | os.PathLike[str] | bytes
"""A key: the path of a PEM file, or the bytes of one."""


@dataclass(frozen=True)
class PublicKey:
    """An ECDSA P-256 public key. pem: its bytes as SubjectPublicKeyInfo."""

    pem: bytes

    @property
    def sha256(self) -> str:
        """Of the PEM, in hex, as signatures name their key."""
        return hashlib.sha256(self.pem).hexdigest()


def read_public_key(key: Key) -> PublicKey:
    """Read a public key. Raises SettingError unless it is one of ECDSA P-256, or without the extra."""
    serialization, ec = _cryptography()
    loaded = _load(key, serialization.load_pem_public_key, "public")
    if not isinstance(loaded, ec.EllipticCurvePublicKey) or loaded.curve.name != CURVE:
        raise SettingError(f"{_name(key)}: a {_kind(loaded)} key; this takes ECDSA P-256 ({CURVE})")
    return _public(loaded)


def new_keys() -> tuple[bytes, bytes]:
    """A new private key and its public key, as PEM. Raises SettingError without the extra."""
    serialization, ec = _cryptography()
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, _public(key.public_key()).pem


def sign(name: str, sha256: Mapping[str, str], key: Key) -> bytes:
    """The content of ``signature.json``.

    Args:
        name: What the signature calls the bundle; nothing depends on it.
        sha256: The hash of every file, in hex, by the file's name.
        key: The private key.

    Raises:
        SettingError: The key is not one of ECDSA P-256, or the extra is missing.
    """
    serialization, ec = _cryptography()
    from cryptography.hazmat.primitives.hashes import SHA256

    private = _load(key, lambda pem: serialization.load_pem_private_key(pem, None), "private")
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != CURVE:
        raise SettingError(f"{_name(key)}: a {_kind(private)} key; this takes ECDSA P-256 ({CURVE})")
    resources = [{"name": file, "algorithm": "sha256", "digest": sha256[file]} for file in sorted(sha256)]
    statement = {
        "_type": _STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": _root(resources)}}],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {
            "serialization": _SERIALIZATION | {"ignore_paths": [SIGNATURE]},
            "resources": resources,
        },
    }
    payload = json.dumps(statement).encode()
    signature = private.sign(_pre_authentication(payload), ec.ECDSA(SHA256()))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": _PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    material = {"publicKey": {"hint": _public(private.public_key()).sha256}, "tlogEntries": []}
    whole = {"mediaType": _MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}
    return json.dumps(whole).encode()


def signed_hashes(content: bytes, key: PublicKey) -> dict[str, str]:
    """The hashes that a signature vouches for.

    Args:
        content: Of ``signature.json``.
        key: The key that must have made it.

    Returns:
        The SHA-256 of every file, in hex, by the file's name.

    Raises:
        ValueError: The signature is malformed, of another format or of another key.
        SettingError: The extra is missing.
    """
    serialization, ec = _cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.hashes import SHA256

    public: Any = serialization.load_pem_public_key(key.pem)
    try:
        whole = read_json(content)
        envelope = whole["dsseEnvelope"]
        if (whole["mediaType"], envelope["payloadType"]) != (_MEDIA_TYPE, _PAYLOAD_TYPE):
            raise ValueError("not a signature of the OpenSSF Model Signing format 1.0")
        payload = base64.b64decode(envelope["payload"], validate=True)
        (signature,) = (base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"])
        public.verify(signature, _pre_authentication(payload), ec.ECDSA(SHA256()))
        return _listed(read_json(payload))
    except InvalidSignature:
        raise ValueError(f"not made with the key of SHA-256 {key.sha256[:12]}..., or altered") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"malformed ({type(error).__name__}: {error})") from error


def _listed(statement: Mapping[str, Any]) -> dict[str, str]:
    """The hashes of a verified statement."""
    if (statement["_type"], statement["predicateType"]) != (_STATEMENT_TYPE, _PREDICATE_TYPE):
        raise ValueError("not a statement of the OpenSSF Model Signing format 1.0")
    predicate = statement["predicate"]
    # What a signer left out is missing from the resources, so ignore_paths changes nothing.
    serialization = {name: predicate["serialization"].get(name) for name in _SERIALIZATION}
    if serialization != _SERIALIZATION:
        raise ValueError(f"signed as {serialization}; sign whole files with SHA-256, without links")
    resources = predicate["resources"]
    hashes = {one["name"]: one["digest"] for one in resources}
    is_sound = len(hashes) == len(resources) and all(
        one["algorithm"] == "sha256" and re.fullmatch("[0-9a-f]{64}", one["digest"]) for one in resources
    )
    (subject,) = statement["subject"]
    if not is_sound or subject["digest"]["sha256"] != _root(resources):
        raise ValueError("its list of files contradicts itself")
    return hashes


def _root(resources: list[dict[str, str]]) -> str:
    """The hash of the subject: of all digests one after another."""
    return hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()


def _pre_authentication(payload: bytes) -> bytes:
    """The bytes that are signed: DSSE's PAE (https://github.com/secure-systems-lab/dsse, protocol 1.0)."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)


def _public(key: "ec.EllipticCurvePublicKey") -> PublicKey:
    serialization, _ = _cryptography()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return PublicKey(key.public_bytes(serialization.Encoding.PEM, form))


def _load(key: Key, load: Any, kind: str) -> Any:
    """The key that a PEM file holds."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        pem = key
        if not isinstance(pem, bytes):
            with Path(pem).open("rb") as file:
                pem = file.read(_LARGEST_KEY)
        return load(pem)
    except OSError as error:
        raise SettingError(f"{_name(key)}: the key cannot be read ({error.strerror})") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingError(
            f"{_name(key)}: no {kind} key that can be used; name a PEM file, without a password"
        ) from error


def _name(key: Key) -> str:
    return "the key" if isinstance(key, bytes) else str(key)


def _kind(key: Any) -> str:
    """The kind of a key, such as secp384r1 or Ed25519."""
    curve = getattr(key, "curve", None)
    return str(curve.name) if curve else re.sub("^_|(Public|Private)Key$", "", type(key).__name__)


def _cryptography() -> tuple[Any, Any]:
    """The modules that serialize keys and sign."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise SettingError("signatures need the extra sign: pip install cryptography") from error
    return serialization, ec
