"""The files of a TLS listener: its certificate, its key, and who signs its clients."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.keys import refuse_open_file
from gateway.located import ConfigError

SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was read from the files at one time; `expires` is that of the own certificate."""

    context: ssl.SSLContext
    authorities: bytes
    expires: datetime


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the files are, all PEM. What is wrong with one is a ConfigError that names it."""

    certificate: Path
    key: Path
    clients_ca: Path

    def check_certificate(self) -> datetime:
        """Read the certificate; return when it ends."""
        # Imported here and below: it costs 4 MiB, which no one pays who has no TLS listener.
        from gateway import certificates

        certificate = _read(self.certificate)
        try:
            expires = certificates.expiry(certificate)
            may_serve = certificates.may_serve(certificate)
        except ValueError:
            raise ConfigError(f"{self.certificate} is no certificate (PEM)") from None
        if not may_serve:
            raise ConfigError(
                f"{self.certificate} may not prove a server (its extended key usage lacks "
                "serverAuth), so no client would trust it: is it a client's?"
            )
        return expires

    def check_key(self) -> ssl.SSLContext:
        """Read the key: only its owner may read it, and it belongs to the certificate.

        Return a context that has both.
        """
        from cryptography.exceptions import UnsupportedAlgorithm

        from gateway import certificates

        refuse_open_file(self.key)
        key = _read(self.key)
        try:
            is_pair = certificates.is_pair(_read(self.certificate), key)
        except TypeError:
            raise ConfigError(
                f"{self.key} has a password, which nobody types at a start: "
                f"openssl pkey -in {self.key} -out FILE"
            ) from None
        except ValueError:
            raise ConfigError(f"{self.key} is no private key (PEM)") from None
        except UnsupportedAlgorithm as problem:
            raise ConfigError(
                f"{self.key} or {self.certificate} is of a rare kind ({problem}): make them with "
                "RSA or a curve such as P-256"
            ) from None
        if not is_pair:
            raise ConfigError(f"{self.key} is not the key of {self.certificate}")
        context = _context()
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        # Too weak for OpenSSL; or the files were exchanged since they were compared.
        except (OSError, ValueError) as problem:
            raise ConfigError(f"{self.key} cannot be used: {_why(problem)}") from None
        return context

    def check_clients_ca(self, context: ssl.SSLContext) -> bytes:
        """Read the certificates of those who sign clients, which the context then trusts."""
        from gateway import certificates

        authorities = _read(self.clients_ca)
        try:
            has_root = certificates.has_root(authorities)
        except ValueError:
            raise ConfigError(f"{self.clients_ca} is no certificate (PEM)") from None
        if not has_root:
            raise ConfigError(
                f"{self.clients_ca} has no certificate that signed itself, so no client could be "
                "trusted: name the authority that signs the clients, up to its root"
            )
        try:
            context.load_verify_locations(cadata=authorities.decode("ascii", "ignore"))
        except (OSError, ValueError) as problem:
            raise ConfigError(f"{self.clients_ca} cannot be used: {_why(problem)}") from None
        return authorities

    def load(self) -> Credentials:
        """Read all of them; return what a server needs for its handshakes."""
        expires = self.check_certificate()
        context = self.check_key()
        authorities = self.check_clients_ca(context)
        return Credentials(context, authorities, expires)

    def expiry_warning(self, expires: datetime, now: datetime) -> str | None:
        """Return what to say of a certificate that ends soon or has ended; None: nothing."""
        if now < expires - SOON:
            return None
        verb = "expires" if now < expires else "has expired"
        return f"{self.certificate} {verb} on {expires.astimezone(UTC):%Y-%m-%d}: renew it"

    def stamp(self) -> object:
        """Return something that is another one when a file has changed."""
        return tuple(_stamp(path) for path in (self.certificate, self.key, self.clients_ca))


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    # Who comes again proves anew who he is: his certificate may have expired. With TLS 1.2 a
    # session can be resumed even so; there the listener looks at the certificate's end.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: obisgate tls init makes one to try") from None
    except (OSError, ValueError) as problem:
        raise ConfigError(f"{path} cannot be read: {_why(problem)}") from None


def _why(problem: Exception) -> object:
    for word in ("reason", "strerror"):  # of an SSLError, of another OSError
        if said := getattr(problem, word, None):
            return said
    return problem


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size


def _no_password() -> str:
    # Without it OpenSSL would ask on the terminal.
    raise ValueError("it has a password")
