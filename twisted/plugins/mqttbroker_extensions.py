"""
Makes the extensions that come with the broker known. They are imported when they are wanted.
"""

from twisted_mqtt.extensions.makers import ExtensionMaker

presence = ExtensionMaker(
    "presence",
    "twisted_mqtt.modules.presence:Presence",
    "Client Presence Events",
    table="module.presence",
    settings="twisted_mqtt.modules.presence:PresenceSettings",
    short="enable",
    distribution="twisted-mqtt",
)
subscription = ExtensionMaker(
    "subscription",
    "twisted_mqtt.modules.proxysubscription:ProxySubscriptions",
    "Proxy Subscriptions",
    table="module.subscription",
    settings="twisted_mqtt.modules.proxysubscription:SubscriptionSettings",
    short="enable",
    distribution="twisted-mqtt",
)
rewrite = ExtensionMaker(
    "rewrite",
    "twisted_mqtt.modules.rewrite:Rewrite",
    "Topic Rewriting",
    table="module.rewrite",
    settings="twisted_mqtt.modules.rewrite:RewriteSettings",
    short="enable",
    distribution="twisted-mqtt",
)
pskFile = ExtensionMaker(
    "psk_file",
    "twisted_mqtt.modules.psk_file:PSKFile",
    "PSK from File",
    table="psk",
    settings="twisted_mqtt.modules.psk_file:PSKSettings",
    distribution="twisted-mqtt",
)
aclInternal = ExtensionMaker(
    "acl_internal",
    "twisted_mqtt.auth.acl_internal:AclInternal",
    "Access Rules from File",
    distribution="twisted-mqtt",
    necessary=True,
    always=True,
)
delayedPublish = ExtensionMaker(
    "delayed_publish",
    "twisted_mqtt.modules.delayed:DelayedPublish",
    "Delayed Publish",
    table="delayed_publish",
    settings="twisted_mqtt.modules.delayed:DelayedPublishSettings",
    distribution="twisted-mqtt",
)
retainer = ExtensionMaker(
    "retainer",
    "twisted_mqtt.modules.retainer:Retainer",
    "Retained Messages",
    table="retainer",
    settings="twisted_mqtt.config.schema_retainer:RetainerSettings",
    distribution="twisted-mqtt",
    always=True,
)
management = ExtensionMaker(
    "management",
    "twisted_mqtt.management.extension:Management",
    "Management API and Command Line",
    table="management",
    settings="twisted_mqtt.management.settings:ManagementSettings",
    distribution="twisted-mqtt",
)
graphite = ExtensionMaker(
    "graphite",
    "twisted_mqtt.monitoring.graphite:Graphite",
    "Metrics for Graphite",
    table="graphite",
    settings="twisted_mqtt.monitoring.settings:GraphiteSettings",
    distribution="twisted-mqtt",
)
statsd = ExtensionMaker(
    "statsd",
    "twisted_mqtt.monitoring.statsd:StatsD",
    "Metrics for StatsD and the Push Gateway of Prometheus",
    table="statsd",
    settings="twisted_mqtt.monitoring.settings:StatsDSettings",
    distribution="twisted-mqtt",
)
trace = ExtensionMaker(
    "trace",
    "twisted_mqtt.monitoring.trace.extension:TraceExtension",
    "Traces of Clients and Topics",
    table="trace",
    settings="twisted_mqtt.monitoring.trace.settings:TraceSettings",
    distribution="twisted-mqtt",
    always=True,
    operations="twisted_mqtt.monitoring.trace.operations:declared",
)
recon = ExtensionMaker(
    "recon",
    "twisted_mqtt.monitoring.recon.extension:Recon",
    "Memory, Garbage and Work of the Process",
    table="recon",
    settings="twisted_mqtt.monitoring.recon.settings:ReconSettings",
    distribution="twisted-mqtt",
    always=True,
    operations="twisted_mqtt.monitoring.recon.operations:declared",
)
reloader = ExtensionMaker(
    "reloader",
    "twisted_mqtt.monitoring.reloader:Reloader",
    "Takes Over Changed Code, for Development",
    table="reloader",
    settings="twisted_mqtt.monitoring.reloader:ReloaderSettings",
    distribution="twisted-mqtt",
    operations="twisted_mqtt.monitoring.reloader:declared",
)
