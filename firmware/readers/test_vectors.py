"""The comparison with foreign decoders can fail: each flipped byte, each wrong value, each missing message."""

import contextlib
import copy
import io
import json
import pathlib
import struct
import tempfile
import unittest

import vectors

ALL = json.loads(vectors.VECTORS.read_text(encoding="utf-8"))["vectors"]

# A message with a group, after the profile: what a mass quote will look like.
GROUPED = """<?xml version="1.0" encoding="UTF-8"?>
<sbe:messageSchema xmlns:sbe="http://fixprotocol.io/2016/sbe" package="p" id="7" version="1"
    byteOrder="littleEndian" headerType="messageHeader">
    <types>
        <composite name="messageHeader">
            <type name="blockLength" primitiveType="uint16"/>
            <type name="templateId" primitiveType="uint16"/>
            <type name="schemaId" primitiveType="uint16"/>
            <type name="version" primitiveType="uint16"/>
        </composite>
        <composite name="groupSizeEncoding">
            <type name="blockLength" primitiveType="uint16"/>
            <type name="numInGroup" primitiveType="uint16"/>
        </composite>
        <type name="UInt32" primitiveType="uint32"/>
        <type name="Int64" primitiveType="int64"/>
        <type name="Bytes4" primitiveType="char" length="4"/>
        <enum name="Side" encodingType="uint8">
            <validValue name="Buy">0</validValue>
            <validValue name="Sell">1</validValue>
        </enum>
    </types>
    <sbe:message name="Quotes" id="9" blockLength="4">
        <field name="quoteId" id="1" type="UInt32" offset="0"/>
        <group name="entries" id="2" dimensionType="groupSizeEncoding" blockLength="13">
            <field name="bidPrice" id="1" type="Int64" offset="0"/>
            <field name="mark" id="2" type="Bytes4" offset="8"/>
            <field name="side" id="3" type="Side" offset="12"/>
        </group>
    </sbe:message>
</sbe:messageSchema>
"""


def entry(price, mark, side):
    name = ["Buy", "Sell"][side]
    return {"bidPrice": price, "mark": {"hex": mark.hex()}, "side": {"value": side, "name": name}}


def grouped(entries):
    data = struct.pack("<HHHHI", 4, 9, 7, 1, 0x01020304) + struct.pack("<HH", 13, len(entries))
    for price, mark, side in entries:
        data += struct.pack("<q4sB", price, mark, side)
    return {
        "message": "Quotes",
        "template": 9,
        "variant": "distinct",
        "hex": data.hex(),
        "fields": {"quoteId": 0x01020304},
        "groups": {"entries": [entry(*values) for values in entries]},
    }


class Comparison(unittest.TestCase):
    def check_each_flip(self, schema_path, chosen, first=0):
        """Each reader sees each flipped byte; returns how many were tried."""
        headers = vectors.headers(schema_path)
        flips = 0
        for reader in [vectors.Sbe(schema_path), vectors.SbeDecoder(schema_path)]:
            for vector in chosen:
                header = headers[vector["message"], vector["template"]]
                good = bytes.fromhex(vector["hex"])
                self.assertEqual(list(reader.read(good, header, vector)), [])
                for at in range(first, len(good)):
                    data = bytearray(good)
                    data[at] ^= 0x41
                    try:
                        faults = list(reader.read(bytes(data), header, vector))
                    except Exception as error:  # a refusal is as good as a difference
                        faults = [error]
                    self.assertTrue(faults, f"{reader.name}: byte {at} of {vector['message']}")
                    flips += 1
        return flips

    def test_each_flipped_byte_of_each_message_is_seen_by_each_decoder(self):
        chosen = [vector for vector in ALL if vector["variant"] == "distinct"]
        flips = self.check_each_flip(vectors.SCHEMA, chosen)
        self.assertGreater(flips, 2 * 50 * len(chosen))

    def test_entries_of_a_group_are_compared_to_the_last_byte(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "schema.xml"
            path.write_text(GROUPED, encoding="utf-8")
            some = [(-5, b"\xff\x00ab", 1), (1 << 60, b"\x01\x02\x03\x04", 0)]
            chosen = [grouped(some), grouped(some[:1]), grouped([])]
            self.assertEqual(vectors.check(path, chosen), ([], 3 * (1 + 1 + 1) + 3 * (6 + 3)))
            self.check_each_flip(path, chosen[:2])
            wrong = copy.deepcopy(chosen)
            wrong[0]["groups"]["entries"][1]["bidPrice"] += 1
            faults, _ = vectors.check(path, wrong)
            self.assertEqual(len(faults), 3, faults)

    def test_a_message_without_a_vector_is_a_fault(self):
        faults, _ = vectors.check(vectors.SCHEMA, [v for v in ALL if v["message"] != "NewOrder"])
        self.assertEqual(len(faults), 1)
        self.assertIn("NewOrder (100)", faults[0])

    def test_a_vector_of_no_message_is_a_fault(self):
        stray = dict(ALL[0], message="Strange", template=4000)
        faults, _ = vectors.check(vectors.SCHEMA, [*ALL, stray])
        self.assertTrue(any("Strange (4000)" in fault for fault in faults), faults)

    def test_the_program_fails_on_a_wrong_value_and_on_an_empty_file(self):
        wrong = copy.deepcopy(ALL)
        order = next(v for v in wrong if v["message"] == "NewOrder")
        order["fields"]["price"] += 1
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "vectors.json"
            for content, code in [(wrong, 1), ([], 1), (ALL, 0)]:
                path.write_text(json.dumps({"vectors": content}), encoding="utf-8")
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    self.assertEqual(vectors.main([vectors.SCHEMA, path]), code)
                self.assertIn(f"{len(content)} vectors", out.getvalue())


if __name__ == "__main__":
    unittest.main()
