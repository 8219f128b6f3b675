"""The whole NIC from outside: frames by scapy, ports by cocotbext-axi, expectations from PROTOCOL.md."""

import logging
import random
import struct

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import (
    AxiLiteBus, AxiLiteMaster, AxiResp, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource,
)
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether

from model import siphash128

MAC, PEER = "02:11:22:33:44:55", "02:99:99:99:99:01"
OUR_IP, PEER_IP, PORT = "10.77.0.1", "10.77.0.9", 4100
KEY = bytes(range(16))
CONN, MEMBER, ACCOUNT, INSTRUMENT = 0x5006, 7, 21, 3
TICK = 500_000_000
REG_ROW, REG_COMMAND, REG_COUNTERS = 0x40, 0x80, 0x400
DROPPED, ADMITTED, REFUSED, HOST = range(4)


class Nic:
    """The pins, and a member with one session."""

    def __init__(self, dut):
        self.dut = dut
        # The helpers are made before the reset is over and know nothing of it: they drive nothing until asked to.
        cocotb.start_soon(Clock(dut.clk, 6, units="ns").start())
        # Its own tick for time stamps.
        cocotb.start_soon(self.tick())
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk)
        self.out = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk)
        self.refused = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_reject"), dut.clk)
        self.axil = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk)
        for part in (self.source, self.out, self.refused, self.axil.read_if, self.axil.write_if):
            part.log.setLevel(logging.WARNING)
        self.packet_no, self.seq_no, self.cl_ord_id = 0, 1, 1

    async def tick(self):
        now = 1_700_000_000_000_000_000
        while True:
            self.dut.time_ns.value = now
            await RisingEdge(self.dut.clk)
            now += 6

    async def start(self):
        self.dut.rst.value = 1
        for _ in range(5):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)
        mac = bytes.fromhex(MAC.replace(":", ""))
        for address, data in [(0x10, mac[:4]), (0x14, mac[4:] + b"\0\0"), (0x18, bytes(4)),
                              (0x1C, bytes([10, 77, 0, 1])), (0x20, struct.pack("<I", PORT))]:
            await self.write(address, data)
        # valid, suite 2, known; a million requests a second; next request 1; a full bucket.
        await self.row(1, CONN & 0x3FF, struct.pack("<IIII16sQQIQI", CONN, MEMBER, 1 | 2 << 1 | 1 << 4, 1000,
                                                    KEY, 1, 0, 1_000_000_000, 0, 0))
        await self.row(3, ACCOUNT, struct.pack("<I", MEMBER))
        # A tick of 5e8 is 1953125 * 2^8; the band is 100 to 199 ticks.
        odd, shift = 1_953_125, 8
        inverse = pow(odd, -1, 1 << 64)
        largest = ((1 << 63) - 1) // odd
        await self.row(4, INSTRUMENT, struct.pack("<QqQqqqqII", inverse, largest, inverse, largest, 0, 100 * TICK,
                                                  199 * TICK, 50, shift | shift << 6 | 1 << 12))

    async def write(self, address, data):
        response = await with_timeout(self.axil.write(address, data), 100, "us")
        return response.resp

    async def row(self, table, place, data):
        await self.write(REG_ROW, data.ljust(64, b"\0"))
        await self.write(REG_COMMAND, struct.pack("<I", table << 28 | place))

    async def count(self, verdict, reason):
        data = await self.axil.read(REG_COUNTERS + 4 * (verdict * 64 + reason), 4)
        return int.from_bytes(data.data, "little")

    def order(self, price=150 * TICK, lots=10, **other):
        self.cl_ord_id += 1
        block = struct.pack("<QqqQQIHBBBBBBI", self.cl_ord_id, price, lots, 0, 0, other.get("account", ACCOUNT),
                            other.get("instrument", INSTRUMENT), other.get("side", 0), 0, 0, 0, 0, 0, 0)
        message = struct.pack("<HHHHH", 10 + len(block), len(block), 100, 0xDB01, 1) + block
        self.packet_no += 1
        head = struct.pack("<BBHIQQQ", 1, 1, 32 + len(message) + 16, CONN, self.packet_no, self.seq_no, 77)
        self.seq_no += 1
        return head + message + siphash128(KEY, head + message)

    def frame(self, payload, ether=None, ip=None, udp=None):
        packet = Ether(dst=MAC, src=PEER) / IP(src=PEER_IP, dst=OUR_IP, **(ip or {}))
        packet = packet / UDP(sport=9, dport=PORT, **(udp or {})) / payload
        for name, value in (ether or {}).items():
            setattr(packet, name, value)
        return bytes(packet)

    async def send(self, data):
        await self.source.send(AxiStreamFrame(data))
        await self.source.wait()
        for _ in range(100):
            await RisingEdge(self.dut.clk)


@cocotb.test()
async def an_order_goes_through_and_a_bad_one_is_refused(dut):
    nic = Nic(dut)
    await nic.start()
    admitted, refused = await nic.count(ADMITTED, 0), await nic.count(REFUSED, 14)
    await nic.send(nic.frame(nic.order()))
    got = bytes((await with_timeout(nic.out.recv(), 10, "us")).tdata)
    assert len(got) == 96
    frame_no, conn, member, template, verdict, reason, gap, ack = struct.unpack("<IIIHBBQQ", got[:32])
    assert (frame_no, conn, member, template, verdict, reason, gap, ack) == (0, CONN, MEMBER, 600, ADMITTED, 0, 0, 77)
    rx_time, seq, cl_ord_id, lots, expire, smp, ticks, account, instrument = struct.unpack("<QQQqQQiIH", got[32:90])
    assert rx_time > 1_700_000_000_000_000_000
    assert (seq, cl_ord_id, lots, expire, smp, ticks, account, instrument) == (1, 2, 10, 0, 0, 150, ACCOUNT, INSTRUMENT)
    for change, code in [
        ({"price": 150 * TICK + 1}, 13), ({"price": 200 * TICK}, 14), ({"price": 99 * TICK}, 14), ({"lots": 51}, 15),
        ({"lots": 0}, 15), ({"account": 22}, 3), ({"instrument": 4}, 10), ({"side": 2}, 11),
    ]:
        await nic.send(nic.frame(nic.order(**change)))
        got = bytes((await with_timeout(nic.refused.recv(), 10, "us")).tdata)
        assert (got[14], got[15]) == (REFUSED, code), f"{change}: {got[14]}, {got[15]}"
        assert struct.unpack_from("<H", got, 32 + 24 + 6)[0] == code
    # A reset does not clear the counters: they are compared with what they were.
    assert [await nic.count(ADMITTED, 0) - admitted, await nic.count(REFUSED, 14) - refused] == [1, 2]


@cocotb.test()
async def broken_frames_are_dropped_and_counted_by_their_fault(dut):
    nic = Nic(dut)
    await nic.start()
    good = nic.frame(nic.order())
    spoiled = bytearray(good)
    spoiled[80] ^= 1
    tagged = bytes(Ether(dst=MAC, src=PEER) / Dot1Q(vlan=5) / IP(src=PEER_IP, dst=OUR_IP) / UDP(dport=PORT) / b"x")
    for data, fault in [
        (good[:10], 0), (nic.frame(b"x", ether={"dst": PEER}), 1), (tagged, 2), (nic.frame(b"x", ether={"type": 0x86DD}), 3),
        (nic.frame(b"x", ether={"dst": "ff:ff:ff:ff:ff:ff"}), 5), (good[:30], 6), (nic.frame(b"x", ip={"chksum": 1}), 10),
        (nic.frame(b"x", ip={"flags": "MF"}), 11), (nic.frame(b"x", ip={"frag": 3}), 11), (nic.frame(b"x", ip={"ttl": 0}), 12),
        (nic.frame(b"x", ip={"len": 400}), 9), (nic.frame(b"x", udp={"len": 20}), 17), (bytes(spoiled), 18),
        (bytes(Ether(dst=MAC) / IP(src="127.0.0.1", dst=OUR_IP) / UDP(dport=PORT) / b"x"), 14),
        (bytes(Ether(dst=MAC) / IP(src=PEER_IP, dst="10.77.0.2") / UDP(dport=PORT) / b"x"), 15),
        (bytes(Ether(dst=MAC) / IP(src=PEER_IP, dst=OUR_IP) / UDP(dport=PORT + 1) / b"x"), 19), (nic.frame(b"x" * 47), 32),
    ]:
        before = await nic.count(DROPPED, fault)
        await nic.send(data)
        assert await nic.count(DROPPED, fault) == before + 1, f"fault {fault}"
    # The packet number of what was broken is not taken: the good one still goes through, once.
    watched = [(ADMITTED, 0), (DROPPED, 37), (HOST, 1)]
    before = [await nic.count(*one) for one in watched]
    await nic.send(good)
    await nic.send(good)
    await nic.send(bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=PEER) / ARP(psrc=PEER_IP, pdst=OUR_IP)))
    assert [await nic.count(*one) for one in watched] == [n + 1 for n in before]


@cocotb.test()
async def nothing_is_lost_while_the_host_takes_nothing(dut):
    nic = Nic(dut)
    await nic.start()
    rng = random.Random(4)
    nic.out.pause = True
    nic.source.set_pause_generator(rng.random() < 0.2 for _ in iter(int, 1))
    for _ in range(30):
        nic.source.send_nowait(AxiStreamFrame(nic.frame(nic.order())))
    for _ in range(2000):
        await RisingEdge(dut.clk)
    assert nic.out.empty() and not nic.source.idle(), "the input waits"
    nic.out.set_pause_generator(rng.random() < 0.7 for _ in iter(int, 1))
    nic.out.pause = False
    for want in range(30):
        got = bytes((await with_timeout(nic.out.recv(), 100, "us")).tdata)
        assert struct.unpack_from("<I", got)[0] == want
        assert struct.unpack_from("<Q", got, 40)[0] == want + 1
    stalls = int.from_bytes((await nic.axil.read(0x24, 4)).data, "little")
    assert stalls > 1000


@cocotb.test()
async def unknown_addresses_and_halves_of_words_are_errors(dut):
    nic = Nic(dut)
    await nic.start()
    for address in (0x00, 0x30, 0x84, 0x800):
        assert await nic.write(address, bytes(4)) == AxiResp.SLVERR, hex(address)
    assert await nic.write(0x20, bytes(2)) == AxiResp.SLVERR
    assert await nic.write(REG_COMMAND, struct.pack("<I", 1 << 28 | 5000)) == AxiResp.SLVERR
    assert await nic.write(REG_COMMAND, struct.pack("<I", 9 << 28)) == AxiResp.SLVERR
    assert int.from_bytes((await nic.axil.read(0x20, 4)).data, "little") == PORT
    assert int.from_bytes((await nic.axil.read(0x00, 4)).data, "little") == 0x44425831
    assert (await nic.axil.read(0x800, 4)).resp == AxiResp.SLVERR
