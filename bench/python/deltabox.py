#!/usr/bin/env python3
"""A client in one file, after firmware/PROTOCOL.md: logs in, trades, prints reports, cancels, leaves.

    python deltabox.py VENUE VENUE_KEY MEMBER KEY_FILE ACCOUNT SIDE LOTS PRICE [--seconds 3] [--instrument 0]
    python deltabox.py 127.0.0.1:4000 3b6a… 1 member.key 1 sell 2 65000.5

It needs Python 3.10, the package `cryptography`, and the schema firmware/schema/deltabox.xml (another path after
--schema), from which it takes the layout of all messages. As a module it gives `Session`: see its docstring.
"""

import argparse
import dataclasses
import decimal
import hashlib
import hmac
import pathlib
import select
import socket
import struct
import sys
import time
from xml.etree import ElementTree

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "firmware" / "schema" / "deltabox.xml"

CONTROL, DATA, RETRANSMISSION, HEARTBEAT = range(4)
HEAD = struct.Struct("<BBHIQQQ")
SBE_HEAD = struct.Struct("<HHHH")
TAG_LEN = 16
GMAC, SIPHASH = 1, 2
ALL_ORDERS = 2
E9 = 10**9


class Refused(Exception):
    """The venue refused the login; `code` is the reason, `name` its name in the schema."""

    def __init__(self, code, name):
        super().__init__(f"login refused with code {code}: {name}")
        self.code, self.name = code, name


class Ended(Exception):
    """The session is over."""


# Layout of messages


class Schema:
    """Messages by name and by template id; `encode` and `decode` start at the SBE header."""

    SIZES = {"char": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8}

    def __init__(self, path=SCHEMA):
        root = ElementTree.parse(path).getroot()
        self.id, self.version = int(root.get("id")), int(root.get("version"))
        self.enums = {}
        kinds = {}
        for node in root.find("types"):
            name = node.get("name")
            primitive = node.get("primitiveType") or node.get("encodingType")
            if primitive:
                kinds[name] = (primitive, int(node.get("length", 1)))
            if node.tag == "enum":
                self.enums[name] = {int(value.text): value.get("name") for value in node}
        self.by_name, self.by_template = {}, {}
        for node in root:
            if node.tag.endswith("}message"):
                name, template = node.get("name"), int(node.get("id"))
                block = self.block(node, kinds)
                groups = [(group.get("name"), self.block(group, kinds)) for group in node.findall("group")]
                self.by_name[name] = (template, block, groups)
                self.by_template[template] = (name, block, groups)

    def block(self, node, kinds):
        fields = []
        for field in node.findall("field"):
            primitive, count = kinds[field.get("type")]
            fields.append((field.get("name"), int(field.get("offset")), primitive, self.SIZES[primitive] * count))
        return int(node.get("blockLength")), fields

    @staticmethod
    def write(block, values):
        length, fields = block
        data = bytearray(length)
        for name, offset, primitive, size in fields:
            value = values.pop(name, 0)
            if primitive == "char":
                data[offset : offset + size] = (value or b"").ljust(size, b"\0")
            else:
                data[offset : offset + size] = value.to_bytes(size, "little", signed=primitive[0] == "i")
        if values:
            raise ValueError(f"no fields are called {', '.join(values)}")
        return bytes(data)

    @staticmethod
    def read(fields, data):
        values = {}
        for name, offset, primitive, size in fields:
            part = data[offset : offset + size]
            values[name] = part if primitive == "char" else int.from_bytes(part, "little", signed=primitive[0] == "i")
        return values

    def encode(self, name, **values):
        """A message; fields that are not given are zero. Entries of a group are a list of dicts."""
        template, block, groups = self.by_name[name]
        entries = {group: values.pop(group, []) for group, _ in groups}
        data = SBE_HEAD.pack(block[0], template, self.id, self.version) + self.write(block, values)
        for group, entry in groups:
            data += struct.pack("<HH", entry[0], len(entries[group]))
            data += b"".join(self.write(entry, dict(values)) for values in entries[group])
        return data

    def decode(self, data):
        """(name, values); the name is None for a message of another schema or a newer one."""
        length, template, schema_id, _ = SBE_HEAD.unpack_from(data)
        if schema_id != self.id or template not in self.by_template:
            return None, {}
        name, (least, fields), groups = self.by_template[template]
        at = SBE_HEAD.size + length
        # What a newer version appended to the block is skipped.
        if length < least or at > len(data):
            return None, {}
        values = self.read(fields, data[SBE_HEAD.size : at])
        for group, (_, entry_fields) in groups:
            entry_length, count = struct.unpack_from("<HH", data, at)
            at += 4
            values[group] = [self.read(entry_fields, data[at + i * entry_length :]) for i in range(count)]
            at += entry_length * count
        return name, values


# Tags and hashes that the library does not have


def siphash_2_4_128(key, data):
    """SipHash-2-4 with 128 bits of output."""
    mask = (1 << 64) - 1
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def turn(x, bits):
        return (x << bits | x >> (64 - bits)) & mask

    def rounds(count):
        a, b, c, d = v
        for _ in range(count):
            a = (a + b) & mask
            b = turn(b, 13) ^ a
            a = turn(a, 32)
            c = (c + d) & mask
            d = turn(d, 16) ^ c
            a = (a + d) & mask
            d = turn(d, 21) ^ a
            c = (c + b) & mask
            b = turn(b, 17) ^ c
            c = turn(c, 32)
        v[:] = a, b, c, d

    whole = len(data) // 8 * 8
    last = data[whole:].ljust(7, b"\0") + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", data[:whole] + last):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(4)
    low = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    return struct.pack("<QQ", low, v[0] ^ v[1] ^ v[2] ^ v[3])


def blake3(data):
    """BLAKE3 of at most 64 bytes: a single block that is chunk and root at once."""
    mask = (1 << 32) - 1
    start = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
    order = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
    columns = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
    diagonals = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    assert len(data) <= 64
    words = list(struct.unpack("<16I", data.ljust(64, b"\0")))
    # Counter 0; flags: start and end of the chunk, root.
    s = start + start[:4] + [0, 0, len(data), 1 | 2 | 8]

    def turn(x, bits):
        return (x >> bits | x << (32 - bits)) & mask

    for _ in range(7):
        for i, (a, b, c, d) in enumerate(columns + diagonals):
            for word, x, y in [(words[2 * i], 16, 12), (words[2 * i + 1], 8, 7)]:
                s[a] = (s[a] + s[b] + word) & mask
                s[d] = turn(s[d] ^ s[a], x)
                s[c] = (s[c] + s[d]) & mask
                s[b] = turn(s[b] ^ s[c], y)
        words = [words[i] for i in order]
    return struct.pack("<8I", *(s[i] ^ s[i + 8] for i in range(8)))


def hkdf_sha256(secret, salt, info, length):
    """RFC 5869, for at most 32 bytes."""
    key = hmac.digest(salt, secret, "sha256")
    return hmac.digest(key, info + b"\x01", "sha256")[:length]


class TagKey:
    """Seals and checks the datagrams of one direction."""

    def __init__(self, suite, material):
        self.suite, self.key, self.salt = suite, material[:16], material[16:20]

    def tag(self, packet_no, data):
        if self.suite == GMAC:
            return AESGCM(self.key).encrypt(self.salt + packet_no.to_bytes(8, "big"), b"", data)
        return siphash_2_4_128(self.key, data)


class Window:
    """Packet numbers are taken once; 64 of them may be out of order."""

    def __init__(self):
        self.top, self.bits = 0, 1

    def is_new(self, number):
        return number > self.top or (self.top - number < 64 and not self.bits >> (self.top - number) & 1)

    def mark(self, number):
        if number > self.top:
            self.bits = (self.bits << (number - self.top)) & ((1 << 64) - 1)
            self.top = number
        self.bits |= 1 << (self.top - number)


# The session


@dataclasses.dataclass
class Identity:
    """Who logs in, and where: the venue's public key is known beforehand."""

    venue: tuple
    venue_key: bytes
    member: int
    key: ed25519.Ed25519PrivateKey
    key_id: int = 1


class Session:
    """A session with the venue.

    session = Session(identity); session.login()
    number = session.send("NewOrder", clOrdId=…, account=…, …)
    for number, name, values in session.poll(0.1): …       reports, each once and in order
    session.terminate()

    `poll` also answers heartbeats, so it is to be called often. It raises `Ended` when the session is over.
    """

    def __init__(self, identity, schema=None, suites=(GMAC, SIPHASH), keep_alive_ms=1000, first_report=None):
        self.identity, self.schema = identity, schema or Schema()
        self.suites, self.keep_alive_ms = suites, keep_alive_ms
        # The next report to hand over; None: what comes from now on.
        self.next_report = first_report
        self.next_request = 1
        self.venue_expects = 1
        self.reports = {}
        self.announced = 1
        self.asked_at = 0.0
        self.session_id = 0
        self.clock_ns = time.time_ns
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect(identity.venue)
        self.conn_id = 0

    # Login

    def login(self, timeout=10.0):
        """Agrees on keys and opens the flows; raises `Refused`, or TimeoutError when nothing usable comes."""
        give_up = time.monotonic() + timeout
        while time.monotonic() < give_up:
            # An attempt goes stale after 5 s: start afresh before.
            if self.attempt(min(give_up, time.monotonic() + 4)):
                return
        raise TimeoutError("no usable answer from the venue")

    def attempt(self, until):
        me = self.identity
        secret = x25519.X25519PrivateKey.generate()
        self.session_id = max(self.clock_ns() // 1000, self.session_id + 1)
        request = {
            "sessionId": self.session_id,
            "timestamp": self.clock_ns(),
            "member": me.member,
            "keyId": me.key_id,
            "suites": sum(1 << suite for suite in self.suites),
            "clientKey": secret.public_key().public_bytes_raw(),
            "venueKeyHash": blake3(me.venue_key),
        }
        bare = self.schema.encode("Negotiate", **request)
        answer = self.ask(until, lambda: self.datagram_of_login(bare), self.read_login, {"Challenge"})
        if answer is None:
            return False
        request["cookie"] = answer[1]["cookie"]
        unsigned = self.schema.encode("Negotiate", **request)[SBE_HEAD.size : -64]
        request["signature"] = me.key.sign(b"deltabox negotiate v1" + unsigned)
        signed = self.schema.encode("Negotiate", **request)
        answer = self.ask(
            until,
            lambda: self.datagram_of_login(signed),
            lambda data: self.read_response(data, secret, signed),
            {"NegotiateResponse", "NegotiateReject"},
        )
        if answer is None:
            return False
        self.check_reject(answer)
        return self.establish(until)

    @staticmethod
    def datagram_of_login(message):
        body = struct.pack("<H", 2 + len(message)) + message
        return HEAD.pack(1, CONTROL, HEAD.size + len(body) + TAG_LEN, 0, 0, 0, 0) + body + bytes(TAG_LEN)

    def ask(self, until, datagram, read, wanted):
        """Sends until an answer comes: from 100 ms, doubling to 1 s. None when the time is up."""
        pause = 0.1
        while (now := time.monotonic()) < until:
            self.socket.send(datagram())
            for data in self.receive(min(now + pause, until)):
                answer = read(data)
                if answer is not None and answer[0] in wanted and answer[1]["sessionId"] == self.session_id:
                    return answer
            pause = min(2 * pause, 1.0)
        return None

    def receive(self, until):
        """Datagrams as they come, until the time is up."""
        while True:
            left = until - time.monotonic()
            ready, _, _ = select.select([self.socket], [], [], max(left, 0))
            if not ready:
                return
            try:
                yield self.socket.recv(2048)
            except ConnectionRefusedError:
                # ICMP errors mean nothing: anybody can send them.
                time.sleep(min(max(left, 0), 0.01))

    def read_login(self, data):
        head, body, _ = self.split(data)
        if head is None or head[1] != CONTROL or head[3] != 0:
            return None
        return next(self.messages(body), None)

    def read_response(self, data, secret, signed):
        """A response is taken only when the pinned venue key signed it."""
        answer = self.read_login(data)
        if answer is None or answer[0] != "NegotiateResponse":
            return answer
        values = answer[1]
        block = self.split(data)[1][2 + SBE_HEAD.size :]
        venue_key = self.identity.venue_key
        domain = b"deltabox response v1"
        transcript = hashlib.sha256(domain + signed[SBE_HEAD.size :] + block[:-64] + venue_key).digest()
        try:
            key = ed25519.Ed25519PublicKey.from_public_bytes(venue_key)
            key.verify(values["signature"], domain + transcript)
            # Raises ValueError when the shared secret is all zero.
            shared = secret.exchange(x25519.X25519PublicKey.from_public_bytes(values["venueKey"]))
        except (InvalidSignature, ValueError):
            return None
        if values["suite"] not in self.suites or values["connId"] == 0:
            return None
        self.conn_id, self.suite = values["connId"], values["suite"]
        self.out_key = TagKey(self.suite, hkdf_sha256(shared, transcript, b"c2s", 20))
        self.in_key = TagKey(self.suite, hkdf_sha256(shared, transcript, b"s2c", 20))
        self.packet_no, self.window = 0, Window()
        return answer

    def establish(self, until):
        def datagram():
            message = self.schema.encode(
                "Establish",
                sessionId=self.session_id,
                timestamp=self.clock_ns(),
                nextSeqNo=self.next_request,
                keepAliveMs=self.keep_alive_ms,
                codPolicy=ALL_ORDERS,
            )
            return self.sealed(CONTROL, 0, [message])

        wanted = {"EstablishmentAck", "EstablishmentReject"}
        answer = self.ask(until, datagram, self.read_control, wanted)
        if answer is None:
            return False
        self.check_reject(answer)
        values = answer[1]
        self.next_request = max(self.next_request, values["nextClientSeqNo"])
        self.venue_expects = values["nextClientSeqNo"]
        self.announced = values["nextSeqNo"]
        if self.next_report is None:
            self.next_report = self.announced
        self.venue_interval = values["keepAliveMs"] / 1000
        self.heard_at = self.said_at = time.monotonic()
        return True

    def check_reject(self, answer):
        if answer[0].endswith("Reject"):
            code = answer[1]["reason"]
            raise Refused(code, self.schema.enums["SessionReject"].get(code, "of a newer release"))

    # Datagrams

    @staticmethod
    def split(data):
        """Header, messages and tag; the header is None when the datagram is not in order."""
        if len(data) < HEAD.size + TAG_LEN:
            return None, b"", b""
        head = HEAD.unpack_from(data)
        if head[0] != 1 or head[2] != len(data):
            return None, b"", b""
        return head, data[HEAD.size : -TAG_LEN], data[-TAG_LEN:]

    def messages(self, body):
        while len(body) >= 2:
            (size,) = struct.unpack_from("<H", body)
            if size < 2 + SBE_HEAD.size or size > len(body):
                return
            yield self.schema.decode(body[2:size])
            body = body[size:]

    def sealed(self, kind, first, messages):
        """A datagram; each takes a new packet number, sent again or not."""
        self.packet_no += 1
        body = b"".join(struct.pack("<H", 2 + len(message)) + message for message in messages)
        numbers = (0, 0) if kind == CONTROL else (first, self.next_report)
        length = HEAD.size + len(body) + TAG_LEN
        data = HEAD.pack(1, kind, length, self.conn_id, self.packet_no, *numbers) + body
        self.said_at = time.monotonic()
        return data + self.out_key.tag(self.packet_no, data)

    def opened(self, data):
        """Header and messages of a datagram of this session; (None, …) for any other."""
        head, body, tag = self.split(data)
        if head is None or head[3] != self.conn_id or not self.window.is_new(head[4]):
            return None, b""
        if not hmac.compare_digest(self.in_key.tag(head[4], data[:-TAG_LEN]), tag):
            return None, b""
        self.window.mark(head[4])
        self.heard_at = time.monotonic()
        return head, body

    def read_control(self, data):
        head, body = self.opened(data)
        if head is None or head[1] != CONTROL:
            return None
        return next(self.messages(body), None)

    # Flows

    def send(self, name, **values):
        """Sends a request and gives its number."""
        number = self.next_request
        self.next_request += 1
        self.socket.send(self.sealed(DATA, number, [self.schema.encode(name, **values)]))
        return number

    def poll(self, seconds):
        """Receives for so long and gives the reports that are next: (number, name, values)."""
        until = time.monotonic() + seconds
        got = []
        while not got:
            step = min(until, time.monotonic() + 0.01)
            for data in self.receive(step):
                self.take(data)
                break
            self.keep_up()
            while self.next_report in self.reports:
                got.append((self.next_report, *self.reports.pop(self.next_report)))
                self.next_report += 1
            if time.monotonic() >= until:
                break
        return got

    def take(self, data):
        head, body = self.opened(data)
        if head is None:
            return
        _, kind, _, _, _, first, acked = head
        if kind == CONTROL:
            for name, values in self.messages(body):
                if name == "Terminate":
                    code = values["reason"]
                    raise Ended(f"the venue ended the session: {self.schema.enums['TerminateReason'].get(code, code)}")
                if name == "RetransmitReject":
                    # Older ones are gone; where waiting helps, we are told for how long.
                    self.next_report = max(self.next_report, values["firstSeqNo"])
                    self.asked_at = time.monotonic() + values["retryAfterMs"] / 1000
            return
        self.venue_expects = max(self.venue_expects, acked)
        number = first
        for report in self.messages(body):
            if number >= self.next_report:
                self.reports[number] = report
            number += 1
        self.announced = max(self.announced, number)

    def keep_up(self):
        """Heartbeats, and the question for reports that are missing."""
        now = time.monotonic()
        if now - self.heard_at > 3 * self.venue_interval:
            raise Ended("the venue was silent for three intervals")
        # Sooner when requests are not acknowledged: a heartbeat shows the venue what it did not get.
        quiet = 0.05 if self.venue_expects < self.next_request else self.keep_alive_ms / 1000
        if now - self.said_at >= quiet:
            self.socket.send(self.sealed(HEARTBEAT, self.next_request, []))
        missing = self.next_report < self.announced and self.next_report not in self.reports
        if missing and now - self.asked_at >= 0.05:
            self.asked_at = now
            end = min([self.announced, *self.reports])
            message = self.schema.encode(
                "RetransmitRequest",
                timestamp=self.clock_ns(),
                fromSeqNo=self.next_report,
                count=min(end - self.next_report, 0xFFFFFFFF),
            )
            self.socket.send(self.sealed(CONTROL, 0, [message]))

    def terminate(self):
        """Leaves: says so up to five times, until the venue confirms. Reports that come meanwhile are lost to us."""
        message = self.schema.encode("Terminate", sessionId=self.session_id, reason=0)
        answer = None
        for _ in range(5):
            self.socket.send(self.sealed(CONTROL, 0, [message]))
            for data in self.receive(time.monotonic() + 0.1):
                answer = self.read_control(data)
                if answer is not None and answer[0] == "Terminate":
                    break
            if answer is not None:
                break
        self.socket.close()
        return answer is not None


# The program


def price_text(value):
    return f"{decimal.Decimal(value).scaleb(-9).normalize():f}"


def shown(schema, name, values):
    """A report in a line."""
    if name == "Accepted":
        return f"accepted: order {values['orderId']}, {values['quantity']} lots at {price_text(values['price'])}"
    if name == "Filled":
        role = schema.enums["Liquidity"][values["liquidity"]].lower()
        return (
            f"filled: order {values['orderId']}, {values['quantity']} lots at {price_text(values['price'])}, "
            f"{values['leaves']} left, as {role}, trade {values['tradeId']}"
        )
    if name == "Canceled":
        reason = schema.enums["CancelReason"].get(values["reason"], values["reason"])
        return f"canceled: order {values['orderId']}, {values['quantity']} lots, {values['leaves']} left, {reason}"
    if name == "Rejected":
        return f"rejected with code {values['reason']}: {schema.enums['RejectCode'].get(values['reason'])}"
    return f"{name} {values}"


def load_key(path):
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(pathlib.Path(path).read_text().strip()))


def main(arguments):
    parser = argparse.ArgumentParser(description="Sends one order, prints what comes, cancels what rests, leaves.")
    parser.add_argument("venue", help="address:port of order entry")
    parser.add_argument("venue_key", help="64 hex digits")
    parser.add_argument("member", type=int)
    parser.add_argument("key_file", help="64 hex digits: the seed of the member's Ed25519 key")
    parser.add_argument("account", type=int)
    parser.add_argument("side", choices=["buy", "sell"])
    parser.add_argument("lots", type=int)
    parser.add_argument("price", type=decimal.Decimal)
    parser.add_argument("--instrument", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long an order may rest")
    parser.add_argument("--suite", choices=["gmac", "siphash", "any"], default="any")
    parser.add_argument("--key-id", type=int, default=1)
    parser.add_argument("--schema", default=SCHEMA)
    args = parser.parse_args(arguments)
    host, port = args.venue.rsplit(":", 1)
    venue_key = bytes.fromhex(args.venue_key)
    identity = Identity((host, int(port)), venue_key, args.member, load_key(args.key_file), args.key_id)
    suites = {"gmac": (GMAC,), "siphash": (SIPHASH,), "any": (GMAC, SIPHASH)}[args.suite]
    session = Session(identity, Schema(args.schema), suites)
    try:
        session.login()
    except (Refused, TimeoutError) as error:
        print(error, flush=True)
        return 1
    print(f"connected, connection {session.conn_id:#x}, suite {session.suite}", flush=True)
    # Our names of orders and requests rise within the day, over restarts too.
    order_name = time.time_ns()
    session.send(
        "NewOrder",
        clOrdId=order_name,
        price=int(args.price * E9),
        quantity=args.lots,
        account=args.account,
        instrument=args.instrument,
        side=["buy", "sell"].index(args.side),
    )
    until, leaves, cancelling = time.monotonic() + args.seconds, args.lots, False
    try:
        while leaves > 0 and time.monotonic() < until + 5:
            for number, name, values in session.poll(0.1):
                print(f"{number} {shown(session.schema, name, values)}", flush=True)
                # Lots can be taken off an order that stays: it is gone when nothing is left.
                if name in ("Filled", "Canceled") and values["clOrdId"] == order_name:
                    leaves = values["leaves"]
                elif name in ("Rejected", "NotApplied"):
                    leaves = 0
            if leaves > 0 and not cancelling and time.monotonic() >= until:
                cancelling = True
                session.send(
                    "Cancel",
                    clOrdId=order_name + 1,
                    origClOrdId=order_name,
                    account=args.account,
                    instrument=args.instrument,
                )
    except Ended as error:
        print(error, flush=True)
        return 1
    session.terminate()
    return 0 if leaves == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
