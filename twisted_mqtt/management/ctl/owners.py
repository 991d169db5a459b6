"""
Commands that belong to extensions: whoever types one while its extension does not run is told which it is.
"""

from __future__ import annotations

from typing import Final

#: By the first word of the command.
OWNERS: Final = {
    "admins": "dashboard",
    "bridge": "bridge_mqtt",
    "bridges": "bridge_mqtt",
    "clientid": "auth_clientid",
    "cluster": "cluster",
    "delayed": "delayed_publish",
    "luahook": "lua_hook",
    "recon": "recon",
    "reload": "reloader",
    "resource-types": "rule_engine",
    "resources": "rule_engine",
    "rule-actions": "rule_engine",
    "rules": "rule_engine",
    "script": "lua_hook",
    "users": "auth_username",
    "webhooks": "web_hook",
}
