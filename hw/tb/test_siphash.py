"""A lane of the tag check against the paper's algorithm, with words that come late and answers taken late."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from model import siphash128, words


async def reset(dut):
    cocotb.start_soon(Clock(dut.clk, 6, units="ns").start())
    for pin in (dut.key_valid, dut.push, dut.push_last, dut.ack, dut.push_data, dut.key):
        pin.value = 0
    dut.rst.value = 1
    for _ in range(3):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


async def tag_of(dut, key, data, rng, late=0.0):
    """Hashes once; returns the tag and the cycles from the last word to it."""
    dut.key.value = int.from_bytes(key, "little")
    dut.key_valid.value = 1
    await RisingEdge(dut.clk)
    dut.key_valid.value = 0
    all_words = words(data)
    for i, word in enumerate(all_words):
        while rng.random() < late or dut.room.value == 0:
            dut.push.value = 0
            await RisingEdge(dut.clk)
        dut.push.value = 1
        dut.push_data.value = word
        dut.push_last.value = i == len(all_words) - 1
        await RisingEdge(dut.clk)
    dut.push.value = 0
    cycles = 0
    while dut.done.value == 0:
        await RisingEdge(dut.clk)
        cycles += 1
        assert cycles < 5000, "no tag"
    tag = int(dut.tag.value).to_bytes(16, "little")
    for _ in range(rng.randrange(4)):
        await RisingEdge(dut.clk)
        assert int(dut.tag.value).to_bytes(16, "little") == tag, "the tag moved before it was taken"
    dut.ack.value = 1
    await RisingEdge(dut.clk)
    dut.ack.value = 0
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    assert dut.busy.value == 0
    return tag, cycles


@cocotb.test()
async def reference_vectors(dut):
    """Of the reference implementation, vectors_sip128."""
    await reset(dut)
    rng = random.Random(1)
    key = bytes(range(16))
    for length, want in [
        (0, "a3817f04ba25a8e66df67214c7550293"),
        (1, "da87c1d86b99af44347659119b22fc45"),
        (8, "3b62a9ba6258f5610f83e264f31497b4"),
        (15, "5493e99933b0a8117e08ec0f97cfc3d9"),
        (63, "5150d1772f50834a503e069a973fbd7c"),
    ]:
        tag, _ = await tag_of(dut, key, bytes(range(length)), rng)
        assert tag.hex() == want, f"length {length}"


@cocotb.test()
async def any_length_and_any_waiting(dut):
    """Lengths of all orders and of the longest datagram; words that come late."""
    await reset(dut)
    rng = random.Random(2)
    for length in [98, 90, 82, 74, 66, 1456, *(rng.randrange(400) for _ in range(60))]:
        key, data = rng.randbytes(16), rng.randbytes(length)
        tag, _ = await tag_of(dut, key, data, rng, rng.choice([0.0, 0.5, 0.9]))
        assert tag == siphash128(key, data), f"length {length}"


@cocotb.test()
async def the_time_depends_on_the_length_alone(dut):
    """An attacker learns nothing of the key from it."""
    await reset(dut)
    rng = random.Random(3)
    times = {(await tag_of(dut, rng.randbytes(16), rng.randbytes(98), rng))[1] for _ in range(20)}
    assert len(times) == 1, times
