"""
Hashes of passwords, and the files in which they stand.
"""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.auth.passwordfile import PasswordFile, checkName
from twisted_mqtt.auth.passwords import MOST_BYTES, MOST_ITERATIONS, PasswordProblem, hashed, kindOf, verify

# A line of the sample file that Mosquitto comes with, and two that vernemq.md and mosquitto_passwd -H describe.
ROGER = "$6$clQ4Ocu312S0qWgl$Cv2wUxgEN73c6C6jlBkswqR4AkHsvDLWvtEXZZ8NpsBLgP1WAo/qA+WXcmEN/mjDNgdUwcxRAveqNMs2xUVQYA=="


@pytest.mark.parametrize("kind", ["sha512-pbkdf2", "sha512"])
def test_hash(kind: str) -> None:
    """
    A password is right for its hash and no other is; each hash has its own salt.
    """
    one, other = (hashed(b"p\x00w\xff", "sha512" if kind == "sha512" else "sha512-pbkdf2", 10) for _ in range(2))
    assert one != other
    assert kindOf(one) == kindOf(other) == kind
    assert verify(b"p\x00w\xff", one)
    assert verify(b"p\x00w\xff", other)
    assert not verify(b"p\x00w", one)
    assert not verify(b"", one)


def test_hashesOfOthers() -> None:
    """
    The hash of another program is told from a password in clear, and a damaged one is not taken for a password.
    """
    assert kindOf(ROGER) == "sha512"
    assert verify(b"password", ROGER) is True
    assert kindOf("$2b$12$abcdefghijklmnopqrstuuGx3yz0mP0l9xWv1R6Zz0Jt6u1sQ5a6m") == "unknown"
    assert kindOf("$argon2id$v=19$m=47104,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaGhhc2g") == "unknown"
    assert kindOf(ROGER[:-4]) == "unknown"
    assert kindOf("$ecret") == kindOf("$6$") == kindOf("public") == "plain"


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ("public", "it is no hash"),
        ("$2b$12$abcdefghijklmnopqrstuuGx3yz0mP0l9xWv1R6Zz0Jt6u1sQ5a6m", "of a kind that is not known"),
        (hashed(b"x", iterations=1).replace("$7$1$", f"$7${MOST_ITERATIONS + 1}$"), "iterations"),
        (hashed(b"x", iterations=1).replace("$7$1$", "$7$0$"), "not known"),
        (hashed(b"x", iterations=1).replace("$7$1$", "$7$99999999999$"), "not known"),
        ("$6$abcde$" + "A" * 86 + "==", "damaged"),
    ],
)
def test_hashesThatAreRefused(stored: str, reason: str) -> None:
    """
    What can't be compared is an error, not a wrong password, and nothing takes for ever.
    """
    with pytest.raises(PasswordProblem, match=reason):
        verify(b"x", stored)


def test_passwordsThatAreRefused() -> None:
    """
    A password that no client could send is not hashed.
    """
    for password in (b"", b"x" * (MOST_BYTES + 1)):
        with pytest.raises(PasswordProblem):
            hashed(password, "sha512")
    for iterations in (-1, 0, MOST_ITERATIONS + 1):
        with pytest.raises(PasswordProblem, match="iterations"):
            hashed(b"x", "sha512-pbkdf2", iterations)
    assert verify(b"x" * MOST_BYTES, hashed(b"x" * MOST_BYTES, "sha512"))


@pytest.mark.parametrize(
    "name",
    ["", "a:b", "a\nb", "a\rb", "a\x00", "\x7f", "\x85", " a", "a\t", "#a", "a\udcff", "x" * 65536, "é" * 40000],
    ids=repr,
)
def test_namesThatAreRefused(name: str) -> None:
    """
    A name that would be another one in the file, or that MQTT does not know, is refused.
    """
    with pytest.raises(PasswordProblem):
        checkName(name)
    content = PasswordFile(b"a:b\n")
    with pytest.raises(PasswordProblem):
        content.put(name, "x")
    assert content.render() == b"a:b\n"


def test_fileIsKept() -> None:
    """
    What is not changed stays byte by byte: comments, blank lines, ends of lines, other encodings, other hashes.
    """
    data = b"\xef\xbb\xbf# users\r\n\r\na:$6$x\r\nb\xff: y \nodd line\nc:z"
    content = PasswordFile(data)
    assert content.users == {"a": "$6$x", "b\udcff": "y", "c": "z"}
    assert content.problems == [(5, "it has no colon")]
    assert content.render() == data + b"\n"
    assert content.put("a", "new") is False
    assert content.put("d", "new") is True
    assert content.remove("c") is True
    assert content.remove("c") is False
    assert content.render() == b"\xef\xbb\xbf# users\r\n\r\na:new\nb\xff: y \nodd line\nd:new\n"


def test_sameNameTwice() -> None:
    """
    The last line of a name holds; a change leaves one line, and a removal none.
    """
    content = PasswordFile(b"a:1\nb:2\na:3\n")
    assert content.users == {"a": "3", "b": "2"}
    assert content.problems == [(1, "a later line has the same name")]
    content.put("a", "4")
    assert content.render() == b"b:2\na:4\n"
    assert content.problems == []
    content = PasswordFile(b"a:1\nb:2\na:3\n")
    content.remove("a")
    assert content.render() == b"b:2\n"


def test_hashPlain() -> None:
    """
    Passwords in clear are hashed; hashes stay, so that doing it twice harms nothing.
    """
    content = PasswordFile(f"# old\nroger:{ROGER}\nann:secret: word \n".encode())
    assert content.hashPlain("sha512-pbkdf2", 5) == 1
    assert content.users["roger"] == ROGER
    assert content.verify("ann", b"secret: word")
    before = content.render()
    assert b"secret" not in before
    assert content.hashPlain("sha512", 5) == 0
    assert content.render() == before


EMQX = b"""## seeds
auth.user.password_hash = sha256
auth.user.1.username = admin
auth.user.1.password = public
auth.user.7.password=a=b #c
auth.user.7.username=name~!@#$%^&*()_+
auth.user.8.username = lost
"""


def test_fileOfEMQX() -> None:
    """
    The file of EMQ X has passwords in clear: they are compared, changed, added with the next number, taken out.
    """
    content = PasswordFile(EMQX)
    assert content.emqx
    assert content.users == {"admin": "public", "name~!@#$%^&*()_+": "a=b #c"}
    assert content.problems == [(7, "name or password is missing")]
    assert content.verify("admin", b"public")
    assert not content.verify("admin", b"Public")
    with pytest.raises(PasswordProblem, match="no such user"):
        content.verify("lost", b"x")
    with pytest.raises(PasswordProblem, match="in clear"):
        content.hashPlain("sha512", 1)
    assert content.put("admin", "new") is False
    assert content.put("a:b", "x") is True
    assert content.remove("name~!@#$%^&*()_+") is True
    assert content.render() == (
        b"## seeds\nauth.user.password_hash = sha256\nauth.user.1.username = admin\nauth.user.1.password = new\n"
        b"auth.user.8.username = lost\nauth.user.9.username = a:b\nauth.user.9.password = x\n"
    )
    for password in ("", " x", "x\ny"):
        with pytest.raises(PasswordProblem):
            content.put("admin", password)
    clients = PasswordFile(b"auth.client.1.clientid = id\nauth.client.1.password = p")
    clients.put("id2", "q")
    assert clients.render().endswith(b"auth.client.2.clientid = id2\nauth.client.2.password = q\n")


@given(
    st.lists(st.tuples(st.text(max_size=4), st.text(max_size=6)), max_size=8),
    st.binary(max_size=60),
    st.randoms(use_true_random=False),
)
def test_anyChanges(changes: list[tuple[str, str]], data: bytes, chance: random.Random) -> None:
    """
    Whatever stands in a file and whatever is put into it or refused: what it says of each name is what was last said.
    """
    content = PasswordFile(data)
    expected = content.users
    for name, stored in changes:
        stored = stored.strip() or "x"
        if not stored.isprintable():
            stored = "y"
        try:
            if chance.random() < 0.7:
                content.put(name, stored)
                expected[name] = stored
            elif content.remove(name):
                del expected[name]
        except PasswordProblem:
            pass
        assert content.users == PasswordFile(content.render()).users == expected
