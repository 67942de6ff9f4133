"""obisgate tls, and what the config says of the files that it makes."""

import re
import ssl
import stat
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store

from gateway.certificates import Issued, new_authority, new_server, role_of
from gateway.cli import main
from gateway.config import Config, Transport
from gateway.located import ConfigError

NOW = datetime.now(UTC)
CONFIG = """\
meters:
  house: {source: "simulator:kaifa-ma309m"}
listeners:
  - tls: 127.0.0.1
    certificate: server.crt
    key: server.key
    clients_ca: ca.crt
    any: {meter: house, map: obis_plain}
"""


def tls(*words: object) -> int:
    return main(["tls", *map(str, words)])


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.fixture
def made(tmp_path: Path) -> Path:
    assert tls("init", tmp_path) == 0
    return tmp_path


def read(folder: Path, text: str = CONFIG) -> Config:
    path = folder / "config.yaml"
    path.write_text(text)
    return Config.read(path)


def refusal(folder: Path, text: str = CONFIG) -> str:
    """The error of a config, without the names of folder and file."""
    with pytest.raises(ConfigError) as problem:
        read(folder, text)
    return str(problem.value).replace(f"{folder}/", "").removeprefix("config.yaml:")


# --- init --------------------------------------------------------------------------------------


def test_init_makes_an_authority_a_server_and_a_client_with_a_role(made: Path) -> None:
    names = ("ca", "client", "server")
    assert sorted(path.name for path in made.iterdir()) == [
        f"{name}{end}" for name in names for end in (".crt", ".key")
    ]
    client = certificate(made / "client.crt")
    assert role_of(client.public_bytes(Encoding.DER)) == "reader"
    assert role_of(certificate(made / "server.crt").public_bytes(Encoding.DER)) is None


def test_only_the_owner_can_read_the_keys(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "tls"
    assert tls("init", folder) == 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for key in folder.glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_strict_verifier_accepts_what_init_made(tmp_path: Path) -> None:
    assert tls("init", tmp_path, "--host", "meter.lan", "--host", "192.168.1.20") == 0
    policy = PolicyBuilder().store(Store([certificate(tmp_path / "ca.crt")]))
    server = certificate(tmp_path / "server.crt")
    for name in (
        x509.DNSName("meter.lan"),
        x509.DNSName("localhost"),
        x509.IPAddress(ip_address("192.168.1.20")),
        x509.IPAddress(ip_address("::1")),
    ):
        policy.build_server_verifier(name).verify(server, [])
    policy.build_client_verifier().verify(certificate(tmp_path / "client.crt"), [])


def test_the_dates_allow_for_an_old_clock_and_end_when_asked(tmp_path: Path) -> None:
    assert tls("init", tmp_path, "--days", "30") == 0
    now = datetime.now(UTC)
    for name, days in (("server", 30), ("client", 30), ("ca", 3650)):
        made = certificate(tmp_path / f"{name}.crt")
        assert made.not_valid_before_utc < now - timedelta(hours=23)
        assert abs(made.not_valid_after_utc - now - timedelta(days=days)) < timedelta(hours=1)


def test_init_shows_a_config_that_is_read_and_how_to_try_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tls("init", tmp_path / "tls") == 0
    said = capsys.readouterr().out
    listener = re.search(r"^  - tls: .*?(?=\n\n|\nA client)", said, re.DOTALL | re.MULTILINE)
    assert listener
    unit = "    any: {meter: house, map: obis_plain}\n"
    text = CONFIG.partition("  - tls")[0] + listener[0].rstrip() + "\n" + unit
    (read_listener,) = read(tmp_path, text).listeners
    assert read_listener.port == 802
    assert "openssl s_client -connect" in said


@pytest.mark.parametrize("name", ["ca.crt", "server.key", "client.crt"])
def test_nothing_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_text("precious")
    assert tls("init", tmp_path) == 2
    assert f"{name} is there already, and is not overwritten: move it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "ca.key").symlink_to(tmp_path / "elsewhere")
    assert tls("init", tmp_path) == 2
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_where_the_folder_should_be_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tls").write_text("")
    assert tls("init", tmp_path / "tls") == 2
    assert f"{tmp_path / 'tls'}: cannot be made: File exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "a b"), "--host 'a b' is no name or address; one looks like meter.lan"),
        (("--days", "0"), "--days is 1 to 3650"),
        (("--days", "99999"), "--days is 1 to 3650"),
    ],
)
def test_init_says_what_is_wrong_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert tls("init", tmp_path / "tls", *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "tls").exists()


# --- further certificates ----------------------------------------------------------------------


def test_a_further_client_has_its_own_name_and_role(made: Path) -> None:
    assert tls("client", made, "wallbox", "--role", "operator") == 0
    client = certificate(made / "wallbox.crt")
    assert client.subject.rfc4514_string() == "CN=wallbox"
    assert role_of(client.public_bytes(Encoding.DER)) == "operator"
    policy = PolicyBuilder().store(Store([certificate(made / "ca.crt")]))
    policy.build_client_verifier().verify(client, [])
    assert stat.S_IMODE((made / "wallbox.key").stat().st_mode) == 0o600


def test_a_server_is_renewed_when_its_old_files_were_moved_away(made: Path) -> None:
    assert tls("server", made) == 2
    old = (made / "server.crt").read_bytes()
    (made / "server.crt").unlink()
    (made / "server.key").unlink()
    assert tls("server", made, "--host", "meter.lan") == 0
    assert (made / "server.crt").read_bytes() != old
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
        made / "server.crt", made / "server.key"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("client",), "client.crt is there already"),
        (("ca",), "'ca' is no name of a client; one looks like wallbox"),
        (("server",), "'server' is no name of a client"),
        (("../x",), "'../x' is no name of a client"),
        ((".hidden",), "'.hidden' is no name of a client"),
        (("x", "--role", ""), "--role: a role has 1 to 127 bytes that can be seen"),
    ],
)
def test_a_client_that_cannot_be_made_is_refused_with_the_reason(
    made: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    before = sorted(made.iterdir())
    assert tls("client", made, *words) == 2
    assert said in capsys.readouterr().err
    assert sorted(made.iterdir()) == before


def test_without_a_good_authority_there_is_no_client(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (made / "ca.key").chmod(0o644)
    assert tls("client", made, "x") == 2
    assert "ca.key can be read by others: chmod 600" in capsys.readouterr().err
    (made / "ca.key").chmod(0o600)
    (made / "ca.key").write_bytes((made / "server.key").read_bytes())
    assert tls("client", made, "x") == 2
    assert "is not the key of" in capsys.readouterr().err
    (made / "ca.crt").unlink()
    assert tls("client", made, "x") == 2
    assert f"ca.crt does not exist: obisgate tls init {made} makes it" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("client", "x"), ("server",)])
def test_an_authority_that_others_made_is_refused_in_words(
    made: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    for name in ("server.crt", "server.key"):
        (made / name).unlink()
    key, name = ed25519.Ed25519PrivateKey.generate(), certificate(made / "ca.crt").subject
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=9))
    (made / "ca.crt").write_bytes(built.sign(key, None).public_bytes(Encoding.PEM))
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (made / "ca.key").write_bytes(key.private_bytes(*plain))
    command, *rest = words
    assert tls(command, made, *rest) == 2
    assert "ca.crt is of another kind than obisgate tls init makes" in capsys.readouterr().err


# --- the config --------------------------------------------------------------------------------


def test_a_tls_listener_has_files_roles_and_a_usual_port(made: Path) -> None:
    (listener,) = read(made).listeners
    assert (listener.transport, listener.host, listener.port) == (Transport.TLS, "127.0.0.1", 802)
    assert listener.tls
    assert listener.tls.files.key == made / "server.key"
    assert listener.tls.roles == ("reader",)
    changed = CONFIG.replace("tls: 127.0.0.1", "tls: '[::]:8802'")
    changed = changed.replace("key: server", "key: file:server")
    (listener,) = read(made, changed + "    roles: [a, b]\n").listeners
    assert (listener.host, listener.port) == ("::", 8802)
    assert listener.tls
    assert listener.tls.roles == ("a", "b")
    assert listener.tls.files.key == made / "server.key"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    key: server.key\n", "", "4:5: 'key' is missing here: obisgate tls init makes"),
        ("server.crt", "''", "5:18: no file is named"),
        ("server.crt", "x.crt", "5:18: x.crt does not exist: obisgate tls init makes one to try"),
        ("server.crt", ".", "5:18: "),
        ("server.crt", "server.key", "5:18: server.key is no certificate (PEM)"),
        ("server.key", "x.key", "6:10: key file x.key does not exist"),
        ("server.key", "ca.key", "6:10: ca.key is not the key of server.crt"),
        ("server.key", "open.key", "6:10: key file open.key can be read by others: chmod 600"),
        ("ca.crt", "ca.key", "7:17: ca.key is no certificate (PEM)"),
        ("any:", "roles: []\n    any:", "8:12: name at least one role, as in [reader]"),
        ("any:", "baud: 9600\n    any:", "8:11: 'baud' means nothing to a tls listener"),
        ("tls:", "tcp: 5020 #", "5:18: 'certificate' means nothing to a tcp listener"),
        ("127.0.0.1", "'::1'", "4:10: '::1' is no address"),
    ],
)
def test_a_mistake_is_shown_with_line_column_and_what_to_do(
    made: Path, old: str, new: str, said: str
) -> None:
    (made / "open.key").write_bytes((made / "server.key").read_bytes())
    (made / "open.key").chmod(0o640)
    assert CONFIG.count(old) == 1
    assert refusal(made, CONFIG.replace(old, new)).startswith(said)


def test_a_certificate_that_has_expired_is_warned_about_and_served(made: Path) -> None:
    authority = Issued((made / "ca.crt").read_bytes(), (made / "ca.key").read_bytes())
    ends = datetime.now(UTC) - timedelta(days=1)
    issued = new_server(authority, ["localhost"], ends - timedelta(days=5), 5)
    (made / "server.crt").write_bytes(issued.certificate)
    (made / "server.key").write_bytes(issued.key)
    [warning] = read(made).warnings
    assert warning.startswith(f"{made}/config.yaml:5:18: {made}/server.crt has expired on ")


def test_no_error_shows_a_key(made: Path) -> None:
    """Also where a key stands in the certificate's place."""
    body = (made / "server.key").read_text().split("\n")[1]
    for old, new in (("server.crt", "server.key"), ("server.key", "server.crt")):
        (made / "server.crt").chmod(0o600)
        assert body[:20] not in refusal(made, CONFIG.replace(old, new))


def test_an_authority_signs_no_authority() -> None:
    authority = certificate_of(new_authority("x", datetime.now(UTC)))
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def certificate_of(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certificate)
