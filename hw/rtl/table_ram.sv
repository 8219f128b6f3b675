// A table with one port to write and one to read; its data comes two cycles after the address.
`default_nettype none
module table_ram #(
    parameter int WIDTH = 8,
    parameter int LG = 4
) (
    input  wire              clk,
    input  wire              we,
    input  wire  [   LG-1:0] waddr,
    input  wire  [WIDTH-1:0] wdata,
    input  wire  [   LG-1:0] raddr,
    output logic [WIDTH-1:0] rdata
);
  logic [WIDTH-1:0] mem[1<<LG];
  logic [WIDTH-1:0] out;
  initial for (int i = 0; i < 1 << LG; i++) mem[i] = '0;
  always_ff @(posedge clk) begin
    if (we) mem[waddr] <= wdata;
    out   <= mem[raddr];
    rdata <= out;
  end
endmodule
`default_nettype wire
