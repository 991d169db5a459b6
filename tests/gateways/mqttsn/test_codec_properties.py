"""
Properties of the bytes: what was written is read, and nothing that comes can do harm.
"""

from hypothesis import given
from hypothesis import strategies as st

from gateways.mqttsn.codec import MalformedError, decode, encode
from gateways.mqttsn.packets import SUBSCRIBE, UNSUBSCRIBE, SNConnect, SNPacket, SNPublish, SNRegister, SNSubscribe

NUMBERS = st.integers(0, 0xFFFF)
TEXTS = st.text(min_size=1, max_size=400)
PACKETS: st.SearchStrategy[SNPacket] = st.one_of(
    st.builds(SNConnect, TEXTS, st.booleans(), st.booleans(), NUMBERS),
    st.builds(SNRegister, NUMBERS, NUMBERS, TEXTS),
    st.builds(
        SNPublish,
        NUMBERS,
        st.binary(max_size=600),
        st.integers(-1, 2),
        NUMBERS,
        st.integers(0, 2),
        st.booleans(),
        st.booleans(),
    ),
    st.builds(
        SNSubscribe, st.sampled_from([SUBSCRIBE, UNSUBSCRIBE]), NUMBERS, TEXTS, qos=st.integers(0, 2), dup=st.booleans()
    ),
)


@given(PACKETS)
def test_readsWhatItWrites(packet: SNPacket) -> None:
    """
    Decoding an encoded message gives it back.
    """
    assert decode(encode(packet)) == packet


@given(st.binary(max_size=64))
def test_anything(data: bytes) -> None:
    """
    Any bytes are a message or are refused as none.
    """
    try:
        packet = decode(data)
    except MalformedError:
        return
    # A message that was read is written in a form that is read as the same.
    assert decode(encode(packet)) == packet


@given(PACKETS, st.integers(0, 1000), st.integers(0, 255))
def test_damaged(packet: SNPacket, place: int, byte: int) -> None:
    """
    A message with one byte exchanged, or cut off anywhere, is another message or none.
    """
    data = bytearray(encode(packet))
    cut = bytes(data[: place % len(data)])
    data[place % len(data)] = byte
    for damaged in (bytes(data), cut):
        try:
            decode(damaged)
        except MalformedError:
            pass
