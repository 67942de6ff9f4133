"""Certificates of Modbus/TCP Security: a private authority, what it issues, the role in them.

It knows no file and no clock. Clauses: MTS is MODBUS/TCP Security v21 (2018-07-24). A client's
certificate carries its role in the extension 1.3.6.1.4.1.50316.802.1, a UTF8String of ASN.1 (MTS
8.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROLE_OID = x509.ObjectIdentifier("1.3.6.1.4.1.50316.802.1")
UTF8_STRING = 0x0C  # its ASN.1 tag
MAX_ROLE_BYTES = 127  # the longest whose DER length is one byte
AUTHORITY_DAYS = 3650
# Clocks differ, and a small computer without a battery starts with an old one.
EARLIER = timedelta(days=1)

_READ_ONLY = ("digital_signature",)
_SIGNING = ("key_cert_sign", "crl_sign")
_USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
    "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


# What says that a certificate has no such extension, or none that can be read.
_NO_EXTENSION = (
    ValueError,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, both as PEM."""

    certificate: bytes
    key: bytes


def new_authority(name: str, now: datetime) -> Issued:
    """Return an authority that signs servers and clients; it is valid for ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _named(name)
    built = (
        _builder(subject, key, now, AUTHORITY_DAYS)
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(_SIGNING), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Issued(_pem(built), _key_pem(key))


def new_server(authority: Issued, hosts: Sequence[str], now: datetime, days: int) -> Issued:
    """Return a server's certificate for host names and addresses, the first of them its name."""
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    return _issue(authority, hosts[0], ExtendedKeyUsageOID.SERVER_AUTH, [names], now, days)


def new_client(authority: Issued, name: str, role: str, now: datetime, days: int) -> Issued:
    """Return a client's certificate with its role; ValueError for one of no or too many bytes."""
    extensions = [
        x509.UnrecognizedExtension(ROLE_OID, _utf8_string(role)),
        x509.SubjectAlternativeName([x509.DNSName(name)]),  # strict verifiers want one
    ]
    return _issue(authority, name, ExtendedKeyUsageOID.CLIENT_AUTH, extensions, now, days)


def role_of(certificate: bytes) -> str | None:
    """Return the role in a DER certificate; None if it has none, or none that can be read."""
    try:
        found = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_oid(
            ROLE_OID
        )
    except _NO_EXTENSION:
        return None
    value = found.value
    return _utf8_text(value.value) if isinstance(value, x509.UnrecognizedExtension) else None


def expiry(pem: bytes) -> datetime:
    """Return when the first certificate of a PEM file ends; ValueError if there is none."""
    return x509.load_pem_x509_certificates(pem)[0].not_valid_after_utc


def may_serve(pem: bytes) -> bool:
    """Tell whether the first certificate of a PEM file may prove a server (RFC 5280, 4.2.1.12).

    One that names no purpose may. ValueError if there is none.
    """
    certificate = x509.load_pem_x509_certificates(pem)[0]
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except _NO_EXTENSION:
        return True
    allowed = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return any(purpose in purposes for purpose in allowed)


def has_root(pem: bytes) -> bool:
    """Tell whether a certificate of a PEM file is its own issuer; ValueError if there is none.

    OpenSSL trusts a client only if the chain of signatures ends with such a one.
    """
    return any(each.issuer == each.subject for each in x509.load_pem_x509_certificates(pem))


def is_pair(certificate: bytes, key: bytes) -> bool:
    """Tell whether a key (PEM) is that of the first certificate.

    ValueError or TypeError: one of them is none; UnsupportedAlgorithm: it is of a rare kind.
    """
    public = x509.load_pem_x509_certificates(certificate)[0].public_key()
    private = serialization.load_pem_private_key(key, None)
    return _public_bytes(public) == _public_bytes(private.public_key())


def can_issue(authority: Issued) -> bool:
    """Tell whether an authority is of the kind that `new_authority` makes; ValueError if bad."""
    key = serialization.load_pem_private_key(authority.key, None)
    certificate = x509.load_pem_x509_certificate(authority.certificate)
    try:
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except _NO_EXTENSION:
        return False
    return isinstance(key, ec.EllipticCurvePrivateKey)


def _issue(
    authority: Issued,
    name: str,
    purpose: x509.ObjectIdentifier,
    extensions: Sequence[x509.ExtensionType],
    now: datetime,
    days: int,
) -> Issued:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    signer = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is none that new_authority makes")
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(_named(name), key, now, days)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(_READ_ONLY), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Issued(_pem(builder.sign(signer, hashes.SHA256())), _key_pem(key))


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])  # X.520 ends there


def _usage(uses: Sequence[str]) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in uses for use in _USES})


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_bytes(key: object) -> bytes:
    encode = key.public_bytes  # type: ignore[attr-defined]  # every kind of public key has it
    return bytes(
        encode(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _utf8_string(text: str) -> bytes:
    """Return a text as ASN.1's UTF8String."""
    octets = text.encode()
    if not 0 < len(octets) <= MAX_ROLE_BYTES or not text.isprintable():
        raise ValueError(f"a role has 1 to {MAX_ROLE_BYTES} bytes that can be seen")
    return bytes((UTF8_STRING, len(octets))) + octets


def _utf8_text(der: bytes) -> str | None:
    """Return the text of a UTF8String that ends where it says; None for anything else."""
    if len(der) < 3 or der[0] != UTF8_STRING or der[1] != len(der) - 2 or der[1] > MAX_ROLE_BYTES:
        return None
    try:
        return der[2:].decode()
    except UnicodeDecodeError:
        return None
