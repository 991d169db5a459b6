"""
The keys of the broker as a process: C{[broker]}, C{[node]}, C{[persistence]}, C{[log]}, C{[plugins]}, its monitors.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct, field

from twisted_mqtt.config.forms import MODULE_LEVELS, NODE_NAME, SYSLOG_ADDRESS
from twisted_mqtt.config.grammar import whole
from twisted_mqtt.config.keys import (
    NOW,
    Duration,
    Flag,
    NoEffect,
    Percent,
    Period,
    Port,
    Positive,
    QoS,
    Short,
    Size,
    Texts,
    Whole,
    Window,
)
from twisted_mqtt.config.values import GB, MB, RateLimit

ONE_NODE = "this broker runs as a single node"
_ERLANG = "only the Erlang VM has such a thing"


class BrokerSettings(Struct, frozen=True, kw_only=True):
    """
    C{[broker]}.
    """

    sys_interval: Annotated[
        Period, NOW, "Period of the statistics under `$SYS`; 0 for none, and no up-time and date either"
    ] = 60.0
    sys_heartbeat: Annotated[Period, NOW, "Period of up-time and date under `$SYS`; 0 for none"] = 30.0
    sys_tree: Annotated[
        Literal["emqx", "vernemq", "both"],
        NOW,
        "Whose topics the statistics have: `$SYS/brokers/NODE/...` of EMQ X, `$SYS/NODE/...` of VerneMQ, or both",
    ] = "emqx"
    sys_qos: Annotated[QoS, NOW, "QoS of what is published under `$SYS`"] = 0
    sys_retain: Annotated[
        Flag, NOW, "Whether all of it is retained; without that, only the names of the nodes, version and description"
    ] = False
    sys_topic_tree: Annotated[str, NOW, "The topic tree in which it is published; empty for the default one"] = ""
    sys_legacy_topics: Annotated[
        Flag, NOW, "Whether EMQ X's topics of release 3 are there too, for older dashboards"
    ] = False
    enable_session_registry: Annotated[Flag, NoEffect(ONE_NODE), "Whether a client has one session in the cluster"] = (
        True
    )
    session_locking_strategy: Annotated[
        Literal["local", "one", "quorum", "all"],
        NoEffect(ONE_NODE),
        "Which nodes are asked before a session is opened or taken over",
    ] = "quorum"
    shared_subscription_strategy: Annotated[
        Literal["random", "round_robin", "sticky", "hash", "prefer_local", "local_only"],
        NOW,
        "Which member of a shared subscription gets a message: any, the next, the one before, or by its publisher; "
        "VerneMQ's `prefer_local` and `local_only` are `random` on one node. Members that are online come first",
    ] = "random"
    shared_dispatch_ack_enabled: Annotated[
        Flag, "Whether a message goes to another member if the first does not acknowledge it"
    ] = False
    max_sessions: Annotated[
        Whole, NOW, "Most sessions, with those whose clients are away; 0 for no limit. Above it, no new ones begin"
    ] = 1_000_000
    max_queued_bytes: Annotated[
        Size,
        NOW,
        "Bytes of memory for what waits in all queues; 0 for no limit. Above it, what the store keeps waits there "
        "alone, and of the others the longest queues lose their oldest messages",
    ] = 256 * MB
    max_wills: Annotated[
        Whole, NOW, "Most wills, of clients that are connected and of those that are gone; 0 for no limit"
    ] = 1_000_000
    max_will_bytes: Annotated[Size, NOW, "Most bytes of their topics and payloads; 0 for no limit"] = 256 * MB
    route_batch_clean: Annotated[Flag, NoEffect(ONE_NODE), "Whether a lost node's routes go all at once"] = False


class Node(Struct, frozen=True, kw_only=True):
    """
    C{[node]}.
    """

    name: Annotated[str, NODE_NAME, "The node's name, unique in the cluster; part of the `$SYS` topics"] = (
        "mqttbroker@127.0.0.1"
    )
    data_dir: Annotated[str, "Folder of everything that must survive a restart"] = "data"
    shutdown_timeout: Annotated[Duration, NOW, "Longest time for a clean stop; containers kill after 10 s"] = 5.0
    accept_lost_sections: Annotated[
        Flag,
        NOW,
        "Whether a reload goes by a file that has lost a whole table, or a key at its top, that it had before. If not, "
        "such a file counts as damaged, and nothing changes",
    ] = False
    cookie: Annotated[str, NoEffect(ONE_NODE), "The secret that the nodes of a cluster share"] = ""
    max_ports: Annotated[
        Positive | None,
        NOW,
        "Files and sockets that the process may have open, as far as the system allows",
    ] = None
    memory_limit: Annotated[
        Size | None,
        NOW,
        "Memory that the process may use; if nothing is said, what the control group or the machine allows",
    ] = None
    memory_high_watermark: Annotated[
        Percent,
        NOW,
        "Share of that from which messages of QoS 0 do not wait any more, new sessions are refused and an alarm is "
        "raised; 0 for never",
    ] = 0.8
    memory_low_watermark: Annotated[Percent, NOW, "Share below which that ends"] = 0.7
    async_threads: Annotated[
        int, NOW, whole(1, 1024), "Most threads for what blocks: files, and drivers of outside systems"
    ] = 32
    crash_dump: Annotated[
        str,
        "File to which the stacks of all threads are added when the process dies of a fault (SIGSEGV, SIGABRT, ...); "
        "empty for none",
    ] = ""
    heartbeat: Annotated[Flag, NoEffect("the systemd unit has a watchdog"), "Restart a node that hangs"] = True
    process_limit: Annotated[Positive, NoEffect(_ERLANG), "Most processes of the VM"] = 2048000
    dist_buffer_size: Annotated[Size, NoEffect(_ERLANG), "Bytes waiting for another node"] = 8 * MB
    max_ets_tables: Annotated[Positive, NoEffect(_ERLANG), "Most tables in memory"] = 256000
    fullsweep_after: Annotated[Whole, NoEffect(_ERLANG), "Small clean-ups of memory before a full one"] = 1000
    ssl_dist_optfile: Annotated[str, NoEffect(ONE_NODE), "TLS options between nodes"] = ""
    proto_dist: Annotated[
        Literal["inet_tcp", "inet6_tcp", "inet_tls"], NoEffect(ONE_NODE), "Transport between nodes"
    ] = "inet_tcp"
    dist_net_ticktime: Annotated[
        int, whole(1, unit="seconds"), NoEffect(ONE_NODE), "Silence after which a node is lost"
    ] = 60
    dist_listen_min: Annotated[Port, NoEffect(ONE_NODE), "First port between nodes"] = 6369
    dist_listen_max: Annotated[Port, NoEffect(ONE_NODE), "Last port between nodes"] = 7369


class Persistence(Struct, frozen=True, kw_only=True):
    """
    C{[persistence]}: what survives a restart, and when it is on disk.
    """

    store: Annotated[
        Literal["memory", "sqlite"], "Where sessions, queues and retained messages are kept: only `sqlite` survives"
    ] = "sqlite"
    file: Annotated[str, "The store's file, in `node.data_dir` unless it is an absolute path"] = "mqttbroker.db"
    commit: Annotated[
        Literal["always", "interval", "never"],
        "When an acknowledged message is on disk: before its acknowledgement, at latest after `interval`, or whenever "
        "the system pleases",
    ] = "always"
    interval: Annotated[Duration, "Longest time between writes with `commit = interval`"] = 1.0
    max_size: Annotated[
        Size,
        NOW,
        "Bytes in use in the store; 0 for no limit. Above it, the longest queues lose their oldest messages, and what "
        "else would make it larger is refused",
    ] = 16 * GB
    reserve: Annotated[
        Size,
        "Room on the disk that a file beside the store keeps: with it the broker goes on writing acknowledgements on a "
        "full disk, so that queues can be emptied. At most an eighth of the file system; 0 for none",
    ] = 64 * MB


class LogRotation(Struct, frozen=True, kw_only=True):
    """
    C{[log.rotation]}.
    """

    size: Annotated[Size, "Size at which a log file is put aside; 0 for any"] = 10 * MB
    count: Annotated[Positive, "Log files that are kept"] = 5
    period: Annotated[
        Literal["none", "hourly", "daily", "weekly"],
        "Time at whose end a log file is put aside too: at the hour, at midnight, at Monday's midnight, local time",
    ] = "none"


class LogLevelFile(Struct, frozen=True, kw_only=True):
    """
    C{[log.<level>]}.
    """

    file: Annotated[str, "An extra file for messages of this level and above; empty for none"] = ""


Facility = Literal[
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
]
LevelName = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]


class LogSyslog(Struct, frozen=True, kw_only=True):
    """
    C{[log.syslog]}.
    """

    enabled: Annotated[Flag, "Whether messages go to the system's log"] = False
    level: Annotated[LevelName | None, "The least important of them; those of `log.level` if nothing is said"] = None
    address: Annotated[str, SYSLOG_ADDRESS, "Where that listens: a socket on this machine, or another machine"] = (
        "/dev/log"
    )
    facility: Annotated[Facility, "As what the broker speaks there"] = "daemon"
    format: Annotated[
        Literal["rfc3164", "rfc5424"], "The form of a message: as all know it, or with the fields of the message"
    ] = "rfc3164"


class LogJournald(Struct, frozen=True, kw_only=True):
    """
    C{[log.journald]}.
    """

    enabled: Annotated[Flag, "Whether messages go to the journal of systemd, with their fields"] = False
    level: Annotated[LevelName | None, "The least important of them; those of `log.level` if nothing is said"] = None
    socket: Annotated[str, "Where the journal listens"] = "/run/systemd/journal/socket"


LevelFile = Annotated[LogLevelFile, "An extra file"]


class Log(Struct, frozen=True, kw_only=True):
    """
    C{[log]}.
    """

    to: Annotated[Literal["off", "file", "console", "both"], "Where log messages go"] = "console"
    level: Annotated[LevelName, "The least important messages that are logged"] = "info"
    modules: Annotated[
        dict[str, str],
        MODULE_LEVELS,
        "Levels of modules, and of all in them, that hold instead of `log.level` for what these say",
    ] = field(default_factory=dict)
    format: Annotated[
        Literal["text", "json"], "The form of lines on the console and in files: `json` is an object in each line"
    ] = "text"
    dir: Annotated[str, "Folder of the log files"] = "log"
    file: Annotated[str, "Name of the main log file"] = "mqttbroker.log"
    client_lines: Annotated[
        Window | None,
        "Most lines about clients of one address that connect, are refused or go; ten times as many of all addresses."
        " Others are counted. `none` for no such lines",
    ] = RateLimit(100, 10.0, 100)
    rotation: Annotated[LogRotation, "When log files are put aside"] = LogRotation()
    syslog: Annotated[LogSyslog, Short("enabled"), "The system's log"] = LogSyslog()
    journald: Annotated[LogJournald, Short("enabled"), "The journal of systemd"] = LogJournald()
    debug: LevelFile = LogLevelFile()
    info: LevelFile = LogLevelFile()
    notice: LevelFile = LogLevelFile()
    warning: LevelFile = LogLevelFile()
    error: LevelFile = LogLevelFile()
    critical: LevelFile = LogLevelFile()
    alert: LevelFile = LogLevelFile()
    emergency: LevelFile = LogLevelFile()


class Plugins(Struct, frozen=True, kw_only=True):
    """
    C{[plugins]}.
    """

    load: Annotated[
        Texts, "Extensions and gateways that start with the broker, in this order; their names may begin with `emqx_`"
    ] = ()
    loaded_file: Annotated[
        str,
        "File that keeps what was loaded and unloaded while the broker ran, unlike what `load` says; in "
        "`node.data_dir` unless it is an absolute path",
    ] = "loaded_plugins"
    etc_dir: Annotated[
        str, NoEffect("extensions have their tables in the one file"), "Folder of the extensions' own files"
    ] = "etc/plugins/"


class SystemMonitor(Struct, frozen=True, kw_only=True):
    """
    C{[sysmon]}: events of the process, under C{$SYS/brokers/<node>/sysmon/}.
    """

    long_gc: Annotated[
        int,
        whole(0, unit="milliseconds"),
        NOW,
        "Report a clean-up of memory by Python that takes longer; 0 for never",
    ] = 0
    long_schedule: Annotated[
        int,
        whole(0, unit="milliseconds"),
        NOW,
        "Report whatever holds the reactor for longer, so that all clients wait, and log callbacks of extensions that "
        "do so by name; 0 for never",
    ] = 240
    large_heap: Annotated[Size, NOW, "Report a client for which more bytes wait; 0 for never"] = 8 * MB
    busy_port: Annotated[Flag, NOW, "Report a client that takes its messages too slowly"] = False
    busy_dist_port: Annotated[Flag, NoEffect(ONE_NODE), "Report a node that takes its messages too slowly"] = True


class OSMonitor(Struct, frozen=True, kw_only=True):
    """
    C{[os_mon]}. In a container, what its control group allows counts, and not the machine around it.
    """

    cpu_check_interval: Annotated[Period, NOW, "How often the processors are looked at; 0 for never"] = 60.0
    cpu_high_watermark: Annotated[
        Percent, NOW, "Mean load of the processors since the look before that raises an alarm; 0 for never"
    ] = 0.8
    cpu_low_watermark: Annotated[Percent, NOW, "Load that ends it"] = 0.6
    mem_check_interval: Annotated[Period, NOW, "How often memory and open files are looked at; 0 for never"] = 60.0
    sysmem_high_watermark: Annotated[
        Percent, NOW, "Memory in use on the machine that raises an alarm; it ends at nine tenths of that"
    ] = 0.7
    procmem_high_watermark: Annotated[
        Percent,
        NOW,
        "Share of the memory that this process has when an alarm is raised; it ends at nine tenths of that. The 5 % of "
        "EMQ X are of one Erlang process there; here one process is the whole broker",
    ] = 0.5
    fd_high_watermark: Annotated[
        Percent, NOW, "Files and sockets open, of those allowed, that raise an alarm; it ends at nine tenths of that"
    ] = 0.9
    disk_check_interval: Annotated[
        Period, NOW, "How often the file system of `node.data_dir` is looked at; 0 for never"
    ] = 60.0
    disk_high_watermark: Annotated[Percent, NOW, "Room in use there that raises an alarm"] = 0.9
    disk_low_watermark: Annotated[Percent, NOW, "Room in use that ends it"] = 0.85
    store_delay: Annotated[
        Duration, NOW, "Time that a change waits to be on disk when an alarm is raised; 0 for never"
    ] = 10.0
    certificate_expiry: Annotated[
        Duration, NOW, "Time before a certificate of a port expires when an alarm is raised; 0 for never"
    ] = 30 * 86400.0


class VMMonitor(Struct, frozen=True, kw_only=True):
    """
    C{[vm_mon]}: processes of the Erlang VM there, connections here.
    """

    check_interval: Annotated[Period, NOW, "How often connections are counted; 0 for never"] = 30.0
    process_high_watermark: Annotated[
        Percent, NOW, "Connections, of those that a port or the open files allow, that raise an alarm"
    ] = 0.8
    process_low_watermark: Annotated[Percent, NOW, "Connections that end it"] = 0.6
