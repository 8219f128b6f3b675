// A descriptor's stream: a word that is offered stays until it is taken, and a descriptor has twelve words.
`default_nettype none
module descriptor_out_props (
    input wire clk,
    input wire load,
    input wire [767:0] load_data,
    input wire m_tready
);
  logic is_free, m_tvalid, m_tlast;
  logic [63:0] m_tdata;
  // All begins with a cycle of reset.
  logic ran = 1'b0;
  wire rst = !ran;
  always_ff @(posedge clk) ran <= 1'b1;
  // The gate loads only when there is room.
  descriptor_out dut (.clk, .rst, .load(load && is_free && !rst), .load_data, .is_free, .m_tdata, .m_tvalid, .m_tlast, .m_tready);

  logic was_waiting = 1'b0, was_last = 1'b0;
  logic [63:0] was_data = '0;
  logic [3:0] words = '0;
  always_ff @(posedge clk) begin
    was_waiting <= m_tvalid && !m_tready && !rst;
    was_data <= m_tdata;
    was_last <= m_tlast;
    if (m_tvalid && m_tready) words <= m_tlast ? 4'd0 : words + 4'd1;
    if (rst) words <= '0;
  end
  always_comb
    if (!rst) begin
      if (was_waiting) assert (m_tvalid && m_tdata == was_data && m_tlast == was_last);
      if (m_tvalid) assert (m_tlast == (words == 4'd11));
      assert (words < 4'd12);
      assert (is_free == !m_tvalid);
    end
endmodule
`default_nettype wire
