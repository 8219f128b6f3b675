// One request's credit of a token bucket: twin of firmware/src/rate.rs. The answer comes three cycles after the
// question. A cost of all ones is more than a full bucket has: a rate of zero.
`default_nettype none
module token_bucket (
    input  wire         clk,
    input  wire  [63:0] now,
    input  wire  [63:0] last,
    input  wire  [29:0] credit,
    input  wire  [30:0] cost,
    output logic        enough,
    output logic [29:0] credit_after,
    output logic [63:0] last_after
);
  `include "deltabox.svh"
  localparam logic [29:0] FULL = 30'(SECOND_NS);
  logic forwards1;
  logic [63:0] passed1, last1, last2;
  logic [30:0] sum2;
  logic full2;
  wire [29:0] filled = (full2 || sum2 > {1'b0, FULL}) ? FULL : sum2[29:0];
  wire is_enough = {1'b0, filled} >= cost;
  always_ff @(posedge clk) begin
    forwards1 <= now > last;
    passed1 <= now - last;
    last1 <= now > last ? now : last;

    sum2 <= {1'b0, credit} + (forwards1 ? {1'b0, passed1[29:0]} : 31'd0);
    full2 <= forwards1 && passed1[63:30] != '0;
    last2 <= last1;

    enough <= is_enough;
    credit_after <= is_enough ? filled - cost[29:0] : filled;
    last_after <= last2;
  end
endmodule
`default_nettype wire
