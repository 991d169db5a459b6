"""
Twenty thousand connections at once, or as many as the system lets one process have: they come in, are served, and are
told when the broker ends.
"""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.conftest import StartBroker
from tests.system.process import PATIENCE
from tests.system.rawclient import Stopwatch, serves

COUNT = 20_000
# Files that are open besides, on either side.
SPARE = 150
SCRIPT = Path(__file__).with_name("manyclients.py")


def possible() -> int:
    """
    How many of these connections a process of ours may have: all, or fewer where the system won't let it.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = COUNT + SPARE
    script = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({wanted}, {max(wanted, hard)}))"
    raisable = subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0
    return COUNT if raisable else hard - SPARE


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_twentyThousand(startBroker: StartBroker, name: str) -> None:
    """
    All are accepted and answered, memory stays in bounds, and at the end each is told why and sees an end in order.
    """
    count = possible()
    if count < COUNT * 0.9:
        pytest.skip(f"a process may have no more than {count + SPARE} files open here, and may not raise that limit")
    broker = startBroker(
        {
            "node": {"name": "test@127.0.0.1", "max_ports": count + SPARE, "shutdown_timeout": "60s"},
            "listener": {
                "tcp": {"external": {"bind": "127.0.0.1:0", "max_conn_rate": 100_000, "max_connections": count + 1}}
            },
        }
    )
    clients = subprocess.Popen(
        [sys.executable, SCRIPT, broker.host, str(broker.port), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert clients.stdin is not None and clients.stdout is not None
        assert clients.stdout.readline().startswith(f"connected {count} ")
        status = Path("/proc", str(broker.process.pid), "status").read_text()
        kilobytes = int(status.split("VmRSS:")[1].split()[0])
        # With all that belongs to a connection and its session; interpreted objects included.
        assert kilobytes < 100_000 + 20 * count
        # One more comes in, and then none.
        assert serves(broker, name)
        clients.stdin.write("go on\n")
        clients.stdin.flush()
        assert clients.stdout.readline() == f"answered {count}\n"
        clients.stdin.write("go on\n")
        clients.stdin.flush()
        assert clients.stdout.readline() == "waiting\n"
        clock = Stopwatch()
        broker.process.terminate()
        assert clients.stdout.readline() == f"closed {count} told {count}\n"
        broker.wait(60)
        assert clock.seconds < 60
        assert "Traceback" not in broker.text and "cut off" not in broker.text
        assert clients.wait(PATIENCE) == 0
    finally:
        if clients.poll() is None:
            clients.kill()
        clients.communicate()
