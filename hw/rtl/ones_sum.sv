// Ones' complement sum of a frame's words, as IPv4 and UDP want it; right if it is all ones.
// The byte order does not matter for that. The answer comes five cycles after the word with `last`.
`default_nettype none
module ones_sum (
    input  wire         clk,
    input  wire         rst,
    input  wire         valid,
    input  wire         first,
    input  wire         last,
    input  wire  [63:0] data,
    output logic        done,
    output logic        ok
);
  logic v1, f1, l1, v2, f2, l2, l3, l4;
  logic [16:0] lo1, hi1, fold4;
  logic [17:0] sum2;
  logic [27:0] acc3;
  always_ff @(posedge clk) begin
    {v1, f1, l1} <= {valid, first, last};
    lo1 <= {1'b0, data[15:0]} + {1'b0, data[31:16]};
    hi1 <= {1'b0, data[47:32]} + {1'b0, data[63:48]};

    {v2, f2, l2} <= {v1, f1, l1};
    sum2 <= {1'b0, lo1} + {1'b0, hi1};

    l3 <= v2 && l2;
    if (v2) acc3 <= (f2 ? 28'd0 : acc3) + {10'd0, sum2};

    l4 <= l3;
    fold4 <= {5'd0, acc3[27:16]} + {1'b0, acc3[15:0]};

    done <= l4;
    // The carry of the first fold is added once more; it cannot carry again.
    ok <= fold4[15:0] == (fold4[16] ? 16'hfffe : 16'hffff);
    if (rst) {v1, v2, l3, l4, done} <= '0;
  end
endmodule
`default_nettype wire
