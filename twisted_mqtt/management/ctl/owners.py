"""
Commands that belong to extensions: whoever types one while its extension does not run is told which it is.
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.management.catalogue import ofOthers

#: By the first word of the command.
_OWNERS: Final = {
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


def ownerOf(word: str) -> str:
    """
    The extension whose commands begin with a word, ours or an installed one; C{""} if there is none.
    """
    if word in _OWNERS:
        return _OWNERS[word]
    for name, operation in ofOthers():
        if word in (words.partition(" ")[0] for words in (operation.words, *operation.aliases)):
            return name
    return ""
