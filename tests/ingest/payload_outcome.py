"""What every payload decoder owes: a message whose parts add up, or RefusedError with a code of the contract."""

from __future__ import annotations

import math

from ingest.payload import MAX_READINGS, WHOLE
from twin.errors import RefusedError

OF_A_MESSAGE = {"E_SIZE", "E_UTF8", "E_DEPTH", "E_JSON", "E_FIELD", "E_COUNT", "E_FRAME", "E_TOPIC"}
OF_A_READING = {"E_NAN", "E_FIELD", "E_IDENTITY", "E_ALIAS"}


def check_outcome(decoder, topic, payload, *, most=MAX_READINGS):
    """Decode, and return the message, or None where it was refused as it may be."""
    code = ""
    try:
        message = decoder.decode(topic, payload)
    except RefusedError as refused:
        code, message = refused.code, None
    if message is None:
        assert code in OF_A_MESSAGE
        return None
    assert (message.boot is None) == (message.seq is None)
    assert message.seq is None or 0 <= message.seq < 2**63
    assert 0 <= message.readings <= most
    assert len(message.measurements) + len(message.refused) == message.readings
    if any(refusal.place == WHOLE for refusal in message.refused):
        assert (message.boot is not None, message.readings) == (True, 1)
        assert message.refused[0].code in OF_A_MESSAGE
        return message
    assert {refusal.code for refusal in message.refused} <= OF_A_READING
    places = [one.place for one in message.measurements] + [one.place for one in message.refused]
    assert sorted(places) == list(range(message.readings))
    for measured in message.measurements:
        assert math.isfinite(measured.value)
        assert measured.time is None or -(2**53) < measured.time < 2**54
        assert isinstance(measured.point, str)
        assert measured.unit is None or isinstance(measured.unit, str)
    return message
