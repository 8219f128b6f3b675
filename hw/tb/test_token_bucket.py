"""The token bucket against its definition in PROTOCOL terms, at the edges and at random."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from model import bucket

SECOND = 1_000_000_000
NEVER = (1 << 31) - 1


async def ask(dut, now, last, credit, cost):
    dut.now.value, dut.last.value, dut.credit.value, dut.cost.value = now, last, credit, cost
    for _ in range(4):
        await RisingEdge(dut.clk)
    got = (bool(dut.enough.value), int(dut.credit_after.value), int(dut.last_after.value))
    assert got == bucket(now, last, credit, cost), (now, last, credit, cost)


@cocotb.test()
async def edges(dut):
    cocotb.start_soon(Clock(dut.clk, 6, units="ns").start())
    top = (1 << 64) - 1
    for now, last in [(0, 0), (5, 5), (5, 6), (6, 5), (top, 0), (0, top), (top, top - 1), (1 << 30, 0), ((1 << 30) - 1, 0)]:
        for credit in [0, 1, SECOND - 1, SECOND]:
            for cost in [1, 2, SECOND - 1, SECOND, NEVER]:
                await ask(dut, now, last, credit, cost)


@cocotb.test()
async def a_burst_of_one_second_and_then_the_rate(dut):
    cocotb.start_soon(Clock(dut.clk, 6, units="ns").start())
    rng = random.Random(1)
    now, last, credit, cost, taken = 10 * SECOND, 0, SECOND, SECOND // 50, 0
    began = now
    for _ in range(400):
        await ask(dut, now, last, credit, cost)
        enough, credit, last = bucket(now, last, credit, cost)
        taken += enough
        now += rng.randrange(2 * cost // 3)
    assert taken <= 50 + (now - began) // cost + 1
    assert taken >= 50
