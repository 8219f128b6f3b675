"""tshark reads captures of our frames: market data by its own MoldUDP64 dissector, and every field of every message
by `deltabox.lua`. The captures are written by `cargo test -p firmware --test dissector` into the folder that
DELTABOX_CAPTURES names.
"""

import json
import os
import pathlib
import re
import subprocess
import unittest

import vectors

HERE = pathlib.Path(__file__).resolve().parent
CAPTURES = pathlib.Path(os.environ["DELTABOX_CAPTURES"])
# Templates from here on are of the journal, and no frame carries them.
JOURNAL_FIRST = 600
FEED_FIRST = 300


def snake(camel):
    return re.sub(r"(?<=.)([A-Z])", r"_\1", camel).lower()


def flat(pairs):
    """All keys with their values, at any depth, in order; keys may stand more than once."""
    for key, value in pairs:
        if isinstance(value, list):
            yield key, None
            yield from flat(value)
        else:
            yield key, value


def tshark(capture, *options, script=HERE / "deltabox.lua"):
    """One list of (field, value) per frame."""
    command = ["tshark", "-n", "-X", f"lua_script:{script}", "-d", "udp.port==4001-4002,moldudp64"]
    command += ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    command += ["-r", str(CAPTURES / capture), "-T", "json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or "Lua: Error" in done.stderr:
        raise AssertionError(done.stderr)
    packets = json.loads(done.stdout, object_pairs_hook=list)
    return [list(flat(packet)) for packet in packets]


def values_of(frame, key):
    return [value for name, value in frame if name == key]


def shown(want):
    """A value of the vectors as tshark shows it."""
    if not isinstance(want, dict):
        return str(want)
    if "text" in want:
        return want["text"]
    if "hex" in want:
        return ":".join(re.findall("..", want["hex"]))
    return str(want["value"])


class Fields(unittest.TestCase):
    """Each field of each message that has a frame."""

    @classmethod
    def setUpClass(cls):
        file = json.loads(vectors.VECTORS.read_text(encoding="utf-8"))
        cls.schema_id = file["schemaId"]
        wire = [v for v in file["vectors"] if v["template"] < JOURNAL_FIRST]
        cls.orders = [v for v in wire if v["template"] < FEED_FIRST]
        cls.feed = [v for v in wire if v["template"] >= FEED_FIRST]
        cls.order_frames = tshark("order_entry.pcap")
        cls.feed_frames = tshark("feed.pcap")
        # What an optional number's null is on the wire.
        schema = vectors.ElementTree.parse(vectors.SCHEMA).getroot()
        nulls = {t.get("name"): t.get("nullValue") for t in schema.iter("type")}
        cls.nulls = {
            (node.get("name"), field.get("name")): nulls.get(field.get("type"))
            for node in schema
            for field in node.iter("field")
        }

    def block(self, frame, vector, prefix, fields, entry=0):
        for name, want in fields.items():
            if want is None:
                want = self.nulls[vector["message"], name]
            at = f"{vector['message']}.{name} {vector['variant']}"
            got = values_of(frame, f"{prefix}.{snake(name)}")
            self.assertGreater(len(got), entry, at)
            self.assertEqual(got[entry], shown(want), at)
        return len(fields)

    def message(self, frame, vector):
        prefix = f"deltabox.{snake(vector['message'])}"
        self.assertEqual(len(values_of(frame, prefix)), 1, vector["message"])
        self.assertEqual(values_of(frame, "deltabox.template"), [str(vector["template"])])
        self.assertEqual(values_of(frame, "deltabox.schema"), [hex(self.schema_id)])
        count = self.block(frame, vector, prefix, vector["fields"])
        for group, entries in vector["groups"].items():
            self.assertEqual(len(values_of(frame, f"{prefix}.{snake(group)}")), len(entries))
            for i, fields in enumerate(entries):
                count += self.block(frame, vector, f"{prefix}.{snake(group)}", fields, i)
        return count

    def test_every_field_of_order_entry_is_shown_as_written(self):
        self.assertGreater(len(self.orders), 80)
        for number, (vector, frame) in enumerate(zip(self.orders, self.order_frames), 1):
            self.message(frame, vector)
            self.assertEqual(values_of(frame, "frame.protocols"), ["eth:ethertype:ip:udp:deltabox"])
            head = {"conn_id": 0x107, "packet_no": number, "next_seq_no": number + 1000, "ack_seq_no": number + 2000}
            for name, want in head.items():
                self.assertEqual(values_of(frame, f"deltabox.{name}"), [str(want)])
            self.assertEqual(len(values_of(frame, "deltabox.tag")[0]), 16 * 3 - 1)

    def test_every_field_of_the_feed_is_shown_below_moldudp64(self):
        self.assertGreater(len(self.feed), 40)
        for number, (vector, frame) in enumerate(zip(self.feed, self.feed_frames), 1):
            self.assertEqual(values_of(frame, "frame.protocols"), ["eth:ethertype:ip:udp:moldudp64"])
            self.assertEqual(values_of(frame, "moldudp64.session"), ["20261120A1"])
            self.assertEqual(values_of(frame, "moldudp64.sequence"), [str(number)])
            data = values_of(frame, "moldudp64.msgdata")
            self.assertEqual([item.replace(":", "") for item in data], [vector["hex"]])
            self.message(frame, vector)

    def test_headers_of_all_frames_are_sound(self):
        for frame in self.order_frames + self.feed_frames:
            self.assertEqual(values_of(frame, "ip.checksum.status"), ["1"])
            self.assertEqual(values_of(frame, "udp.checksum.status"), ["1"])
            self.assertGreaterEqual(int(values_of(frame, "frame.len")[0]), 60)

    def test_frames_of_several_messages_and_of_none(self):
        frames = self.order_frames[len(self.orders) :]
        templates = [values_of(frame, "deltabox.template") for frame in frames]
        kinds = [values_of(frame, "deltabox.kind") for frame in frames]
        self.assertEqual(
            list(zip(templates, kinds)),
            [
                (["100", "104", "105"], ["1"]),
                (["200", "205"], ["2"]),
                ([], ["3"]),
                # On a port that nobody knows.
                (["100"], ["1"]),
                # A size that goes beyond the datagram.
                ([], ["1"]),
                # Of another schema.
                (["100"], ["1"]),
                # Of a newer version.
                (["104"], ["1"]),
            ],
        )
        marks = [[name for name, _ in frame if name in ("deltabox.cut", "deltabox.foreign")] for frame in frames]
        self.assertEqual(marks, [[], [], [], [], ["deltabox.cut"], ["deltabox.foreign"], []])
        self.assertEqual(values_of(frames[5], "deltabox.new_order"), [])
        cancel = next(v for v in self.orders if v["message"] == "Cancel" and v["variant"] == "distinct")
        self.block(frames[6], cancel, "deltabox.cancel", cancel["fields"])

        packets = self.feed_frames[len(self.feed) :]
        count = [values_of(packet, "moldudp64.count") for packet in packets]
        self.assertEqual(count, [["3"], ["0"], ["65535"], ["2"], ["2"]])
        templates = [values_of(packet, "deltabox.template") for packet in packets]
        self.assertEqual(templates, [["310", "314", "313"], [], [], [], ["310", "311"]])

    def test_messages_are_found_by_display_filters(self):
        price = next(v for v in self.orders if v["message"] == "NewOrder")["fields"]["price"]
        for capture, text, count in [
            ("order_entry.pcap", "deltabox.rejected", 4),
            # Once alone, once with others, once on the unknown port.
            ("order_entry.pcap", f"deltabox.new_order.price == {price}", 3),
            ("order_entry.pcap", "deltabox.cut", 1),
            ("feed.pcap", "deltabox.order_add && moldudp64.count == 3", 1),
        ]:
            self.assertEqual(len(tshark(capture, "-Y", text)), count, text)

    def test_a_dissector_with_a_wrong_offset_is_found_out(self):
        script = CAPTURES / "wrong.lua"
        text = (HERE / "deltabox.lua").read_text(encoding="utf-8")
        right = 'abbr = "price", name = "price", offset = 8,'
        self.assertIn(right, text)
        script.write_text(text.replace(right, right.replace("8", "16")), encoding="utf-8")
        frames = tshark("order_entry.pcap", script=script)
        with self.assertRaises(AssertionError):
            for vector, frame in zip(self.orders, frames):
                self.message(frame, vector)


if __name__ == "__main__":
    unittest.main()
