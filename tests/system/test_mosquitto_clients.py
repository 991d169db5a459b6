"""
The command-line clients of Eclipse Mosquitto, as Debian ships them.
"""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.process import PATIENCE, Broker, Program

pytestmark = pytest.mark.skipif(shutil.which("mosquitto_rr") is None, reason="needs Debian's mosquitto-clients")

VERSIONS = ["mqttv31", "mqttv311", "mqttv5"]
ANY_VERSION = pytest.mark.parametrize("version", VERSIONS)

StartSubscriber = Callable[..., Program]


def address(broker: Broker) -> list[str]:
    """
    The options that lead a client to C{broker}.
    """
    return ["-h", broker.host, "-p", str(broker.port)]


def mosquitto_pub(broker: Broker, *options: str, text: str | None = None) -> str:
    """
    Run C{mosquitto_pub} to its end.

    @param text: its standard input.

    @return: what it printed.
    """
    command = ["mosquitto_pub", *address(broker), *options]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def subscriber(broker: Broker, tmp_path: Path) -> Iterator[StartSubscriber]:
    """
    Start C{mosquitto_sub}s, which have subscribed by the time they are handed over, and end them after the test.
    """
    started: list[Program] = []

    def start(*options: str) -> Program:
        form = ["-F", "got|%t|%q|%r|%p"]
        program = Program(["stdbuf", "-oL", "mosquitto_sub", "-d", *form, *address(broker), *options], tmp_path)
        started.append(program)
        program.waitFor("received SUBACK")
        return program

    yield start
    for program in started:
        program.end(signal.SIGKILL)


def got(program: Program, count: int) -> list[tuple[str, str, str, str]]:
    """
    The first C{count} messages of a subscriber, as (topic, qos, retain, payload); waits for them.
    """
    matches = program.waitFor(r"^got\|(.*?)\|(\d)\|(\d)\|(.*)$", count)
    return [(match[1], match[2], match[3], match[4]) for match in matches]


@ANY_VERSION
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_everyQoS(broker: Broker, name: str, subscriber: StartSubscriber, version: str, qos: str) -> None:
    """
    Lines sent by one program are printed by the other, in order.
    """
    program = subscriber("-V", version, "-t", f"{name}/#", "-q", qos)
    lines = [f"line {number}" for number in range(100)]
    mosquitto_pub(broker, "-V", version, "-t", f"{name}/a", "-q", qos, "-l", text="\n".join(lines) + "\n")
    assert got(program, 100) == [(f"{name}/a", qos, "0", line) for line in lines]


@ANY_VERSION
def test_retained(broker: Broker, name: str, subscriber: StartSubscriber, version: str) -> None:
    """
    A retained message is there for a later subscriber, marked as such.
    """
    mosquitto_pub(broker, "-V", version, "-t", f"{name}/a", "-q", "1", "-r", "-m", "kept")
    program = subscriber("-V", version, "-t", f"{name}/a", "-q", "1")
    assert got(program, 1) == [(f"{name}/a", "1", "1", "kept")]
    mosquitto_pub(broker, "-V", version, "-t", f"{name}/a", "-r", "-n")


@ANY_VERSION
def test_willOfAKilledClient(broker: Broker, name: str, subscriber: StartSubscriber, version: str) -> None:
    """
    When a client's process is killed, its will is published.
    """
    watching = subscriber("-V", version, "-t", f"{name}/gone", "-q", "1")
    will = ["--will-topic", f"{name}/gone", "--will-payload", "killed", "--will-qos", "1"]
    subscriber("-V", version, "-t", f"{name}/other", *will).end(signal.SIGKILL)
    assert got(watching, 1) == [(f"{name}/gone", "1", "0", "killed")]


@ANY_VERSION
def test_persistentSession(broker: Broker, name: str, subscriber: StartSubscriber, version: str) -> None:
    """
    A client that is started again gets what was published while it was away.
    """
    options = ["-V", version, "-i", f"{name}s", "-t", f"{name}/a", "-q", "1", "-c"]
    options += ["-x", "300"] if version == "mqttv5" else []
    # Killed: asked to end just after SUBACK, mosquitto_sub may lock itself up in its signal handler.
    subscriber(*options).end(signal.SIGKILL)
    for number in range(3):
        mosquitto_pub(broker, "-V", version, "-t", f"{name}/a", "-q", "1", "-m", str(number))
    again = subscriber(*options)
    assert [payload for *_, payload in got(again, 3)] == ["0", "1", "2"]
    again.end(signal.SIGKILL)
    subprocess.run(
        ["mosquitto_sub", *address(broker), "-V", version, "-i", f"{name}s", "-t", f"{name}/a", "-E"],
        check=True,
        timeout=PATIENCE,
    )


def test_largeFile(broker: Broker, name: str, subscriber: StartSubscriber, tmp_path: Path) -> None:
    """
    A file sent as one message arrives byte for byte.
    """
    sent, received = tmp_path / "sent", tmp_path / "received"
    sent.write_bytes(bytes(range(256)) * 3000)
    with received.open("wb") as output:
        waiting = subprocess.Popen(
            ["mosquitto_sub", *address(broker), "-t", f"{name}/file", "-q", "1", "-C", "1", "-N"], stdout=output
        )
        try:
            # Retained, so that it does not matter who comes first.
            mosquitto_pub(broker, "-t", f"{name}/file", "-q", "1", "-r", "-f", str(sent))
            assert waiting.wait(PATIENCE) == 0
        finally:
            waiting.kill()
            waiting.wait()
    assert received.read_bytes() == sent.read_bytes()
    mosquitto_pub(broker, "-t", f"{name}/file", "-r", "-n")


def test_sharedSubscription(broker: Broker, name: str, subscriber: StartSubscriber) -> None:
    """
    Two programs in a group share the work.
    """
    members = [subscriber("-V", "mqttv5", "-t", f"$share/g/{name}/a", "-t", f"{name}/end", "-q", "1") for _ in range(2)]
    lines = [str(number) for number in range(50)]
    mosquitto_pub(broker, "-t", f"{name}/a", "-q", "1", "-l", text="\n".join(lines) + "\n")
    mosquitto_pub(broker, "-t", f"{name}/end", "-q", "1", "-m", "end")
    shares = []
    for member in members:
        member.waitFor(r"\|end$")
        shares.append([line.rsplit("|", 1)[1] for line in member.lines if line.startswith(f"got|{name}/a|")])
    assert sorted(shares[0] + shares[1], key=int) == lines
    assert all(shares)


def test_propertiesAndAlias(broker: Broker, name: str, tmp_path: Path) -> None:
    """
    Properties given on one command line are printed by the other; a topic alias stands for the topic.
    """
    form = "%t|%C|%R|%D|%P|%p"
    command = ["stdbuf", "-oL", "mosquitto_sub", "-d", "-V", "mqttv5", *address(broker), "-t", f"{name}/a", "-F", form]
    program = Program(command, tmp_path)
    try:
        program.waitFor("received SUBACK")
        given = {"content-type": "text/plain", "response-topic": "answer", "correlation-data": "42", "topic-alias": "3"}
        options = [word for key, value in given.items() for word in ("-D", "PUBLISH", key, value)]
        options += ["-D", "PUBLISH", "user-property", "k", "v"]
        mosquitto_pub(broker, "-V", "mqttv5", "-t", f"{name}/a", *options, "-l", text="one\ntwo\n")
        program.waitFor(r"\|one$")
        program.waitFor(r"\|two$")
    finally:
        program.end(signal.SIGKILL)
    printed = [line for line in program.lines if line.startswith(f"{name}/a|")]
    assert printed == [f"{name}/a|text/plain|answer|42|k:v|{payload}" for payload in ("one", "two")]


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_requestAndResponse(broker: Broker, name: str, subscriber: StartSubscriber, version: str) -> None:
    """
    C{mosquitto_rr} gets the answer to its request.
    """
    server = subscriber("-V", version, "-t", f"{name}/ask", "-q", "1")
    command = ["mosquitto_rr", "-V", version, *address(broker), "-q", "1", "-t", f"{name}/ask", "-e", f"{name}/answer"]
    asking = subprocess.Popen([*command, "-m", "question"], stdout=subprocess.PIPE, text=True)
    try:
        assert [payload for *_, payload in got(server, 1)] == ["question"]
        mosquitto_pub(broker, "-V", version, "-t", f"{name}/answer", "-q", "1", "-m", "answer")
        printed, _ = asking.communicate(timeout=PATIENCE)
        assert (asking.returncode, printed) == (0, "answer\n")
    finally:
        asking.kill()
        asking.wait()


def test_messageExpiry(broker: Broker, name: str, subscriber: StartSubscriber) -> None:
    """
    The remaining lifetime of a message travels with it.
    """
    options = ["-V", "mqttv5", "-D", "PUBLISH", "message-expiry-interval", "100"]
    mosquitto_pub(broker, *options, "-t", f"{name}/a", "-r", "-m", "kept")
    command = ["mosquitto_sub", "-V", "mqttv5", *address(broker), "-t", f"{name}/a", "-C", "1", "-F", "%E %p"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout.strip() in ("100 kept", "99 kept", "98 kept")
    mosquitto_pub(broker, "-t", f"{name}/a", "-r", "-n")
