// Sends a descriptor of twelve words; takes the next when the last word is gone.
`default_nettype none
module descriptor_out (
    input  wire          clk,
    input  wire          rst,
    input  wire          load,
    input  wire  [767:0] load_data,
    output logic         is_free,
    output logic [ 63:0] m_tdata,
    output logic         m_tvalid,
    output logic         m_tlast,
    input  wire          m_tready
);
  logic [767:0] words;
  logic [3:0] left;
  assign m_tvalid = left != '0;
  assign m_tlast = left == 4'd1;
  assign m_tdata = words[63:0];
  assign is_free = left == '0;
  always_ff @(posedge clk) begin
    if (load) begin
      words <= load_data;
      left <= 4'd12;
    end else if (m_tvalid && m_tready) begin
      words <= words >> 64;
      left <= left - 4'd1;
    end
    if (rst) left <= '0;
  end
endmodule
`default_nettype wire
