// A queue whose head can be seen in the cycle after the push. Who uses it knows that it cannot overflow.
`default_nettype none
module fifo #(
    parameter int WIDTH = 8,
    parameter int LG = 2
) (
    input  wire              clk,
    input  wire              rst,
    input  wire              push,
    input  wire  [WIDTH-1:0] push_data,
    input  wire              pop,
    output logic [WIDTH-1:0] head,
    output logic             valid
);
  logic [WIDTH-1:0] mem[1<<LG];
  logic [LG:0] wr, rd;
  assign valid = wr != rd;
  assign head  = mem[rd[LG-1:0]];
  always_ff @(posedge clk) begin
    if (push) mem[wr[LG-1:0]] <= push_data;
    if (rst) begin
      wr <= '0;
      rd <= '0;
    end else begin
      wr <= wr + (LG + 1)'(push);
      rd <= rd + (LG + 1)'(pop);
    end
  end
endmodule
`default_nettype wire
