// The receive path of a venue in hardware: frames in, a descriptor out for each that is not dropped.
`default_nettype none
module deltabox_nic #(
    parameter int SESSIONS_LG = 10,
    parameter int ACCOUNTS_LG = 14,
    parameter int LANE_LG = 2,
    parameter int ROUND_CYCLES = 1
) (
    input  wire         clk,
    input  wire         rst,
    input  wire  [63:0] time_ns,
    input  wire  [63:0] s_axis_tdata,
    input  wire  [ 7:0] s_axis_tkeep,
    input  wire         s_axis_tvalid,
    input  wire         s_axis_tlast,
    output logic        s_axis_tready,
    // Admitted requests, and frames that the host has to take itself.
    output logic [63:0] m_axis_tdata,
    output logic        m_axis_tvalid,
    output logic        m_axis_tlast,
    input  wire         m_axis_tready,
    // Refusals.
    output logic [63:0] m_reject_tdata,
    output logic        m_reject_tvalid,
    output logic        m_reject_tlast,
    input  wire         m_reject_tready,
    // One pulse a frame.
    output logic        verdict_valid,
    output logic [ 1:0] verdict,
    output logic [ 7:0] reason,
    input  wire  [11:0] s_axil_awaddr,
    input  wire         s_axil_awvalid,
    output logic        s_axil_awready,
    input  wire  [31:0] s_axil_wdata,
    input  wire  [ 3:0] s_axil_wstrb,
    input  wire         s_axil_wvalid,
    output logic        s_axil_wready,
    output logic [ 1:0] s_axil_bresp,
    output logic        s_axil_bvalid,
    input  wire         s_axil_bready,
    input  wire  [11:0] s_axil_araddr,
    input  wire         s_axil_arvalid,
    output logic        s_axil_arready,
    output logic [31:0] s_axil_rdata,
    output logic [ 1:0] s_axil_rresp,
    output logic        s_axil_rvalid,
    input  wire         s_axil_rready
);
  `include "deltabox.svh"
  localparam int JOB_BITS = 1111;
  localparam int SESSION_BITS = 82;
  localparam int FLOW_BITS = 128;
  localparam int LANES = 1 << LANE_LG;

  // ---- Registers.
  logic hold, is_empty, has_vlan, is_overloaded;
  logic [47:0] mac;
  logic [11:0] vlan;
  logic [31:0] ip;
  logic [15:0] port;
  logic [511:0] row;
  logic [SESSIONS_LG-1:0] session_index, session_addr;
  logic [ACCOUNTS_LG-1:0] account_index, account_addr;
  logic [7:0] instrument_index, instrument_addr;
  logic session_set, flow_set, account_set, instrument_set;
  registers #(
      .SESSIONS_LG(SESSIONS_LG),
      .ACCOUNTS_LG(ACCOUNTS_LG)
  ) registers (
      .clk, .rst,
      .s_awaddr(s_axil_awaddr), .s_awvalid(s_axil_awvalid), .s_awready(s_axil_awready),
      .s_wdata(s_axil_wdata), .s_wstrb(s_axil_wstrb), .s_wvalid(s_axil_wvalid), .s_wready(s_axil_wready),
      .s_bresp(s_axil_bresp), .s_bvalid(s_axil_bvalid), .s_bready(s_axil_bready),
      .s_araddr(s_axil_araddr), .s_arvalid(s_axil_arvalid), .s_arready(s_axil_arready),
      .s_rdata(s_axil_rdata), .s_rresp(s_axil_rresp), .s_rvalid(s_axil_rvalid), .s_rready(s_axil_rready),
      .hold, .is_empty, .mac, .has_vlan, .vlan, .ip, .port, .is_overloaded,
      .row, .session_index, .account_index, .instrument_index,
      .session_we(session_set), .flow_we(flow_set), .account_we(account_set), .instrument_we(instrument_set),
      .verdict_valid, .verdict, .reason(reason[5:0]), .stalled(s_axis_tvalid && !s_axis_tready)
  );

  // ---- Frames in.
  logic in_frame, starts, room;
  logic [LANES-1:0] lane_busy, lane_taken, lane_room, lane_done;
  logic [LANE_LG-1:0] start_lane, feed_lane, key_lane, read_lane;
  logic key_request, hash_push, hash_last;
  logic [31:0] key_conn_id;
  logic [63:0] hash_data;
  logic job_push, job_valid, job_pop, sums_push, sums_valid, sums_pop;
  logic [JOB_BITS-1:0] job_in, job_head;
  logic [1:0] sums_in, sums_head;
  assign is_empty = !in_frame && !starts && lane_taken == '0;
  // The frame that is being taken began with the lane before.
  assign room = lane_room[start_lane - 1'b1];
  frame_parse #(
      .LANE_LG(LANE_LG),
      .JOB_BITS(JOB_BITS)
  ) frame_parse (
      .clk, .rst, .time_ns, .mac, .has_vlan, .vlan, .ip, .port,
      .data(s_axis_tdata), .keep(s_axis_tkeep), .last(s_axis_tlast), .valid(s_axis_tvalid),
      .ready(s_axis_tready), .may_start(!hold && !lane_taken[start_lane] && !rst), .may_go_on(room),
      .starts, .in_frame,
      .lane(feed_lane), .key_request, .key_conn_id, .hash_push, .hash_data, .hash_last,
      .job_push, .job(job_in), .sums_push, .sums(sums_in)
  );
  // Each frame under way has a lane, so that queues as deep as there are lanes never overflow.
  fifo #(.WIDTH(JOB_BITS), .LG(LANE_LG)) jobs (
      .clk, .rst, .push(job_push), .push_data(job_in), .pop(job_pop), .head(job_head), .valid(job_valid)
  );
  fifo #(.WIDTH(2), .LG(LANE_LG)) checksums (
      .clk, .rst, .push(sums_push), .push_data(sums_in), .pop(sums_pop), .head(sums_head), .valid(sums_valid)
  );

  // ---- Tags: a lane a frame, in turn.
  logic [127:0] key_row;
  logic [127:0] tags[LANES];
  logic [1:0] key_wait;
  logic lane_ack;
  table_ram #(.WIDTH(128), .LG(SESSIONS_LG)) keys (
      .clk, .we(session_set), .waddr(session_index), .wdata(row[255:128]),
      .raddr(key_conn_id[SESSIONS_LG-1:0]), .rdata(key_row)
  );
  logic [LANE_LG-1:0] key_lane_0;
  always_ff @(posedge clk) begin
    key_wait <= {key_wait[0], key_request};
    if (key_request) key_lane_0 <= feed_lane;
    key_lane <= key_lane_0;
    if (starts) start_lane <= start_lane + 1'b1;
    if (lane_ack) read_lane <= read_lane + 1'b1;
    for (int i = 0; i < LANES; i++) begin
      if (starts && start_lane == LANE_LG'(i)) lane_taken[i] <= 1'b1;
      else if (lane_freed[i]) lane_taken[i] <= 1'b0;
    end
    lane_busy_q <= lane_busy;
    if (rst) begin
      key_wait <= '0;
      start_lane <= '0;
      read_lane <= '0;
      lane_taken <= '0;
      lane_busy_q <= '0;
    end
  end
  // A lane is free again when its hash is done and its frame has a verdict.
  logic [LANES-1:0] lane_busy_q, lane_freed;
  assign lane_freed = lane_busy_q & ~lane_busy;
  for (genvar i = 0; i < LANES; i++) begin : g_lane
    siphash #(.ROUND_CYCLES(ROUND_CYCLES)) hash (
        .clk, .rst,
        .key_valid(key_wait[1] && key_lane == LANE_LG'(i)), .key(key_row),
        .push(hash_push && feed_lane == LANE_LG'(i)), .push_data(hash_data), .push_last(hash_last),
        .room(lane_room[i]), .ack(lane_ack && read_lane == LANE_LG'(i)),
        .busy(lane_busy[i]), .done(lane_done[i]), .tag(tags[i])
    );
  end

  // ---- Tables. The gate writes what it keeps; the host's writes come only between frames.
  logic [SESSION_BITS-1:0] session_row;
  logic [112:0] window_row, window_next;
  logic [FLOW_BITS-1:0] flow_row, flow_next;
  logic [93:0] bucket_row, bucket_next;
  logic [12:0] account_row;
  logic [511:0] instrument_row;
  logic window_we, flow_we, bucket_we;
  table_ram #(.WIDTH(SESSION_BITS), .LG(SESSIONS_LG)) sessions (
      .clk, .we(session_set), .waddr(session_index),
      .wdata({row[126:96], row[69], row[68], row[67:65], row[64], row[44:32], row[31:0]}),
      .raddr(session_addr), .rdata(session_row)
  );
  table_ram #(.WIDTH(113), .LG(SESSIONS_LG)) windows (
      .clk, .we(window_we || session_set), .waddr(session_set ? session_index : session_addr),
      .wdata(session_set ? {64'd1, 49'd0} : window_next), .raddr(session_addr), .rdata(window_row)
  );
  table_ram #(.WIDTH(FLOW_BITS), .LG(SESSIONS_LG)) flows (
      .clk, .we(flow_we || flow_set), .waddr(flow_set ? session_index : session_addr),
      .wdata(flow_set ? {row[383:320], row[70], row[318:256]} : flow_next),
      .raddr(session_addr), .rdata(flow_row)
  );
  table_ram #(.WIDTH(94), .LG(SESSIONS_LG)) buckets (
      .clk, .we(bucket_we || session_set), .waddr(session_set ? session_index : session_addr),
      .wdata(session_set ? {row[479:416], row[413:384]} : bucket_next),
      .raddr(session_addr), .rdata(bucket_row)
  );
  table_ram #(.WIDTH(13), .LG(ACCOUNTS_LG)) accounts (
      .clk, .we(account_set), .waddr(account_index), .wdata(row[12:0]),
      .raddr(account_addr), .rdata(account_row)
  );
  table_ram #(.WIDTH(512), .LG(8)) instruments (
      .clk, .we(instrument_set), .waddr(instrument_index), .wdata(row),
      .raddr(instrument_addr), .rdata(instrument_row)
  );

  // ---- The gate, and what leaves.
  logic [767:0] descriptor;
  logic desc_free, reject_free;
  order_gate #(
      .SESSIONS_LG(SESSIONS_LG),
      .ACCOUNTS_LG(ACCOUNTS_LG),
      .JOB_BITS(JOB_BITS),
      .SESSION_BITS(SESSION_BITS),
      .FLOW_BITS(FLOW_BITS)
  ) order_gate (
      .clk, .rst, .is_overloaded, .job_valid, .job_head, .job_pop, .sums_valid, .sums_head, .sums_pop,
      .tag_done(lane_done[read_lane]), .tag(tags[read_lane]), .lane_ack,
      .session_addr, .session_row, .window_row, .flow_row, .bucket_row,
      .account_addr, .account_row, .instrument_addr, .instrument_row,
      .window_we, .window_next, .flow_we, .flow_next, .bucket_we, .bucket_next,
      .out_free(desc_free && reject_free), .verdict_valid, .verdict, .reason, .descriptor
  );
  descriptor_out descriptors (
      .clk, .rst, .load(verdict_valid && (verdict == VERDICT_ADMITTED || verdict == VERDICT_HOST)),
      .load_data(descriptor), .is_free(desc_free),
      .m_tdata(m_axis_tdata), .m_tvalid(m_axis_tvalid), .m_tlast(m_axis_tlast), .m_tready(m_axis_tready)
  );
  descriptor_out refusals (
      .clk, .rst, .load(verdict_valid && verdict == VERDICT_REFUSED),
      .load_data(descriptor), .is_free(reject_free),
      .m_tdata(m_reject_tdata), .m_tvalid(m_reject_tvalid), .m_tlast(m_reject_tlast),
      .m_tready(m_reject_tready)
  );
endmodule
`default_nettype wire
