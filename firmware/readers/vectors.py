"""Reads firmware/vectors/messages.json with two SBE decoders that are not ours, and compares every field.

    python vectors.py [SCHEMA.xml VECTORS.json]

Each vector holds a message as bytes and, beside them, the values that our code wrote. The packages `sbe` and
`sbedecoder` get the schema and the bytes only. Exit code 1 and a line per difference when one reads another value.
"""

import json
import pathlib
import struct
import sys
from xml.etree import ElementTree

import sbe
import sbedecoder
from sbedecoder.schema import convert_to_underscore

FIRMWARE = pathlib.Path(__file__).resolve().parent.parent
SCHEMA = FIRMWARE / "schema" / "deltabox.xml"
VECTORS = FIRMWARE / "vectors" / "messages.json"
HEADER = 8
# What a newer version of the venue may append to a block; readers of this version must step over it.
APPENDED = bytes(range(0xA1, 0xA9))


def headers(schema_path):
    """The SBE header of every message in the XML by name and template id, read without any SBE package."""
    root = ElementTree.parse(schema_path).getroot()
    return {
        (node.get("name"), int(node.get("id"))): {
            "blockLength": int(node.get("blockLength")),
            "templateId": int(node.get("id")),
            "schemaId": int(root.get("id")),
            "version": int(root.get("version")),
        }
        for node in root
        if node.tag.rsplit("}", 1)[-1] == "message"
    }


def entry_lengths(schema_path):
    """The length of an entry of each repeating group in the XML, by template id and name of the group."""
    root = ElementTree.parse(schema_path).getroot()
    return {
        (int(node.get("id")), group.get("name")): int(group.get("blockLength"))
        for node in root
        for group in node.findall("group")
    }


def differ(where, got, want):
    return [] if got == want else [f"{where}: reads {got!r}, written was {want!r}"]


class Sbe:
    """PyPI `sbe`: decodes to names; raw values through its pointers."""

    name = "sbe"

    def __init__(self, schema_path):
        with open(schema_path, encoding="utf-8") as file:
            self.schema = sbe.Schema.parse(file)
        self.lengths = entry_lengths(schema_path)

    def read(self, data, header, vector):
        decoded = self.schema.decode(data)
        yield from differ("message", decoded.message_name, vector["message"])
        yield from differ("header", decoded.header, header)
        groups = vector["groups"]
        raw = self.schema.message_wrappers[vector["template"]].pointers
        names = set(vector["fields"]) | set(groups)
        yield from differ("names of fields", set(decoded.value), names)
        yield from self.block("", decoded.value, raw, memoryview(data)[HEADER:], vector["fields"])
        at = HEADER + decoded.header["blockLength"]
        for group, entries in groups.items():
            length, count = struct.unpack_from("<HH", data, at)
            at += 4
            yield from differ(f"{group}: length", length, self.lengths[vector["template"], group])
            yield from differ(f"{group}: entries", count, len(entries))
            yield from differ(f"{group}: entries decoded", len(decoded.value[group]), len(entries))
            # Pointers of an entry count from the group's dimensions on.
            for i, (value, want) in enumerate(zip(decoded.value[group], entries)):
                where = f"{group}[{i}]."
                yield from differ(f"{where} names", set(value), set(want))
                entry = memoryview(data)[at + i * length - 4 :]
                yield from self.block(where, value, raw[group].pointers, entry, want)
            at += length * count

    @staticmethod
    def block(where, value, pointers, data, wanted):
        for name, want in wanted.items():
            got = value.get(name, "nothing")
            place = where + name
            if not isinstance(want, dict):
                yield from differ(place, got, want)
            elif "choices" in want:
                yield from differ(place, sorted(got), sorted(want["choices"]))
            elif "name" in want:
                yield from differ(place, got, want["name"])
            elif "text" in want:
                yield from differ(place, got, want["text"])
            if isinstance(want, dict):
                raw = pointers[name].unpack(data)
                exact = bytes.fromhex(want["hex"]) if "hex" in want else want["value"]
                yield from differ(f"{place} raw", raw, exact)


class SbeDecoder:
    """PyPI `sbedecoder`, in the form for messages behind a 2-byte size, as in our datagrams."""

    name = "sbedecoder"

    def __init__(self, schema_path):
        self.schema = sbedecoder.SBESchema(include_message_size_header=True)
        self.schema.parse(str(schema_path))
        self.lengths = entry_lengths(schema_path)

    def read(self, data, header, vector):
        framed = struct.pack("<H", len(data) + 2) + data
        message = sbedecoder.SBEMessage.parse_message(self.schema, framed)
        yield from differ("message", message.name, vector["message"])
        yield from differ("message size", message.message_size.value, len(framed))
        for name, want in header.items():
            yield from differ(name, getattr(message, convert_to_underscore(name)).value, want)
        # The size and the header are fields like any other here.
        yield from differ("number of fields", len(message.fields) - 1 - len(header), len(vector["fields"]))
        yield from self.block("", message, vector["fields"])
        groups = {group.original_name: group for group in message.groups}
        yield from differ("groups", set(groups), set(vector["groups"]))
        for name, entries in vector["groups"].items():
            group = groups[name]
            length = group.block_length_field.value
            yield from differ(f"{name}: length", length, self.lengths[vector["template"], name])
            yield from differ(f"{name}: entries", group.num_groups, len(entries))
            for i, (entry, want) in enumerate(zip(group.repeating_groups, entries)):
                yield from self.block(f"{name}[{i}].", entry, want)

    @staticmethod
    def block(where, message, wanted):
        for name, want in wanted.items():
            field = getattr(message, convert_to_underscore(name))
            place = where + name
            yield from differ(f"{place}: name", field.original_name, name)
            if not isinstance(want, dict):
                yield from differ(place, field.value, want)
            elif "hex" in want:
                yield from differ(place, field.raw_value, bytes.fromhex(want["hex"]))
                if "text" in want:
                    yield from differ(place, field.value, want["text"])
            else:
                yield from differ(place, field.raw_value, want["value"])
                if "name" in want:
                    yield from differ(f"{place}: enumerant", field.enumerant, want["name"])
                else:
                    names = [name for name in field.value.split(", ") if name]
                    yield from differ(f"{place}: choices", sorted(names), sorted(want["choices"]))


def longer(data, header):
    """The same message of a newer version: a longer root block."""
    end = HEADER + header["blockLength"]
    header = header | {"blockLength": header["blockLength"] + len(APPENDED), "version": header["version"] + 1}
    return struct.pack("<HHHH", *header.values()) + data[HEADER:end] + APPENDED + data[end:], header


def check(schema_path, vectors):
    """All differences, as lines, and how many fields were compared."""
    faults = []
    messages = headers(schema_path)
    covered = {(vector["message"], vector["template"]) for vector in vectors}
    for name, template in sorted(set(messages) ^ covered):
        faults.append(f"{name} ({template}) stands in the schema or in the vectors, but not in both")
    readers = [Sbe(schema_path), SbeDecoder(schema_path)]
    fields = 0
    for vector in vectors:
        data = bytes.fromhex(vector["hex"])
        header = messages.get((vector["message"], vector["template"]))
        if header is None:
            continue
        # Behind a block that grew, sbedecoder does not find the group: a limit of its own.
        growing = readers[:1] if vector["groups"] else readers
        forms = [("", data, header, readers), (" of a newer version", *longer(data, header), growing)]
        for form, form_data, form_header, form_readers in forms:
            for reader in form_readers:
                at = f"{reader.name}: {vector['message']} {vector['variant']}{form}"
                try:
                    faults += [f"{at}: {fault}" for fault in reader.read(form_data, form_header, vector)]
                except Exception as error:  # a decoder that stumbles has read nothing
                    faults.append(f"{at}: {type(error).__name__}: {error}")
                fields += len(vector["fields"])
                fields += sum(len(entry) for entries in vector["groups"].values() for entry in entries)
    return faults, fields


def main(arguments):
    schema_path, vectors_path = arguments if arguments else (SCHEMA, VECTORS)
    vectors = json.loads(pathlib.Path(vectors_path).read_text(encoding="utf-8"))["vectors"]
    faults, fields = check(schema_path, vectors)
    for fault in faults:
        print(fault)
    names = {vector["message"] for vector in vectors}
    print(
        f"{len(vectors)} vectors of {len(names)} messages, {fields} fields compared by sbe and sbedecoder, "
        f"{len(faults)} differences"
    )
    return 1 if faults or not vectors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
