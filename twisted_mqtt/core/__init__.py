"""
The pure part of the broker: bytes, state machines, routing.

The rule of this package: standard library only, no I/O, no L{twisted.internet.defer.Deferred}, no reactor, no
clock (time comes in as C{now}), no log, no zope. Its modules are compiled by mypyc where a compiler is at hand and
behave the same without.
"""
