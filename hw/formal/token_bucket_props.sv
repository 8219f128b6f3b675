// The bucket: credit never passes a second, a rate of zero lets nothing through, time that runs backwards adds
// nothing, and what is taken is what it costs. The inputs stand still, as the gate holds them.
`default_nettype none
module token_bucket_props (
    input wire clk,
    input wire [63:0] now_in,
    input wire [63:0] last_in,
    input wire [29:0] credit_in,
    input wire [30:0] cost_in
);
  `include "deltabox.svh"
  localparam logic [30:0] FULL = 31'(SECOND_NS);
  logic [2:0] age = '0;
  logic [63:0] now, last, last_after;
  logic [29:0] credit, credit_after;
  logic [30:0] cost;
  logic enough;
  // The question is free, then held.
  always_ff @(posedge clk) begin
    age <= age == 3'd7 ? age : age + 3'd1;
    if (age == '0) {now, last, credit, cost} <= {now_in, last_in, {1'b0, credit_in} > FULL ? FULL[29:0] : credit_in, cost_in};
  end
  token_bucket dut (.clk, .now, .last, .credit, .cost, .enough, .credit_after, .last_after);
  // In as many bits as it takes.
  wire [65:0] filled = {36'd0, credit} + (now > last ? {2'd0, now - last} : 66'd0);
  wire [65:0] capped = filled > {35'd0, FULL} ? {35'd0, FULL} : filled;
  always_comb
    if (age >= 3'd4) begin
      assert ({1'b0, credit_after} <= FULL);
      assert (last_after >= last && last_after >= now);
      assert (enough == (capped >= {35'd0, cost}));
      assert ({36'd0, credit_after} == (enough ? capped - {35'd0, cost} : capped));
      if (cost > FULL) assert (!enough);
      if (now <= last) assert (credit_after <= credit && last_after == last);
    end
endmodule
`default_nettype wire
