"""
Configurations of other brokers made ours: what is taken over, what is said of the rest, and that the broker takes the
result.
"""

import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kits.certificates import Authority
from twisted_mqtt.auth.aclfile import parseRules
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.settings import Settings
from twisted_mqtt.convert.conversion import brokerOf, converted
from twisted_mqtt.convert.result import Result
from twisted_mqtt.convert.sources import ConversionError

SAMPLES = Path(__file__).parent / "samples"
#: The files that a user would name.
FILES = [
    "emqx/etc/emqx.conf",
    "emqx/etc/comments.conf",
    "nanomq/nanomq.conf",
    "nanomq/nanomq_old.conf",
    "vernemq/vernemq.conf",
    "mosquitto/mosquitto.conf",
    "mosquitto/minimal.conf",
    "mosquitto/psk.conf",
]


def made(result: Result) -> Settings:
    """
    The settings that a broker would have that reads the result, as it is written.
    """
    return settingsFrom(tomllib.loads(result.render("test")))


def remarks(result: Result, kind: str, key: str = "") -> list[str]:
    """
    What is said about a key.
    """
    return [each.text for each in result.sorted() if each.kind == kind and each.key.partition(" ")[0] == key]


def fileWith(folder: Path, name: str, text: str | bytes) -> Path:
    """
    A file to convert.
    """
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


@pytest.mark.parametrize("name", FILES)
def test_samples(name: str) -> None:
    """
    Every sample becomes a configuration that a broker takes, says where each value comes from, and tells of every line
    that is not in it.
    """
    file = SAMPLES / name
    result = converted(file)
    text = result.render("test")
    assert tomllib.loads(text) == result.tables() or not result.tables()["listener"]
    assert made(result).listener
    told = {(each.file, each.line) for each in result.remarks} | result.places
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if "=" in line or (line and name.startswith("mosquitto")):
            include = "include" in line
            assert (file.name, number) in told or line.lstrip().startswith("#") or include, line


def test_emqx() -> None:
    """
    EMQ X: zones, listeners, limits, plugins and their files; what has no effect here is not taken over, with its
    reason.
    """
    result = converted(SAMPLES / "emqx/etc/emqx.conf")
    ours = made(result)
    assert ours.acl_file == str(SAMPLES / "emqx/etc/acl.conf")
    assert ours.allow_anonymous is True
    assert ours.mqtt.max_clientid_len == 65535
    assert ours.zone["internal"].enable_acl is False
    assert ours.listener.tcp["external"].bind.port == 1883
    assert ours.listener.ws["external"].mqtt_path == "/mqtt"
    assert ours.listener.ssl == ours.listener.wss == {}
    assert set(ours.startingExtensions) >= {"management", "retainer", "mqttsn", "stomp", "presence"}
    assert "coap" not in ours.startingExtensions
    assert remarks(result, "lost", "zone.external.force_gc_policy") == ["Python frees memory by itself"]
    assert remarks(result, "lost", "cluster.name") == ["this broker runs as a single node"]
    assert "certfile" in remarks(result, "lost", "listener.ssl.external")[0] or remarks(
        result, "lost", "listener.ssl.external.acceptors"
    )
    [told] = [each for each in result.remarks if each.key.startswith("bridge.mqtt.aws.password")]
    assert (told.file, told.line, told.text) == ("emqx_bridge_mqtt.conf", 2, "there are no bridges yet")
    text = result.render("test")
    assert "secret" not in text.replace("emqxsecret", "").replace("default_secret", "")
    assert "emqxsecretcookie" not in text
    assert "#[listener.ssl.external]" in text


def test_emqxListenerWithTLS(tmp_path: Path) -> None:
    """
    A listener whose files are there is taken over with all that makes it safe, from the folder of the configuration.
    """
    folder = tmp_path / "certs"
    folder.mkdir()
    authority = Authority(folder)
    issued = authority.issue("server")
    text = (
        "acl_nomatch = deny\n"
        "listener.ssl.external = 8883\n"
        "listener.ssl.external.keyfile = certs/server-key.pem\n"
        f"listener.ssl.external.certfile = {issued.certfile}\n"
        f"listener.ssl.external.cacertfile = {authority.cafile}\n"
        "listener.ssl.external.verify = verify_peer\n"
        "listener.ssl.external.fail_if_no_peer_cert = true\n"
    )
    result = converted(fileWith(tmp_path, "emqx.conf", text))
    listener = made(result).listener.ssl["external"]
    assert listener.keyfile == issued.keyfile
    assert listener.fail_if_no_peer_cert is True
    assert made(result).acl_nomatch == "deny"


def test_emqxOfRelease3(tmp_path: Path) -> None:
    """
    Keys of release 3 keep their meaning; a listener whose mount point can't be had is not opened without it.
    """
    text = (
        "node.name = a@b.c\nacl_deny_action = disconnect\nmqtt.allow_anonymous = false\n"
        "zone.internal.acl_deny_action = ignore\nzone.third.max_inflight = 3\n"
        "listener.tcp.external = 127.0.0.1:41893\n"
        "listener.tcp.mounted = 127.0.0.1:41894\nlistener.tcp.mounted.mountpoint = devices/%c/\n"
    )
    result = converted(fileWith(tmp_path, "emqx.conf", text))
    ours = made(result)
    assert ours.allow_anonymous is False
    actions = {name: zone.acl_deny_action for name, zone in ours.zone.items()}
    assert actions == {"external": "disconnect", "internal": "ignore", "third": "disconnect"}
    assert list(ours.listener.tcp) == ["external"]
    assert "#[listener.tcp.mounted]" in result.render("test")
    default = converted(fileWith(tmp_path, "emqx.conf", "node.name = a@b.c\n"))
    assert made(default).allow_anonymous is True
    assert "allow_anonymous = true  # EMQ X's default" in default.render("test")
    (tmp_path / "data").mkdir()
    fileWith(tmp_path / "data", "loaded_plugins", "emqx_auth_http.\n")
    assert made(converted(tmp_path / "emqx.conf")).allow_anonymous is None


def test_rulesAreNeverLostInSilence(tmp_path: Path) -> None:
    """
    If access rules can't be taken over there is no result, because it would allow more; who wants it says so.
    """
    for name, text in (
        ("emqx.conf", "node.name = a@b\nacl_file = none.conf\n"),
        ("mosquitto.conf", "listener 1883\nacl_file none.conf\n"),
        ("vernemq.conf", "nodename = a@b\nvmq_acl.acl_file = none.conf\n"),
        ("nanomq.conf", 'auth { acl = {include "none.conf"} }\n'),
    ):
        file = fileWith(tmp_path, name, text)
        with pytest.raises(ConversionError, match=rf"{name}:\d: the access rules can't be used: .*--without-rules"):
            converted(file)
        result = converted(file, withoutRules=True)
        assert result.get("acl_file") is None
        assert any("--without-rules" in remark.text for remark in result.remarks)
    fileWith(tmp_path, "none.conf", "{allow, nobody}.")
    with pytest.raises(ConversionError, match=r"none.conf:1: "):
        converted(fileWith(tmp_path, "emqx.conf", "node.name = a@b\nacl_file = none.conf\n"))


def test_rulesWithoutALine(tmp_path: Path) -> None:
    """
    Where no line names the access rules, the file is taken that the other broker takes.
    """
    fileWith(tmp_path, "acl.conf", '{deny, all, publish, ["x"]}.\n')
    result = converted(fileWith(tmp_path, "emqx.conf", "node.name = a@b.c\n"))
    assert made(result).acl_file == str(tmp_path / "acl.conf")
    fileWith(tmp_path, "vmq.acl", "topic read a\n")
    result = converted(fileWith(tmp_path, "vernemq.conf", "listener.tcp.default = 127.0.0.1:1883\n"))
    assert result.rules is not None
    assert '{allow, all, subscribe, ["a"]}' in result.rules
    fileWith(tmp_path, "vmq.acl", "what?\n")
    fileWith(tmp_path, "acl.conf", "what?\n")
    with pytest.raises(ConversionError, match="access rules"):
        converted(tmp_path / "emqx.conf")


@pytest.mark.parametrize(
    ("name", "text", "more"),
    [
        ("mosquitto.conf", "listener 1883\nallow_anonymous true\n", "acl_file {rules}\n"),
        ("nanomq.conf", "listeners.tcp {{ bind = 1883 }}\n", "auth.no_match = deny\n"),
        ("vernemq.conf", "listener.tcp.default = 127.0.0.1:1883\n", "vmq_acl.acl_file = {rules}\n"),
    ],
)
def test_noRules(tmp_path: Path, name: str, text: str, more: str) -> None:
    """
    Where the other broker has no access rules, it is told that those of every broker here hold, and not otherwise.
    """

    def told(text: str) -> list[str]:
        rules = fileWith(tmp_path, "rules", "topic a\n")
        result = converted(fileWith(tmp_path, name, text.format(rules=rules)))
        return [
            each.text
            for each in result.remarks
            if "here only this machine may" in each.text or "every broker" in each.text
        ]

    assert len(told(text)) == 1
    assert told(text + more) == []


def test_nanomq() -> None:
    """
    NanoMQ: both forms give the same where they say the same; times and sizes are as there.
    """
    ours = made(converted(SAMPLES / "nanomq/nanomq.conf"))
    assert ours.mqtt.max_packet_size == 10 * 1024
    assert ours.zone["external"].keepalive_backoff == 0.625
    assert ours.zone["external"].acl_deny_action == "disconnect"
    assert ours.acl_nomatch == "deny"
    assert ours.listener.ws["external"].mqtt_path == "/mqtt"
    assert ours.listener.ws["external"].bind.port == 8083
    assert ours.log.to == "both"
    management = ours.extensions["management"]
    assert management.listener.http.bind.port == 8081
    assert management.nanomq.username == "admin"
    old = made(converted(SAMPLES / "nanomq/nanomq_old.conf"))
    assert old.mqtt.max_packet_size == 10 * 1024 * 1024
    assert old.zone["external"].keepalive_backoff == 0.625
    assert old.allow_anonymous is False
    assert "management" not in old.startingExtensions
    rules = parseRules(converted(SAMPLES / "nanomq/nanomq.conf").rules or "").rules
    assert [rule.allow for rule in rules] == [True, True, False, True]


def test_nanomqPasswordsAreNotShown() -> None:
    """
    Neither the result nor the remarks have a password that has no place in the result.
    """
    result = converted(SAMPLES / "nanomq/nanomq.conf")
    text = result.render("test")
    assert "0042" not in text
    assert "passwd" not in text.replace("nanomq_pwd", "")


def test_vernemq() -> None:
    """
    VerneMQ: options of listeners from three levels, limits with other meanings of 0 and -1, its defaults where they
    differ.
    """
    result = converted(SAMPLES / "vernemq/vernemq.conf")
    ours = made(result)
    tcp = ours.listener.tcp
    assert tcp["default"].max_connections == 10000
    assert tcp["my_other"].max_connections == 100
    assert tcp["my_other"].topic_tree == "other"
    assert tcp["my_other"].acceptors == 10
    assert tcp["proxied"].allowed_protocol_versions == (3, 4)
    assert tcp["proxied"].peer_cert_as_username == "cn"
    assert (tcp["proxied"].sndbuf, tcp["proxied"].recbuf) == (4096, 16384)
    assert ours.listener.ws["default"].allowed_protocol_versions == (3, 4)
    external = ours.zone["external"]
    assert external.max_offline_messages == 0
    assert external.session_expiry_interval == 7 * 86400
    assert ours.mqtt.max_topic_alias == 20
    assert ours.broker.sys_interval == 20
    assert ours.extensions["management"].listener.http.bind.port == 8888
    assert ours.allow_anonymous is False
    assert len(remarks(result, "lost", "listener.vmq.clustering")) == 1


def test_vernemqModules(tmp_path: Path) -> None:
    """
    At the HTTP port there is what VerneMQ has there, and no more.
    """

    def modulesOf(text: str) -> tuple[str, ...]:
        text = f"listener.tcp.default = 127.0.0.1:1883\nlistener.http.default = 127.0.0.1:8888\n{text}\n"
        result = converted(fileWith(tmp_path, "vernemq.conf", text))
        modules: tuple[str, ...] = made(result).extensions["management"].modules
        return modules

    assert "api_v1" in modulesOf("")
    assert modulesOf("listener.http.default.http_modules = vmq_metrics_http, vmq_status_http") == ("metrics", "status")
    assert modulesOf("listener.http.http_modules = [vmq_health_http,vmq_http_pub, other]") == ("health", "publish")
    both = "listener.http.http_modules = vmq_health_http\nlistener.http.default.http_modules = vmq_http_mgmt_api"
    assert modulesOf(both) == ("api_v1", "api_v4")
    assert modulesOf("listener.http.http_modules = other") == ()


def test_mosquitto() -> None:
    """
    Mosquitto: options of each listener and of a bridge, C{include_dir}, its defaults where they differ.
    """
    result = converted(SAMPLES / "mosquitto/mosquitto.conf")
    ours = made(result)
    assert ours.listener.tcp["external"].bind.port == 1883
    inner = ours.listener.tcp["port1884"]
    assert inner.bind.host == "127.0.0.1"
    assert ours.zone[inner.zone].mountpoint == "devices/"
    assert ours.zone[inner.zone].max_mqueue_len == ours.zone["external"].max_mqueue_len == 500
    assert ours.zone[inner.zone].use_username_as_clientid is True
    assert str(ours.listener.unix["external"].bind) == "/tmp/mosquitto.sock"
    assert ours.listener.ws["external"].bind.port == 9001
    assert ours.listener.ssl == {}
    # From the folder, which comes after the file.
    assert ours.mqtt.max_packet_size == 100000
    assert ours.broker.sys_interval == 30
    assert ours.persistence.store == "sqlite"
    assert ours.log.level == "notice"
    assert remarks(result, "lost", "remote_password") == ["there are no bridges yet"]
    assert remarks(result, "changed", "sys_interval") == ["conf.d/10-limits.conf:2 says it again, and holds"]


_EXAMPLE = Path("/usr/share/doc/mosquitto/examples/mosquitto.conf")


@pytest.mark.skipif(not _EXAMPLE.exists(), reason="needs the documentation of Debian's mosquitto")
def test_mosquittoEveryOption(tmp_path: Path) -> None:
    """
    Every option in the example that Mosquitto comes with is known: it is taken over, or has a reason of its own. As it
    is, with every option in comments, it says nothing.
    """
    assert converted(_EXAMPLE, "mosquitto").remarks == []
    options = re.findall(r"^#([a-z][a-z_0-9.]+)(?: (.*))?$", _EXAMPLE.read_text(), re.MULTILINE)
    lines = [f"{option} {value or 1}" for option, value in options if option != "include_dir"]
    assert len(lines) > 90
    result = converted(fileWith(tmp_path, "mosquitto.conf", "\n".join(lines)), "mosquitto", withoutRules=True)
    assert [each.key for each in result.remarks if "no option that is known" in each.text] == []
    told = {each.line for each in result.remarks} | {line for _, line in result.places}
    assert set(range(1, len(lines) + 1)) - told == set()


def test_mosquittoWithoutListener(tmp_path: Path) -> None:
    """
    Who configures no listener is let in from this machine alone; who configures one is not let in without a name.
    """
    ours = made(converted(fileWith(tmp_path, "mosquitto.conf", "persistence true\n")))
    assert str(ours.listener.tcp["external"].bind) == "127.0.0.1:1883"
    assert ours.allow_anonymous is True
    ours = made(converted(fileWith(tmp_path, "mosquitto.conf", "port 1999\n")))
    assert str(ours.listener.tcp["external"].bind) == "0.0.0.0:1999"
    assert ours.allow_anonymous is False


def test_mosquittoPSK() -> None:
    """
    Pre-shared keys and options for each listener.
    """
    ours = made(converted(SAMPLES / "mosquitto/psk.conf"))
    secure, plain = ours.listener.ssl["external"], ours.listener.tcp["external"]
    assert secure.psk_ciphers
    assert ours.zone[secure.zone].allow_anonymous is True
    assert ours.zone[plain.zone].allow_anonymous is False
    assert "psk_file" in ours.startingExtensions


@pytest.mark.parametrize(
    ("name", "text", "broker"),
    [
        ("a", "nodename = x@y\nlistener.tcp.default = 1:1883\n", "vernemq"),
        ("a", "listener.tcp.default = 127.0.0.1:1883\nallow_anonymous = on\nvmq_acl.acl_file = x\n", "vernemq"),
        ("a", "node.name = x@y\n", "emqx"),
        ("a", "listener.tcp.external = 1883\n", "emqx"),
        ("a", "url=nmq-tcp://0.0.0.0:1883\n", "nanomq"),
        ("a", "listeners.tcp {\n bind = x }\n", "nanomq"),
        ("a", "# x\n\nlistener 1883\n", "mosquitto"),
        ("mosquitto.conf", "# nothing\n", "mosquitto"),
        ("my-emqx.conf", "", "emqx"),
        ("vernemq.conf", "listener.tcp.default = 127.0.0.1:1883\n", "vernemq"),
        ("old-vernemq.conf", "listener.tcp.default = 1883\n", "emqx"),
        ("a", "", None),
        ("a", "[listener]\n", None),
    ],
)
def test_whose(name: str, text: str, broker: str | None) -> None:
    """
    Whose file it is shows by what stands in it, or else by its name.
    """
    assert brokerOf(name, text) == broker


@pytest.mark.parametrize("broker", ["emqx", "vernemq", "mosquitto", "nanomq"])
def test_oddLines(tmp_path: Path, broker: str) -> None:
    """
    A mark at the start, ends of lines of Windows, NUL, bytes that are no UTF-8 and huge lines: each is told of with its
    line, and the others hold.
    """
    sign = " " if broker == "mosquitto" else " = "
    key = {
        "emqx": "mqtt.max_qos_allowed",
        "vernemq": "max_inflight_messages",
        "mosquitto": "max_inflight_messages",
    }.get(broker, "mqtt.max_inflight_window")
    data = b"\xef\xbb\xbf" + f"{key}{sign}1\r\n".encode() + b"a\x00b = 1\r\nx\xff = 1\n" + b"y" * 70000 + b"=1\n"
    result = converted(fileWith(tmp_path, "a.conf", data), broker)
    assert 1 in (result.get("mqtt.max_qos_allowed"), result.get("zone.external.max_inflight"))
    said = {each.line: each.text for each in result.remarks if each.kind == "lost" and each.file == "a.conf"}
    assert said[2] == "it has a NUL character"
    assert said[3] == "it is not UTF-8"
    assert said[4] == "it has more than 65536 characters"


def test_againAndAgain(tmp_path: Path) -> None:
    """
    Of a key that stands several times the last holds, and that is said.
    """
    result = converted(fileWith(tmp_path, "emqx.conf", "mqtt.max_qos_allowed = 1\nmqtt.max_qos_allowed = 2\n"))
    assert made(result).mqtt.max_qos_allowed == 2
    assert remarks(result, "changed", "mqtt.max_qos_allowed") == ["emqx.conf:2 says it again, and holds"]
    result = converted(fileWith(tmp_path, "nanomq.conf", "mqtt { max_mqueue_len = 1 }\nmqtt.max_mqueue_len = 2\n"))
    assert made(result).zone["external"].max_mqueue_len == 2
    assert remarks(result, "changed", "mqtt.max_mqueue_len") == ["nanomq.conf:2 says it again, and holds"]


def test_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A variable of the environment in HOCON stands for its value now; one that is not there is an error with its place.
    """
    monkeypatch.setenv("MY_PORT", "1999")
    monkeypatch.delenv("NO_SUCH", raising=False)
    result = converted(fileWith(tmp_path, "nanomq.conf", 'listeners.tcp { bind = "0.0.0.0:"${MY_PORT} }\n'))
    assert made(result).listener.tcp["external"].bind.port == 1999
    assert remarks(result, "changed", "${...}")
    with pytest.raises(ConversionError, match=r"^nanomq.conf:1:26: nothing above is called NO_SUCH"):
        converted(fileWith(tmp_path, "nanomq.conf", "listeners.tcp { bind = x ${NO_SUCH} }\n"))


def test_optionsThatAreNotKnown(tmp_path: Path) -> None:
    """
    An option of a kind of VerneMQ's listeners that is not known here is no listener; names in keys of EMQ X that TOML
    does not have without quotes are made of what it has, wherever they stand.
    """
    text = "nodename = a@b\nlistener.tcp.some_timeout = 5\nlistener.tcp.default = 127.0.0.1:1883\n"
    result = converted(fileWith(tmp_path, "vernemq.conf", text))
    assert list(made(result).listener.tcp) == ["default"]
    assert remarks(result, "lost", "listener.tcp.some_timeout") == ["it is no key that is known here"]
    text = "listener.tcp.a:b = 1883\nlistener.tcp.a:b.zone = x/y\nzone.x/y.max_inflight = 5\n"
    ours = made(converted(fileWith(tmp_path, "emqx.conf", text)))
    assert ours.zone[ours.listener.tcp["a_b"].zone].max_inflight == 5


def test_figuresSentElsewhere(tmp_path: Path) -> None:
    """
    Graphite of VerneMQ and StatsD of EMQ X: their times are milliseconds.
    """
    text = "nodename = a@b\ngraphite_enabled = on\ngraphite_host = carbon\ngraphite_interval = 20000\n"
    ours = made(converted(fileWith(tmp_path, "vernemq.conf", text)))
    assert "graphite" in ours.startingExtensions
    assert (ours.extensions["graphite"].host, ours.extensions["graphite"].interval) == ("carbon", 20)
    result = converted(fileWith(tmp_path, "vernemq.conf", text.replace("= on", "= off")))
    assert "graphite" not in made(result).startingExtensions
    assert remarks(result, "lost", "graphite_host") == ["graphite_enabled is off"]
    (tmp_path / "data").mkdir()
    (tmp_path / "plugins").mkdir()
    fileWith(tmp_path / "data", "loaded_plugins", "emqx_statsd.\nemqx_recon.\n")
    fileWith(tmp_path / "plugins", "emqx_statsd.conf", "statsd.host = 127.0.0.1\nstatsd.interval = 15000\n")
    ours = made(converted(fileWith(tmp_path, "emqx.conf", "node.name = a@b.c\n")))
    assert ours.extensions["statsd"].interval == 15
    assert set(ours.startingExtensions) >= {"statsd", "recon"}


def test_pluginsOfEMQX(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Which plugins start is read in the form of each release of EMQ X; that this broker would read the same file, if it
    ran in the folder of EMQ X, changes nothing.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "plugins").mkdir()
    file = fileWith(tmp_path, "emqx.conf", "node.name = a@b.c\nmodules.loaded_file = x\nplugins.emqx_auth_a = on\n")
    fileWith(tmp_path / "plugins", "emqx_stomp.conf", "stomp.listener = 61699\n")
    fileWith(tmp_path / "plugins", "emqx_coap.conf", "coap.bind.udp.1 = 127.0.0.1:45683\n")
    for text in (
        "emqx_stomp.\nemqx_coap.\nemqx_statsd.\n",
        "{emqx_stomp, true}.\n{emqx_coap, true}.\n{emqx_sn, false}.\n { emqx_statsd , true } .\n",
    ):
        fileWith(tmp_path / "data", "loaded_plugins", text)
        result = converted(file)
        assert made(result).extensions["stomp"].listener.bind.port == 61699
        starting = made(result).startingExtensions
        assert made(result).extensions["coap"].port.port == 45683
        assert "statsd" in starting and "stomp" in starting and "mqttsn" not in starting
        assert remarks(result, "lost", "modules.loaded_file") == ["which modules start is said by module.<name>"]
    assert "plugins.emqx_auth_a = on" in result.render("test")


def test_secretsInRemarks(tmp_path: Path) -> None:
    """
    Of what is not taken over, no secret is shown: passwords, tokens, headers, and users in addresses.
    """
    text = (
        "listener 1883\nauth_opt_db_pass topSecret\nplugin_opt_api-key topSecret\n"
        "auth_opt_url http://me:topSecret@db/x\nconnection c\nremote_password topSecret\n"
    )
    result = converted(fileWith(tmp_path, "mosquitto.conf", text))
    assert len([each for each in result.remarks if each.kind == "lost"]) == 5
    assert "topSecret" not in result.render("test")


def test_tooMuch(tmp_path: Path) -> None:
    """
    What is too much for a configuration is refused before it takes minutes.
    """
    for text in (
        "".join(f"listener {port}\n" for port in range(1, 300)),
        "listener 1883\n" + "".join(f"listener {n}\nmount_point a\nmax_qos 1\n" for n in range(2, 3000)),
    ):
        with pytest.raises(ConversionError, match="more than 5000 settings or 200 listeners"):
            converted(fileWith(tmp_path, "mosquitto.conf", text))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("nanomq.conf", "mqtt {\n a = \n", r"nanomq.conf:2:\d+: "),
        ("a.conf", "hello\n", "--from emqx | nanomq | vernemq | mosquitto"),
        ("mosquitto.conf", "include_dir none\n", "mosquitto.conf:1: there is no folder none"),
        ("emqx.conf", b"#" * (4 * 1024 * 1024 + 1), "more than 4 MB"),
    ],
)
def test_noResult(tmp_path: Path, name: str, text: str | bytes, reason: str) -> None:
    """
    Where nothing can be made of a file, it is said why.
    """
    with pytest.raises(ConversionError) as raised:
        converted(fileWith(tmp_path, name, text))
    assert reason in str(raised.value) or re.search(reason, str(raised.value))


def test_noFile(tmp_path: Path) -> None:
    """
    A file that is not there, a folder and a pipe are refused, and nobody waits for a pipe.
    """
    os.mkfifo(tmp_path / "pipe")
    for name in ("none", ".", "pipe", "a\x00b"):
        with pytest.raises(ConversionError):
            converted(tmp_path / name)


_WORDS = st.sampled_from(
    [
        "listener", "listener.tcp.external", "listener.ssl.x", "listener.ssl.x.certfile", "zone.external.max_inflight",
        "mqtt.max_packet_size", "listener.tcp.external.access.1", "1883", "allow all", "on", "true", "0", "-1", "none",
        "listener.tcp.default", "max_online_messages", "listener.max_connections", "infinity", "protocol", "websockets",
        "certfile", "topic", "connection", "acl_nomatch", "deny", "listeners.tcp", "bind", "{", "}", "[", "]",
        ",", "url",
        "tls.enable", "nmq-tcp://0.0.0.0:1883", "plugins.load", "listener.tcp.external.zone", "mount_point", "a/#",
        "module.presence", "psk_hint", "psk_file", "/dev/null", "per_listener_settings", "stomp.listener", "retainer",
    ]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    st.sampled_from(["emqx", "nanomq", "vernemq", "mosquitto"]),
    st.lists(st.tuples(_WORDS, st.sampled_from([" = ", " ", "\n", ""]), _WORDS | st.text(max_size=8)), max_size=8),
)
def test_anyFile(tmp_path: Path, broker: str, lines: list[tuple[str, str, str]]) -> None:
    """
    Whatever stands in a file: there is a result that the broker takes, or a reason why there is none.
    """
    text = "\n".join("".join(parts) for parts in lines)
    file = fileWith(tmp_path, "a.conf", text.encode("utf-8", "surrogatepass"))
    try:
        result = converted(file, broker)
    except ConversionError as error:
        assert "can't be used: a.conf" not in str(error)
        assert str(error)
    else:
        made(result)
