"""
Whether a packet is the one that a line of a vector describes.
"""

from __future__ import annotations

import re

from tests.vectors.packets import Line, Packet, Value, pair, parse, unescaped


class Comparison:
    """
    Compares packets with lines and remembers what the lines capture.
    """

    def __init__(self) -> None:
        self.captured: dict[str, Value] = {}

    def difference(self, text: str, packet: Packet) -> str:
        """
        How a packet differs from the line that describes it; captures what the line names if it does not.
        """
        line = parse(text)
        if line.kind != packet.kind:
            return f"wanted {line.kind}"
        fresh: dict[str, Value] = {}
        wanted, codes = _expected(line, packet)
        for name, word in wanted.items():
            actual = packet.fields[name]
            if not self._same(word, actual, fresh):
                return f"wanted {name}={word}"
        if len(codes) != len(packet.codes) and (codes or packet.codes):
            return f"wanted {len(codes)} reason codes"
        for word, code in zip(codes, packet.codes, strict=True):
            if not self._same(word, code, fresh):
                return f"wanted the code {word}"
        difference = self._differentProperties(line, packet, fresh)
        if not difference:
            self.captured.update(fresh)
        return difference

    def _differentProperties(self, line: Line, packet: Packet, fresh: dict[str, Value]) -> str:
        """
        A PUBLISH has the properties the line says and no others; other packets have at least those.
        """
        left = list(packet.properties)
        for name, word in line.properties:
            # User Properties are compared in their order, the rest by name.
            found = next((entry for entry in left if entry[0] == name), None)
            if name == "subid":
                found = next((entry for entry in left if entry[0] == name and self._same(word, entry[1], {})), None)
            same = found is not None and (
                pair(word) == found[1] if name == "user" else self._same(word, found[1], fresh)
            )
            if found is None or not same:
                return f"wanted {name}={word}"
            left.remove(found)
        for name, word in line.optional:
            for entry in [entry for entry in left if entry[0] == name]:
                if not self._same(word, entry[1], fresh):
                    return f"wanted {name}={word} or none"
                left.remove(entry)
        for name in line.absent:
            if any(name == other for other, _ in packet.properties):
                return f"did not want {name}"
        if packet.kind == "PUBLISH" and left:
            return f"did not want {left[0][0]}"
        return ""

    def _same(self, word: str, actual: Value, fresh: dict[str, Value]) -> bool:
        """
        Whether a value is what a word asks for: C{*} anything, C{$name} the same as captured, C{!name} another
        than captured, C{1/2} either, C{<=5} at most.
        """
        base, *others = word.split("!") if re.fullmatch(r"(\$\w+)?(!\w+)+", word) else [word]
        if any(self.captured[other] == actual for other in others):
            return False
        if base in ("*", ""):
            return True
        if re.fullmatch(r"\$[a-z]\w*", base):
            known = fresh.setdefault(base[1:], self.captured.get(base[1:], actual))
            return known == actual
        if not isinstance(actual, int):
            return unescaped(word) == (actual.encode() if isinstance(actual, str) else actual)
        if word.startswith("<="):
            return actual <= int(word[2:], 0)
        return any(int(choice, 0) == actual for choice in word.split("/"))


def _expected(line: Line, packet: Packet) -> tuple[dict[str, str], list[str]]:
    """
    The fields a line asks for, with the defaults of its kind, and its list of codes.
    """
    wanted: dict[str, str] = {}
    words = line.words
    if line.kind == "CONNACK":
        wanted = {"present": line.settings.get("present", "0"), "reason": words[0] if words else "0"}
    elif line.kind == "PUBLISH":
        wanted = {"dup": "0", "q": "0", "retain": "0", **line.settings, "topic": words[0]}
        wanted["payload"] = words[1] if len(words) > 1 else "''"
        if wanted["q"] == "0":
            wanted.pop("id", None)
    elif line.kind in ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP"):
        wanted = {"id": words[0]}
        if "reason" in packet.fields:
            wanted["reason"] = words[1] if len(words) > 1 else "0"
    elif line.kind in ("SUBACK", "UNSUBACK"):
        # UNSUBACK has no codes before 5.0.
        return {"id": words[0]}, words[1:] if packet.codes or line.kind == "SUBACK" else []
    elif line.kind in ("DISCONNECT", "AUTH"):
        wanted = {"reason": words[0] if words else "0"}
    return wanted, []
