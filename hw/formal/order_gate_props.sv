// The gate, with all rows and jobs free: what is admitted has passed each check that its row asks for; one verdict a
// job, eight cycles after it was seen; a write-back only where the packet's number was taken.
`default_nettype none
module order_gate_props (
    input wire clk,
    input wire is_overloaded_in,
    input wire job_valid,
    input wire [1110:0] job_head,
    input wire [1:0] sums_head_in,
    input wire [127:0] tag_in,
    input wire [81:0] session_in,
    input wire [112:0] window_in,
    input wire [127:0] flow_in,
    input wire [93:0] bucket_in,
    input wire [12:0] account_in,
    input wire [511:0] instrument_in,
    input wire out_free
);
  `include "deltabox.svh"
  `include "job.svh"
  // All begins with a cycle of reset.
  logic ran = 1'b0;
  wire rst = !ran;
  always_ff @(posedge clk) ran <= 1'b1;
  // Rows and answers are free but stand still: one job is followed from its first cycle.
  logic is_overloaded, started = 1'b0;
  logic [1:0] sums_head;
  logic [127:0] tag;
  logic [81:0] session_row;
  logic [112:0] window_row;
  logic [127:0] flow_row;
  logic [93:0] bucket_row;
  logic [12:0] account_row;
  logic [511:0] instrument_row;
  logic [1110:0] job;
  logic job_pop, sums_pop, lane_ack, window_we, flow_we, bucket_we, verdict_valid;
  logic [9:0] session_addr;
  logic [13:0] account_addr;
  logic [7:0] instrument_addr, reason;
  logic [112:0] window_next;
  logic [127:0] flow_next;
  logic [93:0] bucket_next;
  logic [1:0] verdict;
  logic [767:0] descriptor;
  wire offers = job_valid && !started && !rst;
  logic [4:0] since = '0;
  always_ff @(posedge clk) begin
    if (job_pop) begin
      started <= 1'b1;
      job <= job_head;
    end
    if (rst) begin
      is_overloaded <= is_overloaded_in;
      sums_head <= sums_head_in;
      tag <= tag_in;
      session_row <= session_in;
      window_row <= window_in;
      flow_row <= flow_in;
      bucket_row <= bucket_in;
      account_row <= account_in;
      instrument_row <= instrument_in;
    end
    if (started && since != 5'd31) since <= since + 5'd1;
  end
  order_gate dut (
      .clk, .rst, .is_overloaded, .job_valid(offers), .job_head, .job_pop,
      .sums_valid(1'b1), .sums_head, .sums_pop, .tag_done(1'b1), .tag, .lane_ack,
      .session_addr, .session_row, .window_row, .flow_row, .bucket_row,
      .account_addr, .account_row, .instrument_addr, .instrument_row,
      .window_we, .window_next, .flow_we, .flow_next, .bucket_we, .bucket_next,
      .out_free, .verdict_valid, .verdict, .reason, .descriptor
  );
  logic [1:0] verdicts = '0;
  logic was_full = 1'b0;
  always_ff @(posedge clk) begin
    if (verdict_valid) verdicts <= verdicts + 2'd1;
    if (started && !out_free) was_full <= 1'b1;
  end
  wire admitted = verdict_valid && verdict == VERDICT_ADMITTED;
  wire [15:0] template_id = job[JOB_MESSAGE+32+:16];
  wire is_new = template_id == TEMPLATE_NEW_ORDER;
  wire is_replace = template_id == TEMPLATE_REPLACE;
  wire [31:0] account = job[JOB_ACCOUNT+:32];
  wire [63:0] lots = is_new ? job[JOB_BLOCK+128+:64] : job[JOB_BLOCK+256+:64];
  wire [7:0] flags = job[JOB_BLOCK+384+8+:8];
  always_comb
    if (!rst) begin
      // One verdict, and never late while there is room.
      assert (verdicts <= 2'd1 && !(verdict_valid && verdicts == 2'd1));
      if (verdict_valid) assert (since >= 5'd7);
      if (!was_full) assert (verdict_valid == (since == 5'd7));
      // Nothing is kept of a frame that has no verdict, or of a drop before the packet's number is taken.
      if (window_we || flow_we || bucket_we) assert (verdict_valid);
      if (flow_we || bucket_we) assert (window_we);
      if (verdict_valid && verdict == VERDICT_DROPPED && reason != DROP_DUPLICATE) assert (!window_we);
      if (admitted) begin
        assert (window_we && flow_we && reason == '0);
        // Frame and connection.
        assert (!job[JOB_FAULT_A+5] && !job[JOB_FAULT_B+5] && !job[JOB_FAULT_C+5] && sums_head[0]);
        assert (session_row[45] && session_row[31:0] == job[JOB_P0+32+:32] && !flow_row[63]);
        // Who asks, and for whom.
        assert (session_row[49] && !session_row[50]);
        assert (account_row == session_row[44:32] || (template_id == TEMPLATE_MASS_CANCEL && account == '1));
        // The stop for what may add risk.
        if (is_overloaded) assert (!is_replace && !(is_new && !flags[1]));
        // A name is used once, and an order stays below the largest.
        if (is_new || is_replace) assert (job[JOB_BLOCK+:64] > flow_row[127:64] && bucket_we);
        if (is_new) assert (lots != '0 && lots <= {32'd0, instrument_row[479:448]} && instrument_row[492]);
        assert (flow_next[62:0] == job[JOB_P2+:63] + 63'd1);
        assert (job[JOB_P2+:64] >= {1'b0, flow_row[62:0]});
      end
    end
endmodule
`default_nettype wire
