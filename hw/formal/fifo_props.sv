// The queue gives back each word once, in order: a word that is marked at any time comes out at its place.
`default_nettype none
module fifo_props (
    input wire clk,
    input wire push,
    input wire [7:0] push_data,
    input wire pop,
    input wire mark
);
  logic valid;
  logic [7:0] head;
  // All begins with a cycle of reset.
  logic ran = 1'b0;
  wire rst = !ran;
  always_ff @(posedge clk) ran <= 1'b1;
  logic [2:0] count = '0;
  wire does_push = push && count < 3'd4 && !rst;
  wire does_pop = pop && valid && !rst;
  fifo #(.WIDTH(8), .LG(2)) dut (.clk, .rst, .push(does_push), .push_data, .pop(does_pop), .head, .valid);
  logic marked = 1'b0;
  logic [2:0] ahead = '0;
  logic [7:0] word = '0;
  always_ff @(posedge clk) begin
    count <= count + 3'(does_push) - 3'(does_pop);
    if (!marked && mark && does_push) begin
      marked <= 1'b1;
      word <= push_data;
      ahead <= count - 3'(does_pop);
    end else if (marked && does_pop) begin
      ahead <= ahead - 3'd1;
      if (ahead == '0) marked <= 1'b0;
    end
  end
  always_comb
    if (!rst) begin
      assert (valid == (count != '0));
      if (marked && ahead == '0) assert (valid && head == word);
      if (marked) assert (ahead < count);
    end
endmodule
`default_nettype wire
