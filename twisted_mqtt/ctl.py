"""
C{python -m twisted_mqtt.ctl}, and what C{mqttbroker-ctl} calls: L{twisted_mqtt.management.ctl.main}, with the command
that asks no broker, L{twisted_mqtt.convert}.
"""

from __future__ import annotations

import sys


def main() -> None:
    """
    Run the command line; says which extra to install where click is missing.
    """
    try:
        from twisted_mqtt.convert.command import convert
        from twisted_mqtt.management.ctl.main import main as run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit("mqttbroker-ctl needs click: pip install 'twisted-mqtt[management]'")
    run(local=[convert])


if __name__ == "__main__":
    main()
