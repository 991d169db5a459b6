"""
Makes the extensions that come with the broker known. They are imported when they are wanted.
"""

from twisted_mqtt.extensions.running import ExtensionMaker

presence = ExtensionMaker(
    "presence", "twisted_mqtt.modules.presence:Presence", "Client Presence Events", "twisted-mqtt"
)
subscription = ExtensionMaker(
    "subscription", "twisted_mqtt.modules.subscription:Subscription", "Proxy Subscriptions", "twisted-mqtt"
)
rewrite = ExtensionMaker("rewrite", "twisted_mqtt.modules.rewrite:Rewrite", "Topic Rewriting", "twisted-mqtt")
pskFile = ExtensionMaker("psk_file", "twisted_mqtt.modules.psk_file:PSKFile", "PSK from File", "twisted-mqtt")
aclInternal = ExtensionMaker(
    "acl_internal", "twisted_mqtt.auth.acl_internal:AclInternal", "Access Rules from File", "twisted-mqtt"
)
delayedPublish = ExtensionMaker(
    "delayed_publish", "twisted_mqtt.modules.delayed:DelayedPublish", "Delayed Publish", "twisted-mqtt"
)
