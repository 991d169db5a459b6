"""
Reading the configuration: defaults, zones, the environment, extensions.
"""

from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Struct

from gateways.coap.settings import CoAPSettings
from gateways.mqttsn.settings import MQTTSNSettings
from gateways.stomp.settings import StompSettings
from twisted_mqtt.config import ConfigurationError, Registry, Settings, installed, readSettings, settingsFrom
from twisted_mqtt.config.document import ownExtensions
from twisted_mqtt.config.keys import Flag, Whole, keysOf
from twisted_mqtt.config.registry import DeclarationError, IDeclaration
from twisted_mqtt.config.schema_mqtt import Zone
from twisted_mqtt.config.schema_retainer import RetainerSettings
from twisted_mqtt.config.values import Bind, FlappingPolicy, RateLimit, TwoLimits
from twisted_mqtt.extensions.makers import ExtensionMaker
from twisted_mqtt.modules.presence import PresenceSettings
from twisted_mqtt.modules.proxysubscription import ProxySubscription, SubscriptionSettings
from twisted_mqtt.modules.rewrite import RewriteSettings


def read(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    """
    The settings of a file with this text.
    """
    path = tmp_path / "broker.toml"
    path.write_text(text, encoding="utf-8")
    return readSettings(path, environ or {})


class TestDefaults:
    """
    Nothing is configured.
    """

    def test_listensOnThisMachineOnly(self) -> None:
        """
        Without a file there are MQTT and WebSocket listeners that no other machine can reach.
        """
        settings = readSettings(None, {})
        assert [(listener.path, str(listener.bind)) for listener in settings.listener] == [
            ("listener.tcp.external", "127.0.0.1:1883"),
            ("listener.ws.external", "127.0.0.1:8083"),
        ]
        assert all(settings.allowsAnonymous(listener) for listener in settings.listener)
        assert settings.warnings == []

    def test_emptyFileIsNoFile(self, tmp_path: Path) -> None:
        """
        A file that says nothing gives the same settings as none.
        """
        assert read(tmp_path, "") == readSettings(None, {})

    def test_gatewaysListenOnThisMachineOnly(self) -> None:
        """
        No default of a gateway can be reached from elsewhere.
        """
        for _, structure in ownExtensions():
            binds = [value for value in _values(structure()) if isinstance(value, Bind)]
            assert all(bind.isLoopback for bind in binds)

    def test_documentedDefaults(self) -> None:
        """
        The defaults that people rely on, from the specification.
        """
        settings = readSettings(None, {})
        zone = settings.resolveZone("external")
        assert zone.name == "external"
        assert (zone.idle_timeout, zone.keepalive_backoff, zone.session_expiry_interval) == (15.0, 0.75, 7200.0)
        assert (zone.max_inflight, zone.max_awaiting_rel, zone.max_mqueue_len) == (32, 100, None)
        assert (zone.await_rel_timeout, zone.retry_interval, zone.max_subscriptions) == (300.0, 30.0, 100_000)
        assert (zone.max_packet_size, zone.max_clientid_len, zone.max_pending_bytes) == (2**20, 1024, 2**20)
        assert (zone.max_mqueue_bytes, zone.max_session_expiry_interval) == (64 * 2**20, 90 * 86400.0)
        assert (zone.mqueue_store_qos0, zone.upgrade_qos, zone.enable_flapping_detect) == (True, False, False)
        assert zone.hook_timeout == 10.0
        assert settings.flapping_detect_policy == FlappingPolicy(30, 60.0, 300.0)
        assert (settings.broker.sys_interval, settings.broker.sys_heartbeat) == (60.0, 30.0)
        assert (settings.persistence.commit, settings.node.name) == ("always", "mqttbroker@127.0.0.1")
        assert settings.listener.tcp["external"].max_connections == 1024000
        assert settings.listener.ws["external"].mqtt_path == "/mqtt"

    def test_everyDefaultIsWrittenAsItIsRead(self) -> None:
        """
        Each default, written into a file, reads back as itself: the reference shows what may be written.
        """
        structures: list[type[Struct]] = [Settings, *(structure for _, structure in ownExtensions())]
        checked = 0
        while structures:
            for key in keysOf(structures.pop()).values():
                if key.table is not None:
                    structures.append(key.table)
                elif not key.required and key.default is not None:
                    assert key.grammar is not None
                    values = key.default if key.numbered else [key.default]
                    if key.grammar.name != "file":
                        assert [key.grammar.parse(key.grammar.write(value)) for value in values] == list(values)
                    checked += 1
        assert checked > 200


def _values(structure: Struct) -> list[Any]:
    found: list[Any] = []
    for name in structure.__struct_fields__:
        value = getattr(structure, name)
        found.append(value)
        if isinstance(value, Struct):
            found += _values(value)
    return found


class TestZones:
    """
    Zone, then general, then default.
    """

    def test_lookUp(self) -> None:
        """
        Each option comes from the zone, else from what holds for all, else it has its default.
        """
        settings = settingsFrom(
            {
                "mqtt": {"max_packet_size": "64KB", "max_qos_allowed": 1},
                "zone": {"internal": {"max_packet_size": "2KB", "max_inflight": 5}, "guests": {}},
            }
        )
        found = [
            (name, zone.max_packet_size, zone.max_qos_allowed, zone.max_inflight) for name, zone in _zones(settings)
        ]
        assert found == [
            ("external", 65536, 1, 32),
            ("guests", 65536, 1, 32),
            ("internal", 2048, 1, 5),
        ]

    def test_everyGeneralKeyIsInherited(self) -> None:
        """
        A key of [mqtt] reaches every zone.
        """
        for key in keysOf(type(settingsFrom({}).mqtt)).values():
            other = (not key.default) if isinstance(key.default, bool) else 1
            settings = settingsFrom({"mqtt": {key.name: other}})
            assert [getattr(zone, key.name) for _, zone in _zones(settings)] == [other, other]
            assert [getattr(zone, key.name) for _, zone in _zones(settingsFrom({}))] == [key.default, key.default]

    @pytest.mark.parametrize(
        ("general", "zone", "bind", "allowed"),
        [
            (None, None, "127.0.0.1:0", True),
            (None, None, "[::1]:0", True),
            (None, None, "0.0.0.0:0", False),
            (None, None, "[::]:0", False),
            (True, None, "0.0.0.0:0", True),
            (False, None, "127.0.0.1:0", False),
            (False, True, "0.0.0.0:0", True),
            (True, False, "127.0.0.1:0", False),
            (False, "none", "127.0.0.1:0", True),
        ],
    )
    def test_anonymous(self, general: bool | None, zone: object, bind: str, allowed: bool) -> None:
        """
        By default, anonymous clients are let in on loopback addresses only; the zone takes precedence over the file.
        """
        tables: dict[str, Any] = {"listener": {"tcp": {"external": bind}}, "zone": {"external": {}}}
        if general is not None:
            tables["allow_anonymous"] = general
        if zone is not None:
            tables["zone"]["external"]["allow_anonymous"] = zone
        settings = settingsFrom(tables)
        assert settings.allowsAnonymous(settings.listener.tcp["external"]) is allowed

    def test_unknownZone(self) -> None:
        """
        Asking for a zone that does not exist says which do.
        """
        with pytest.raises(KeyError, match="there are external, internal"):
            settingsFrom({}).resolveZone("guests")

    def test_policies(self) -> None:
        """
        Composite values come out as structures.
        """
        zone = settingsFrom(
            {
                "zone": {
                    "external": {
                        "publish_limit": "10,100",
                        "force_shutdown_policy": "8000|800MB",
                        "mqueue_priorities": "topic/1=10,topic/2=8",
                    }
                }
            }
        ).resolveZone("external")
        assert zone.publish_limit == RateLimit(10, 1.0, 100)
        assert zone.force_shutdown_policy == TwoLimits(8000, 800 * 2**20)
        assert zone.mqueue_priorities == {"topic/1": 10, "topic/2": 8}


def _zones(settings: Settings) -> list[tuple[str, Zone]]:
    return sorted(settings.zone.items())


class TestListeners:
    """
    Tables of listeners.
    """

    def test_fileReplacesTheDefaults(self, tmp_path: Path) -> None:
        """
        A file with a listener has that one only, and one with an empty table none.
        """
        assert [listener.path for listener in read(tmp_path, '[listener.unix]\nlocal = "a.sock"\n').listener] == [
            "listener.unix.local"
        ]
        assert list(read(tmp_path, "[listener]\n").listener) == []

    def test_usualNamesHaveAnAddress(self) -> None:
        """
        The usual names need no address, and stay on this machine.
        """
        settings = settingsFrom({"listener": {"tcp": {"external": {}, "internal": {}}, "ws": {"external": {}}}})
        assert [str(listener.bind) for listener in settings.listener] == [
            "127.0.0.1:1883",
            "127.0.0.1:11883",
            "127.0.0.1:8083",
        ]

    @pytest.mark.parametrize(
        "access",
        [
            'access = ["deny 10.0.0.0/8", "allow all"]',
            'access.2 = "allow all"\naccess.1 = "deny 10.0.0.0/8"',
            '[listener.tcp.external.access]\n10 = "allow all"\n9 = "deny 10.0.0.0/8"',
        ],
    )
    def test_accessKeepsItsOrder(self, tmp_path: Path, access: str) -> None:
        """
        Address rules are an array, or numbered in whatever order, and numbers are not text.
        """
        settings = read(tmp_path, f"[listener.tcp.external]\n{access}\n")
        assert [str(rule) for rule in settings.listener.tcp["external"].access] == ["deny 10.0.0.0/8", "allow all"]

    def test_limits(self, tmp_path: Path) -> None:
        """
        Old and new names of limits are both taken.
        """
        text = '[listener.tcp.external]\nmax_clients = 5\nrate_limit = "100KB,10s"\nmax_publish_rate = "10,60"\n'
        listener = read(tmp_path, text).listener.tcp["external"]
        assert listener.max_connections == 5
        assert listener.rate_limit == RateLimit(102400, 10.0, 102400)
        assert listener.max_publish_rate == RateLimit(10, 60.0, 10)

    def test_unknownCiphersAreSkipped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A list of ciphers may hold some that this OpenSSL has not: a warning names them.
        """
        monkeypatch.chdir(tmp_path)
        for name in ("cert.pem", "key.pem"):
            (tmp_path / name).touch()
        text = '[listener.ssl.external]\ncertfile = "cert.pem"\nkeyfile = "key.pem"\n'
        settings = read(tmp_path, text + 'ciphers = "ECDHE-RSA-AES256-GCM-SHA384,ECDH-RSA-AES256-SHA"\n')
        assert settings.warnings == ["listener.ssl.external.ciphers: the OpenSSL here has no ECDH-RSA-AES256-SHA"]

    def test_sharedPortZero(self) -> None:
        """
        Any number of listeners may ask for a free port.
        """
        settings = settingsFrom({"listener": {"tcp": {"one": "127.0.0.1:0", "two": "127.0.0.1:0"}}})
        assert len(list(settings.listener)) == 2


class TestEnvironment:
    """
    Variables override the file.
    """

    def test_overrides(self, tmp_path: Path) -> None:
        """
        A variable wins over the file, in all of its ways of writing.
        """
        settings = read(
            tmp_path,
            "[zone.external]\nmax_inflight = 1\nmax_mqueue_len = 7\n",
            {
                "MQTTBROKER__ZONE__EXTERNAL__MAX_INFLIGHT": "64",
                "MQTTBROKER__ALLOW_ANONYMOUS": "off",
                "MQTTBROKER__MQTT__MAX_PACKET_SIZE": "2KB",
                "MQTTBROKER__PLUGINS__LOAD": "stomp,emqx_sn",
                "UNRELATED": "x",
            },
        )
        zone = settings.resolveZone("external")
        assert (zone.max_inflight, zone.max_mqueue_len, zone.max_packet_size) == (64, 7, 2048)
        assert settings.allow_anonymous is False
        assert settings.startingExtensions[:2] == ("stomp", "mqttsn")

    def test_namesKeepTheirCase(self, tmp_path: Path) -> None:
        """
        Names of listeners and zones are found whatever their case.
        """
        settings = read(
            tmp_path,
            '[listener.tcp.MyOwn]\nbind = "127.0.0.1:0"\n',
            {
                "MQTTBROKER__LISTENER__TCP__MYOWN__ACCEPTORS": "3",
                "MQTTBROKER__LISTENER__WS__EXTRA__BIND": "127.0.0.1:0",
            },
        )
        assert settings.listener.tcp["MyOwn"].acceptors == 3
        assert list(settings.listener.ws) == ["extra"]

    def test_overridesDefaults(self) -> None:
        """
        Without a file, a variable changes the default listeners and leaves them otherwise.
        """
        settings = readSettings(None, {"MQTTBROKER__LISTENER__TCP__EXTERNAL__BIND": "127.0.0.1:0"})
        assert [str(listener.bind) for listener in settings.listener] == ["127.0.0.1:0", "127.0.0.1:8083"]

    @pytest.mark.parametrize("external", ['external = "0.0.0.0:0"', "external.bind = 0"])
    def test_tableAndSingleValue(self, tmp_path: Path, external: str) -> None:
        """
        A variable may set a key of a table that the file has as a single value, or the other way round.
        """
        text = f"[listener.tcp]\n{external}\n"
        inner = read(tmp_path, text, {"MQTTBROKER__LISTENER__TCP__EXTERNAL__ACCEPTORS": "3"}).listener.tcp["external"]
        assert (str(inner.bind), inner.acceptors) == ("0.0.0.0:0", 3)
        single = read(tmp_path, text, {"MQTTBROKER__LISTENER__TCP__EXTERNAL": "127.0.0.1:7"}).listener.tcp["external"]
        assert str(single.bind) == "127.0.0.1:7"

    def test_shortFormAndItsKey(self, tmp_path: Path) -> None:
        """
        A variable wins over the file, whichever of the two ways of saying an address each of them uses.
        """
        short = '[listener.tcp]\nexternal = "127.0.0.1:1"\n'
        long = '[listener.tcp.external]\nbind = "127.0.0.1:1"\n'
        for text in (short, long):
            for variable in ("MQTTBROKER__LISTENER__TCP__EXTERNAL", "MQTTBROKER__LISTENER__TCP__EXTERNAL__BIND"):
                listener = read(tmp_path, text, {variable: "127.0.0.1:7"}).listener.tcp["external"]
                assert listener.bind == Bind("127.0.0.1", 7), (text, variable)

    def test_numberedItem(self, tmp_path: Path) -> None:
        """
        A variable may replace one item of a list, however the file writes the list.
        """
        text = '[listener.tcp.external]\naccess = ["deny 10.0.0.1", "allow all"]\n'
        settings = read(tmp_path, text, {"MQTTBROKER__LISTENER__TCP__EXTERNAL__ACCESS__1": "deny 10.0.0.2"})
        assert [str(rule) for rule in settings.listener.tcp["external"].access] == ["deny 10.0.0.2/32", "allow all"]

    @pytest.mark.parametrize(
        "service", ["MQTTBROKER", "MQTTBROKER_WS", "MQTTBROKER_METRICS", "MQTTBROKER_0", "EMQX_TCP"]
    )
    def test_kubernetesIsNoConfiguration(self, service: str) -> None:
        """
        Variables that a cluster sets for a service, whatever it is called, are not taken for keys; one line says so.
        """
        links = {
            f"{service}_SERVICE_HOST": "10.0.0.1",
            f"{service}_SERVICE_PORT": "1883",
            f"{service}_SERVICE_PORT_MQTT": "1883",
            f"{service}_PORT": "tcp://10.0.0.1:1883",
            f"{service}_PORT_1883_TCP": "tcp://10.0.0.1:1883",
            f"{service}_PORT_1883_TCP_PROTO": "tcp",
            f"{service}_PORT_1883_TCP_PORT": "1883",
            f"{service}_PORT_1883_TCP_ADDR": "10.0.0.1",
        }
        settings = readSettings(None, links)
        [warning] = settings.warnings
        assert "services of Kubernetes" in warning
        settings.warnings.clear()
        assert settings == readSettings(None, {})

    def test_oldForm(self) -> None:
        """
        A variable with one underscore after its first word still sets its key, and is warned of; the present form holds
        where there are both.
        """
        settings = readSettings(
            None, {"MQTTBROKER_ACL_NOMATCH": "deny", "MQTTBROKER_ZONE__EXTERNAL__MAX_INFLIGHT": "3"}
        )
        assert (settings.acl_nomatch, settings.zone["external"].max_inflight) == ("deny", 3)
        assert [warning.partition(";")[0] for warning in settings.warnings] == [
            "MQTTBROKER_ACL_NOMATCH: write MQTTBROKER__ACL_NOMATCH",
            "MQTTBROKER_ZONE__EXTERNAL__MAX_INFLIGHT: write MQTTBROKER__ZONE__EXTERNAL__MAX_INFLIGHT",
        ]
        both = {"MQTTBROKER__ACL_NOMATCH": "allow", "MQTTBROKER_ACL_NOMATCH": "deny"}
        assert readSettings(None, both).acl_nomatch == "allow"

    def test_variablesOfEMQX(self) -> None:
        """
        The variables of EMQ X set the node's name and the ports of listeners that exist.
        """
        settings = readSettings(
            None, {"EMQX_NODE_NAME": "a@b", "EMQX_TCP_PORT": "2883", "EMQX_SSL_PORT": "9", "EMQX_MAX_PORTS": "5000"}
        )
        assert (settings.node.name, settings.node.max_ports) == ("a@b", 5000)
        assert str(settings.listener.tcp["external"].bind) == "127.0.0.1:2883"
        assert settings.warnings == ["EMQX_SSL_PORT has no effect: there is no listener.ssl.external"]


class TestWithoutEffect:
    """
    Keys that only the Erlang VM knows.
    """

    def test_oneWarning(self) -> None:
        """
        All of them together make one warning that names each.
        """
        settings = settingsFrom(
            {
                "node": {"process_limit": 2048000, "max_ets_tables": 5},
                "zone": {"external": {"force_gc_policy": "1000|1MB"}},
                "cluster": {"discovery": "etcd", "etcd": {"server": "http://127.0.0.1:2379"}},
            }
        )
        [warning] = settings.warnings
        for key in ("node.process_limit", "node.max_ets_tables", "zone.external.force_gc_policy", "cluster"):
            assert key in warning

    def test_stillChecked(self) -> None:
        """
        Their values are checked like all others.
        """
        with pytest.raises(ConfigurationError, match=r"node.process_limit = 0: must be a whole number of 1 or more"):
            settingsFrom({"node": {"process_limit": 0}})


class Greeter(Struct, frozen=True, kw_only=True):
    """
    The table of an extension that somebody else wrote.
    """

    times: Annotated[Whole, "How often it greets"] = 1
    loud: Annotated[Flag, "Whether it shouts"] = False


class Odd(Struct, frozen=True, kw_only=True):
    """
    A table with a key of which nobody knows how it is written.
    """

    when: Annotated[complex, "When it greets"] = 0j


class TestExtensions:
    """
    Tables of extensions.
    """

    def test_builtIn(self) -> None:
        """
        The tables of gateways and modules are read like any others.
        """
        settings = settingsFrom(
            {
                "plugins": {"load": ["emq_stomp", "emqx_sn", "stomp"]},
                "stomp": {"listener": 0, "frame": {"max_headers": 20}},
                "mqtt": {
                    "max_packet_size": 5000,
                    "sn": {"advertise_duration": 60, "predefined": {"topic": {"1": "/a"}}},
                },
                "coap": {"server": "127.0.0.1:0"},
            }
        )
        assert settings.startingExtensions == ("stomp", "mqttsn", "presence")
        stomp = settings.extension("stomp", StompSettings)
        assert (stomp.frame.max_headers, str(stomp.listener.bind)) == (20, "0.0.0.0:0")
        sn = settings.extension("mqttsn", MQTTSNSettings)
        assert (sn.advertise_duration, sn.predefined.topic) == (60.0, {1: "/a"})
        assert settings.mqtt.max_packet_size == 5000
        assert str(settings.extension("coap", CoAPSettings).port) == "127.0.0.1:0"
        assert settings.extension("retainer", RetainerSettings) == RetainerSettings()

    def test_wrongStructure(self) -> None:
        """
        Asking for a table as something else is a fault of the program.
        """
        with pytest.raises(TypeError, match="the table of stomp is a StompSettings, not a RetainerSettings"):
            settingsFrom({"stomp": {}}).extension("stomp", RetainerSettings)

    def test_modules(self) -> None:
        """
        Modules start by their own switch or by name; presence does by default.
        """
        assert settingsFrom({}).startingExtensions == ("presence",)
        assert settingsFrom({"module": {"presence": "off"}}).startingExtensions == ()
        settings = settingsFrom(
            {
                "plugins": {"load": ["emqx_mod_rewrite"]},
                "module": {
                    "presence": {"qos": 0},
                    "rewrite": {"rule": {"1": "x/# ^x/(.+)$ y/$1"}},
                    "subscription": {"enable": "on", "1": {"topic": "$client/%c"}, "2": {"topic": "u/%u", "qos": 1}},
                },
            }
        )
        assert sorted(settings.startingExtensions) == ["presence", "rewrite", "subscription"]
        assert settings.startingExtensions[0] == "rewrite"
        assert settings.extension("presence", PresenceSettings).qos == 0
        assert [rule.destination for rule in settings.extension("rewrite", RewriteSettings).rule] == ["y/$1"]
        assert settings.extension("subscription", SubscriptionSettings).entries == (
            ProxySubscription(topic="$client/%c", qos=0),
            ProxySubscription(topic="u/%u", qos=1),
        )

    def test_moduleAsArray(self, tmp_path: Path) -> None:
        """
        Numbered tables may be an array of tables.
        """
        settings = read(tmp_path, '[[module.subscription]]\ntopic = "a"\n[[module.subscription]]\ntopic = "b"\n')
        assert [entry.topic for entry in settings.extension("subscription", SubscriptionSettings).entries] == ["a", "b"]

    def test_ofSomebodyElse(self) -> None:
        """
        An extension that is installed has its table read, and a typo in it refused, whether or not it starts.
        """
        registry = registryWith(maker("greeter", "company.greeter", f"{__name__}:Greeter"))
        settings = settingsFrom({"company": {"greeter": {"times": 3}}}, registry=registry)
        assert settings.extension("greeter", Greeter) == Greeter(times=3)
        assert "greeter" not in settings.startingExtensions
        settings = settingsFrom({"plugins": {"load": "greeter"}}, registry=registry)
        assert settings.startingExtensions[0] == "greeter"
        assert settings.extensions["greeter"] == Greeter()
        with pytest.raises(ConfigurationError, match='company.greeter.time = 3: .* nearest is "times"'):
            settingsFrom({"company": {"greeter": {"time": 3}}}, registry=registry)
        with pytest.raises(ConfigurationError, match="company"):
            settingsFrom({"company": {"greeter": {"times": 3}}})

    def test_onlyImportedWhenMentioned(self) -> None:
        """
        The module of an extension that the configuration does not mention is left alone.
        """
        registry = registryWith(maker("absent", "absent", "no.such.module:Table"))
        assert "absent" not in settingsFrom({}, registry=registry).extensions
        with pytest.raises(ConfigurationError, match="settings of the extension absent cannot be used: ModuleNotFound"):
            settingsFrom({"absent": {}}, registry=registry)

    def test_structureThatCannotBeRead(self) -> None:
        """
        A structure with a field of which nobody knows how it is written is the extension's fault, and said so.
        """
        registry = registryWith(maker("odd", "odd", f"{__name__}:Odd"))
        with pytest.raises(ConfigurationError, match="settings of the extension odd cannot be used"):
            settingsFrom({"odd": {}}, registry=registry)

    @pytest.mark.parametrize("table", ["node", "mqtt", "broker.sys_interval", "listener.tcp"])
    def test_tableOfTheBroker(self, table: str) -> None:
        """
        An extension cannot have a table that is the broker's own.
        """
        registry = registryWith(maker("greedy", table, f"{__name__}:Greeter"))
        with pytest.raises(ConfigurationError, match="the extension greedy .tests. has a table that is the broker's"):
            settingsFrom({}, registry=registry)

    @pytest.mark.parametrize(
        "other, message",
        [
            (("greeter", "other", ""), 'two extensions have the name "greeter": greeter .tests. and greeter'),
            (("hello", "hello", "greeter"), 'two extensions have the name "greeter": hello .tests. and greeter'),
            (("hello", "company.greeter", ""), 'two extensions have the table "company.greeter"'),
            (("mine", "coap", ""), 'two extensions have the table "coap": .*twisted-mqtt.*uninstall one'),
        ],
    )
    def test_twoOfOneName(self, other: tuple[str, str, str], message: str) -> None:
        """
        Two extensions with the same name or table are refused: nobody could tell which one is meant.
        """
        registry = registryWith(maker("greeter", "company.greeter", f"{__name__}:Greeter"))
        name, table, alias = other
        with pytest.raises(DeclarationError, match=message):
            registry.declare(maker(name, table, f"{__name__}:Greeter", (alias,) if alias else ()))


def maker(name: str, table: str, settings: str, aliases: tuple[str, ...] = ()) -> ExtensionMaker:
    """
    The maker of an extension of somebody else.
    """
    return ExtensionMaker(name, "tests.nothing:Nothing", "", table=table, settings=settings, aliases=aliases)


def registryWith(maker: ExtensionMaker) -> Registry[IDeclaration]:
    """
    The installed extensions, and one more.
    """
    registry = installed()
    registry.declare(maker)
    return registry


def test_settingsFromLeavesItsArgumentAlone() -> None:
    """
    The tables that a .tac file hands over are not changed.
    """
    tables = {
        "mqtt": {"sn": {"gateway_id": 2}},
        "zone": {"external": {"max_inflight": 5}},
        "listener": {"tcp": {"external": {}}},
    }
    before = repr(tables)
    settingsFrom(tables, {"MQTTBROKER__ZONE__EXTERNAL__MAX_INFLIGHT": "6"})
    assert repr(tables) == before


def test_byteOrderMark(tmp_path: Path) -> None:
    """
    A file saved by an editor that marks UTF-8 is read all the same.
    """
    path = tmp_path / "broker.toml"
    path.write_bytes(b'\xef\xbb\xbfacl_nomatch = "deny"\r\n')
    assert readSettings(path, {}).acl_nomatch == "deny"
