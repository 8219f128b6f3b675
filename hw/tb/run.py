"""Builds and runs the module testbenches: `python hw/tb/run.py BUILD_FOLDER [NAME...]`.

They run under Icarus Verilog, so that the RTL is read by a second simulator, and one that knows undefined values.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree

from cocotb.runner import get_runner

HERE = Path(__file__).resolve().parent
RTL = HERE.parent / "rtl"
FILES = [RTL / name for name in (RTL / "files.f").read_text().split()]
# Testbench, and the module that it drives.
BENCHES = {"siphash": "siphash", "token_bucket": "token_bucket", "nic": "deltabox_nic"}


def run(name: str, top: str, build: Path) -> int:
    """Runs one testbench; returns how many of its tests passed."""
    runner = get_runner("icarus")
    folder = build / name
    runner.build(
        verilog_sources=FILES,
        includes=[RTL],
        hdl_toplevel=top,
        build_dir=folder,
        build_args=["-g2012"],
        timescale=("1ns", "1ps"),
        always=True,
    )
    result = runner.test(hdl_toplevel=top, test_module=f"test_{name}", test_dir=HERE, build_dir=folder,
                         results_xml=str(folder / "results.xml"))
    cases = ElementTree.parse(result).getroot().findall(".//testcase")
    bad = [c.get("name") for c in cases if c.find("failure") is not None or c.find("error") is not None]
    if bad or not cases:
        sys.exit(f"{name}: failed {bad}" if bad else f"{name}: no test ran")
    return len(cases)


def main() -> None:
    build = Path(sys.argv[1])
    names = sys.argv[2:] or list(BENCHES)
    total = sum(run(name, BENCHES[name], build) for name in names)
    print(f"{total} module tests passed")


if __name__ == "__main__":
    main()
