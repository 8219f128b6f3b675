// Whether a price is a multiple of a step, for all 2^64 prices and without a division.
//
// A step is an odd number times 2^shift. A price is a multiple of the odd number if, and only if, its product
// with the number's inverse modulo 2^64 lies within what a quotient can be (Granlund and Montgomery, "Division
// by invariant integers using multiplication", section 9): that product then is the quotient. The host works the
// inverse out when it lists the instrument. The answer comes four cycles after the question.
`default_nettype none
module tick_check (
    input  wire                clk,
    input  wire         [63:0] price,
    input  wire         [63:0] inverse,
    input  wire  signed [63:0] quotient_max,
    // The odd number is one: everything is its multiple.
    input  wire                is_one,
    input  wire         [ 5:0] shift,
    output logic               is_multiple,
    output logic        [31:0] quotient
);
  logic [31:0] p[10];
  logic [63:0] low1, mid1, high2, product3;
  logic aligned1, aligned2, aligned3;
  function automatic logic [31:0] mul(input logic [15:0] a, input logic [15:0] b);
    mul = a * b;
  endfunction
  wire [63:0] mask = ~(64'hffff_ffff_ffff_ffff << shift);
  wire signed [63:0] product = product3;
  wire [63:0] shifted = product3 >> shift;
  always_ff @(posedge clk) begin
    p[0] <= mul(price[15:0], inverse[15:0]);
    p[1] <= mul(price[15:0], inverse[31:16]);
    p[2] <= mul(price[31:16], inverse[15:0]);
    p[3] <= mul(price[15:0], inverse[47:32]);
    p[4] <= mul(price[31:16], inverse[31:16]);
    p[5] <= mul(price[47:32], inverse[15:0]);
    p[6] <= mul(price[15:0], inverse[63:48]);
    p[7] <= mul(price[31:16], inverse[47:32]);
    p[8] <= mul(price[47:32], inverse[31:16]);
    p[9] <= mul(price[63:48], inverse[15:0]);
    aligned1 <= (price & mask) == '0;

    low1 <= {p[4], p[0]} + {16'd0, p[1], 16'd0};
    mid1 <= {p[3] + p[5], 32'd0} + {16'd0, p[2], 16'd0};
    high2 <= {p[6][15:0] + p[7][15:0], 48'd0} + {p[8][15:0] + p[9][15:0], 48'd0};
    aligned2 <= aligned1;

    product3 <= low1 + mid1 + high2;
    aligned3 <= aligned2;

    is_multiple <= aligned3 && (is_one || (product <= quotient_max && product >= -quotient_max));
    quotient <= shifted[31:0];
  end
  wire unused_mid = &{1'b0, shifted[63:32]};
endmodule
`default_nettype wire
