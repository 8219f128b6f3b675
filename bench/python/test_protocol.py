"""The worked examples of firmware/PROTOCOL.md, computed once more by the client: a reader who follows the page gets
the same bytes."""

import hashlib
import json
import pathlib
import re
import struct
import unittest
from xml.etree import ElementTree

import deltabox
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

FIRMWARE = pathlib.Path(__file__).resolve().parents[2] / "firmware"
PAGE = FIRMWARE / "PROTOCOL.md"
VECTORS = FIRMWARE / "vectors" / "messages.json"


def blocks(name):
    """The code blocks of a generated part."""
    text = PAGE.read_text(encoding="utf-8")
    part = re.search(f"<!-- generated: {name} -->\n(.*?)<!-- end: {name} -->", text, re.DOTALL)[1]
    return part, re.findall(r"```text\n(.*?)```", part, re.DOTALL)


def data_of(block):
    """Bytes of rows of offset, hex and meaning; the offsets must fit."""
    data = b""
    for line in block.splitlines():
        offset, digits = re.match(r" *(\d+)  ([0-9a-f]+)", line).groups()
        if int(offset) != len(data):
            raise AssertionError(f"{line}: {len(data)} bytes stand before")
        data += bytes.fromhex(digits)
    return data


def named(block):
    pairs = (re.match(r"(.*?) +([0-9a-f]+)$", line).groups() for line in block.splitlines())
    return {name: bytes.fromhex(digits) for name, digits in pairs}


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schema = deltabox.Schema()
        cls.root = ElementTree.parse(deltabox.SCHEMA).getroot()
        _, (known, *datagrams, found, establish, ack) = blocks("login example")
        cls.known, cls.found = named(known), named(found)
        cls.bare, cls.challenge, cls.signed, cls.response = map(data_of, datagrams)
        cls.establish, cls.ack = data_of(establish), data_of(ack)

    def message(self, datagram):
        """The one message: from its SBE header on, and decoded."""
        head, body, _ = deltabox.Session.split(datagram)
        self.assertIsNotNone(head)
        size, data = struct.unpack_from("<H", body)[0], body[2:]
        self.assertEqual(size, len(body))
        return data, *self.schema.decode(data)

    def test_keys_of_the_login(self):
        known = self.known
        member = ed25519.Ed25519PrivateKey.from_private_bytes(known["member seed"])
        self.assertEqual(member.public_key().public_bytes_raw(), known["member public key"])
        secret = x25519.X25519PrivateKey.from_private_bytes(known["client secret"])
        self.assertEqual(secret.public_key().public_bytes_raw(), known["client key"])
        _, name, first = self.message(self.bare)
        self.assertEqual((name, first["cookie"], first["signature"]), ("Negotiate", bytes(32), bytes(64)))
        self.assertEqual(first["clientKey"], known["client key"])
        self.assertEqual(first["venueKeyHash"], deltabox.blake3(known["venue public key"]))

        # The client's next: everything but the signature comes from the cookie.
        cookie = self.message(self.challenge)[2]["cookie"]
        values = first | {"cookie": cookie}
        block = self.schema.encode("Negotiate", **values)[8:]
        values["signature"] = member.sign(b"deltabox negotiate v1" + block[:-64])
        again = deltabox.Session.datagram_of_login(self.schema.encode("Negotiate", **values))
        self.assertEqual(again.hex(), self.signed.hex())

        signed, response = self.message(self.signed)[0][8:], self.message(self.response)
        domain = b"deltabox response v1"
        parts = [domain, signed, response[0][8:-64], known["venue public key"]]
        transcript = hashlib.sha256(b"".join(parts)).digest()
        self.assertEqual(transcript, self.found["transcript hash"])
        venue = ed25519.Ed25519PublicKey.from_public_bytes(known["venue public key"])
        venue.verify(response[2]["signature"], domain + transcript)
        shared = secret.exchange(x25519.X25519PublicKey.from_public_bytes(response[2]["venueKey"]))
        self.assertEqual(shared, self.found["shared secret"])
        for label in ("c2s", "s2c"):
            material = deltabox.hkdf_sha256(shared, transcript, label.encode(), 20)
            self.assertEqual(material[:16], self.found[f"{label} key"])
            self.assertEqual(material[16:], self.found[f"{label} salt"])

    def tag_key(self, label, suite):
        return deltabox.TagKey(suite, self.found[f"{label} key"] + self.found[f"{label} salt"])

    def check_tag(self, datagram, label):
        head, _, tag = deltabox.Session.split(datagram)
        self.assertEqual(self.tag_key(label, deltabox.GMAC).tag(head[4], datagram[:-16]).hex(), tag.hex())
        return head

    def test_tags_of_the_session(self):
        self.check_tag(self.establish, "c2s")
        self.check_tag(self.ack, "s2c")
        text, (order, report) = blocks("order example")
        order, report = data_of(order), data_of(report)
        head = self.check_tag(order, "c2s")
        sip = self.tag_key("c2s", deltabox.SIPHASH).tag(head[4], order[:-16])
        self.assertIn(f"the tag: `{sip.hex()}`.", text)
        answer = self.check_tag(report, "s2c")
        # Numbers go on where EstablishmentAck says.
        ack = self.message(self.ack)[2]
        self.assertEqual((head[5], answer[5]), (ack["nextClientSeqNo"], ack["nextSeqNo"]))
        accepted = self.message(report)[2]
        self.assertEqual((accepted["clientSeq"], answer[6]), (head[5], head[5] + 1))
        values = self.message(order)[2]
        self.assertEqual(deltabox.price_text(values["price"]), "65000.5")

    def test_a_message_with_a_group(self):
        _, (quote,) = blocks("quote example")
        told = re.search(r"msgSize before it would be (\d+)\.", PAGE.read_text(encoding="utf-8"))[1]
        self.assertEqual(int(told), 2 + len(data_of(quote)))
        name, values = self.schema.decode(data_of(quote))
        both, bid = values["entries"]
        self.assertEqual((name, both["instrument"], bid["instrument"]), ("MassQuote", 2, 3))
        self.assertEqual(deltabox.price_text(both["askPrice"]), "65000.5")
        self.assertEqual(bid["askQuantity"], -(1 << 63))
        self.assertEqual(self.schema.encode(name, **values).hex(), data_of(quote).hex())

    def test_every_vector_is_read_and_written_to_the_byte(self):
        vectors = json.loads(VECTORS.read_text(encoding="utf-8"))["vectors"]
        nulls = {kind.get("name"): kind.get("nullValue") for kind in self.root.iter("type")}
        for vector in vectors:
            data = bytes.fromhex(vector["hex"])
            name, values = self.schema.decode(data)
            self.assertEqual(name, vector["message"])
            self.assertEqual(self.schema.encode(name, **values).hex(), vector["hex"])
            node = next(m for m in self.root if m.get("name") == name)
            self.compare(values, vector["fields"], node, nulls)
            for group in node.findall("group"):
                wanted = vector["groups"][group.get("name")]
                self.assertEqual(len(values[group.get("name")]), len(wanted))
                for got, want in zip(values[group.get("name")], wanted):
                    self.compare(got, want, group, nulls)
        self.assertGreater(len(vectors), 300)

    def compare(self, values, wanted, node, nulls):
        for field in node.findall("field"):
            name = field.get("name")
            got, want = values[name], wanted[name]
            if want is None:
                want = int(nulls[field.get("type")])
            elif isinstance(want, dict):
                want = want["value"] if "value" in want else bytes.fromhex(want["hex"])
            self.assertEqual(got, want, f"{node.get('name')}.{name}")

    def test_packets_of_the_feed(self):
        _, (event, heartbeat, request, end) = blocks("feed example")
        header = struct.Struct(">10sQH")
        heads = [header.unpack_from(data_of(block)) for block in (event, heartbeat, request, end)]
        self.assertEqual([head[0] for head in heads], [b"DELTA00001"] * 4)
        (_, first, count), (_, after, none), asked, (_, last, mark) = heads
        self.assertEqual((after, none, asked[1:], last, mark), (first + count, 0, (first, count), after, 65535))
        data, names = data_of(event)[header.size :], []
        while data:
            (length,) = struct.unpack_from(">H", data)
            names.append(self.schema.decode(data[2 : 2 + length])[0])
            data = data[2 + length :]
        self.assertEqual(names, ["OrderExecuted", "OrderDelete"])


if __name__ == "__main__":
    unittest.main()
